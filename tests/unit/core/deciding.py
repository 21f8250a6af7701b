# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A contract, verdicts on it and memories of it: what decisions are made of."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

from selfheal._core.guards import Facts
from selfheal._core.health import State, Verdict
from selfheal._core.incident import Attempt, Incident, Phase
from selfheal._core.ladder import Position
from selfheal._core.memory import Memory
from selfheal._core.model import HttpTarget, Probe, Rung, Service, UnitResource
from selfheal._core.reasons import Reason

NOW = 1000.0


TARGET = HttpTarget("http://127.0.0.1/")


LADDER = (Rung("restart", 3, 10.0), Rung("redeploy", 2, 120.0), Rung("rollback", 1, 60.0), Rung("page", 1, 0.0))


WEB = Service("web", UnitResource("web.service"), (Probe("liveness", "liveness", TARGET),), ladder=LADDER)


SLOW_STARTER = dataclasses.replace(WEB, probes=(*WEB.probes, Probe("startup", "startup", TARGET, failure_threshold=6)))


WELL = Verdict(State.HEALTHY, alive_since=NOW - 5.0, well_since=NOW - 5.0)


FRESH = Verdict(State.HEALTHY)


BLIP = Verdict(State.HEALTHY, failing_since=NOW - 9.0)


FAILED = Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "liveness", NOW - 9.0)


JUST_FAILED = Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "liveness", NOW - 2.0)


GIVEN_UP = Verdict(State.UNHEALTHY, False, Reason.STARTUP_FAILED, "startup", NOW - 2.0)


STARTING = Verdict(State.UNKNOWN, None)


UNREADY = Verdict(State.NOT_READY, unready="readiness", unready_since=NOW - 3.0, alive_since=NOW - 500.0)


def facts(verdict: Verdict = FAILED, **more: Any) -> Facts:
    return Facts(verdict=verdict, wall_offset=1e6, **more)


def incident(phase: Phase = Phase.FAILING, entered: float = NOW - 20.0, **more: Any) -> Incident:
    given: dict[str, Any] = {
        "cause": "liveness_failed",
        "failure_time": 1e6 + NOW - 30.0,
        "failed_at": NOW - 30.0,
        "opened": NOW - 21.0,
        **more,
    }
    return Incident("web-1", entered=entered, phase=phase, **given)


def attempt(ago: float, ended: Optional[float] = 1.0, outcome: str = "ok", reason: Optional[str] = None, window: float = 10.0) -> Attempt:
    """One that began `ago` seconds ago and whose action ended `ended` seconds later."""
    begun = NOW - ago
    if ended is None:
        return Attempt("restart", 1, begun, window)
    return Attempt("restart", 1, begun, window, begun + ended, outcome, reason)


def failing(**more: Any) -> Memory:
    return Memory(incident=incident(**more))


def acting(tried: Attempt, phase: Phase = Phase.ACTING) -> Memory:
    return Memory(incident=incident(phase, entered=tried.begun, attempt=tried), position=Position(0, 1), streak=1)
