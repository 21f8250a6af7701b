# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pidfiles: believed with proof only, whoever wrote them; and services that go into the background by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from actuator_helpers import boot_id, drive, marked

from selfheal import _proc
from selfheal._actuators.base import State
from selfheal._core.model import ProcessTarget
from selfheal._core.reasons import Reason
from selfheal._probes.pidfile import PidfileRefused, read_pidfile
from selfheal._probes.process import ProcessProbe

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")
NOBODY = 65534


@pytest.fixture
def stranger(mark):
    """A living process that is nobody's service."""
    made = subprocess.Popen(["/bin/sh", "-c", "while :; do sleep 60; done", mark], start_new_session=True)
    yield made.pid
    os.killpg(made.pid, signal.SIGKILL)
    made.wait()


def probe(host, target, instance=None):
    host.start(ProcessProbe(target, instance), host.monotonic() + 5)
    return host.poll(host.monotonic() + 5)[0].outcome


def wait_for(host, predicate, within=5.0):
    until = host.monotonic() + within
    while not predicate():
        assert host.monotonic() < until, "did not come true in time"
        host.poll(host.monotonic() + 0.01)


def test_a_true_pidfile(host, tmp_path, stranger):
    """A pidfile written after the process's start, by root or by us, names it."""
    path = tmp_path / "pid"
    path.write_text("%d\n" % stranger, encoding="ascii")
    assert read_pidfile(str(path)).pid == stranger
    outcome = probe(host, ProcessTarget(str(path)))
    assert (outcome.status, dict(outcome.data)) == ("ok", {"pid": stranger})


def test_a_pid_given_out_again(host, tmp_path, stranger):
    """A file older than the process it names tells of an earlier bearer of that pid: not running."""
    path = tmp_path / "pid"
    path.write_text("%d\n" % stranger, encoding="ascii")
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    outcome = probe(host, ProcessTarget(str(path)))
    assert (outcome.status, outcome.reason) == ("bad", Reason.NOT_RUNNING)
    assert "given to another" in outcome.detail


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "not a process id"),
        ("abc", "not a process id"),
        ("-5", "not a process id"),
        ("0", "not a process id"),
        ("1", "not a process id"),
        ("99999999999999999999", "not a process id"),
        ("7" * 100, "not a process id"),
        ("12 " + " " * 80, "not a process id"),
        ("2147483647", "does not run"),
    ],
)
def test_what_is_no_pid(host, tmp_path, content, said):
    """Nonsense, pid 0 and 1, and pids of nobody name no process."""
    path = tmp_path / "pid"
    path.write_text(content, encoding="ascii")
    outcome = probe(host, ProcessTarget(str(path)))
    assert (outcome.status, outcome.reason) == ("bad", Reason.NOT_RUNNING)
    assert said in outcome.detail


def test_links_directories_and_fifos_are_refused(host, tmp_path, stranger):
    """A pidfile is a regular file: nothing else is followed, opened for long, or believed."""
    true = tmp_path / "true"
    true.write_text("%d\n" % stranger, encoding="ascii")
    (tmp_path / "link").symlink_to(true)
    os.mkfifo(tmp_path / "fifo")
    for name, said in (("link", "symbolic link"), ("fifo", "no regular file"), (".", "no regular file")):
        with pytest.raises(PidfileRefused, match=said) as refused:
            read_pidfile(str(tmp_path / name))
        assert not refused.value.unreadable
    assert read_pidfile(str(tmp_path / "missing")) is None
    assert probe(host, ProcessTarget(str(tmp_path / "missing"))).reason is Reason.NOT_RUNNING


@ROOT_ONLY
def test_a_pidfile_of_another_user_names_only_his_own(tmp_path, stranger):
    """A service's user who may write the pidfile cannot point us at a process of somebody else."""
    path = tmp_path / "pid"
    path.write_text("%d\n" % stranger, encoding="ascii")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(PidfileRefused, match="can be written by others"):
        read_pidfile(str(path))
    own = subprocess.Popen(["/bin/sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[])
    try:
        path.write_text("%d\n" % own.pid, encoding="ascii")
        assert read_pidfile(str(path)).pid == own.pid
    finally:
        own.kill()
        own.wait()
    os.chown(path, 0, 0)
    path.write_text("%d\n" % stranger, encoding="ascii")
    path.chmod(0o666)
    with pytest.raises(PidfileRefused, match="can be written by others"):
        read_pidfile(str(path))


@ROOT_ONLY
def test_a_hostile_pidfile_kills_no_stranger(host, make, tmp_path, stranger):
    """A pidfile that names a foreign process gets nobody stopped: a restart replaces our own process and leaves the stranger alone."""
    path = tmp_path / "pid"
    actuator = make("exec sleep 60", pidfile=str(path))
    wait_for(host, lambda: time.monotonic() - _proc.since(_proc.stat(stranger).start_time) > 0.05)  # start times count in 10 ms
    first = drive(host, actuator.start()).data
    path.write_text("%d\n" % stranger, encoding="ascii")  # the stranger is older than our start
    assert drive(host, actuator.look()).instance.pid == first["pid"]
    path.unlink()
    path.write_text("%d\n" % os.getpid(), encoding="ascii")
    os.chown(path, NOBODY, NOBODY)
    assert drive(host, actuator.restart()).status == "ok"
    assert _proc.stat(stranger) is not None
    assert not os.path.exists("/proc/%d" % first["pid"])


@ROOT_ONLY
def test_an_unreadable_pidfile_is_unknown(host, tmp_path):
    """What may not be read proves nothing."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "pid").write_text("5", encoding="ascii")
    for name in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        name.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        outcome = probe(host, ProcessTarget(str(folder / "pid")))
    finally:
        os.seteuid(0)
    assert (outcome.status, outcome.reason) == ("unknown", Reason.NO_PERMISSION)


def test_the_recorded_instance(host, stranger):
    """Without a pidfile the service's own instance is looked at: by pid and start time; a zombie does not run, a stopped process does."""
    start = _proc.stat(stranger).start_time
    target = ProcessTarget()
    assert probe(host, target).reason is Reason.NOT_RUNNING
    assert probe(host, target, _proc.instance_id(boot_id(), stranger, start)).status == "ok"
    assert probe(host, target, _proc.instance_id(boot_id(), stranger, start - 1)).reason is Reason.NOT_RUNNING
    os.kill(stranger, signal.SIGSTOP)
    assert probe(host, target, _proc.instance_id(boot_id(), stranger, start)).status == "ok"
    os.kill(stranger, signal.SIGCONT)
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    outcome = probe(host, target, _proc.instance_id(boot_id(), zombie, _proc.stat(zombie).start_time))
    os.waitpid(zombie, 0)
    assert (outcome.status, outcome.reason) == ("bad", Reason.NOT_RUNNING) and "not reaped" in outcome.detail


DAEMON = "setsid sh -c 'echo $$ > %s.new; mv %s.new %s; while :; do sleep 0.05; done' %s & sleep 0.1; exit 0"


def test_a_service_that_goes_into_the_background(host, make, tmp_path, mark):
    """It is starting until its pidfile names it, then running under that pid; restarted there, and never started twice meanwhile."""
    path = tmp_path / "pid"
    actuator = make(DAEMON % (path, path, path, mark), pidfile=str(path))

    def settled():
        """The daemon's pid once the actuator has found it; until then every look says starting or running, and a start starts nothing."""
        presence = drive(host, actuator.look())
        assert presence.state in (State.STARTING, State.RUNNING)
        again = drive(host, actuator.start())
        assert again.status == "ok" and "already" in again.detail
        named = int(path.read_text(encoding="ascii")) if path.exists() else None
        return named if presence.instance is not None and presence.instance.pid == named else None

    first = drive(host, actuator.start()).data["pid"]
    wait_for(host, settled)
    daemon = settled()
    assert daemon != first
    wait_for(host, lambda: _proc.stat(first) is None)
    assert drive(host, actuator.look()).instance.pid == daemon
    assert drive(host, actuator.restart()).status == "ok"
    found = _proc.stat(daemon)
    assert found is None or found.dead
    wait_for(host, lambda: settled() not in (None, daemon))
    wait_for(host, lambda: marked(mark) == [settled()])


def test_a_service_that_somebody_else_started(host, make, tmp_path, mark):
    """A service found by its pidfile alone is running, and a restart stops that process."""
    path = tmp_path / "pid"
    other = subprocess.Popen(["/bin/sh", "-c", "while :; do sleep 0.05; done", mark], start_new_session=True)
    try:
        path.write_text("%d\n" % other.pid, encoding="ascii")
        actuator = make("exec sleep 60", pidfile=str(path))
        presence = drive(host, actuator.look())
        assert (presence.state, presence.instance.pid) == (State.RUNNING, other.pid)
        assert drive(host, actuator.restart()).status == "ok"
        assert not os.path.exists("/proc/%d" % other.pid)
    finally:
        other.poll()
        other.kill()
        other.wait()
