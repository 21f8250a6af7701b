# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment does in each of its phases. Every phase may be killed anywhere and done again; it returns what proves its result.

`STRATEGIES` says who does it for which kind of source: a tree of files, or an image and its container. They share journal, leases,
routes and health.
"""

from __future__ import annotations

from typing import Callable, Mapping

from .._actuators import routes
from .._core.deployment import Phase
from .._core.deployment_request import Request
from .._core.reasons import Reason
from .._probes.sweep import Ask, sweep
from .deploy_run import PhaseFailed, Run
from .deploy_traffic import back
from .strategy import Proof, Strategy
from .tree_strategy import TreeStrategy

PROBE_TIMEOUT = 4.0
STRATEGIES: Mapping[str, Strategy] = {"upload": TreeStrategy(), "git": TreeStrategy()}


def strategy_for(request: Request) -> Strategy:
    """Who deploys such a source. What containers take is loaded only for an image."""
    if request.source.kind == "image":
        from .image_strategy import ImageStrategy

        return ImageStrategy()
    return STRATEGIES[request.source.kind]


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


__all__ = ["STRATEGIES", "strategy_for", "work_of"]
