# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of one container in a run of ``container_heal``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from .._actuators import container_state as states
from .._actuators.container_state import Told, of
from .._core.containers import Plan
from .._core.reasons import Reason
from .._core.times import format_time


@dataclass
class Result:
    """What came of one container. outcome: changed, unchanged, planned, blocked or failed. Times are wall seconds."""

    name: str
    action: str = "none"
    outcome: str = "unchanged"
    reason: Optional[str] = None
    detail: str = ""
    status: str = "absent"
    before: str = "absent"
    failed_at: Optional[float] = None
    recovered_at: Optional[float] = None
    actions: List[str] = field(default_factory=list)

    def end(self, outcome: str, reason: Optional[Reason], detail: str, action: Optional[str] = None) -> None:
        self.outcome, self.reason, self.detail = outcome, None if reason is None else str(reason), detail
        if action is not None:
            self.action = action

    @property
    def took_ms(self) -> Optional[int]:
        if self.failed_at is None or self.recovered_at is None:
            return None
        return max(0, round((self.recovered_at - self.failed_at) * 1000))

    def as_data(self) -> Dict[str, Any]:
        return {
            "name": self.name,
            "action": self.action,
            "outcome": self.outcome,
            "reason": self.reason,
            "detail": self.detail,
            "state": self.status,
            "actions": self.actions,
            "failure_time": None if self.failed_at is None else format_time(self.failed_at),
            "recovery_time": None if self.recovered_at is None else format_time(self.recovered_at),
            "recovery_duration_ms": self.took_ms,
        }


def failed_at(told: Told, plan: Plan, now: float) -> float:
    """Since when it is not what it should be: the end of its process, or the first bad answer of its own health check; else now."""
    if plan.reason is Reason.CONTAINER_UNHEALTHY:
        return min(now, states.health_since(told, False) or now)
    if plan.reason is Reason.GONE and of(told, "State", "Status") != "paused":
        return min(now, states.moment(of(told, "State", "FinishedAt")) or now)
    return now


__all__ = ["Result", "failed_at"]
