# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd tells about a unit, recorded from systemd 252 and 257, and what it means to a healer."""

from __future__ import annotations

import math
import pathlib

import pytest

from selfheal import _proc
from selfheal._actuators import unit_state
from selfheal._actuators.base import State

RECORDED = pathlib.Path(__file__).parent / "recorded"
BOOT = "b00t"
NOT_DEAD_YET = _proc.Stat(0, "S", 1, 1, 1, 4711)


def recorded(version):
    """Every case of a recording: its name and what systemctl printed."""
    parts = (RECORDED / ("systemd%s.txt" % version)).read_text(encoding="ascii").split("## ")[1:]
    return {name: text for name, _newline, text in (part.partition("\n") for part in parts)}


CASES = {version: recorded(version) for version in ("252", "257")}
# case: state, words of the detail
MEANING = {
    "never": (State.STOPPED, "plain.service is inactive"),
    "running": (State.RUNNING, "active (running)"),
    "alias": (State.RUNNING, "plain.service is active"),
    "killed": (State.GONE, "it was killed, signal 9"),
    "ended-well": (State.STOPPED, "inactive"),
    "stopped": (State.STOPPED, "inactive"),
    "masked-running": (State.RUNNING, "active (running)"),
    "masked-killed": (State.STOPPED, "masked: somebody forbade its start"),
    "masked": (State.STOPPED, "systemctl unmask plain.service allows it"),
    "auto-restart": (State.STARTING, "activating (auto-restart)"),
    "stopped-in-auto-restart": (State.STOPPED, "inactive"),
    "exit-code": (State.GONE, "it failed, exit status 3"),
    "start-limit": (State.GONE, "exit status 3"),
    "start-refused": (State.GONE, "exit status 3"),
    "stopping": (State.STOPPING, "deactivating (stop-sigterm)"),
    "stop-timeout": (State.GONE, "it ran into a time limit of its unit, signal 9"),
    "stopped-badly": (State.GONE, "exit status 7"),
    "activating": (State.STARTING, "activating (start)"),
    "once": (State.RUNNING, "active (exited)"),
    "watchdog": (State.GONE, "it missed its own watchdog, signal 6"),
    "time-limit": (State.GONE, "it ran into a time limit of its unit, signal 15"),
    "template": (State.RUNNING, "app@1.service is active"),
    "socket": (State.STOPPED, "systemd starts it when lazy.socket asks for it"),
    "no-program": (State.GONE, "exit status 203"),
    "not-found": (State.UNKNOWN, "there is no unit nowhere.service on this host"),
    "broken": (State.UNKNOWN, "cannot be used (bad-setting)"),
}
ALL = [(version, name) for version in CASES for name in MEANING]


def told(version, name):
    return unit_state.parse_show(CASES[version][name])


def presence(version, name, now=0.0, **more):
    return unit_state.presence(told(version, name), BOOT, now, stat=lambda pid: NOT_DEAD_YET._replace(pid=pid), **more)


def test_every_recorded_state_is_in_the_table():
    """No state that was recorded is left without a meaning."""
    assert {version: sorted(MEANING) for version in CASES} == {version: sorted(cases) for version, cases in CASES.items()}


@pytest.mark.parametrize("version, name", ALL)
def test_what_stands_there(version, name):
    """Each state of a real systemd becomes the presence that the design asks for, with the reason in words."""
    found = presence(version, name)
    assert (MEANING[name][0], True) == (found.state, MEANING[name][1] in found.detail), found


# Whether only the journal can tell if an admin stopped it.
ASKED = {"stop-timeout", "stopped-badly", "time-limit"}


@pytest.mark.parametrize("version, name", ALL)
def test_when_the_journal_is_asked(version, name):
    """A plain crash costs no journal query: only a unit that had left active before its main process died may have been stopped."""
    assert (name in ASKED) is unit_state.stop_asked_of_journal(told(version, name))


@pytest.mark.parametrize("version", CASES)
@pytest.mark.parametrize("name", sorted(ASKED))
def test_a_stop_job_that_ended_badly(version, name):
    """C01 a stop job on the journal makes a failed unit one that was stopped on purpose."""
    assert State.STOPPED is presence(version, name, stopped_by_job=True).state


@pytest.mark.parametrize("version", CASES)
def test_instances(version):
    """An instance is named by boot, invocation, pid and start time; one without a main process has no pid and is looked at again."""
    running, once = presence(version, "running"), presence(version, "once")
    shown = told(version, "running")
    assert "%s:%s:%s:4711" % (BOOT, shown["InvocationID"], shown["MainPID"]) == running.instance.id
    assert _proc.parse_instance(running.instance.id) == (int(shown["MainPID"]), 4711)
    assert (0, unit_state.RELOOK_NO_PROCESS) == (once.instance.pid, once.again)
    assert once.instance.since == int(told(version, "once")["ActiveEnterTimestampMonotonic"]) / 1e6
    assert running.instance.id != presence(version, "template").instance.id


@pytest.mark.parametrize("version", CASES)
def test_dead_before_systemd_knows(version):
    """A main process that is gone while systemd still calls it active is nothing to act on yet."""
    found = unit_state.presence(told(version, "running"), BOOT, 0.0, stat=lambda pid: None)
    assert (State.STARTING, None, unit_state.RELOOK_PENDING[0]) == (found.state, found.instance, found.again)


@pytest.mark.parametrize("version", CASES)
@pytest.mark.parametrize(
    "name, after, again",
    [
        ("auto-restart", 0.0, 3.05),
        ("auto-restart", 2.9, 0.15),
        ("auto-restart", 60.0, 0.05),
        ("activating", 0.0, 0.05),
        ("activating", 2.0, 0.4),
        ("activating", 40.0, 1.0),
        ("stopping", 0.1, 0.05),
        ("stopping", 60.0, 1.0),
    ],
)
def test_when_to_look_again(version, name, after, again):
    """systemd's own restart is looked for when it is due; a pending job often at first, then every second."""
    since = unit_state.moment(told(version, name), "StateChangeTimestampMonotonic")
    assert again == pytest.approx(presence(version, name, since + after).again)


def test_a_queued_job_is_waited_for():
    """An inactive or failed unit with a job in systemd's queue is about to be started: nobody starts it beside that."""
    for name in ("never", "killed"):
        shown = {**told("252", name), "Job": "17"}
        assert State.STARTING is unit_state.presence(shown, BOOT, 0.0).state


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("0", 0.0),
        ("100ms", 0.1),
        ("1min 30s", 90.0),
        ("1h 2min 3.5s", 3723.5),
        ("2w 1d", 1296000.0),
        ("infinity", math.inf),
        ("500us", 0.0005),
    ],
)
def test_time_spans(text, seconds):
    """Time spans are read as systemd prints them."""
    assert seconds == pytest.approx(unit_state.span(text))


@pytest.mark.parametrize("text", ["soon", "12", "1min 30", "-1s"])
def test_what_is_no_time_span(text):
    """A time span that systemd would not print is refused."""
    with pytest.raises(ValueError, match="expected a time span"):
        unit_state.span(text)


def test_infinite_limits_are_bounded():
    """C24 a unit without time limits is waited for for a bounded time all the same."""
    assert unit_state.FOREVER + 90 == unit_state.bounded(told("252", "once"), "TimeoutStartUSec", "TimeoutStopUSec")
    assert 2 * unit_state.FOREVER == unit_state.bounded({}, "TimeoutStartUSec", "TimeoutStopUSec")


@pytest.mark.parametrize("text", ["", "ActiveState=active\n", "Failed to connect to bus\n", "LoadState=loaded\nActiveState=\n"])
def test_no_answer_about_a_unit(text):
    """What is no answer is never taken for a state."""
    with pytest.raises(ValueError, match="LoadState and ActiveState"):
        unit_state.parse_show(text)


def test_states_to_come_are_unknown():
    """An ActiveState that this version does not know leads to nothing."""
    shown = {**told("257", "running"), "ActiveState": "maintenance", "MainPID": "0"}
    assert State.UNKNOWN is unit_state.presence(shown, BOOT, 0.0).state
