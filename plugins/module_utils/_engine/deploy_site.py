# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment needs of its host: leases, holds, the timeline, and what can restart a service. Light: no healer is made.

A deployment takes a lease of its own beside the project's and those of what it restarts. On the ladder it acts under the healer's, which it
proves to be held; should that healer die meanwhile, its own lease still keeps every other deployment away.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._actuators.base import Actuator
from .._actuators.release import Project
from .._core.deployment_request import Request
from .._core.errors import ContractError, LeaseHeld, SelfhealError
from .._core.model import Resource, Service, UnitResource, WatchdogConfig
from .._host import Host
from .._records.buffer import Recorder
from .._records.files import Owner, boot_id
from .._records.holds import Holds
from .._records.lease import Held, LeaseSet
from .._records.timeline import Timeline
from .etc import Etc, load_services
from .resources import actuator_for, lease_names

LEASE_SECONDS = 3600.0
ASK_AGAIN = 0.25


class Forbidden(SelfhealError):
    """A person's hold keeps hands off; says whose and why."""


@dataclass(frozen=True)
class Under:
    """A healer's errand: it holds the leases of `service`, whose resource is restarted. `owner`: the process that holds them."""

    service: str
    resource: Resource
    owner: Owner
    incident: Optional[str] = None


class DeploySite:
    """`source` is what events say: module, operator or watchdog."""

    def __init__(self, etc: str, config: WatchdogConfig, host: Host, source: str) -> None:
        self.etc = Etc(etc)
        self.config = config
        self.host = host
        self.source = source
        self.timeline = Timeline(os.path.join(config.state_dir, "timeline"), config.host, retention=config.retention)
        self.recorder = Recorder(self.timeline)
        self.holds = Holds(config.state_dir, etc)
        self.leases = LeaseSet(os.path.join(config.run_dir, "leases"))
        self.warnings: List[str] = []
        """What people should know also where no deployment came of it."""
        self.told: List[Dict[str, Any]] = []
        """Every event of this run, as it was meant."""

    def close(self) -> None:
        self.recorder.flush()
        self.timeline.close()

    def record(self, type: str, service: Optional[str], incident: Optional[str], data: Mapping[str, Any]) -> None:
        """An event; what cannot be written now waits in memory, and whoever runs us is told at the end."""
        self.told.append({"type": type, **data})
        self.recorder.record(type, service, incident, self.source, data)

    # -- who may

    def obey(self, services: Tuple[str, ...], override: Tuple[str, ...] = ()) -> None:
        """Raises Forbidden when a person holds the host or one of these services."""
        for name in services or (None,):
            found = self.holds.active(name)
            if found is None:
                continue
            if "hold" not in override:
                who = name or "this host"
                raise Forbidden("%s is held by %s: %s. Nothing was deployed." % (who, found.owner, found.reason or "no reason given"))
            self.record("override", name, None, {"owner": self.source, "reasons": ["hold"]})

    def take(self, names: Tuple[str, ...], purpose: str, wait: float, under: Optional[Under]) -> Held:
        """The leases of a deployment, within `wait` seconds. Raises LeaseHeld naming the holder, RecordError."""
        if under is not None:
            self._prove(names[1:], under)
            names = names[:1]
        end = self.host.monotonic() + wait
        while True:
            try:
                held = self.leases.acquire(names, "a deployment (%s)" % self.source, purpose, LEASE_SECONDS)
                break
            except LeaseHeld:
                now = self.host.monotonic()
                if now >= end:
                    raise
                self.host.poll(min(end, now + ASK_AGAIN))
        for lost in held.takeovers:
            self.record("lease_takeover", None, None, lost.as_data())
        return held

    def _prove(self, names: Tuple[str, ...], under: Under) -> None:
        """Raises LeaseHeld unless the healer that sent us holds every one of them, and lives."""
        for name in names:
            found = self.leases.holder(name)
            if found is None or found.owner != under.owner or under.owner.alive() is not True:
                raise LeaseHeld("%s; the healer that asked for this does not hold it (any more)." % (found or "Nobody holds %s" % name))

    def lease_names(
        self, project: Project, actuator: Optional[Actuator], service: Optional[Service], also: Tuple[str, ...] = ()
    ) -> Tuple[str, ...]:
        """Our own first; then the project's, by both names where its root is reached through a link, what is restarted, and `also`."""
        names = ["project:%s" % project.given, "project:%s" % project.path, *also]
        if actuator is not None:
            names.append(actuator.key)
        if service is not None and actuator is not None:
            names.extend(lease_names(service, actuator.key))
        return ("deployment:%s" % project.path,) + tuple(sorted(set(names)))

    # -- what is restarted

    def services(self) -> Tuple[Service, ...]:
        """The contracts of this host; none where there are none. Raises ContractError, Unreadable."""
        return load_services(self.etc.contracts) if os.path.lexists(self.etc.contracts) else ()

    def of_project(self, project: Project) -> Tuple[str, ...]:
        """The services whose releases are this project's."""
        try:
            contracts = self.services()
        except ContractError:
            return ()  # broken contracts heal nothing, and `check` says so; they must not keep a release with their repair away
        found = [each for each in contracts if each.release is not None]
        here = [
            each for each in found if each.release is not None and Project(each.release.root, each.release.project).path == project.path
        ]
        return tuple(each.name for each in here)

    def restarter(self, request: Request, under: Optional[Under]) -> Tuple[Optional[Actuator], Optional[Service]]:
        """What restarts what runs the release, and its contract. Raises ContractError, UnsupportedResource."""
        if under is not None:
            return self._actuator(Service(under.service, under.resource, ())), None
        if request.restart is None:
            return None, None
        if request.restart.kind == "unit":
            return self._actuator(Service("unit", UnitResource(request.restart.name), ())), None
        for service in self.services():
            if service.name == request.restart.name:
                return self._actuator(service), service
        raise Forbidden(
            "restart.service: there is no contract %s in %s. Write it with the role faultline.selfheal.watchdog, or name a unit."
            % (request.restart.name, self.etc.contracts)
        )

    def _actuator(self, service: Service) -> Actuator:
        return actuator_for(service, self.config.run_dir, self.config.state_dir, boot_id())


__all__ = ["DeploySite", "Forbidden", "LEASE_SECONDS", "Under"]
