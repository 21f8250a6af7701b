# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the healer remembers of a service beyond one process: the content of its state file.

Counters and their reset rules:
position, streak, last_incident, flap_paged: forgotten after ``ladder_reset_after`` seconds of unbroken health.
actions: those older than ``guard.per`` no longer count. changes: those older than 300 s no longer count.
longest_start: kept for good, at most ``retry_every``; it only ever makes a window longer.
blocked: the guard's reason recorded last; cleared when an action begins and when an incident closes.
Another boot keeps actions (their age is counted on) and forgets the rest.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .errors import RecordError
from .incident import Attempt, Incident, Phase, Previous
from .ladder import GROUND, Position
from .reasons import Reason
from .shape import chosen, made
from .times import format_time

FLAPPING_CHANGES = 6
FLAPPING_WINDOW = 300.0
PLACES = ("primary", "backup", "to_primary", "to_backup")
"""Where traffic can be, or be on its way to."""


@dataclass(frozen=True)
class Memory:
    """Times are monotonic seconds of this boot.

    last_incident: what a failure before the reset continues. healthy_since: start of the unbroken health that closed it.
    actions: begin of every action that counts against the budget. streak: actions since the last reset. last_action: end of
    the last action. last_change, changes: published well/not_ready/unhealthy, and when observations proved a change.
    instance: the one that was judged last.
    """

    incident: Optional[Incident] = None
    position: Position = GROUND
    last_incident: Optional[str] = None
    healthy_since: Optional[float] = None
    actions: Tuple[float, ...] = ()
    streak: int = 0
    last_action: Optional[float] = None
    last_change: str = ""
    changes: Tuple[float, ...] = ()
    longest_start: float = 0.0
    traffic: str = "primary"
    flap_paged: bool = False
    instance: Optional[str] = None
    blocked: Optional[str] = None

    def flapping(self, now: float) -> bool:
        return sum(1 for at in self.changes if at > now - FLAPPING_WINDOW) >= FLAPPING_CHANGES


NOTHING = Memory()


@dataclass(frozen=True)
class Clocks:
    """What both clocks said when a state was saved."""

    monotonic: float
    wall: float


def to_data(memory: Memory, now: float, wall: float) -> Dict[str, Any]:
    """As plain data; `now` and `wall` of the saving let another boot count ages on."""
    return {"saved": {"monotonic": now, "wall": wall}, "memory": asdict(memory)}


def from_data(data: Mapping[str, Any]) -> Memory:
    """Back from plain data of the same boot. Raises RecordError naming what does not fit."""
    raw = data.get("memory")
    if not isinstance(raw, Mapping):
        raise RecordError("reading a service's state: it has no memory")
    position = made(Position, raw.get("position") or {})
    if position.index < 0 or position.used < 0:
        raise RecordError("reading a service's state: its place on the ladder is %s" % (position,))
    memory = made(Memory, raw, incident=_incident(raw.get("incident")), position=position)
    if memory.traffic not in PLACES:
        raise RecordError("reading a service's state: its traffic is at %.40r" % memory.traffic)
    latest = max(_moments(memory), default=-math.inf)
    if "saved" in data and latest > _saved(data).monotonic + 1.0:
        raise RecordError("reading a service's state: something in it happened after it was saved")
    return memory


def after_reboot(data: Mapping[str, Any], now: float, wall: float) -> Tuple[Memory, Optional[Incident]]:
    """What is kept across a boot, and the incident the boot has closed. Ages go by the wall clock, never below zero."""
    old = from_data(data)
    clocks = _saved(data)
    shift = now - clocks.monotonic - max(0.0, wall - clocks.wall)
    actions = tuple(min(now, at + shift) for at in old.actions)
    return Memory(actions=actions, longest_start=old.longest_start, traffic=old.traffic), old.incident


def _saved(data: Mapping[str, Any]) -> Clocks:
    try:
        return made(Clocks, data.get("saved"))
    except RecordError as error:
        raise RecordError("reading a service's state: when it was saved: %s" % error) from error


def _moments(memory: Memory) -> List[float]:
    incident = memory.incident
    found = [*memory.actions, *memory.changes, memory.last_action, memory.healthy_since]
    if incident is not None:
        found += [incident.failed_at, incident.opened, incident.entered]
        found += [incident.attempt.begun, incident.attempt.ended] if incident.attempt is not None else []
    return [at for at in found if at is not None]


def _incident(raw: Any) -> Optional[Incident]:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise RecordError("reading a service's state: its incident is %.40r" % (raw,))
    attempt, previous = raw.get("attempt"), raw.get("previous")
    tried = made(Attempt, attempt) if attempt else None
    if tried is not None and tried.reason is not None:
        chosen(Reason, tried.reason)
    incident = made(
        Incident,
        raw,
        phase=chosen(Phase, raw.get("phase")),
        attempt=tried,
        previous=made(Previous, previous) if previous else None,
    )
    try:
        format_time(incident.failure_time)
    except ValueError as error:
        raise RecordError("reading a service's state: when it failed: %s" % error) from error
    return incident


__all__ = ["FLAPPING_CHANGES", "FLAPPING_WINDOW", "Memory", "NOTHING", "PLACES", "after_reboot", "from_data", "to_data"]
