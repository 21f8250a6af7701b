# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment does in each of its phases. Every phase may be killed anywhere and done again; it returns what proves its result.

`STRATEGIES` says who does it for which kind of source. A tree of files is made by `TreeStrategy`; another kind (an image and its
container) comes with a strategy of its own and shares journal, leases, routes and health.
"""

from __future__ import annotations

import abc
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Sequence

from .._actuators import manifest, routes
from .._actuators.base import Timed, Work
from .._core.deployment import Phase
from .._core.deployment_request import Request, Route
from .._core.reasons import Reason
from .._core.targets import NamedTarget
from .._probes.sweep import Ask, sweep
from .._proc import Pause
from .deploy_run import PhaseFailed, Run
from .sources import build_commands, pulled, unpacked

PROBE_TIMEOUT = 4.0
BACK_TRIES = 3
Proof = Dict[str, Any]


class Strategy(abc.ABC):
    """How one kind of source becomes what serves."""

    @abc.abstractmethod
    def pull(self, run: Run) -> Proof:
        """Pin the source: what is pulled is known by commit or checksum from here on, and journalled as `source`."""

    @abc.abstractmethod
    def build(self, run: Run) -> Proof:
        """Make it anew, beside everything that serves."""

    @abc.abstractmethod
    def copy(self, run: Run) -> Proof:
        """Let the release stand, complete."""

    @abc.abstractmethod
    def switch(self, run: Run) -> Proof:
        """Make it current, and restart what runs it."""

    @abc.abstractmethod
    def verify(self, run: Run) -> None:
        """Is what stands what was deployed? Raises PhaseFailed."""

    @abc.abstractmethod
    def switch_back(self, run: Run) -> List[str]:
        """Let serve what served before. Returns what failed beside that, in words. Raises SelfhealError, OSError when it does not yet."""

    @abc.abstractmethod
    def clear(self, run: Run) -> List[str]:
        """Nothing of a failed one stays but its journal and quarantine. Returns what does, in words. Raises SelfhealError, OSError."""

    def routes(self, run: Run) -> Sequence[Route]:
        """What is written outside of the project. Raises SelfhealError."""
        return run.request.routes

    def targets(self, run: Run) -> Sequence[NamedTarget]:
        """What is asked whether the release is good. Raises SelfhealError."""
        return run.request.health

    def settle(self, run: Run) -> Proof:
        """The new one is proven, and has the traffic: what served before may end. Raises SelfhealError."""
        return {}

    def before_back(self, run: Run) -> List[str]:
        """It has failed: what served before can take traffic again, before any route leads there. As `switch_back`."""
        return []


class TreeStrategy(Strategy):
    """A directory of files below ``deployments/``, current by a symbolic link."""

    def pull(self, run: Run) -> Proof:
        identity = pulled(run)
        run.keep(source=identity)
        return identity

    def build(self, run: Run) -> Proof:
        run.project.empty_trash()
        unpacked(run)
        outputs = build_commands(run)
        made = manifest.scan(run.project.build(run.entry.id), sync=True)
        made.write(run.project.built(run.entry.id))
        return {**made.summary(), **outputs}

    def copy(self, run: Run) -> Proof:
        project, identity = run.project, run.entry.id
        if project.stands(identity):
            self.verify(run)
            return dict(run.entry.manifest)
        built = run.project.build(identity)
        known = run.entry.proof(Phase.BUILDING)
        if not os.path.isdir(built):
            raise PhaseFailed(Reason.FILES_MISSING, "The build %s is gone, and no release was made of it yet. Deploy again." % built)
        before = manifest.load(project.built(identity), str(known.get("sha256")))
        if run.entry.resumed:
            problems = manifest.verify(built, before, but=[each.path for each in run.request.shared])
            if problems:
                raise PhaseFailed(Reason.TAMPERED, "The build %s has changed since: %s. Deploy again." % (built, _some(problems)))
        linked = project.link_shared(built, run.request.shared)
        made = before.with_links(linked)
        made.write(project.manifest(identity))
        run.keep(manifest=made.summary())
        project.promote(identity)
        project.discard_build(identity)
        return {**made.summary(), "shared": sorted(linked)}

    def verify(self, run: Run) -> None:
        verify_release(run, run.entry.release, run.entry.manifest)

    def switch(self, run: Run) -> Proof:
        project, target = run.project, run.target
        before = project.current_target()
        took = 0.0
        if before != target:
            away(run)
            if run.entry.previous is None:
                run.keep(previous=before, left=project.current())
            began = time.monotonic()
            project.switch(target)
            took = time.monotonic() - began
        proof: Proof = {"current": target, "before": run.entry.previous, "took_ms": round(took * 1000.0, 3)}
        outcome = run.restart()
        if outcome is not None:
            if outcome.status != "ok":
                raise PhaseFailed(Reason.RESTART_FAILED, "Restarting what runs the release: %s" % outcome.detail)
            proof["restarted"] = outcome.detail
        return proof

    def switch_back(self, run: Run) -> List[str]:
        entry, problems = run.entry, []
        if entry.previous is None:
            return []  # nothing was swapped yet
        if run.project.current_target() == run.target:
            run.project.switch(entry.previous)
        if not entry.previous:
            return []  # there was no release before: nothing that could be started
        outcome = run.restart()
        if outcome is not None and outcome.status != "ok":
            problems.append("restarting on the release before: %s" % outcome.detail)
        return problems

    def clear(self, run: Run) -> List[str]:
        if run.entry.kind == "rollback":
            return []
        run.project.discard_build(run.entry.id)
        if run.project.current() == run.entry.release:
            return ["release %s stays: current leads to it" % run.entry.release]
        run.project.set_aside(run.entry.id)
        return []


STRATEGIES: Mapping[str, Strategy] = {"upload": TreeStrategy(), "git": TreeStrategy()}


def strategy_for(request: Request) -> Strategy:
    """Who deploys such a source. What containers take is loaded only for an image."""
    if request.source.kind == "image":
        from .image_strategy import ImageStrategy

        return ImageStrategy()
    return STRATEGIES[request.source.kind]


def verify_release(run: Run, release: str, summary: Mapping[str, Any]) -> None:
    """Raises PhaseFailed when a release does not stand, or is not what was deployed."""
    place = run.project.release(release)
    if not run.project.stands(release):
        raise PhaseFailed(Reason.FILES_MISSING, "The release %s is missing." % place)
    if not summary:
        raise PhaseFailed(Reason.FILES_MISSING, "The release %s has no manifest: nothing proves that it is complete." % place)
    try:
        expected = manifest.load(run.project.manifest(release), str(summary.get("sha256")))
        problems = manifest.verify(place, expected)
    except manifest.TreeProblem as error:
        raise PhaseFailed(Reason.TAMPERED, str(error)) from error
    if problems:
        raise PhaseFailed(Reason.TAMPERED, "The release %s is not what was deployed: %s." % (place, _some(problems)))


def _some(problems: List[str]) -> str:
    more = ", and %d more" % (len(problems) - 3) if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


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


def route(run: Run, strategy: Strategy) -> Proof:
    """Write, validate and reload the routes."""
    wanted = strategy.routes(run)
    if not wanted:
        return {"routes": []}
    try:
        routes.remember(run.project.routes(run.entry.id), wanted)
        return {"routes": run.drive(routes.put(wanted))}
    except routes.RouteFailed as error:
        raise PhaseFailed(Reason.ROUTE_FAILED, str(error)) from error


def judge(run: Run, strategy: Strategy) -> Proof:
    """Ask the probes until all are well or time is over; then give traffic back, and let go what served before."""
    asks = [Ask(each.name, each.target, each.timeout or PROBE_TIMEOUT) for each in strategy.targets(run)]
    found = sweep(run.host, asks, wait_for=run.request.health_within)
    results = [one.as_result() for one in found]
    wrong = [one for one in found if one.status not in ("healthy", "degraded")]
    if wrong:
        # The exact last answer, so that nobody has to guess whether the probe or the release is wrong.
        words = "; ".join("%s: %s" % (one.name, one.detail) for one in wrong[:3])
        unhealthy = any(one.status == "unhealthy" for one in wrong)
        what = "%d of %d probes were not well within %g s: %s" % (len(wrong), len(found), run.request.health_within, words)
        raise PhaseFailed(Reason.UNHEALTHY if unhealthy else Reason.UNPROVEN, what)
    for problem in back(run):
        run.note(problem)
    settled = strategy.settle(run)
    return {"probes": results, **settled} if results else {"probes": [], "unproven": "no health probes were given", **settled}


def work_of(phase: Phase, strategy: Strategy) -> Callable[[Run], Proof]:
    return {
        Phase.PULLING_SOURCE: strategy.pull,
        Phase.BUILDING: strategy.build,
        Phase.COPYING_FILES: strategy.copy,
        Phase.CREATING_SYMLINKS: strategy.switch,
        Phase.UPDATING_ROUTES: lambda run: route(run, strategy),
        Phase.HEALTH_CHECK: lambda run: judge(run, strategy),
    }[phase]


__all__ = ["STRATEGIES", "Strategy", "TreeStrategy", "away", "back", "strategy_for", "verify_release", "work_of"]
