# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a container gets any traffic: it runs, has not ended once, its own health check has passed, and the probes that ask it are well.

One that has neither a health check nor such a probe has to run for `STEADY` seconds, which proves little; whoever deploys is told so.
"""

from __future__ import annotations

from typing import List, Optional, Sequence

from .._actuators import container_state as states
from .._actuators.container_state import Told, of
from .._core.image_request import asks_container, pointed
from .._core.reasons import Reason
from .._core.targets import NamedTarget
from .._probes.sweep import Ask, sweep
from .deploy_run import PhaseFailed
from .image_bodies import address_of
from .image_engine import Containers, pause

STEADY = 2.0
POLL = 0.1
PROBE_TIMEOUT = 4.0


def gate(containers: Containers, identity: str, health: Sequence[NamedTarget], within: float, fresh: bool = True) -> Told:
    """Wait until it may have traffic. Returns what stands there. Raises PhaseFailed with the last answer that it gave.

    fresh: it was made for this, so that its policy has not started it again even once.
    """
    host = containers.host
    end = host.monotonic() + within
    told = _well(containers, identity, end, fresh)
    asked = [each for each in health if asks_container(each.target)]
    if asked:
        _probed(containers, told, asked, max(0.0, end - host.monotonic()))
    elif states.health(told) is None:
        pause(host, STEADY)
    after = _runs(containers, identity, fresh)
    if states.life(after) != states.life(told):
        raise PhaseFailed(Reason.UNHEALTHY, "%s: it was started again while it was judged" % states.describe(after))
    if states.health(after) == "unhealthy":
        raise PhaseFailed(Reason.UNHEALTHY, _said(after))
    return after


def unproven(told: Told, health: Sequence[NamedTarget]) -> Optional[str]:
    """Why a gate that was passed says little, None where it says enough."""
    if states.health(told) is not None or any(asks_container(each.target) for each in health):
        return None
    return "%s was given traffic because it ran for %g s: it has no health check of its own, and no probe asks it at the host container" % (
        states.name_of(told),
        STEADY,
    )


def targets(told: Told, health: Sequence[NamedTarget]) -> List[NamedTarget]:
    """The probes with addresses in place of the container's own. Raises PhaseFailed."""
    return [each._replace(target=pointed(each.target, lambda port: address_of(told, port))) for each in health]


def _well(containers: Containers, identity: str, end: float, fresh: bool) -> Told:
    """Until its own health check has passed, where it has one."""
    while True:
        told = _runs(containers, identity, fresh)
        health = states.health(told)
        if health in (None, "healthy"):
            return told
        if health == "unhealthy":
            raise PhaseFailed(Reason.UNHEALTHY, _said(told))
        if containers.host.monotonic() >= end:
            raise PhaseFailed(Reason.UNPROVEN, "%s: its own health check has not passed in time (health_within)" % _said(told))
        pause(containers.host, POLL)


def _runs(containers: Containers, identity: str, fresh: bool) -> Told:
    told = containers.find(identity)
    if told is None:
        raise PhaseFailed(Reason.UNHEALTHY, "the container %s is gone: somebody removed it" % identity[:12])
    if of(told, "State", "Status") != "running" or (fresh and int(told.get("RestartCount") or 0)):
        raise PhaseFailed(Reason.UNHEALTHY, _said(told))
    return told


def _probed(containers: Containers, told: Told, asked: Sequence[NamedTarget], within: float) -> None:
    found = sweep(
        containers.host, [Ask(each.name, each.target, each.timeout or PROBE_TIMEOUT) for each in targets(told, asked)], wait_for=within
    )
    wrong = [one for one in found if one.status not in ("healthy", "degraded")]
    if wrong:
        # Whoever reads it shall not have to guess whether the probe or the image is wrong.
        last = "; ".join("%s: %s" % (one.name, one.detail) for one in wrong[:3])
        now = containers.find(str(told["Id"]))
        what = "%s before it got any traffic: %s" % (_said(now or told), last)
        raise PhaseFailed(Reason.UNHEALTHY if any(one.status == "unhealthy" for one in wrong) else Reason.UNPROVEN, what)


def _said(told: Told) -> str:
    said = states.health_said(told)
    return "%s%s" % (states.describe(told), " %s" % said if said else "")


__all__ = ["STEADY", "gate", "targets", "unproven"]
