# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can forbid an action. Each guard returns a block, with its reason, or None; the first that answers counts.

A guard that says no is a feature: it never consumes an attempt, and it always says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, FrozenSet, Mapping, Optional, Tuple

from .health import Verdict
from .memory import Memory
from .model import Service
from .reasons import Reason


@dataclass(frozen=True)
class Facts:
    """All that a decision may depend on besides the contract, the memory and now.

    wall_offset: wall clock minus monotonic clock, seconds. dead: the main process is gone and nobody is starting another, since
    dead_since. never: it was not started on this boot yet. stopped: a person stopped it. unseen: nobody could
    tell yet what stands there.
    pending: the resource's own stop or start job runs. observed: a probe has answered since this process took over.
    asked_since: begin of the probe that has been waiting longest for its answer.
    watched_since: when the probes of what stands there were begun.
    hold, lease, maintenance, dependency, peers_missing, storm, unwritable: why, in words, or None; hold_until: monotonic seconds.
    last_available: peers_missing while this instance still serves.
    revived_since: when the main process died of itself, where its own supervisor starts it again or just has; news, told once.
    operated: a person or a runbook asked for this (mode, cooldown and backoff do not bind); override: reasons lifted by a person.
    cannot: rungs that cannot help, and why. windows: seconds that an attempt on a rung needs at least. jitter: 0 to 1.
    """

    verdict: Verdict
    wall_offset: float = 0.0
    dead: bool = False
    dead_since: Optional[float] = None
    never: bool = False
    stopped: bool = False
    unseen: bool = False
    pending: bool = False
    observed: bool = True
    asked_since: Optional[float] = None
    watched_since: float = 0.0
    hold: Optional[str] = None
    hold_until: Optional[float] = None
    approved: bool = False
    lease: Optional[str] = None
    maintenance: Optional[str] = None
    dependency: Optional[str] = None
    peers_missing: Optional[str] = None
    last_available: Optional[str] = None
    storm: Optional[str] = None
    unwritable: Optional[str] = None
    revived_since: Optional[float] = None
    operated: bool = False
    override: FrozenSet[Reason] = frozenset()
    cannot: Mapping[str, Reason] = field(default_factory=dict)
    windows: Mapping[str, float] = field(default_factory=dict)
    jitter: float = 0.0


@dataclass(frozen=True)
class Block:
    """Why not. until: monotonic seconds at which to ask again, where that is known. page: a person must know now."""

    reason: Reason
    detail: str
    until: Optional[float] = None
    page: bool = False


@dataclass(frozen=True)
class Asked:
    """An action somebody wants: `retry` after the page is outside budget and backoff."""

    service: Service
    memory: Memory
    facts: Facts
    now: float
    retry: bool = False


def _hold(ask: Asked) -> Optional[Block]:
    """A person said hands off: the service, the host or everything."""
    facts = ask.facts
    return Block(Reason.HOLD, facts.hold, facts.hold_until) if facts.hold is not None else None


def _observe(ask: Asked) -> Optional[Block]:
    """The mode is observe, and nobody asked for this (watchdog only); a person is told at once."""
    if ask.service.mode == "observe" and not ask.facts.operated:
        return Block(Reason.OBSERVE, "the mode is observe: nothing is changed here", page=True)
    return None


def _awaiting_approval(ask: Asked) -> Optional[Block]:
    """The mode is approve and no approval waits (watchdog only); a person is told at once."""
    if ask.service.mode == "approve" and not ask.facts.operated and not ask.facts.approved:
        return Block(Reason.AWAITING_APPROVAL, "the mode is approve: selfheal approve %s lets one action go" % ask.service.name, page=True)
    return None


def _admin_stopped(ask: Asked) -> Optional[Block]:
    """Somebody stopped it on purpose, and desired is by_admin."""
    if ask.facts.stopped and ask.service.desired != "always":
        return Block(Reason.ADMIN_STOPPED, "somebody stopped it on purpose, and desired is by_admin")
    return None


def _maintenance(ask: Asked) -> Optional[Block]:
    """The host is stopping or still booting, or its packages are being changed."""
    return Block(Reason.MAINTENANCE, ask.facts.maintenance) if ask.facts.maintenance is not None else None


def _not_started(ask: Asked) -> Optional[Block]:
    """Its startup probe has not passed yet and has budget left; what is dead is started all the same."""
    if ask.facts.verdict.started is None and not ask.facts.dead and not ask.facts.never:
        return Block(Reason.NOT_STARTED, "its startup probe has not passed yet and has budget left")
    return None


def _lease_held(ask: Asked) -> Optional[Block]:
    """Somebody else acts on it."""
    return Block(Reason.LEASE_HELD, ask.facts.lease) if ask.facts.lease is not None else None


def _dependency_down(ask: Asked) -> Optional[Block]:
    """What it depends on is down; what is dead is started all the same."""
    if ask.facts.dependency is not None and not ask.facts.dead and not ask.facts.never:
        return Block(Reason.DEPENDENCY_DOWN, ask.facts.dependency)
    return None


def _last_available(ask: Asked) -> Optional[Block]:
    """Too few other instances are ready and this one still serves."""
    return Block(Reason.LAST_AVAILABLE, ask.facts.last_available) if ask.facts.last_available is not None else None


def _budget_spent(ask: Asked) -> Optional[Block]:
    """guard.actions within guard.per are spent; a person is told. A retry after the page is outside the budget."""
    limits = ask.service.guard
    recent = [at for at in ask.memory.actions if at > ask.now - limits.per]
    if ask.retry or len(recent) < limits.actions:
        return None
    free_at = sorted(recent)[len(recent) - limits.actions] + limits.per
    return Block(Reason.BUDGET_SPENT, "%d actions in %g s are spent" % (limits.actions, limits.per), free_at, page=True)


def _cooldown(ask: Asked) -> Optional[Block]:
    """guard.cooldown after an action is not over (watchdog only)."""
    last, span = ask.memory.last_action, ask.service.guard.cooldown
    if ask.facts.operated or last is None or ask.now >= last + span:
        return None
    return Block(Reason.COOLDOWN, "%g s of rest after an action" % span, last + span)


def backoff(streak: int, cap: float, jitter: float = 0.0) -> float:
    """Seconds of rest after the `streak`-th action: 1, 2, 4 … up to `cap`, and up to a tenth more. Streak's reset rule: memory.py."""
    if streak <= 0:
        return 0.0
    return min(cap, min(cap, 2.0 ** min(streak - 1, 30)) * (1.0 + 0.1 * jitter))


def _backoff(ask: Asked) -> Optional[Block]:
    """The rest after an action, doubled with each from one second up to guard.backoff_cap, is not over (watchdog only; no retry)."""
    last = ask.memory.last_action
    if ask.facts.operated or ask.retry or last is None:
        return None
    until = last + backoff(ask.memory.streak, ask.service.guard.backoff_cap, ask.facts.jitter)
    return Block(Reason.BACKOFF, "resting after action %d in a row" % ask.memory.streak, until) if ask.now < until else None


def _storm(ask: Asked) -> Optional[Block]:
    """Many services of this host fail at once; what is dead is started all the same."""
    if ask.facts.storm is not None and not ask.facts.dead and not ask.facts.never:
        return Block(Reason.STORM, ask.facts.storm)
    return None


def _records_unwritable(ask: Asked) -> Optional[Block]:
    """With a timeline that cannot be written, one action per ``retry_every`` is still taken."""
    last = ask.memory.last_action
    if ask.facts.unwritable is None or last is None or ask.now >= last + ask.service.retry_every:
        return None
    return Block(Reason.RECORDS_UNWRITABLE, ask.facts.unwritable, last + ask.service.retry_every)


GUARDS: Tuple[Tuple[Reason, Callable[[Asked], Optional[Block]]], ...] = (
    (Reason.HOLD, _hold),
    (Reason.OBSERVE, _observe),
    (Reason.AWAITING_APPROVAL, _awaiting_approval),
    (Reason.ADMIN_STOPPED, _admin_stopped),
    (Reason.MAINTENANCE, _maintenance),
    (Reason.NOT_STARTED, _not_started),
    (Reason.LEASE_HELD, _lease_held),
    (Reason.DEPENDENCY_DOWN, _dependency_down),
    (Reason.LAST_AVAILABLE, _last_available),
    (Reason.BUDGET_SPENT, _budget_spent),
    (Reason.COOLDOWN, _cooldown),
    (Reason.BACKOFF, _backoff),
    (Reason.STORM, _storm),
    (Reason.RECORDS_UNWRITABLE, _records_unwritable),
)


def forbids(ask: Asked) -> Optional[Block]:
    """The first guard that says no, or None. A person's override lifts a guard by its reason."""
    for reason, guard in GUARDS:
        block = None if reason in ask.facts.override else guard(ask)
        if block is not None:
            return block
    return None


__all__ = ["Asked", "Block", "Facts", "GUARDS", "backoff", "forbids"]
