# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic during a deployment: away before what serves is changed, and back once what serves is proven."""

from __future__ import annotations

from typing import List

from .._actuators.base import Timed, Work
from .._core.reasons import Reason
from .._proc import Pause
from .deploy_run import PhaseFailed, Run

BACK_TRIES = 3


def away(run: Run) -> None:
    """Take traffic away before anything that serves is changed. Raises PhaseFailed."""
    if run.fallback is None:
        return
    outcome = run.drive(run.fallback.able())
    if outcome.status == "ok":
        run.keep(traffic="away")
        run.tell("failover", {"reason": "deployment", "to": "backup"})
        outcome = run.drive(run.fallback.open())
    if outcome.status == "ok":
        return
    if outcome.reason is Reason.NO_BACKUP:
        run.keep(traffic="")
        run.note("traffic stayed: %s" % outcome.detail)
        return
    raise PhaseFailed(outcome.reason or Reason.ACTION_FAILED, "Taking traffic away before the swap: %s" % outcome.detail)


def back(run: Run) -> List[str]:
    """Give traffic back; a balancer that is busy is asked again. Returns what could not be done, in words."""
    if run.entry.traffic != "away" or run.fallback is None:
        return []
    run.tell("failback", {"reason": "deployment", "to": "primary"})
    for left in range(BACK_TRIES - 1, -1, -1):
        outcome = run.drive(run.fallback.close())
        if outcome.status == "ok":
            run.keep(traffic="")
            return []
        if left:
            run.drive(_pause(1.0))
    return ["traffic stays at the backup, give it back with traffic_switch: %s" % outcome.detail]


def _pause(seconds: float) -> Work[None]:
    yield Timed(Pause(), seconds)


__all__ = ["away", "back"]
