# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which actuator serves which resource, which leases healing it takes, and what this version cannot act on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

from .._actuators.base import Actuator, Work
from .._actuators.commanded import Commanded
from .._core.errors import SelfhealError
from .._core.model import ContainerResource, ProcessResource, ProcessTarget, Service, UnitResource
from .._host import Host
from .._probes.unit import BOOTED
from .job import Job

if TYPE_CHECKING:
    from .._actuators.container_engine import ContainerEngine
    from .._actuators.released import Errand

T = TypeVar("T")


class UnsupportedResource(SelfhealError):
    """A contract names a kind of resource that nothing here can act on."""


def actuator_for(
    service: Service,
    run_dir: str,
    state_dir: str,
    boot_id: str,
    engine: Optional[ContainerEngine] = None,
    errand: Optional[Errand] = None,
) -> Actuator:
    """The actuator of a service. `engine`: whose containers are meant; `errand`: makes the steps that redeploy and roll back its release.

    Raises UnsupportedResource naming the service.
    """
    inner = _resource(service, run_dir, state_dir, boot_id, engine)
    if service.release is not None and errand is not None:
        from .._actuators.released import Released

        inner = Released(service.release, inner, errand)
    return Commanded(service, inner)


def _resource(service: Service, run_dir: str, state_dir: str, boot_id: str, engine: Optional[ContainerEngine]) -> Actuator:
    problem = unsupported(service)
    if problem is not None:
        raise UnsupportedResource("service %s: %s" % (service.name, problem))
    if isinstance(service.resource, UnitResource):
        from .._actuators.systemd import UnitActuator

        return UnitActuator(service.resource.name, run_dir, boot_id)
    if isinstance(service.resource, ContainerResource):
        from .._actuators.container import ContainerActuator

        return ContainerActuator(service.resource.name, engine or container_engine(), health_counts(service))
    if not isinstance(service.resource, ProcessResource):
        raise UnsupportedResource("service %s: nothing here acts on %s" % (service.name, service.resource.kind))
    from .._actuators.process import ProcessActuator

    return ProcessActuator(service.name, service.resource, run_dir, boot_id, os.path.join(state_dir, "log"))


def health_counts(service: Service) -> bool:
    """Does a probe ask for the container's own health check?"""
    return any(isinstance(probe.target, ProcessTarget) and probe.target.pidfile is None for probe in service.probes)


def container_engine() -> ContainerEngine:
    """The engine of this host's containers. Raises BadAddress."""
    from .._actuators.container_api import address_of
    from .._actuators.container_engine import ContainerEngine

    return ContainerEngine(address_of(os.environ))


def unsupported(service: Service) -> Optional[str]:
    """Why the service cannot be watched at all, or None."""
    if isinstance(service.resource, UnitResource) and not os.path.isdir(BOOTED):
        return "systemd does not run this machine; name its process or container instead of a unit"
    return None


class Here(NamedTuple):
    """By service. wrong: why its contract is wrong on this host. unknown: why that cannot be told at present."""

    wrong: Dict[str, str]
    unknown: Dict[str, str]


def wrong_here(services: Sequence[Service], host: Host) -> Here:
    """Do the units and containers that contracts name exist? Asked of systemd and of the container engine; waits for them.

    A container that a release is deployed as may be made by the first deployment.
    """
    from .._actuators.systemd import UnitActuator

    found = Here({}, {})
    engine: Optional[ContainerEngine] = None
    for service in services:
        if isinstance(service.resource, UnitResource) and unsupported(service) is None:
            problem = _driven(UnitActuator(service.resource.name, os.devnull, "").problem(), host, str)
            if problem is not None:
                found.wrong[service.name] = problem
        elif isinstance(service.resource, ContainerResource) and service.release is None:
            from .._actuators.container import ContainerActuator

            engine = engine or container_engine()
            wrong, why = _driven(ContainerActuator(service.resource.name, engine).problem(), host, _untold)
            if why:
                (found.wrong if wrong else found.unknown)[service.name] = why
    return found


def _untold(error: Exception) -> Tuple[bool, str]:
    return False, "asking the container engine broke: %s" % error


def _driven(work: Work[T], host: Host, crashed: Callable[[Exception], T]) -> T:
    """The result of a work that nobody else waits for."""
    ended: List[T] = []
    job: Job[T] = Job(host, work, None, ended.append, crashed)
    job.begin()
    while not ended:
        for handle in host.poll(host.monotonic() + 1.0):
            job.ended(handle)
    return ended[0]


def not_acted_on(service: Service) -> List[str]:
    """What the contract promises beyond what is done about it here, in words."""
    found = []
    for rung in service.ladder:
        if rung.rung in ("redeploy", "rollback") and rung.command is None and rung.http is None and service.release is None:
            found.append("ladder: %s needs a release, a command or an http call in this version; it is passed over" % rung.rung)
    return found


def lease_names(service: Service, key: str) -> Tuple[str, ...]:
    """What healing a service takes: its resource and its release project."""
    if service.release is None:
        return (key,)
    return key, "project:%s" % os.path.join(service.release.root, service.release.project)


__all__ = [
    "Here",
    "UnsupportedResource",
    "actuator_for",
    "container_engine",
    "health_counts",
    "lease_names",
    "not_acted_on",
    "unsupported",
    "wrong_here",
]
