# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process actuator where systemd runs. systemd-run and systemctl are stand-ins here that keep one unit in a directory."""

from __future__ import annotations

import os
import signal

import pytest
from actuator_helpers import boot_id, drive, marked

from selfheal import _environment, _proc
from selfheal._actuators.base import State
from selfheal._actuators.process import ProcessActuator
from selfheal._core.model import ProcessResource
from selfheal._core.reasons import Reason

SYSTEMD_RUN = """#!/bin/sh
echo "run $*" >> DIR/calls
[ -e DIR/broken ] && { echo "Failed to connect to bus: Connection refused" >&2; exit 1; }
while [ "$1" != -- ]; do shift; done
shift
rm -f DIR/pid
setsid --fork sh -c 'echo $$ > DIR/pid.new; mv DIR/pid.new DIR/pid; exec "$@"' DIR "$@" </dev/null >/dev/null 2>&1
while [ ! -e DIR/pid ]; do :; done
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> DIR/calls
[ -e DIR/broken ] && { echo "Failed to connect to bus: Connection refused" >&2; exit 1; }
pid=$(cat DIR/pid 2>/dev/null)
case $1 in
show)
    if [ -e DIR/state ]; then echo "ActiveState=$(cat DIR/state)"; echo MainPID=0; exit; fi
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then printf 'ActiveState=active\\nMainPID=%s\\n' "$pid"
    else printf 'ActiveState=inactive\\nMainPID=0\\n'; fi ;;
stop)
    [ -n "$pid" ] && kill -KILL -- "-$pid" 2>/dev/null
    rm -f DIR/pid ;;
esac
"""


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The stand-ins' directory: ``calls`` what they were asked, ``broken`` when they are to fail."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    for name, text in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)):
        (folder / name).write_text(text.replace("DIR", str(folder)), encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(_environment, "PATH", "%s:%s" % (folder, _environment.PATH))
    return folder


@pytest.fixture
def actuator(tmp_path, mark, systemd):
    resource = ProcessResource(("/bin/sh", "-c", "while :; do sleep 0.05; done", mark), stop_timeout=1.0)
    return ProcessActuator("web", resource, str(tmp_path / "run"), boot_id(), in_unit=True)


def verbs(systemd):
    return [line.split()[0] for line in (systemd / "calls").read_text(encoding="ascii").splitlines()]


def test_start_look_restart(host, actuator, systemd, mark):
    """Started by systemd-run, found by pid and start time without asking systemd again, stopped by systemctl, never two."""
    assert drive(host, actuator.look()).state is State.NEVER
    first = drive(host, actuator.start())
    assert first.status == "ok"
    asked = len(verbs(systemd))
    presence = drive(host, actuator.look())
    assert (presence.state, presence.instance.id) == (State.RUNNING, first.data["instance"])
    assert drive(host, actuator.start()).data == first.data
    assert len(verbs(systemd)) == asked
    second = drive(host, actuator.restart())
    assert second.status == "ok" and second.data["pid"] != first.data["pid"]
    assert not _proc.alive(*_proc.parse_instance(first.data["instance"]))
    assert "stop" in verbs(systemd)[asked:]
    assert len([pid for pid in marked(mark) if _proc.stat(pid) and _proc.stat(pid).session == pid]) == 1
    death = host.start(actuator.watch(drive(host, actuator.look()).instance), host.monotonic() + 5)
    os.kill(second.data["pid"], signal.SIGKILL)
    assert host.poll(host.monotonic() + 5) == [death]
    assert drive(host, actuator.look()).state is State.GONE


def test_a_start_that_was_not_put_on_record(host, actuator, tmp_path, systemd):
    """A healer that died between systemd-run and its record: systemd knows the unit, it is running, and no second one is started."""
    first = drive(host, actuator.start()).data
    (tmp_path / "run" / "processes" / "web.json").unlink()
    presence = drive(host, actuator.look())
    assert (presence.state, presence.instance.id) == (State.RUNNING, first["instance"])
    assert drive(host, actuator.start()).data == first
    assert drive(host, actuator.restart()).data["pid"] != first["pid"]
    assert not _proc.alive(*_proc.parse_instance(first["instance"]))


@pytest.mark.parametrize("state, expected", [("activating", State.STARTING), ("deactivating", State.STOPPING), ("failed", State.NEVER)])
def test_jobs_under_way(host, actuator, systemd, state, expected):
    """A job of systemd's that is pending is waited for: no start beside it."""
    (systemd / "state").write_text(state, encoding="ascii")
    assert drive(host, actuator.look()).state is expected


def test_a_silent_systemd_is_unknown(host, actuator, systemd):
    """A systemd that does not answer proves nothing: unknown; nothing is started or stopped."""
    first = drive(host, actuator.start()).data
    (systemd / "broken").touch()
    assert drive(host, actuator.look()).state is State.RUNNING  # the record knows
    os.kill(first["pid"], signal.SIGKILL)
    presence = drive(host, actuator.look())
    while presence.state is State.RUNNING:
        presence = drive(host, actuator.look())
    assert presence.state is State.UNKNOWN and "Connection refused" in presence.detail
    outcome = drive(host, actuator.start())
    assert (outcome.status, outcome.reason) == ("unknown", Reason.INTERNAL_ERROR)
