# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a service's traffic to its fallback on suspicion and back on proof. A move that did not work is tried again, and said once.

What is remembered is a promise, not a fact: ``to_backup`` and ``to_primary`` are moves that were begun and not yet read back, and are
done again by whoever reads them. Traffic that is away is looked at every few seconds, since a balancer that was started again may have
forgotten, and is moved again. Traffic that is at home is not: whoever has moved it by hand had a reason.
"""

from __future__ import annotations

import abc
import math
from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Tuple

from .._actuators.base import Work
from .._core.guards import Facts
from .._core.memory import Memory
from .._core.reasons import Reason
from .._host import Host, Outcome
from .job import Job, broken_action

AGAIN = 10.0
LOOK_EVERY = 5.0
"""Traffic that is away is looked at so often."""
ASK_AGAIN = 1.0
"""While a service has to be proven well before its traffic returns."""


class Fallback(abc.ABC):
    """Where traffic goes meanwhile. All are idempotent, and `open` and `close` read back what they did.

    An ok outcome's data may have a ``note``, one line for the timeline. backend: what events call it, where it has a name.
    """

    backend: Optional[str] = None

    @abc.abstractmethod
    def open(self) -> Work[Outcome]:
        """Take traffic away from the service; no backup up → bad, `no_backup`."""

    @abc.abstractmethod
    def close(self) -> Work[Outcome]:
        """Give it back."""

    def able(self) -> Work[Outcome]:
        """Could it be opened? Asked before a move is announced."""
        yield from ()
        return Outcome("ok")

    def stands(self) -> Optional[Work[Outcome]]:
        """Is traffic still away? bad: no; bad, `no_backup`: it is, but nobody serves there any more. None where nobody can tell."""
        return None


class Unsupported(Fallback):
    """A kind of fallback that nothing here can drive: said, not pretended."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def able(self) -> Work[Outcome]:
        yield from ()
        return Outcome("unknown", Reason.UNSUPPORTED, "nothing here can drive a fallback of kind %s" % self._kind)

    def open(self) -> Work[Outcome]:
        return self.able()

    def close(self) -> Work[Outcome]:
        return self.able()


class Traffic:
    """One service's traffic. `say(type, data)` records an event. `warm_up`: what is done before traffic returns, whatever comes of it."""

    def __init__(
        self,
        fallback: Optional[Fallback],
        host: Host,
        healer: Any,
        say: Callable[[str, Dict[str, Any]], None],
        warm_up: Optional[Callable[[], Work[Any]]] = None,
    ) -> None:
        self.healer = healer
        self.wake = math.inf
        self._fallback = fallback
        self._host = host
        self._say = say
        self._warm_up = warm_up
        self._job: Optional[Job[Outcome]] = None
        self._target = "primary"
        self._why = ""
        self._retry_at = -math.inf
        self._look_at = -math.inf
        self._blocked: Optional[str] = None
        self._noted: Optional[str] = None

    # -- what differs between a service and a dependency ------------------------------------------------------------------

    @property
    def where(self) -> str:
        """As remembered: primary, backup, to_primary or to_backup."""
        memory: Memory = self.healer.memory
        return memory.traffic

    def _remember(self, where: str) -> None:
        self.healer.remember(replace(self.healer.memory, traffic=where))

    def _wanted(self, facts: Facts, now: float) -> Tuple[str, str, Optional[float]]:
        """Where traffic should be, why, and (to primary) from when on: only a service that is proven well gets it back."""
        forced, incident = self.healer.around.forced, self.healer.memory.incident
        if forced in ("open", "disabled"):
            return "backup" if forced == "open" else "primary", Reason.FORCED.value, None
        if incident is not None:
            return "backup", incident.cause, None
        if self.where in ("primary", "to_primary"):
            return "primary", Reason.HEALED.value, None
        well = facts.verdict.well_since
        return "primary", Reason.HEALED.value, now + ASK_AGAIN if well is None else well + self.healer.service.recovered_after

    def _forbidden(self, facts: Facts, target: str) -> Optional[Tuple[Reason, str]]:
        if facts.hold is not None and Reason.HOLD not in facts.override:
            return Reason.HOLD, facts.hold
        if self.healer.service.mode == "observe" and not facts.operated:
            return Reason.OBSERVE, "the mode is observe: traffic is not moved"
        if target == "backup" and facts.peers_missing is not None and Reason.LAST_AVAILABLE not in facts.override:
            return Reason.LAST_AVAILABLE, facts.peers_missing
        return None

    def _known(self, reason: Reason) -> bool:
        """Has the healer said already that this forbids it to act?"""
        memory: Memory = self.healer.memory
        if memory.blocked == reason.value:
            return True
        if reason is not Reason.LAST_AVAILABLE and memory.blocked is None:
            self.healer.remember(replace(memory, blocked=reason.value))
        return False

    # -- turns -----------------------------------------------------------------------------------------------------------

    def turn(self, facts: Facts, now: float) -> None:
        """Begin a move when one is due and nothing forbids it."""
        self.wake = math.inf
        if self._fallback is None or self._job is not None:
            return
        target, why, earliest = self._wanted(facts, now)
        if self.where == target:
            self._blocked = None
            if target == "backup":
                self._look(facts, now)
            return
        if earliest is not None and now < earliest:
            self.wake = earliest
            return
        if now < self._retry_at and target == self._target:
            self.wake = self._retry_at
            return
        self._target = target
        self._why = why
        forbidden = self._forbidden(facts, target)
        if forbidden is not None:
            if forbidden[0] is Reason.LAST_AVAILABLE and self.healer.around.peers.unheard:
                return  # what they answer is news
            if not self._known(forbidden[0]):
                self._no(forbidden[0], forbidden[1])
            self.wake = now + AGAIN
            return
        self._begin(self._opening(self._fallback) if target == "backup" else self._closing(self._fallback), self._moved)

    def _begin(self, work: Work[Outcome], done: Callable[[Outcome], None]) -> None:
        self._job = Job(self._host, work, self.healer, done, broken_action)
        self._job.begin()

    def _opening(self, fallback: Fallback) -> Work[Outcome]:
        able = yield from fallback.able()
        if able.status != "ok":
            return able
        self._announce()
        return (yield from fallback.open())

    def _closing(self, fallback: Fallback) -> Work[Outcome]:
        # Where nobody serves any more there is no time to warm anybody up.
        if self._warm_up is not None and self.where == "backup" and self._why != Reason.NO_BACKUP.value:
            yield from self._warm_up()
            if self.healer.memory.incident is not None and self.healer.around.forced != "disabled":
                return Outcome("unknown", Reason.CANCELLED, "it failed again while it was warmed up")
        self._announce()
        return (yield from fallback.close())

    def _announce(self) -> None:
        """Say and remember the move before it is made. One that is taken up again, or back before it was proven, was said already."""
        before, target = self.where, self._target
        if before != "to_%s" % target and not (target == "primary" and before == "to_backup"):
            named = getattr(self._fallback, "backend", None)
            data = {"from": before, "to": target, "reason": self._why, **({"backend": named} if named else {})}
            self._say("failover" if target == "backup" else "failback", data)
        self._remember("to_%s" % target)

    @property
    def moving(self) -> bool:
        """Is a move under way?"""
        return self._job is not None

    def stop(self) -> None:
        if self._job is not None:
            self._job.abandon()
            self._job = None

    def _moved(self, outcome: Outcome) -> None:
        self._job = None
        now = self._host.monotonic()
        self.healer.nudge()
        if outcome.status == "ok":
            self._blocked = None
            self._look_at = now + LOOK_EVERY
            self._remember(self._target)
            note = outcome.data.get("note")
            if note is not None and note != self._noted:
                self._say("note", {"text": note})
            self._noted = note
            return
        if outcome.reason is Reason.CANCELLED:
            return
        self._retry_at = now + AGAIN
        self._no(outcome.reason or Reason.ACTION_FAILED, outcome.detail)

    def _look(self, facts: Facts, now: float) -> None:
        if self._forbidden(facts, "primary") is not None:
            self._look_at = now + LOOK_EVERY
        if now < self._look_at:
            self.wake = self._look_at
            return
        work = self._fallback.stands() if self._fallback is not None else None
        if work is not None:
            self._begin(work, self._looked)

    def _looked(self, outcome: Outcome) -> None:
        """Traffic was away. Where it is no more, it is moved again; where nobody serves it any more, it is given back."""
        self._job = None
        now = self._host.monotonic()
        self.wake = self._look_at = now + LOOK_EVERY
        if outcome.status != "bad" or self.where != "backup":
            return
        self.healer.nudge()
        if outcome.reason is Reason.NO_BACKUP and self._fallback is not None:
            self._target, self._why, self._retry_at = "primary", Reason.NO_BACKUP.value, now + AGAIN
            self._begin(self._closing(self._fallback), self._given_back)
        elif outcome.reason is Reason.TRAFFIC_RETURNED:
            self._say("note", {"text": "traffic had come back by itself: %s" % outcome.detail, "reason": outcome.reason.value})
            self._remember("primary")

    def _given_back(self, outcome: Outcome) -> None:
        """The backup died; the primary may be better than nothing. It is moved again as soon as a backup is up."""
        self._moved(outcome)
        self._target = "backup"
        self._retry_at = self._host.monotonic() + AGAIN

    def _no(self, reason: Reason, detail: str) -> None:
        if self._blocked != reason.value:
            self._blocked = reason.value
            action = "failover" if self._target == "backup" else "failback"
            self._say("blocked", {"reason": reason.value, "detail": detail, "action": action})


__all__ = ["Fallback", "Traffic", "Unsupported"]
