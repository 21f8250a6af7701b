# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every guard: when it says no, with which words and until when, and when it lets go."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import pytest

from selfheal._core.guards import GUARDS, Asked, Block, Facts, backoff, forbids
from selfheal._core.health import State, Verdict
from selfheal._core.memory import Memory
from selfheal._core.model import GuardLimits, HttpTarget, Probe, Service, UnitResource
from selfheal._core.reasons import Reason

NOW = 10000.0
FAILING = Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "liveness", NOW - 9.0)
STARTING = Verdict(State.UNKNOWN, None)


def ask(
    facts: Optional[dict[str, Any]] = None,
    memory: Optional[dict[str, Any]] = None,
    limits: Optional[dict[str, Any]] = None,
    retry: bool = False,
    **contract: Any,
) -> Asked:
    probes = (Probe("liveness", "liveness", HttpTarget("http://127.0.0.1/")),)
    service = Service("web", UnitResource("web.service"), probes, guard=GuardLimits(**(limits or {})), **contract)
    return Asked(service, Memory(**(memory or {})), Facts(**{"verdict": FAILING, **(facts or {})}), NOW, retry)


class Row(NamedTuple):
    """`asked` are the arguments of `ask`; `until` is seconds from now, None where only news can lift it."""

    reason: Optional[Reason]
    asked: dict[str, Any]
    until: Optional[float] = None
    page: bool = False


TEN = tuple(NOW - 3000.0 + n for n in range(10))
ROWS = [
    Row(None, {}),
    Row(Reason.HOLD, {"facts": {"hold": "deploy by ann"}}),
    Row(Reason.HOLD, {"facts": {"hold": "deploy by ann", "hold_until": NOW + 60.0}}, until=60.0),
    Row(Reason.HOLD, {"facts": {"hold": "deploy by ann", "operated": True}}),
    Row(Reason.HOLD, {"facts": {"hold": "deploy by ann", "dead": True}}),
    Row(None, {"facts": {"hold": "deploy by ann", "override": frozenset([Reason.HOLD])}}),
    Row(Reason.OBSERVE, {"mode": "observe"}, page=True),
    Row(None, {"mode": "observe", "facts": {"operated": True}}),
    Row(Reason.AWAITING_APPROVAL, {"mode": "approve"}, page=True),
    Row(None, {"mode": "approve", "facts": {"approved": True}}),
    Row(None, {"mode": "approve", "facts": {"operated": True}}),
    Row(Reason.ADMIN_STOPPED, {"facts": {"stopped": True}}),
    Row(Reason.ADMIN_STOPPED, {"facts": {"stopped": True, "operated": True}}),
    Row(None, {"facts": {"stopped": True}, "desired": "always"}),
    Row(Reason.MAINTENANCE, {"facts": {"maintenance": "packages are being changed"}}),
    Row(Reason.MAINTENANCE, {"facts": {"maintenance": "the host is stopping", "dead": True}}),
    Row(Reason.NOT_STARTED, {"facts": {"verdict": STARTING}}),
    Row(None, {"facts": {"verdict": STARTING, "dead": True}}),
    Row(None, {"facts": {"verdict": STARTING, "never": True}}),
    Row(Reason.LEASE_HELD, {"facts": {"lease": "held by a deployment"}}),
    Row(Reason.LEASE_HELD, {"facts": {"lease": "held by a deployment", "dead": True, "operated": True}}),
    Row(Reason.DEPENDENCY_DOWN, {"facts": {"dependency": "payments: open"}}),
    Row(None, {"facts": {"dependency": "payments: open", "dead": True}}),
    Row(None, {"facts": {"dependency": "payments: open", "never": True}}),
    Row(Reason.LAST_AVAILABLE, {"facts": {"last_available": "0 of 2 peers are ready"}}),
    Row(None, {"memory": {"actions": TEN[1:]}}),
    Row(Reason.BUDGET_SPENT, {"memory": {"actions": TEN}}, until=600.0, page=True),
    Row(Reason.BUDGET_SPENT, {"memory": {"actions": TEN}, "facts": {"operated": True}}, until=600.0, page=True),
    Row(Reason.BUDGET_SPENT, {"memory": {"actions": TEN}, "facts": {"dead": True}}, until=600.0, page=True),
    Row(None, {"memory": {"actions": TEN}, "retry": True}),
    Row(None, {"memory": {"actions": TEN}, "limits": {"actions": 11}}),
    Row(None, {"memory": {"actions": (NOW - 3600.0, *TEN[1:])}}),
    Row(Reason.BUDGET_SPENT, {"memory": {"actions": (NOW - 3599.5, *TEN[1:])}}, until=0.5, page=True),
    Row(Reason.BUDGET_SPENT, {"memory": {"actions": TEN}, "limits": {"actions": 3}}, until=607.0, page=True),
    Row(Reason.COOLDOWN, {"memory": {"last_action": NOW - 20.0}, "limits": {"cooldown": 30.0}}, until=10.0),
    Row(Reason.COOLDOWN, {"memory": {"last_action": NOW - 20.0}, "limits": {"cooldown": 30.0}, "retry": True}, until=10.0),
    Row(None, {"memory": {"last_action": NOW - 30.0}, "limits": {"cooldown": 30.0}}),
    Row(None, {"memory": {"last_action": NOW - 20.0}, "limits": {"cooldown": 30.0}, "facts": {"operated": True}}),
    Row(None, {"limits": {"cooldown": 30.0}}),
    Row(Reason.BACKOFF, {"memory": {"last_action": NOW - 3.0, "streak": 3}}, until=1.0),
    Row(None, {"memory": {"last_action": NOW - 4.0, "streak": 3}}),
    Row(None, {"memory": {"last_action": NOW - 3.0, "streak": 3}, "retry": True}),
    Row(None, {"memory": {"last_action": NOW - 3.0, "streak": 3}, "facts": {"operated": True}}),
    Row(Reason.BACKOFF, {"memory": {"last_action": NOW - 4.0, "streak": 3}, "facts": {"jitter": 1.0}}, until=0.4),
    Row(Reason.STORM, {"facts": {"storm": "6 of 8 services fail"}}),
    Row(None, {"facts": {"storm": "6 of 8 services fail", "dead": True}}),
    Row(None, {"facts": {"unwritable": "disk full"}}),
    Row(Reason.RECORDS_UNWRITABLE, {"facts": {"unwritable": "disk full"}, "memory": {"last_action": NOW - 100.0}}, until=200.0),
    Row(None, {"facts": {"unwritable": "disk full"}, "memory": {"last_action": NOW - 300.0}}),
]


@pytest.mark.parametrize("row", ROWS, ids=["%02d %s" % (n, row.reason or "lets go") for n, row in enumerate(ROWS)])
def test_a_guard_says_no_with_its_reason_or_lets_go(row: Row) -> None:
    """C39 the reason, the moment to ask again and whether a person must know, of every guard."""
    block = forbids(ask(**row.asked))
    if row.reason is None:
        assert block is None
        return
    assert block is not None and block.detail
    assert (block.reason, block.page) == (row.reason, row.page)
    assert block.until == (None if row.until is None else pytest.approx(NOW + row.until))


def test_every_guard_has_rows_on_both_sides() -> None:
    """A guard that is new needs a row that blocks; each can be lifted by name, and is then silent."""
    assert {row.reason for row in ROWS} - {None} == {reason for reason, _guard in GUARDS}
    for row in ROWS:
        if row.reason is not None:
            facts = {**row.asked.get("facts", {}), "override": frozenset([row.reason])}
            assert forbids(ask(**{**row.asked, "facts": facts})) is None


def test_a_person_comes_first() -> None:
    """Whoever asks why nothing happens is told of the hold, not of what would also forbid it."""
    everything = {
        "hold": "by ann",
        "stopped": True,
        "maintenance": "booting",
        "lease": "held",
        "dependency": "down",
        "last_available": "alone",
        "storm": "all fail",
        "unwritable": "full",
    }
    asked = ask(everything, {"actions": TEN, "last_action": NOW, "streak": 3}, {"cooldown": 9.0}, mode="observe")
    order = []
    lifted: set[Reason] = set()
    block: Optional[Block] = forbids(asked)
    while block is not None:
        order.append(block.reason)
        lifted.add(block.reason)
        block = forbids(
            ask(
                {**everything, "override": frozenset(lifted)},
                {"actions": TEN, "last_action": NOW, "streak": 3},
                {"cooldown": 9.0},
                mode="observe",
            )
        )
    assert order == [reason for reason, _guard in GUARDS if reason not in (Reason.AWAITING_APPROVAL, Reason.NOT_STARTED)]


BACKOFFS = [(0, 0.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (8, 128.0), (9, 256.0), (10, 300.0), (1000000, 300.0)]


@pytest.mark.parametrize("streak,seconds", BACKOFFS)
def test_backoff(streak: int, seconds: float) -> None:
    """C07 C30 one second, doubled, up to the cap and never beyond, however long it goes on."""
    assert backoff(streak, 300.0) == seconds


@pytest.mark.parametrize("streak", [1, 2, 8, 9, 10, 50])
def test_jitter_adds_at_most_a_tenth_and_never_passes_the_cap(streak: int) -> None:
    """Two hosts that fail together do not act together."""
    plain = backoff(streak, 300.0)
    assert plain <= backoff(streak, 300.0, 0.5) <= backoff(streak, 300.0, 1.0) <= min(300.0, plain * 1.1)
