# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From single observations to a published state, by the kubelet's rules.

Two rules. Thresholds count consecutive observations, and below a threshold what is published does not move. An observation
that could not be made (unknown) is discarded: it neither counts nor breaks a run.
Source: Kubernetes, pkg/kubelet/prober/worker.go (result runs, initial results, startup suppressing the others).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import RecordError
from .model import Probe, Service
from .reasons import Reason
from .shape import made


class State(str, enum.Enum):
    """What is published for a service."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    STOPPED = "stopped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Observation:
    """One run of one probe. status: ok, slow, bad or unknown; times are monotonic seconds."""

    probe: str
    status: str
    started: float
    ended: float
    reason: Optional[Reason] = None
    detail: str = ""


@dataclass(frozen=True)
class ProbeHealth:
    """What a run of observations of one probe amounts to.

    passing: what is published. good, bad: the present run; each is reset by an observation of the other kind and by a new
    instance, and stops counting at its threshold. since: start of the first observation of the present run. counted: start of the last
    failure that counted (startup probes count one failure a period, however often they are asked). slow: run of slow
    answers, reset by a fast one. degraded: published slowness. failing_from: start of the first failure since the last good answer; a
    restart of ours does not end that run (see `renewed`), an instance that somebody else started does.
    """

    passing: Optional[bool]
    good: int = 0
    bad: int = 0
    since: Optional[float] = None
    counted: Optional[float] = None
    slow: int = 0
    degraded: bool = False
    failing_from: Optional[float] = None


# What a probe is taken to be before its first answer.
INITIAL = {
    "liveness": ProbeHealth(passing=True),
    "readiness": ProbeHealth(passing=False),
    "startup": ProbeHealth(passing=None),
}


def initial(service: Service) -> Dict[str, ProbeHealth]:
    """The health of a new instance."""
    return {probe.name: INITIAL[probe.role] for probe in service.probes}


def renewed(service: Service, healths: Mapping[str, ProbeHealth]) -> Dict[str, ProbeHealth]:
    """The health of a new instance that we started ourselves: the counters start afresh, but nothing has answered well meanwhile.

    With a startup probe the new instance has to pass that first, and then failure is none that went on.
    """
    if any(probe.role == "startup" for probe in service.probes):
        return initial(service)
    return {name: replace(health, failing_from=healths[name].failing_from) for name, health in initial(service).items()}


def observe(probe: Probe, health: ProbeHealth, seen: Observation) -> ProbeHealth:
    """Take one observation in; returns the same object where nothing changed."""
    if seen.status == "unknown":
        return health
    if seen.status == "bad":
        return _failed(probe, health, seen.started)
    slow = seen.status == "slow"
    if health.passing and health.good >= probe.success_threshold and not slow and not health.slow and not health.degraded:
        return health
    return _answered(probe, health, seen.started, slow)


def _failed(probe: Probe, health: ProbeHealth, started: float) -> ProbeHealth:
    since = health.since if health.bad and health.since is not None else started
    if probe.role == "startup" and health.counted is not None and started - health.counted < probe.period * 0.999:
        return health
    bad = min(health.bad + 1, probe.failure_threshold)
    passing = False if bad >= probe.failure_threshold else health.passing
    if passing is health.passing and bad == health.bad and since == health.since and probe.role != "startup":
        return health
    failing_from = since if health.failing_from is None else health.failing_from
    return ProbeHealth(passing=passing, bad=bad, since=since, counted=started, degraded=health.degraded, failing_from=failing_from)


def _answered(probe: Probe, health: ProbeHealth, started: float, slow: bool) -> ProbeHealth:
    since = health.since if health.good and health.since is not None else started
    good = min(health.good + 1, probe.success_threshold)
    passing = True if good >= probe.success_threshold else health.passing
    run = min(health.slow + 1, probe.failure_threshold) if slow else 0
    degraded = (health.degraded or run >= probe.failure_threshold) if slow else (health.degraded and good < probe.success_threshold)
    return ProbeHealth(passing=passing, good=good, since=since, slow=run, degraded=degraded)


@dataclass(frozen=True)
class Verdict:
    """What all probes of a service say together.

    started: has the startup probe passed (None: it has budget left; True without one). failing: a threshold that demands action
    was reached (startup or liveness), by which probe. failing_since: start of the unbroken failure of the present instance that goes on
    now, threshold reached or not. unbroken_since: the same, across our own restarts. unready: a readiness threshold was reached by
    observation. alive_since: start of the unbroken run in which every liveness probe has given its ``success_threshold`` good answers.
    well_since: the same, with readiness.
    """

    state: State
    started: Optional[bool] = True
    failing: Optional[Reason] = None
    probe: Optional[str] = None
    failing_since: Optional[float] = None
    unready: Optional[str] = None
    unready_since: Optional[float] = None
    alive_since: Optional[float] = None
    well_since: Optional[float] = None
    unbroken_since: Optional[float] = None


def judge(service: Service, healths: Mapping[str, ProbeHealth]) -> Verdict:
    """All probes together. Without a liveness probe readiness proves life."""
    startup = _of_role(service, healths, "startup")
    started: Optional[bool] = True
    for probe, health in startup:
        if not health.passing:
            started = health.passing
            if health.passing is False:
                return Verdict(State.UNHEALTHY, False, Reason.STARTUP_FAILED, probe.name, health.since)
    if started is None:
        since = min((health.since for _probe, health in startup if health.bad and health.since is not None), default=None)
        return Verdict(State.UNKNOWN, None, failing_since=since)
    liveness = _of_role(service, healths, "liveness")
    readiness = _of_role(service, healths, "readiness")
    failing = next((probe.name for probe, health in liveness if health.passing is False), None)
    unready = next(((p.name, h.since) for p, h in readiness if h.passing is False and h.bad >= p.failure_threshold), None)
    verdict = Verdict(
        state=_state(liveness, readiness),
        failing=Reason.LIVENESS_FAILED if failing else None,
        probe=failing,
        failing_since=min((health.since for _probe, health in liveness if health.bad and health.since is not None), default=None),
        unbroken_since=min(
            (health.failing_from for _probe, health in liveness if health.bad and health.failing_from is not None), default=None
        ),
        alive_since=_proven_since(liveness or readiness or startup),
        well_since=_proven_since(liveness + readiness or startup),
    )
    return replace(verdict, unready=unready[0], unready_since=unready[1]) if unready else verdict


_Pairs = Tuple[Tuple[Probe, ProbeHealth], ...]


def _of_role(service: Service, healths: Mapping[str, ProbeHealth], role: str) -> _Pairs:
    return tuple((probe, healths[probe.name]) for probe in service.probes if probe.role == role)


def _state(liveness: _Pairs, readiness: _Pairs) -> State:
    if any(health.passing is False for _probe, health in liveness):
        return State.UNHEALTHY
    if any(not health.passing for _probe, health in readiness):
        return State.NOT_READY
    if any(health.degraded for _probe, health in liveness + readiness):
        return State.DEGRADED
    return State.HEALTHY


def _proven_since(pairs: _Pairs) -> Optional[float]:
    """Start of the run in which all have given their good answers; None while one has not."""
    latest: Optional[float] = None
    for probe, health in pairs:
        if not health.passing or health.good < probe.success_threshold or health.since is None:
            return None
        latest = health.since if latest is None else max(latest, health.since)
    return latest


def startup_budget(service: Service) -> float:
    """Seconds a new instance may take before its startup probe gives up; 0 without one."""
    return max((p.initial_delay + p.failure_threshold * p.period for p in service.probes if p.role == "startup"), default=0.0)


def to_data(healths: Mapping[str, ProbeHealth]) -> Dict[str, Any]:
    """As plain data, for the state file."""
    return {name: vars(health).copy() for name, health in healths.items()}


def from_data(service: Service, data: Mapping[str, Any]) -> Dict[str, ProbeHealth]:
    """Back from the state file; a probe that is new or unreadable begins afresh."""
    healths = initial(service)
    for name in healths:
        if isinstance(data.get(name), dict):
            try:
                healths[name] = made(ProbeHealth, data[name])
            except RecordError:
                healths[name] = INITIAL[next(probe.role for probe in service.probes if probe.name == name)]
    return healths


__all__ = [
    "Observation",
    "ProbeHealth",
    "State",
    "Verdict",
    "from_data",
    "initial",
    "judge",
    "observe",
    "renewed",
    "startup_budget",
    "to_data",
]
