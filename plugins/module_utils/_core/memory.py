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

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import RecordError
from .incident import Attempt, Incident, Phase, Previous
from .ladder import GROUND, Position

FLAPPING_CHANGES = 6
FLAPPING_WINDOW = 300.0


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


def to_data(memory: Memory, now: float, wall: float) -> Dict[str, Any]:
    """As plain data; `now` and `wall` of the saving let another boot count ages on."""
    return {"saved": {"monotonic": now, "wall": wall}, "memory": asdict(memory)}


def from_data(data: Mapping[str, Any]) -> Memory:
    """Back from plain data of the same boot. Raises RecordError naming what does not fit."""
    try:
        raw = dict(data["memory"])
        incident = raw.pop("incident", None)
        position = raw.pop("position", None) or {}
        known = {each.name for each in fields(Memory)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise RecordError("reading a service's state: unknown keys %s" % ", ".join(unknown))
        memory = Memory(**{**raw, "actions": _times(raw, "actions"), "changes": _times(raw, "changes")})
        return replace(memory, position=Position(**position), incident=_incident(incident))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError("reading a service's state: %s: %s" % (type(error).__name__, error)) from error


def after_reboot(data: Mapping[str, Any], now: float, wall: float) -> Tuple[Memory, Optional[Incident]]:
    """What is kept across a boot, and the incident the boot has closed. Ages go by the wall clock, never below zero."""
    old = from_data(data)
    try:
        shift = now - float(data["saved"]["monotonic"]) - max(0.0, wall - float(data["saved"]["wall"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError("reading a service's state: when it was saved: %s: %s" % (type(error).__name__, error)) from error
    actions = tuple(min(now, at + shift) for at in old.actions)
    return Memory(actions=actions, longest_start=old.longest_start, traffic=old.traffic), old.incident


def _times(raw: Mapping[str, Any], key: str) -> Tuple[float, ...]:
    return tuple(float(at) for at in raw.get(key, ()))


def _incident(raw: Optional[Mapping[str, Any]]) -> Optional[Incident]:
    if raw is None:
        return None
    values = dict(raw)
    attempt, previous = values.pop("attempt", None), values.pop("previous", None)
    values["phase"] = Phase(values["phase"])
    values["attempt"] = Attempt(**attempt) if attempt else None
    values["previous"] = Previous(**previous) if previous else None
    return Incident(**values)


__all__ = ["FLAPPING_CHANGES", "FLAPPING_WINDOW", "Memory", "NOTHING", "after_reboot", "from_data", "to_data"]
