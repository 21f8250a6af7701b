# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process actuator against real processes: looking, starting, watching, stopping."""

from __future__ import annotations

import errno
import json
import math
import os
import pathlib
import signal
import time

import pytest
from actuator_helpers import boot_id, drive, marked, wait_for

from selfheal import _proc
from selfheal._actuators.base import State
from selfheal._core.reasons import Reason

SLEEPER = "while :; do sleep 60; done"


def record_of(tmp_path):
    return tmp_path / "run" / "processes" / "web.json"


def test_never_then_running_then_gone(host, make, mark):
    """A service is never, running as soon as `start` returns, and gone when it was killed; `since` is its real start."""
    actuator = make(SLEEPER)
    assert drive(host, actuator.look()).state is State.NEVER
    before = time.monotonic()
    outcome = drive(host, actuator.start())
    assert outcome.status == "ok"
    presence = drive(host, actuator.look())
    assert (presence.state, presence.instance.pid) == (State.RUNNING, outcome.data["pid"])
    assert presence.instance.id == outcome.data["instance"]
    assert before - 0.02 <= presence.instance.since <= time.monotonic()
    assert outcome.data["pid"] in marked(mark)
    os.kill(outcome.data["pid"], signal.SIGKILL)
    wait_for(host, lambda: not marked(mark) or marked(mark) != [outcome.data["pid"]])
    gone = drive(host, actuator.look())
    assert (gone.state, gone.instance) == (State.GONE, None)
    assert "SIGKILL" in gone.detail


def test_start_refuses_a_second_instance(host, make, mark):
    """`start` of what runs is ok, names the running instance and starts nothing; also by an actuator that knows only the record."""
    first = drive(host, make("exec sleep 60").start())
    again = drive(host, make("exec sleep 60").start())
    assert (again.status, again.data) == ("ok", first.data)
    assert "already" in again.detail
    assert len(marked(mark)) <= 1


@pytest.mark.parametrize(
    "script, data",
    [
        pytest.param("exit 3", {"exit_status": 3}, id="exit"),
        pytest.param("kill -ABRT $$", {"signal": "SIGABRT"}, id="signal"),
        pytest.param("read x < FIFO; exit 0", {"exit_status": 0}, id="later"),
    ],
)
def test_watch_sees_the_end_and_reaps(host, make, tmp_path, script, data):
    """C16: death is seen at once, with how it ended, and no zombie stays."""
    os.mkfifo(tmp_path / "fifo")
    actuator = make(script.replace("FIFO", str(tmp_path / "fifo")))
    pid = drive(host, actuator.start()).data["pid"]
    instance = drive(host, actuator.look()).instance
    if instance is None:  # it ended already, which `look` says just as well
        assert "FIFO" not in script
        assert list(data.values())[0] == _proc.service_code(pid) or "SIGABRT" in drive(host, actuator.look()).detail
        return
    handle = host.start(actuator.watch(instance), math.inf)
    if "FIFO" in script:
        assert host.poll(host.monotonic() + 0.1) == []
        (tmp_path / "fifo").write_text("go\n", encoding="ascii")
    released = time.monotonic()
    assert host.poll(host.monotonic() + 5) == [handle]
    assert handle.ended - released < 0.5
    assert (handle.outcome.status, dict(handle.outcome.data)) == ("ok", data)
    assert not os.path.exists("/proc/%d" % pid)
    assert drive(host, actuator.look()).state is State.GONE


def test_watch_of_another_process_at_the_same_pid(host, make):
    """A reused pid (another start time) counts as gone at once: the watch never waits for a stranger."""
    actuator = make(SLEEPER)
    drive(host, actuator.start())
    instance = drive(host, actuator.look()).instance
    pid, start = _proc.parse_instance(instance.id)
    stranger = type(instance)(_proc.instance_id(boot_id(), pid, start - 1), pid, instance.since)
    handle = host.start(actuator.watch(stranger), math.inf)
    assert host.poll(host.monotonic() + 1) == [handle]
    assert handle.outcome.status == "ok"


def test_watch_without_pidfd(host, make, monkeypatch):
    """Where the kernel has no pidfd, only probes can tell: no watch."""
    actuator = make(SLEEPER)
    drive(host, actuator.start())
    instance = drive(host, actuator.look()).instance

    def missing(*_args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", missing)
    assert actuator.watch(instance) is None


def test_pid_reuse_is_not_running(host, make, tmp_path):
    """A record whose pid now belongs to another process names nobody: gone, and a start starts, harming the stranger not at all."""
    actuator = make(SLEEPER)
    pid = drive(host, actuator.start()).data["pid"]
    data = json.loads(record_of(tmp_path).read_text(encoding="ascii"))
    record_of(tmp_path).write_text(json.dumps(dict(data, start_time=data["start_time"] - 100)), encoding="ascii")
    assert drive(host, actuator.look()).state is State.GONE
    fresh = drive(host, actuator.start())
    assert fresh.status == "ok" and fresh.data["pid"] != pid
    assert _proc.alive(pid, data["start_time"])


def test_another_boot_is_never(host, make):
    """A record of another boot says nothing about this one."""
    drive(host, make("exec sleep 60").start())
    assert drive(host, make("", boot="another-boot").look()).state is State.NEVER


def test_a_record_that_cannot_be_read_is_unknown(host, make, tmp_path, mark):
    """A broken record is not taken for an absent one: unknown, and nothing is started."""
    actuator = make(SLEEPER)
    drive(host, actuator.start())
    running = marked(mark)
    record_of(tmp_path).write_text("{", encoding="ascii")
    presence = drive(host, actuator.look())
    assert presence.state is State.UNKNOWN and str(record_of(tmp_path)) in presence.detail
    for work in (actuator.start(), actuator.restart()):
        outcome = drive(host, work)
        assert (outcome.status, outcome.reason) == ("unknown", Reason.RECORDS_UNWRITABLE)
    assert set(running) <= set(marked(mark))


def test_a_stopped_process_runs(host, make):
    """SIGSTOP is a hang, not a death: running."""
    actuator = make(SLEEPER)
    pid = drive(host, actuator.start()).data["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert drive(host, actuator.look()).state is State.RUNNING


def test_restart_replaces(host, make, mark):
    """A restart proves the old one gone before it starts the new one."""
    actuator = make("exec sleep 60", argv=None)
    first = drive(host, actuator.start()).data
    outcome = drive(host, actuator.restart())
    assert outcome.status == "ok" and outcome.data["pid"] != first["pid"]
    assert not os.path.exists("/proc/%d" % first["pid"])
    assert drive(host, actuator.look()).instance.id == outcome.data["instance"]


def test_restart_of_a_stopped_process_is_quick(host, make, tmp_path):
    """A process hung by SIGSTOP gets TERM and CONT and may end properly, well before its stop timeout."""
    note = tmp_path / "ended"
    script = "trap 'echo properly > %s; exit 0' TERM; echo > %s.ready; while :; do sleep 0.05; done" % (note, note)
    actuator = make(script, stop_timeout=10.0)
    pid = drive(host, actuator.start()).data["pid"]
    wait_for(host, lambda: pathlib.Path(str(note) + ".ready").exists())
    os.kill(pid, signal.SIGSTOP)
    before = time.monotonic()
    assert drive(host, actuator.restart()).status == "ok"
    assert time.monotonic() - before < 2.0
    assert note.read_text(encoding="ascii") == "properly\n"


def test_a_process_that_ignores_term_is_killed_after_its_stop_timeout(host, make, tmp_path):
    """No KILL before the stop timeout, and then for certain."""
    ready = tmp_path / "ready"
    actuator = make("trap '' TERM; echo > %s; while :; do sleep 0.05; done" % ready, stop_timeout=0.5)
    pid = drive(host, actuator.start()).data["pid"]
    wait_for(host, ready.exists)
    before = time.monotonic()
    outcome = drive(host, actuator.restart())
    took = time.monotonic() - before
    assert outcome.status == "ok"
    assert 0.5 <= took < 1.5
    assert not os.path.exists("/proc/%d" % pid)


def test_the_stop_signal_is_the_contracts(host, make, tmp_path):
    """`stop_signal` is what the process gets."""
    note = tmp_path / "got"
    script = "trap 'echo INT > %s; exit' INT; trap '' TERM; echo > %s.ready; while :; do sleep 0.05; done" % (note, note)
    actuator = make(script, stop_signal="INT")
    drive(host, actuator.start())
    wait_for(host, lambda: pathlib.Path(str(note) + ".ready").exists())
    drive(host, actuator.restart())
    assert note.read_text(encoding="ascii") == "INT\n"


def test_children_of_a_killed_main_process_do_not_survive_a_start(host, make, tmp_path, mark):
    """What a dead main process left in its session may hold its port: it is ended before the new one starts, ignoring TERM or not."""
    note = tmp_path / "workers"
    script = "sh -c 'trap \"\" TERM; echo $$ > %s; while :; do sleep 0.05; done' %s & wait" % (note, mark)
    actuator = make(script, stop_timeout=0.3)
    pid = drive(host, actuator.start()).data["pid"]
    wait_for(host, lambda: note.exists() and note.read_text(encoding="ascii").strip())
    worker = int(note.read_text(encoding="ascii"))
    note.unlink()
    os.kill(pid, signal.SIGKILL)
    wait_for(host, lambda: drive(host, actuator.look()).state is State.GONE)
    assert _proc.stat(worker) is not None
    assert drive(host, actuator.start()).status == "ok"
    found = _proc.stat(worker)
    assert found is None or found.dead


def test_restart_ends_the_whole_session(host, make, tmp_path, mark):
    """C10, C11: workers go with their main process; what was started outside its session stays."""
    note = tmp_path / "workers"
    inner = "sh -c 'echo $$ >> %s; while :; do sleep 0.05; done' %s &" % (note, mark)
    script = "%s setsid sh -c 'echo $$ >> %s; exec sleep 60' %s & wait" % (inner, note, mark)
    actuator = make(script)
    drive(host, actuator.start())
    wait_for(host, lambda: note.exists() and len(note.read_text(encoding="ascii").split()) == 2)
    pids = [int(word) for word in note.read_text(encoding="ascii").split()]
    inside = [pid for pid in pids if _proc.stat(pid).session != pid]
    outside = [pid for pid in pids if _proc.stat(pid).session == pid]
    drive(host, actuator.restart())
    assert [_proc.stat(pid) is None or _proc.stat(pid).dead for pid in inside] == [True]
    assert [_proc.stat(pid).dead for pid in outside] == [False]
    os.kill(outside[0], signal.SIGKILL)


@pytest.mark.parametrize(
    "broken, reason, said",
    [
        pytest.param({"argv": ("/no/such/program",)}, Reason.NO_SUCH_PROGRAM, "/no/such/program", id="program"),
        pytest.param({"user": "no-such-user-here"}, Reason.NO_PERMISSION, "no-such-user-here", id="user"),
        pytest.param({"cwd": "/no/such/directory"}, Reason.NO_PERMISSION, "/no/such/directory", id="cwd"),
        pytest.param({"environment_file": "/no/such/file"}, Reason.NO_SUCH_PROGRAM, "/no/such/file", id="environment_file"),
    ],
)
def test_nothing_is_stopped_that_could_not_be_started_again(host, make, broken, reason, said):
    """Do no harm: a restart that could not start again leaves the running one alone and says what is missing; a start says the same."""
    running = drive(host, make("exec sleep 60").start()).data
    outcome = drive(host, make("exec sleep 60", **broken).restart())
    assert (outcome.status, outcome.reason) == ("unknown", reason)
    assert said in outcome.detail and "nothing was stopped" in outcome.detail
    assert drive(host, make("").look()).instance.id == running["instance"]
    os.kill(running["pid"], signal.SIGKILL)
    actuator = make("exec sleep 60", **broken)
    wait_for(host, lambda: drive(host, actuator.look()).state is State.GONE)
    refused = drive(host, actuator.start())
    assert (refused.status, refused.reason) == ("unknown", reason)
    assert said in refused.detail


def test_a_service_without_a_place_for_its_record_is_not_started(host, make, tmp_path, mark):
    """What could not be found again is not started: unknown, with the path."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "processes").write_text("in the way", encoding="ascii")
    outcome = drive(host, make(SLEEPER).start())
    assert (outcome.status, outcome.reason) == ("unknown", Reason.RECORDS_UNWRITABLE)
    assert str(tmp_path / "run" / "processes") in outcome.detail
    assert marked(mark) == []


def test_the_unkillable_get_no_second_instance(host, make, mark, monkeypatch):
    """A process that survives KILL is reported, and nothing is started beside it."""
    from selfheal._actuators import stopping

    actuator = make("exec sleep 60", stop_timeout=0.1)
    pid = drive(host, actuator.start()).data["pid"]
    monkeypatch.setattr(_proc, "send", lambda *_args: True)
    monkeypatch.setattr(stopping, "_UNKILLABLE_AFTER", 0.1)
    outcome = drive(host, actuator.restart())
    assert (outcome.status, outcome.reason) == ("bad", Reason.ACTION_FAILED)
    assert "pid %d does not die" % pid in outcome.detail
    assert drive(host, make("").look()).instance.pid == pid


def test_an_interrupted_stop_is_taken_up_where_it_was(host, make, tmp_path):
    """Whoever goes on after a stop was interrupted neither signals again nor kills before the stop timeout that runs already."""
    note = tmp_path / "terms"  # written by a shell, for which a busy machine has no time for a second
    actuator = make("trap 'echo term >> %s' TERM; echo > %s.ready; while :; do sleep 0.05; done" % (note, note), stop_timeout=3.0)
    drive(host, actuator.start())
    wait_for(host, lambda: pathlib.Path(str(note) + ".ready").exists())
    work = actuator.restart()
    outcome = None
    began = time.monotonic()
    while not note.exists():  # abandoned as soon as the signal has arrived
        timed = work.send(outcome)
        handle = host.start(timed.step, host.monotonic() + min(timed.within, 0.2))
        outcome = host.poll(host.monotonic() + 5)[0].outcome
        assert handle.outcome is outcome
    work.close()
    assert drive(host, actuator.look()).state is State.STOPPING
    assert drive(host, make("exec sleep 60", stop_timeout=3.0).restart()).status == "ok"
    assert 3.0 <= time.monotonic() - began < 6.0
    assert note.read_text(encoding="ascii") == "term\n"
