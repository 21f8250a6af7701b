# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incident: from the first failed probe until recovery is proven.

Theory of operation. An incident opens when a threshold is reached or death is certain. It is *failing* until a rung is
tried; *acting* while an attempt's window runs; *observing* once the present instance has answered well, until that has
lasted; *escalated* when the ladder is exhausted and a person was told, *retrying* while the first rung is tried again from
there. Every transition stands in `TRANSITIONS`; any other raises `IllegalTransition` and changes nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import IllegalTransition


class Phase(str, enum.Enum):
    FAILING = "failing"
    ACTING = "acting"
    OBSERVING = "observing"
    ESCALATED = "escalated"
    RETRYING = "retrying"
    CLOSED = "closed"

    def __str__(self) -> str:
        return self.value


class Trigger(str, enum.Enum):
    ATTEMPT = "attempt"
    ANSWERED = "answered"
    ATTEMPT_OVER = "attempt_over"
    EXHAUSTED = "exhausted"
    RELAPSE = "relapse"
    PROVEN = "proven"
    REBOOT = "reboot"

    def __str__(self) -> str:
        return self.value


TRANSITIONS: Dict[Tuple[Phase, Trigger], Phase] = {
    (Phase.FAILING, Trigger.ATTEMPT): Phase.ACTING,
    (Phase.FAILING, Trigger.ANSWERED): Phase.OBSERVING,
    (Phase.FAILING, Trigger.EXHAUSTED): Phase.ESCALATED,
    (Phase.FAILING, Trigger.REBOOT): Phase.CLOSED,
    (Phase.ACTING, Trigger.ANSWERED): Phase.OBSERVING,
    (Phase.ACTING, Trigger.ATTEMPT_OVER): Phase.FAILING,
    (Phase.ACTING, Trigger.REBOOT): Phase.CLOSED,
    (Phase.OBSERVING, Trigger.RELAPSE): Phase.FAILING,
    (Phase.OBSERVING, Trigger.PROVEN): Phase.CLOSED,
    (Phase.OBSERVING, Trigger.REBOOT): Phase.CLOSED,
    (Phase.ESCALATED, Trigger.ATTEMPT): Phase.RETRYING,
    (Phase.ESCALATED, Trigger.ANSWERED): Phase.OBSERVING,
    (Phase.ESCALATED, Trigger.REBOOT): Phase.CLOSED,
    (Phase.RETRYING, Trigger.ANSWERED): Phase.OBSERVING,
    (Phase.RETRYING, Trigger.ATTEMPT_OVER): Phase.ESCALATED,
    (Phase.RETRYING, Trigger.REBOOT): Phase.CLOSED,
}


@dataclass(frozen=True)
class Attempt:
    """One attempt on a rung. `begun` and `ended` (of its action) are monotonic seconds; `ended` None while the action runs.

    window: seconds from `begun` within which it must be proven; extended only as design §6 says.
    outcome: None while the action runs; then ok, failed, cannot_help or interrupted (the watchdog died meanwhile: never repeated),
    with the action's own reason and words.
    """

    rung: str
    number: int
    begun: float
    window: float
    ended: Optional[float] = None
    outcome: Optional[str] = None
    reason: Optional[str] = None
    detail: str = ""


@dataclass(frozen=True)
class Previous:
    """How the last attempt, or the rung passed over, ended. detail: in the words of what could not be done, where there are any."""

    outcome: str
    reason: str
    detail: str = ""

    def told(self) -> Dict[str, str]:
        """For a record."""
        return {key: value for key, value in vars(self).items() if value}


@dataclass(frozen=True)
class Incident:
    """`failed_at` and `opened` are monotonic, `failure_time` wall-clock seconds of the same instant as `failed_at`.

    entered: when the present phase began. paged: one page per incident, whatever the reasons; reset by nothing.
    diagnosis: what its events say of its diagnostics, empty until they were gathered: probable_cause and probable_detail (see `cause`),
    diagnostics (the bundle's path), sha256, or diagnostics_problem.
    """

    id: str
    cause: str
    failure_time: float
    failed_at: float
    opened: float
    entered: float
    phase: Phase = Phase.FAILING
    continues: Optional[str] = None
    attempt: Optional[Attempt] = None
    previous: Optional[Previous] = None
    paged: Optional[str] = None
    diagnosis: Mapping[str, Any] = field(default_factory=dict)

    @property
    def probable_cause(self) -> Optional[str]:
        return self.diagnosis.get("probable_cause")

    @property
    def probable_detail(self) -> Optional[str]:
        return self.diagnosis.get("probable_detail")

    def move(self, trigger: Trigger, now: float) -> Incident:
        """The incident after `trigger`; raises IllegalTransition for one its phase does not know."""
        target = TRANSITIONS.get((self.phase, trigger))
        if target is None:
            raise IllegalTransition("incident %s: %s is no transition from %s" % (self.id, trigger, self.phase))
        return replace(self, phase=target, entered=now)


__all__ = ["Attempt", "Incident", "Phase", "Previous", "TRANSITIONS", "Trigger"]
