# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wherever the healer is killed, and however many there are: never two instances, and one in the end."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from actuator_helpers import boot_id, drive, marked

from selfheal import _proc
from selfheal._actuators import identity
from selfheal._actuators.base import State
from selfheal._actuators.process import ProcessActuator
from selfheal._core.model import ProcessResource
from selfheal._probes.engine import LocalHost

STARTER = str(pathlib.Path(__file__).with_name("starter.py"))


def starter(verb, run_dir, mark):
    argv = [sys.executable, "-I", STARTER, verb, str(run_dir), mark]
    made = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert made.stdout.readline() == "ready\n"
    return made


def instances(mark):
    """Living services, without the starters themselves: those name the script."""
    found = []
    for pid in marked(mark):
        try:
            text = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if STARTER.encode() not in text:
            found.append(pid)
    return found


def forked(actuator, verb):
    """The pid of a healer that does that one thing and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            drive(LocalHost(), getattr(actuator, verb)())
        finally:
            os._exit(0)
    return pid


def successor(run_dir, mark):
    resource = ProcessResource((sys.executable, "-S", "-c", "import time; time.sleep(60)", mark), stop_timeout=2.0)
    return ProcessActuator("web", resource, str(run_dir), boot_id(), in_unit=False)


@pytest.mark.parametrize("verb, longest, rounds", [("start", 0.020, 80), ("restart", 0.040, 60)])
def test_killed_at_any_instant(host, tmp_path, mark, verb, longest, rounds):
    """A healer killed by KILL at any instant of a start or restart: its successor finds at most one instance and ends with exactly one."""
    actuator = successor(tmp_path, mark)
    chance = random.Random(20261121)
    seen = set()
    try:
        for number in range(rounds):
            if verb == "start":
                for pid in instances(mark):
                    os.kill(pid, 9)
                while instances(mark):
                    drive(host, actuator.look())
            healer = forked(successor(tmp_path, mark), verb)
            time.sleep(chance.random() * longest)  # the instant of the crash is the point of this test
            os.kill(healer, 9)
            os.waitpid(healer, 0)
            before = drive(host, actuator.look()).state
            seen.add(before)
            outcome = drive(host, getattr(actuator, verb)())
            assert outcome.status == "ok", (number, outcome)
            until = time.monotonic() + 5
            while outcome.data["pid"] not in instances(mark) and time.monotonic() < until:
                drive(host, actuator.look())  # on record, and a moment before its exec
            assert instances(mark) == [outcome.data["pid"]], (number, before, outcome)
    finally:
        for pid in instances(mark):
            os.kill(pid, 9)
        _proc.reap_services()
    assert State.RUNNING in seen


def test_killed_between_fork_and_record(host, tmp_path, mark, monkeypatch):
    """A child that is on its way while its starter is dead holds the lock: nobody starts a second one meanwhile, all see it as starting."""
    held = tmp_path / "held"
    os.mkfifo(held)
    actuator = successor(tmp_path / "run", mark)
    genuine = identity.Registry.write

    def late(self, record):
        signal.alarm(20)  # should this test fail, its child ends
        with open(held, "rb"):  # opens when somebody opens the other end: the child waits here, unrecorded
            genuine(self, record)
        signal.alarm(0)

    monkeypatch.setattr(identity.Registry, "write", late)
    work = actuator.start()
    timed = work.send(None)
    handle = host.start(timed.step, host.monotonic() + 60)
    host.cancel(handle)  # the starter is gone; its child is not
    work.close()
    monkeypatch.undo()
    other = successor(tmp_path / "run", mark)
    assert drive(host, other.look()).state is State.STARTING
    refused = drive(host, other.start())
    assert refused.status == "unknown" and "somebody else is starting" in refused.detail
    assert instances(mark) == []
    with open(held, "wb"):
        outcome = drive(host, other.start())
        while outcome.status == "unknown":
            outcome = drive(host, other.start())
    assert outcome.status == "ok" and "already" in outcome.detail
    assert instances(mark) == [outcome.data["pid"]]


def test_many_starters_at_once(host, tmp_path, mark):
    """Eight healers that start the same service at the same moment make one instance."""
    healers = [starter("start", tmp_path, mark) for _number in range(8)]
    for healer in healers:
        healer.stdin.write("\n")
        healer.stdin.flush()
    answers = [healer.communicate()[0].strip() for healer in healers]
    assert "ok" in answers and set(answers) <= {"ok", "unknown"}
    assert len(instances(mark)) == 1


def test_the_service_outlives_its_starter(host, tmp_path, mark):
    """C11: killing the healer does not touch the service, and its successor watches it all the same."""
    healer = starter("start", tmp_path, mark)
    healer.stdin.write("\n")
    healer.stdin.flush()
    assert healer.stdout.readline() == "ok\n"
    healer.kill()
    healer.communicate()
    actuator = successor(tmp_path, mark)
    instance = drive(host, actuator.look()).instance
    assert instances(mark) == [instance.pid]
    handle = host.start(actuator.watch(instance), host.monotonic() + 5)
    os.kill(instance.pid, 9)
    assert host.poll(host.monotonic() + 5) == [handle]
    assert handle.outcome.status == "ok"
    assert drive(host, actuator.look()).state is State.GONE
