# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service is started with: its own session, log, arguments and user."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from actuator_helpers import drive, wait_for

from selfheal import _proc
from selfheal._actuators.base import State
from selfheal._core.reasons import Reason

PYTHON = sys.executable


def test_a_service_owes_its_starter_nothing(host, make, tmp_path, monkeypatch):
    """The service has a session of its own, stdin from /dev/null, a private log, no descriptor or ignored signal of ours, umask 022."""
    environment = tmp_path / "env"
    environment.write_text('# comment\nGREETING="hello world"\nEMPTY=\n', encoding="ascii")
    monkeypatch.setenv("SECRET", "of the starter")
    note = tmp_path / "note"
    script = (
        "import os, json; status = dict(line.split(':', 1) for line in open('/proc/self/status')); "
        "json.dump({'env': dict(os.environ), 'leads': os.getsid(0) == os.getpid(), 'cwd': os.getcwd(), 'umask': status['Umask'].strip(), "
        "'blocked': int(status['SigBlk'], 16), 'ignored': int(status['SigIgn'], 16), 'stdin': os.readlink('/proc/self/fd/0'), "
        "'stdout': os.readlink('/proc/self/fd/1'), 'fds': sorted(map(int, os.listdir('/proc/self/fd')))[:-1]}, open(%r, 'w')); "
        "print('said'); os.rename(%r, %r)" % (str(note) + ".new", str(note) + ".new", str(note))
    )
    actuator = make("", argv=(PYTHON, "-I", "-S", "-c", script), environment_file=str(environment), cwd=str(tmp_path))
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        assert drive(host, actuator.start()).status == "ok"
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(leaked)
    wait_for(host, note.exists)
    found = json.loads(note.read_text(encoding="utf-8"))
    assert found["env"]["GREETING"] == "hello world" and found["env"]["EMPTY"] == "" and found["env"]["SELFHEAL_SERVICE"] == "web"
    assert "SECRET" not in found["env"]
    log = tmp_path / "log" / "web.log"
    expected = {"leads": True, "cwd": str(tmp_path), "umask": "0022", "blocked": 0, "stdin": "/dev/null", "stdout": str(log)}
    assert {key: found[key] for key in expected} == expected
    # SIGPIPE and SIGXFSZ are ignored by Python itself; 32 and 33 are the C library's, and no program can set them.
    assert found["ignored"] & ~(3 << 31) == 0x1001000
    assert found["fds"][:3] == [0, 1, 2] and len(found["fds"]) <= 4  # the script's own open file
    wait_for(host, lambda: log.read_text(encoding="ascii") == "said\n")
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_log_is_turned_over_and_never_through_a_link(host, make, tmp_path, monkeypatch):
    """A log of 8 MiB becomes .1 at a start; a link in its place is not followed, and keeps no service down."""
    from selfheal._actuators import launch

    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    (folder / "web.log").write_text("x" * 100, encoding="ascii")
    monkeypatch.setattr(launch, "LOG_LIMIT", 100)
    assert drive(host, make("echo new").start()).status == "ok"
    wait_for(host, lambda: (folder / "web.log").read_text(encoding="ascii") == "new\n")
    assert (folder / "web.log.1").read_text(encoding="ascii") == "x" * 100
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="ascii")
    (folder / "web.log").unlink()
    (folder / "web.log").symlink_to(victim)
    actuator = make("echo evil")
    wait_for(host, lambda: drive(host, actuator.look()).state is State.GONE)
    assert drive(host, actuator.start()).status == "ok"
    wait_for(host, lambda: drive(host, actuator.look()).state is State.GONE)
    assert victim.read_text(encoding="ascii") == "mine"


def test_names_and_arguments_with_spaces(host, make, tmp_path, mark):
    """Arguments, directories and programs with spaces, quotes and dollars arrive as they are."""
    folder = tmp_path / "a 'quoted' $HOME dir"
    folder.mkdir()
    program = folder / "my program"
    program.write_text("#!/bin/sh\nprintf '%s|' \"$@\" > out.new; mv out.new out\n", encoding="ascii")
    program.chmod(0o755)
    actuator = make("", argv=(str(program), "a b", "$X", "", "'", mark), cwd=str(folder))
    assert drive(host, actuator.start()).status == "ok"
    wait_for(host, (folder / "out").exists)
    assert (folder / "out").read_text(encoding="ascii") == "a b|$X||'|%s|" % mark


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user(host, make):
    """The service runs as its user, and its record stays root's."""
    actuator = make("exec sleep 60", user="nobody")
    pid = drive(host, actuator.start()).data["pid"]
    import pwd

    assert _proc.owner_of(pid) == pwd.getpwnam("nobody").pw_uid
    assert drive(host, actuator.look()).state is State.RUNNING
    assert drive(host, actuator.restart()).status == "ok"


def test_key(make):
    """What a lease on it is called."""
    assert make("").key == "process:web"
    assert make("").cannot("restart") is None
    assert make("").cannot("rollback") is Reason.UNSUPPORTED
