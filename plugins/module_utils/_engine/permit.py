# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right to act on one service now: its leases, and in approve mode a person's approval, which is used up."""

from __future__ import annotations

import math
from typing import FrozenSet, Optional

from .._core.decide import Decision, Do
from .._core.memory import Memory
from .._core.model import Service
from .._core.reasons import Reason
from .ports import Desk

AFTER_REFUSAL = 1.0
"""Seconds for which a refused lease or approval counts as held."""


def known_block(decision: Decision, memory: Memory) -> bool:
    """Is this a guard's no that was said already, and has whoever must know been told?"""
    if decision.do is not Do.BLOCK or decision.block is None or memory.blocked != str(decision.reason):
        return False
    incident = memory.incident
    return not (decision.block.page and incident is not None and incident.paged is None)


class Permit:
    """`yielded`: somebody else acts, and writes what is remembered until they are done."""

    def __init__(self, service: Service, desk: Desk, operated: bool, override: FrozenSet[Reason]) -> None:
        self.yielded = False
        self._refused: Optional[str] = None
        self._refused_until = -math.inf
        self._name = service.name
        self._desk = desk
        self._approval = service.mode == "approve" and not operated and Reason.AWAITING_APPROVAL not in override

    def held_by(self, now: float) -> Optional[str]:
        """Who else acts, in words. A refusal stands for a while, so that what cannot be had is not asked for without a pause."""
        return self._refused if now < self._refused_until else self._desk.lease(self._name)

    def take(self, now: float) -> bool:
        """Take the leases and use up the approval; without both nothing may begin."""
        self._refused = self._desk.take(self._name, "healing")
        if self._refused is not None:
            self._refused_until = now + AFTER_REFUSAL
            return False
        if self._approval and not self._desk.consume_approval(self._name):
            self.release()
            return False
        return True

    def release(self) -> None:
        self._desk.release(self._name)

    def ask_again(self, decision: Decision, now: float) -> float:
        """When to decide anew: what people say and who holds a lease is looked up, not pushed."""
        until = math.inf if decision.until is None else decision.until
        if decision.do is Do.BLOCK and self._desk.recheck is not None:
            until = min(until, now + self._desk.recheck)
        return min(until, self._refused_until) if now < self._refused_until else until


__all__ = ["Permit", "known_block"]
