# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This host's real desk and records, and healers made from contracts: the same for the daemon, the modules and the command line."""

from __future__ import annotations

import functools
import os
import zlib
from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

from .._actuators.base import Actuator, Instance
from .._core.errors import LeaseHeld, RecordError
from .._core.model import ContainerResource, Dependency, ExecTarget, HttpTarget, Notify, Probe, ProcessTarget, Service, WatchdogConfig
from .._core.reasons import Reason
from .._host import Host, Step
from .._probes.exec import ExecProbe
from .._probes.kinds import step_for
from .._records.approvals import Approvals
from .._records.breakers import Breakers
from .._records.buffer import Recorder
from .._records.diagnostics import Bundles
from .._records.files import boot_id
from .._records.holds import Holds
from .._records.lease import Held as HeldLeases
from .._records.lease import LeaseInfo, LeaseSet
from .._records.pages import Page, Pages
from .._records.state import StateStore, Version, incident_in, same_boot
from .._records.timeline import Timeline
from .diagnostics import Diagnostics
from .fallbacks import fallback_for
from .forced import ForcedBreakers
from .healer import Healer
from .maintenance import HostState
from .network import NetworkWatch
from .paged import PagedRecords
from .pager import Pager
from .ports import Desk, Held, Records, Stored
from .resources import actuator_for, container_engine, lease_names
from .storm import StormWatch, lasting_storm
from .surroundings import Wiring
from .traffic import Fallback

if TYPE_CHECKING:
    from .containers import ContainerWatch

LEASE_SECONDS = 3600.0
FLUSH_EVERY = 5.0


class LocalRecords(Records):
    """The timeline and state files of this host. What cannot be written is kept, said once, and written later."""

    def __init__(self, recorder: Recorder, store: StateStore, host: Host) -> None:
        self.recorder = recorder
        self._store = store
        self._host = host
        self._unsaved: Dict[str, Dict[str, Any]] = {}
        self._versions: Dict[str, Optional[Version]] = {}
        self._problem = ""
        self._tried_at = 0.0

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        return self.recorder.record(type, service, incident, source, data)

    def save(self, service: str, data: Dict[str, Any]) -> None:
        try:
            self._store.save(service, data)
        except RecordError as error:
            self._unsaved[service] = data
            self._problem = str(error)
            return
        self._versions[service] = self._store.version(service)
        self._unsaved.pop(service, None)

    def load(self, service: str) -> Optional[Stored]:
        version = self._store.version(service)
        data = self._store.load(service)
        self._versions[service] = version if data is not None else None
        return Stored(data, same_boot(data)) if data is not None else None

    def refuse(self, service: str) -> Optional[str]:
        aside = self._store.put_aside(service, "it makes no sense")
        self._versions[service] = self._store.version(service)
        return aside

    def overtaken(self, service: str) -> bool:
        return service in self._versions and self._store.version(service) != self._versions[service]

    def unwritable(self) -> Optional[str]:
        if self.recorder.writable and not self._unsaved:
            return None
        now = self._host.monotonic()
        if now >= self._tried_at + FLUSH_EVERY:
            self._tried_at = now
            self.recorder.flush()
            for service, data in list(self._unsaved.items()):
                self.save(service, data)
        if not self.recorder.writable:
            return self.recorder.problem
        return self._problem if self._unsaved else None


class LocalDesk(Desk):
    """Holds, approvals and leases as they lie on this host."""

    def __init__(self, holds: Holds, approvals: Approvals, leases: LeaseSet, records: LocalRecords, host: Host, holder: str) -> None:
        self.holds = holds
        self.approvals = approvals
        self.leases = leases
        self._records = records
        self._host = host
        self._holder = holder
        self._state = HostState()
        self._names: Dict[str, Tuple[str, ...]] = {}
        self._mine: Dict[str, HeldLeases] = {}

    def needs(self, service: str, names: Tuple[str, ...]) -> None:
        """Healing `service` takes these leases."""
        self._names[service] = names

    def hold(self, service: Optional[str]) -> Optional[Held]:
        """None: what holds all of this host."""
        found = self.holds.active(service)
        if found is None:
            return None
        until = None if found.expires is None else self._host.monotonic() + max(0.0, found.expires - self._host.wall())
        return Held("held by %s: %s" % (found.owner, found.reason or "no reason given"), until)

    def approved(self, service: str) -> bool:
        return self.approvals.peek(service) is not None

    def consume_approval(self, service: str) -> bool:
        try:
            return self.approvals.consume(service) is not None
        except RecordError:
            return False  # what cannot be used up allows nothing; the guard goes on saying that it waits

    def maintenance(self) -> Optional[str]:
        return self._state.why(self._host.monotonic())

    def refresh(self) -> None:
        self._state.forget()

    def lease(self, service: str) -> Optional[str]:
        if service in self._mine:
            return None
        for name in self._names.get(service, ()):
            try:
                found = self.leases.holder(name)
            except RecordError as error:
                return str(error)
            if found is not None and self._binds(found):
                return str(found)
        return None

    def _binds(self, found: LeaseInfo) -> bool:
        return found.person or found.owner is None or found.owner.alive() is not False

    def take(self, service: str, purpose: str) -> Optional[str]:
        if service in self._mine:
            return None
        try:
            held = self.leases.acquire(self._names.get(service, ()), self._holder, "%s %s" % (purpose, service), LEASE_SECONDS)
        except (LeaseHeld, RecordError) as error:
            return str(error)
        self._mine[service] = held
        for lost in held.takeovers:
            self._records.record("lease_takeover", service, data=lost.as_data())
        return None

    def release(self, service: str) -> None:
        held = self._mine.pop(service, None)
        if held is None:
            return
        try:
            held.release()
        except RecordError as error:
            self._records.record("note", service, data={"text": "a lease could not be given back: %s" % error})


class Site:
    """One host's places and everything a healer needs there. `source` is what its events say: watchdog, module, operator."""

    def __init__(
        self,
        etc: str,
        config: WatchdogConfig,
        host: Host,
        source: str = "watchdog",
        journal: Optional[Callable[[Mapping[str, Any]], None]] = None,
        wrap: Optional[Callable[[Records], Records]] = None,
    ) -> None:
        self.etc = etc
        self.config = config
        self.host = host
        self.source = source
        self.timeline = Timeline(os.path.join(config.state_dir, "timeline"), config.host, retention=config.retention)
        self.recorder = Recorder(self.timeline, journal)
        self.store = StateStore(os.path.join(config.state_dir, "state"), self._reset)
        self.local = inner = LocalRecords(self.recorder, self.store, host)
        told: Records = wrap(inner) if wrap is not None else inner
        self.contracts: Dict[str, Service] = {}
        self._healers: Dict[str, Healer] = {}
        spool = Pages(config.state_dir, self._damaged)
        # Only who stays takes up what others leave: a run is over soon.
        self.pager = Pager(host, config.host, spool, told, self.told_about, source, self._stands if source == "watchdog" else None)
        self.records: Records = PagedRecords(told, self.pager)
        self.containers: Optional[ContainerWatch] = None
        self.companions: List[Any] = [self.pager]
        """What rides on the loop of whoever turns our healers; grows when a contract names the first container."""
        holds, approvals = Holds(config.state_dir, etc), Approvals(config.state_dir)
        self.desk = LocalDesk(holds, approvals, LeaseSet(os.path.join(config.run_dir, "leases")), inner, host, source)
        self.watched: List[str] = []
        self.forced = ForcedBreakers(Breakers(config.state_dir, self._damaged))
        self.companions.append(self.forced)
        self.network: Optional[NetworkWatch] = None
        reference = config.network_reference
        if reference is not None:
            self.network = NetworkWatch(reference, host, lambda: _step(reference))
            self.companions.append(self.network)
        self.diagnostics: Optional[Diagnostics] = Diagnostics(Bundles(config.state_dir), config.host)
        lasting = functools.partial(lasting_storm, spool)
        self.storm = StormWatch(config.storm, lambda: len(self.watched), self.records, lambda: host.wall() - host.monotonic(), lasting)

    def healer(self, service: Service, operated: bool = False, override: FrozenSet[Reason] = frozenset(), delay: float = 0.0) -> Healer:
        """A healer of one service. Raises UnsupportedResource."""
        config = self.config
        actuator = self.actuator(service)
        self.desk.needs(service.name, lease_names(service, actuator.key))
        if service.name not in self.watched:
            self.watched.append(service.name)
        wiring = Wiring(
            ask_dependency=lambda rules: _step(rules.probe),
            ask_peer=lambda url: step_for(HttpTarget(url)),
            fallback=self.fallback(service),
            dependency_fallback=self.dependency_fallback,
            storm=None if operated else self.storm,
            diagnostics=self.diagnostics,
            forced=self.forced,
            network=self.network,
            ask_warm=lambda rules: step_for(rules.http),
            keeps_warm=not operated,
        )
        if service.name not in self.contracts or self.contracts[service.name].notify != service.notify:
            self.contracts[service.name] = service
            self.pager.retarget()
        made = self._healers[service.name] = Healer(
            service,
            self.host,
            actuator,
            self.desk,
            self.records,
            self._prober(service, actuator),
            operated=operated,
            override=override,
            phase=share("%s phase" % config.host) * 10.0,
            delay=delay,
            jitter=share("%s %s" % (config.host, service.name)),
            source=self.source,
            wiring=wiring,
        )
        return made

    def actuator(self, service: Service) -> Actuator:
        """What acts on the service's resource. Raises UnsupportedResource."""
        containers = self._containers() if isinstance(service.resource, ContainerResource) else None
        engine = None if containers is None else containers.engine
        errand = None
        if service.release is not None:
            from .errands import Errands

            errand = Errands(self.etc, self.config, self.source).of(service)
        return actuator_for(service, self.config.run_dir, self.config.state_dir, boot_id(), engine, errand)

    def _containers(self) -> ContainerWatch:
        """Who hears the events of this host's container engine. Raises BadAddress."""
        if self.containers is None:
            from .containers import ContainerWatch

            healers = self._healers.values
            self.containers = ContainerWatch(
                container_engine(),
                self.host,
                self.records,
                lambda: [each for each in healers() if isinstance(each.service.resource, ContainerResource)],
                self.source == "watchdog",
            )
            self.companions.append(self.containers)
        return self.containers

    @staticmethod
    def _prober(service: Service, actuator: Actuator) -> Callable[[Probe, Optional[Instance]], Step]:
        prober = Prober(actuator)
        if not isinstance(service.resource, ContainerResource) or service.fallback is not None:
            return prober
        from .containers import Excused

        return lambda probe, instance: Excused(prober(probe, instance), actuator.away)

    def fallback(self, service: Service) -> Optional[Fallback]:
        """What moves its traffic."""
        return fallback_for(service.fallback, self.config.state_dir, self.config.run_dir)

    def dependency_fallback(self, rules: Dependency) -> Optional[Fallback]:
        """What is used instead of a dependency."""
        return fallback_for(rules.fallback, self.config.state_dir, self.config.run_dir)

    def forget(self, service: str) -> None:
        """The service is not watched here any more."""
        if service in self.watched:
            self.watched.remove(service)
        self.contracts.pop(service, None)
        self._healers.pop(service, None)
        self.storm.over(service)  # who is not watched any more keeps nobody waiting
        self.pager.unwatched(service)

    def told_about(self, service: Optional[str]) -> Optional[Tuple[Notify, ...]]:
        """Who is told about a service, or (None) about the host; None for a service that has no contract here."""
        if service is None:
            return self.config.notify
        contract = self.contracts.get(service)
        if contract is None:
            return None
        return contract.notify if contract.notify is not None else self.config.notify

    def _stands(self, page: Page) -> Optional[bool]:
        """Is the incident of a page still open? None when nobody here watches what it is about."""
        if page.service is None:
            return page.incident in (self.storm.incident, self.containers.incident if self.containers is not None else None)
        healer = self._healers.get(page.service)
        if healer is None:
            return None
        incident = healer.memory.incident
        if incident is not None and incident.id == page.incident:
            return True
        # A run beside us may have opened it, and its word has not reached our healer yet.
        saved = self.store.peek(page.service) or {}
        kept = incident_in(saved)
        return same_boot(saved) and kept.get("id") == page.incident

    def _damaged(self, path: str, aside: str, problem: str) -> None:
        self.records.record("state_reset", source=self.source, data={"reason": problem, "path": path, "aside": aside})

    def _reset(self, service: str, aside: str, problem: str) -> None:
        self.records.record("state_reset", service, source=self.source, data={"reason": problem, "aside": aside})


class Prober:
    """Makes a probe's step once and uses it again, unless it asks after the present instance."""

    def __init__(self, actuator: Optional[Actuator] = None) -> None:
        self._actuator = actuator
        self._steps: Dict[str, Step] = {}

    def __call__(self, probe: Probe, instance: Optional[Instance]) -> Step:
        if probe.kind == "process":
            own = isinstance(probe.target, ProcessTarget) and probe.target.pidfile is None
            asked = self._actuator.probe(instance) if own and self._actuator is not None else None
            if asked is not None:
                return asked
            return step_for(probe.target, resource_instance=instance.id if instance is not None else None)
        step = self._steps.get(probe.name)
        if step is None:
            step = self._steps[probe.name] = _step(probe)
        return step


def _step(probe: Probe) -> Step:
    if isinstance(probe.target, ExecTarget):
        return ExecProbe(probe.target, probe.timeout)
    return step_for(probe.target)


def share(text: str) -> float:
    """A number from 0 to 1 that is always the same for `text`: jitter that differs between hosts and not between runs."""
    return (zlib.crc32(text.encode("utf-8")) & 0xFFFFFFFF) / 4294967296.0


__all__ = ["LocalDesk", "LocalRecords", "Prober", "Site", "share"]
