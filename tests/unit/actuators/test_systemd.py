# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit actuator over a stand-in for systemctl that answers with what real systemds said, state by state."""

from __future__ import annotations

import os

import pytest
from actuator_helpers import drive
from test_systemd_states import CASES

from selfheal import _environment, _proc
from selfheal._actuators import systemd
from selfheal._actuators.base import State
from selfheal._actuators.systemd import UnitActuator, canonical, full_name
from selfheal._core.model import ProcessResource, Service, UnitResource
from selfheal._core.reasons import Reason
from selfheal._engine import resources
from selfheal._spawn import Run

# `show` prints the file `shows`; the verb V runs the script `on-V` first, whose exit status is V's.
SYSTEMCTL = """#!/bin/sh
for verb; do case $verb in show|start|restart|reset-failed) break ;; esac; done
echo "$verb" >> DIR/calls
[ "$verb" = show ] && exec cat DIR/shows
[ -e "DIR/on-$verb" ] || exit 0
. "DIR/on-$verb"
"""
JOURNALCTL = """#!/bin/sh
echo "journal $*" >> DIR/calls
cat DIR/journal 2>/dev/null
"""


class Systemd:
    """The stand-in, and an actuator that asks it."""

    def __init__(self, folder, run_dir):
        self.folder = folder
        self.run_dir = run_dir
        self.pid = os.getpid()

    def stands(self, case, name="shows", **changed):
        """From now on (or, by another `name`, when a script copies it) it shows that recorded state."""
        shown = dict(line.split("=", 1) for line in CASES["252"][case].splitlines())
        shown.update(changed)
        if shown["MainPID"] != "0":
            shown["MainPID"] = str(self.pid)
        (self.folder / name).write_text("".join("%s=%s\n" % pair for pair in shown.items()), encoding="ascii")

    def on(self, verb, script):
        (self.folder / ("on-%s" % verb)).write_text(script.replace("DIR", str(self.folder)) + "\n", encoding="ascii")

    def actuator(self, root=True):
        return UnitActuator("plain", str(self.run_dir), "b00t", root)

    @property
    def verbs(self):
        calls = self.folder / "calls"
        words = [line.split()[0] for line in calls.read_text(encoding="ascii").splitlines()] if calls.exists() else []
        return [word for word in words if word != "show"]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    folder = tmp_path / "systemd"
    folder.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (folder / name).write_text(text.replace("DIR", str(folder)), encoding="ascii")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(_environment, "PATH", "%s:%s" % (folder, _environment.PATH))
    return Systemd(folder, tmp_path / "run")


def test_a_look_is_one_question(host, stand_in):
    """Death is asked about once: one systemctl show, no journal."""
    stand_in.stands("killed")
    found = drive(host, stand_in.actuator().look())
    assert (State.GONE, []) == (found.state, stand_in.verbs)
    assert "signal 9" in found.detail


@pytest.mark.parametrize("journal, state", [('{"JOB_TYPE":"stop"}', State.STOPPED), ("", State.GONE)])
def test_the_journal_tells_a_stop_from_a_crash(host, stand_in, journal, state):
    """C01 a service that ends badly when an admin stops it stays stopped; without a stop job on the journal it crashed."""
    stand_in.stands("stopped-badly")
    (stand_in.folder / "journal").write_text(journal, encoding="ascii")
    assert state is drive(host, stand_in.actuator().look()).state
    assert ["journal"] == stand_in.verbs


@pytest.mark.parametrize("case, result, revived", [("auto-restart", "signal", True), ("auto-restart", "success", False)])
def test_systemds_own_restart_is_seen(host, stand_in, case, result, revived):
    """C25 while systemd waits to start what died, that is told at once; what ended well and comes again was meant to."""
    stand_in.stands(case, Result=result)
    found = drive(host, stand_in.actuator().look())
    assert (State.STARTING, revived, []) == (found.state, found.revived, stand_in.verbs)


@pytest.mark.parametrize(
    "policy, restarts, journal, revived, asked",
    [
        ("always", "1", '{"EXIT_CODE":"killed"}', True, ["journal"]),
        ("always", "1", "", False, ["journal"]),
        ("always", "0", '{"EXIT_CODE":"killed"}', False, []),
        ("on-failure", "1", "", True, []),
    ],
)
def test_systemds_own_restart_that_is_over(host, stand_in, policy, restarts, journal, revived, asked):
    """C25 a restart too quick to be seen shows in systemd's count; policy or journal tell a death from a good end."""
    actuator = stand_in.actuator()
    stand_in.stands("running", NRestarts="0", Restart=policy)
    assert not drive(host, actuator.look()).revived
    stand_in.stands("running", NRestarts=restarts, Restart=policy, InvocationID="fresh")
    (stand_in.folder / "journal").write_text(journal, encoding="ascii")
    found = drive(host, actuator.look())
    assert (State.RUNNING, revived, asked) == (found.state, found.revived, stand_in.verbs)
    assert not drive(host, actuator.look()).revived, "it is told once"


def test_a_silent_systemd_proves_nothing(host, stand_in):
    """A systemd that does not answer is unknown, and nothing is started."""
    (stand_in.folder / "shows").write_text("Failed to connect to bus\n", encoding="ascii")
    assert State.UNKNOWN is drive(host, stand_in.actuator().look()).state
    assert "unknown" == drive(host, stand_in.actuator().start()).status
    assert [] == stand_in.verbs


def test_start(host, stand_in):
    """What is gone is started by one job; the outcome names the new instance."""
    stand_in.stands("killed")
    stand_in.stands("running", "next", InvocationID="fresh")
    stand_in.on("start", "cp DIR/next DIR/shows")
    outcome = drive(host, stand_in.actuator().start())
    assert ("ok", ["start"], stand_in.pid) == (outcome.status, stand_in.verbs, outcome.data["pid"])
    assert ":fresh:" in outcome.data["instance"]
    assert _proc.parse_instance(outcome.data["instance"])[0] == stand_in.pid


@pytest.mark.parametrize("case, status", [("running", "ok"), ("auto-restart", "ok"), ("activating", "ok"), ("stopping", "unknown")])
def test_start_beside_something(host, stand_in, case, status):
    """C02 what runs, or is being started or stopped by systemd, gets no second job."""
    stand_in.stands(case)
    assert (status, []) == (drive(host, stand_in.actuator().start()).status, stand_in.verbs)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_the_start_limit_is_lifted_once(host, stand_in, verb):
    """C22 a refused start is followed by one reset-failed and one more start, and no third."""
    stand_in.stands("start-refused")
    stand_in.on(verb, "exit 1")
    stand_in.on("start", "exit 1")
    outcome = drive(host, getattr(stand_in.actuator(), verb)())
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason)
    assert [verb, "reset-failed", "start"] == stand_in.verbs
    assert "exit status 3" in outcome.detail


def test_a_start_that_ran_and_failed_is_not_repeated(host, stand_in):
    """Only a start that was refused is tried again; one that ran and failed has failed."""
    stand_in.stands("exit-code")
    stand_in.stands("exit-code", "next", InvocationID="fresh")
    stand_in.on("start", "cp DIR/next DIR/shows; exit 1")
    assert "bad" == drive(host, stand_in.actuator().start()).status
    assert ["start"] == stand_in.verbs


def test_killed_after_the_reset(host, stand_in):
    """Cut off between reset-failed and start, the unit looks stopped well; the mark tells, until it runs again."""
    stand_in.stands("start-refused")
    stand_in.on("start", "exit 1")
    work, actuator = stand_in.actuator().start(), stand_in.actuator()
    outcome = None
    while "reset-failed" not in stand_in.verbs:
        timed = work.send(outcome)
        handle = host.start(timed.step, host.monotonic() + timed.within)
        while not host.poll(host.monotonic() + 10):
            continue
        outcome = handle.outcome
    stand_in.stands("never")
    assert ["plain.service.reset"] == [path.name for path in (stand_in.run_dir / "units").iterdir()]
    found = drive(host, actuator.look())
    assert State.GONE is found.state and "cut off" in found.detail
    stand_in.stands("running")
    assert State.RUNNING is drive(host, actuator.look()).state
    stand_in.stands("never")
    assert State.STOPPED is drive(host, actuator.look()).state
    work.close()


def test_restart_is_proven_by_a_new_instance(host, stand_in):
    """C08 a restart that systemd calls done while the same instance stands is none."""
    stand_in.stands("running")
    outcome = drive(host, stand_in.actuator().restart())
    assert ("bad", ["restart"]) == (outcome.status, stand_in.verbs)
    assert "the same instance stands" in outcome.detail
    stand_in.stands("running", "next", InvocationID="fresh")
    stand_in.on("restart", "cp DIR/next DIR/shows")
    assert "ok" == drive(host, stand_in.actuator().restart()).status


def test_started_and_ended_at_once(host, stand_in):
    """A job that is done and leaves a failed unit has not started anything."""
    stand_in.stands("killed")
    stand_in.stands("exit-code", "next")
    stand_in.on("start", "cp DIR/next DIR/shows")
    outcome = drive(host, stand_in.actuator().start())
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason) and "ended at once" in outcome.detail


def test_restart_waits_for_a_pending_job(host, stand_in, monkeypatch):
    """C02 no job is queued behind another one; and what an admin's stop job has ended is not started again."""
    monkeypatch.setattr(systemd, "_PENDING_POLL", 0.05)
    stand_in.stands("stopping")
    work = stand_in.actuator().restart()
    outcome, asked, result = None, 0, None
    try:
        while True:
            timed = work.send(outcome)
            handle = host.start(timed.step, host.monotonic() + timed.within)
            while not host.poll(host.monotonic() + 10):
                continue
            outcome, asked = handle.outcome, asked + 1
            if asked == 6:
                stand_in.stands("stopped")
    except StopIteration as stop:
        result = stop.value
    assert ("unknown", Reason.ADMIN_STOPPED, []) == (result.status, result.reason, stand_in.verbs)


@pytest.mark.parametrize(
    "case, words",
    [
        ("masked", "systemctl unmask"),
        ("not-found", "there is no unit"),
        ("broken", "systemd-analyze verify"),
    ],
)
def test_what_cannot_be_started(host, stand_in, case, words):
    """A unit that is masked, absent or broken is said to be so, and nothing is tried."""
    stand_in.stands(case)
    outcome = drive(host, stand_in.actuator().start())
    assert ("bad", True, []) == (outcome.status, words in outcome.detail, stand_in.verbs)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_not_root(host, stand_in, verb):
    """Whoever is not root may look and touches nothing."""
    stand_in.stands("killed")
    actuator = stand_in.actuator(root=False)
    assert State.GONE is drive(host, actuator.look()).state
    outcome = drive(host, getattr(actuator, verb)())
    assert ("unknown", Reason.NO_PERMISSION, []) == (outcome.status, outcome.reason, stand_in.verbs)


@pytest.mark.parametrize(
    "name, full",
    [
        ("web", "web.service"),
        ("web.service", "web.service"),
        ("app@1", "app@1.service"),
        ("a.b", "a.b.service"),
        ("x.socket", "x.socket"),
    ],
)
def test_names(name, full):
    """A name without a type is a service's, as for systemctl."""
    assert full == full_name(name)


def test_aliases_share_a_lease(tmp_path):
    """Two contracts on one unit, one by its alias, meet at one lease; links that are no alias are none."""
    for link, target in (
        ("www.service", "/lib/systemd/system/web.service"),
        ("masked.service", "/dev/null"),
        ("app@1.service", "/etc/systemd/system/app@.service"),
        ("own.service", "/opt/own/own.service"),
    ):
        (tmp_path / link).symlink_to(target)
    (tmp_path / "web.service").write_text("", encoding="ascii")
    expected = {
        "www": "web.service",
        "web": "web.service",
        "masked": "masked.service",
        "app@1": "app@1.service",
        "own": "own.service",
        "none": "none.service",
    }
    assert expected == {name: canonical(name, (str(tmp_path),)) for name in expected}


def test_watch(stand_in):
    """The end of a main process is waited for; a unit without one is only looked at."""
    actuator = stand_in.actuator()
    assert actuator.watch(systemd.Instance("b:i:0:7", 0, 0.0)) is None
    step = actuator.watch(systemd.Instance("b:i:12:7", 12, 0.0))
    assert _proc.Gone(12, 7) == step


@pytest.mark.parametrize(
    "case, words",
    [
        ("not-found", "there is no unit nowhere.service"),
        ("broken", "cannot be used"),
        ("masked", None),
        ("running", None),
        ("killed", None),
    ],
)
def test_contracts_that_are_wrong_on_this_host(host, stand_in, monkeypatch, case, words):
    """A contract for a unit that is not there is wrong; one for a unit that is down or forbidden is not."""
    monkeypatch.setattr(resources, "unsupported", lambda service: None)
    stand_in.stands(case)
    service = Service("web", UnitResource("plain"), ())
    found = resources.wrong_here([service, Service("own", ProcessResource(("/bin/true",)), ())], host)
    assert (["web"] if words else []) == list(found.wrong) and (words or "") in found.wrong.get("web", "") and not found.unknown


def test_a_start_right_after_a_look_asks_once(host, stand_in):
    """A death is asked about once, also when the start follows; only a look that has grown old is repeated."""
    stand_in.stands("killed")
    actuator = stand_in.actuator()
    drive(host, actuator.look())
    stand_in.stands("running", InvocationID="fresh")
    assert "ok" == drive(host, actuator.start()).status
    assert ["show", "start", "show"] == (stand_in.folder / "calls").read_text(encoding="ascii").split()


def test_what_is_stopped_costs_nothing(host, stand_in, tmp_path, monkeypatch):
    """A stopped unit is asked about again only when systemd has a link for it, or after a while."""
    links = tmp_path / "units"
    monkeypatch.setattr(systemd, "INVOCATIONS", str(links))
    actuator, calls = stand_in.actuator(), stand_in.folder / "calls"

    def looks(times):
        found = [drive(host, actuator.look()).state for _look in range(times)]
        return found[-1], len(calls.read_text(encoding="ascii").split())

    stand_in.stands("stopped")
    assert (State.STOPPED, 2) == looks(2), "where no links are kept it is asked every time"
    links.mkdir()
    assert (State.STOPPED, 3) == looks(4)
    stand_in.stands("running")
    (links / "invocation:plain.service").symlink_to("4711")
    assert (State.RUNNING, 5) == looks(2)
    (links / "invocation:plain.service").unlink()
    stand_in.stands("stopped")
    assert (State.STOPPED, 6) == looks(3)
    monkeypatch.setattr(systemd, "_RESTS", 0.0)
    assert (State.STOPPED, 8) == looks(2)


@pytest.mark.parametrize("restart, lives, first", [("always", False, _proc.Pause), ("always", True, Run), ("no", False, Run)])
def test_systemds_own_restart_is_not_disturbed(host, stand_in, monkeypatch, restart, lives, first):
    """A death that systemd mends by itself is asked about a moment later; one that nobody else mends at once."""
    stand_in.stands("running", Restart=restart)
    actuator = stand_in.actuator()
    drive(host, actuator.look())
    if not lives:
        monkeypatch.setattr(_proc, "stat", lambda pid: None)
    work = actuator.look()
    assert isinstance(next(work).step, first)
    work.close()
