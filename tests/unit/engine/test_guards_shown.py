# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every guard of the table, seen to block and to let go: with its reason in the decision, the timeline, the log and the metrics.

While it blocks nothing is done and nothing is said twice; when it lets go the action that waited is taken.
"""

from __future__ import annotations

import os
from typing import Any, Callable, NamedTuple, Optional

import pytest
from healing import Records, Stage

from selfheal._core.guards import GUARDS
from selfheal._core.model import Probe, Storm, TcpTarget
from selfheal._core.reasons import Reason
from selfheal._engine import explain
from selfheal._engine.network import NetworkWatch
from selfheal._engine.ports import Held
from selfheal._engine.storm import StormWatch
from selfheal._engine.surroundings import Wiring
from selfheal._engine.world import EPOCH, Reach
from selfheal.daemon.ledger import Ledger
from selfheal.daemon.log import Log

ACTIONS = ("start", "restart", "redeploy", "rollback")
LIVENESS = {"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}
READINESS = {"role": "readiness", "http": {"url": "http://127.0.0.1:8080/ready"}}
STARTUP = {"role": "startup", "http": {"url": "http://127.0.0.1:8080/up"}, "failure_threshold": 30}
PEER = "http://192.0.2.9/ready"
PAYMENTS = {
    "name": "payments",
    "probe": {"http": {"url": "https://pay.example/ready"}, "period": 5},
    "failure_threshold": 1,
    "reset_timeout": 5,
    "success_threshold": 1,
}


class Play:
    """A stage whose events are counted and logged as the daemon does it."""

    def __init__(self, **contract: Any) -> None:
        self.stage = Stage(**contract)
        self.reached: dict[str, str] = {}
        self.memory: Records = self.stage.records
        host = self.stage.world.host
        self.ledger = Ledger(self.memory, lambda type, service, data: None)
        self.stage.records = self.ledger  # type: ignore[assignment]
        self.storm = StormWatch(Storm(services=2), lambda: 3, self.ledger, lambda: EPOCH)
        reference = Probe("network_reference", "reference", TcpTarget("192.0.2.1", 53), timeout=2.0)
        self.network = NetworkWatch(reference, host, lambda: Reach(self.reached, "net"))
        self.watch()

    def watch(self) -> None:
        wiring = Wiring(
            ask_dependency=lambda rules: Reach(self.reached, rules.name),
            ask_peer=lambda url: Reach(self.reached, url),
            storm=self.storm,
            network=self.network,
        )
        self.stage.watch(wiring=wiring)

    @property
    def now(self) -> float:
        return self.stage.world.host.now

    def bad(self) -> None:
        self.stage.answers("bad")

    def said(self, type: str, reason: Optional[str] = None) -> list[Any]:
        return [each for each in self.memory.events if each["type"] == type and reason in (None, each["data"].get("reason"))]

    def actions(self) -> int:
        return sum(1 for each in self.memory.events if each["type"] in ACTIONS)

    def nudge(self) -> None:
        self.stage.healer.look_again()


def _held(play: Play) -> None:
    play.stage.world.desk.holds["web"] = Held("held by ann: its disk is changed")
    play.bad()


def _stop(play: Play) -> None:
    play.bad()
    play.stage.until(play.now + 11)
    body = play.stage.body
    body.stopped, body.alive = True, False
    body.ends(play.stage.world.host)
    play.nudge()


def _renew(play: Play) -> None:
    play.stage.body.renew(play.stage.world.host, heals=False)
    play.nudge()


def _storming(play: Play) -> None:
    play.storm.failing("a", play.now)
    play.storm.failing("b", play.now)
    play.bad()


def _calm(play: Play) -> None:
    play.storm.over("a")
    play.storm.over("b")


def _mode(play: Play, mode: str) -> None:
    import dataclasses

    play.stage.service = dataclasses.replace(play.stage.service, mode=mode)
    play.watch()


def _maintained(play: Play, why: Optional[str]) -> None:
    play.stage.world.desk.maintenance = lambda: why  # type: ignore[method-assign]
    play.bad()
    play.nudge()


def _full(play: Play) -> None:
    play.memory.full = "disk full"
    play.bad()


def _writable(play: Play) -> None:
    play.memory.full = None
    play.nudge()


class Row(NamedTuple):
    """block: what makes the guard say no; lift: what makes it let go, or None where time alone does, within `after` seconds.

    taken: actions it lets go before it blocks.
    """

    reason: Reason
    block: Callable[[Play], Any]
    lift: Optional[Callable[[Play], Any]]
    contract: dict[str, Any] = {}
    after: float = 40.0
    taken: int = 0


def _lease(play: Play) -> None:
    play.stage.world.desk.leases["web"] = Held("held by a deployment")
    play.bad()


def _free(play: Play) -> None:
    play.stage.world.desk.leases.clear()
    play.nudge()


def _reach(**results: str) -> Callable[[Play], None]:
    def change(play: Play) -> None:
        play.reached.update({key.replace("peer", PEER): result for key, result in results.items()})
        play.bad()

    return change


def _unhold(play: Play) -> None:
    play.stage.world.desk.holds.clear()
    play.nudge()


def _approve(play: Play) -> None:
    play.stage.world.desk.approvals["web"] = play.now + 3600.0
    play.nudge()


TWICE = [{"rung": "restart", "attempts": 9, "timeout": 2}]
ROWS = [
    Row(Reason.HOLD, _held, _unhold),
    Row(Reason.OBSERVE, lambda play: play.bad(), lambda play: _mode(play, "auto"), {"mode": "observe"}),
    Row(Reason.AWAITING_APPROVAL, lambda play: play.bad(), _approve, {"mode": "approve"}),
    Row(Reason.ADMIN_STOPPED, _stop, _renew, {"ladder": [{"rung": "restart", "attempts": 9, "timeout": 5}]}, taken=1),
    Row(Reason.MAINTENANCE, lambda play: _maintained(play, "packages are being changed"), lambda play: _maintained(play, None)),
    Row(Reason.LEASE_HELD, _lease, _free),
    Row(Reason.DEPENDENCY_DOWN, _reach(payments="bad"), _reach(payments="ok"), {"dependencies": [PAYMENTS]}),
    Row(
        Reason.LAST_AVAILABLE,
        _reach(peer="bad"),
        _reach(peer="ok"),
        {"probes": [LIVENESS, READINESS], "guard": {"peers": [PEER]}},
    ),
    Row(Reason.BUDGET_SPENT, lambda play: play.bad(), None, {"guard": {"actions": 1, "per": 100}, "ladder": TWICE}, after=120, taken=1),
    Row(Reason.COOLDOWN, lambda play: play.bad(), None, {"guard": {"cooldown": 60}, "ladder": TWICE}, after=80, taken=1),
    Row(Reason.BACKOFF, lambda play: play.bad(), None, {"ladder": TWICE}, after=20, taken=2),
    Row(Reason.STORM, _storming, _calm),
    Row(Reason.OWN_NETWORK_DOWN, _reach(net="bad"), _reach(net="ok"), {"probes": [{**LIVENESS, "http": {"url": "http://192.0.2.7/"}}]}),
    Row(Reason.RECORDS_UNWRITABLE, _full, _writable, {"ladder": TWICE}, taken=1),
]


@pytest.mark.parametrize("row", ROWS, ids=[str(row.reason) for row in ROWS])
def test_a_guard_blocks_says_so_once_everywhere_and_lets_go(row: Row, capfd: pytest.CaptureFixture[str]) -> None:
    """C39 the reason stands in what is answered, in the timeline (once per change), in the log and in the metrics."""
    play = Play(**row.contract)
    play.stage.until(5)
    row.block(play)
    end = play.now + 60
    while not play.said("blocked", row.reason.value) and play.now < end:
        play.stage.until(play.now + 0.25)
    blocked = play.said("blocked", row.reason.value)
    assert len(blocked) == 1 and blocked[0]["data"]["detail"] and play.actions() == row.taken
    if row.reason is not Reason.OWN_NETWORK_DOWN:
        decision = play.stage.healer.decision
        assert decision.reason is row.reason and decision.detail in explain.sentence(play.stage.healer)
    assert play.ledger.blocked[("web", row.reason.value)] == 1
    log = Log()
    log.event(blocked[0])
    line = capfd.readouterr().err
    assert " blocked " in line and "reason=%s" % row.reason.value in line
    if row.lift is not None:
        play.stage.until(play.now + 30)
        assert play.actions() == row.taken and len(play.said("blocked", row.reason.value)) == 1, "it waits, and does not repeat itself"
        row.lift(play)
    play.stage.until(play.now + row.after)
    assert play.actions() > row.taken, "it has let go"


def test_every_guard_of_the_table_has_its_row() -> None:
    """A guard that is new needs one; not_started and flapping have stories of their own beside this."""
    assert {row.reason for row in ROWS} | {Reason.NOT_STARTED} == {reason for reason, _guard in GUARDS} | {Reason.OWN_NETWORK_DOWN}


def test_not_started_waits_while_the_startup_probe_has_budget_left() -> None:
    """C32 somebody else starts a new instance while ours is judged: it has its whole budget, said once; given up, the next rung runs."""
    play = Play(probes=[LIVENESS, {**STARTUP, "failure_threshold": 6}], ladder=[{"rung": "restart", "attempts": 9, "timeout": 5}])
    play.stage.until(5)
    play.bad()
    play.stage.body.results["startup"] = "bad"
    play.stage.until(50)
    assert play.actions() == 1, "its window lasts as long as its startup budget"
    _renew(play)
    play.stage.until(95)
    blocked = play.said("blocked", "not_started")
    assert len(blocked) == 1 and play.actions() == 1 and play.stage.healer.decision.reason is Reason.NOT_STARTED
    assert play.ledger.blocked[("web", "not_started")] == 1
    play.stage.until(130)
    assert play.actions() == 2 and len(play.said("blocked", "not_started")) == 1


def test_flapping_is_told_once_and_forbids_nothing() -> None:
    """C45 six changes within 300 s: one page with its reason, no block, and the rungs go on."""
    play = Play(failing_for=0, recovered_after=1)
    play.stage.until(5)
    for turn in range(8):
        play.stage.answers("bad" if turn % 2 == 0 else "ok").until(play.now + 25)
    assert len(play.said("page", "flapping")) == 1 and play.said("blocked", "flapping") == [] and play.actions() >= 3
    assert os.linesep not in play.said("page", "flapping")[0]["data"]["detail"]
