# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves a service's traffic to its fallback on suspicion and back on proof. A move that did not work is tried again, and said once."""

from __future__ import annotations

import abc
import math
from dataclasses import replace
from typing import Any, Callable, Dict, Optional

from .._actuators.base import Work
from .._core.guards import Facts
from .._core.memory import Memory
from .._core.reasons import Reason
from .._host import Host, Outcome
from .job import Job, broken_action

AGAIN = 10.0


class Fallback(abc.ABC):
    """Where traffic goes meanwhile. Both are idempotent and read back what they did; no backup up → bad, `no_backup`."""

    @abc.abstractmethod
    def open(self) -> Work[Outcome]:
        """Take traffic away from the service."""

    @abc.abstractmethod
    def close(self) -> Work[Outcome]:
        """Give it back."""


class Unsupported(Fallback):
    """A kind of fallback that nothing here can drive: said, not pretended."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def open(self) -> Work[Outcome]:
        yield from ()
        return Outcome("unknown", Reason.UNSUPPORTED, "nothing here can drive a fallback of kind %s" % self._kind)

    def close(self) -> Work[Outcome]:
        return self.open()


class Traffic:
    """One service's traffic. `say(type, data)` records an event, `keep(memory)` saves."""

    def __init__(self, fallback: Optional[Fallback], host: Host, healer: Any, say: Callable[[str, Dict[str, Any]], None]) -> None:
        self.healer = healer
        self.wake = math.inf
        self._fallback = fallback
        self._host = host
        self._say = say
        self._job: Optional[Job[Outcome]] = None
        self._target = "primary"
        self._retry_at = -math.inf
        self._blocked: Optional[str] = None

    def turn(self, facts: Facts, now: float) -> None:
        """Begin a move when one is due and nothing forbids it."""
        self.wake = math.inf
        if self._fallback is None or self._job is not None:
            return
        memory: Memory = self.healer.memory
        target = "backup" if memory.incident is not None else "primary"
        if memory.traffic == target:
            self._blocked = None
            return
        if now < self._retry_at and target == self._target:
            self.wake = self._retry_at
            return
        self._target = target
        forbidden = self._forbidden(facts, target)
        if forbidden is not None:
            if memory.blocked != forbidden[0].value:
                self._no(forbidden[0], forbidden[1])
                if forbidden[0] is not Reason.LAST_AVAILABLE:
                    self.healer.remember(replace(memory, blocked=forbidden[0].value))
            self.wake = now + AGAIN
            return
        self._move(memory, target)

    def _move(self, memory: Memory, target: str) -> None:
        # A move to the backup that was never proven is taken back without a word: traffic never left.
        if memory.traffic != "to_%s" % target and not (target == "primary" and memory.traffic == "to_backup"):
            self._say("failover" if target == "backup" else "failback", {"from": memory.traffic, "to": target, "reason": self._why(memory)})
        self.healer.remember(replace(memory, traffic="to_%s" % target))
        fallback = self._fallback or Unsupported("none")
        self._job = Job(self._host, fallback.open() if target == "backup" else fallback.close(), self.healer, self._moved, broken_action)
        self._job.begin()

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
            self.healer.remember(replace(self.healer.memory, traffic=self._target))
            return
        self._retry_at = now + AGAIN
        self._no(outcome.reason or Reason.ACTION_FAILED, outcome.detail)

    def _no(self, reason: Reason, detail: str) -> None:
        if self._blocked != reason.value:
            self._blocked = reason.value
            action = "failover" if self._target == "backup" else "failback"
            self._say("blocked", {"reason": reason.value, "detail": detail, "action": action})

    def _forbidden(self, facts: Facts, target: str) -> Optional[Any]:
        if facts.hold is not None:
            return Reason.HOLD, facts.hold
        if self.healer.service.mode == "observe" and not facts.operated:
            return Reason.OBSERVE, "the mode is observe: traffic is not moved"
        if target == "backup" and facts.peers_missing is not None:
            return Reason.LAST_AVAILABLE, facts.peers_missing
        return None

    def _why(self, memory: Memory) -> str:
        return memory.incident.cause if memory.incident is not None else Reason.HEALED.value


__all__ = ["Fallback", "Traffic", "Unsupported"]
