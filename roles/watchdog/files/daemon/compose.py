# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a healer together on this host: its actuator, its probes, its desk and its records."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, FrozenSet, Mapping, Optional, Tuple

from .._actuators.base import Actuator, Instance
from .._core.errors import LeaseHeld, RecordError
from .._core.model import Dependency, HttpTarget, Probe, Service, WatchdogConfig
from .._core.reasons import Reason
from .._engine.healer import Healer
from .._engine.ports import Desk, Held, Records, Stored
from .._engine.storm import StormWatch
from .._engine.surroundings import Wiring
from .._engine.traffic import Unsupported
from .._host import Step
from .._probes.engine import LocalHost
from .._probes.kinds import step_for
from .._records import lease as leases
from .._records.approvals import Approvals
from .._records.buffer import Recorder
from .._records.files import boot_id
from .._records.holds import Holds
from .._records.state import StateStore
from .._records.timeline import Timeline
from .ledger import Ledger
from .log import ERROR, Log

LEASE_FOR = 3600.0
"""A lease of ours ends by itself after so many seconds, should nobody be able to tell whether we live."""


class NoActuator(Exception):
    """Nothing here can act on a kind of resource."""


def actuator_for(service: Service, run_dir: str, log_dir: Optional[str]) -> Actuator:
    """What acts on a service's resource. Raises NoActuator."""
    kind = service.resource.kind
    if kind == "process":
        from .._actuators.process import ProcessActuator

        return ProcessActuator(service.name, service.resource, run_dir, boot_id(), log_dir)  # type: ignore[arg-type]
    raise NoActuator("this version of selfheal cannot act on a resource of kind %s" % kind)


class LocalDesk(Desk):
    """What people and other healers of this host have said, in files."""

    def __init__(self, host: LocalHost, holds: Holds, approvals: Approvals, held: leases.LeaseSet, records: Records) -> None:
        self.names: Dict[str, Tuple[str, ...]] = {}
        """By service: the leases that healing it takes."""
        self._host = host
        self._holds = holds
        self._approvals = approvals
        self._leases = held
        self._records = records
        self._ours: Dict[str, leases.Held] = {}

    def hold(self, service: str) -> Optional[Held]:
        hold = self._holds.active(service)
        if hold is None:
            return None
        until = None if hold.expires is None else self._host.monotonic() + hold.expires - self._host.wall()
        return Held("held by %s%s" % (hold.owner, ": %s" % hold.reason if hold.reason else ""), until)

    def approved(self, service: str) -> bool:
        return self._approvals.peek(service) is not None

    def consume_approval(self, service: str) -> bool:
        return self._approvals.consume(service) is not None

    def lease(self, service: str) -> Optional[str]:
        if service in self._ours:
            return None
        for name in self.names[service]:
            found = self._leases.holder(name)
            if found is not None and (found.person or found.owner is None or found.owner.alive() is not False):
                return str(found)
        return None

    def take(self, service: str, purpose: str) -> Optional[str]:
        if service in self._ours:
            return None
        try:
            held = self._leases.acquire(self.names[service], "selfheal watchdog", purpose, LEASE_FOR)
        except (LeaseHeld, RecordError) as error:
            return str(error)
        self._ours[service] = held
        for taken in held.takeovers:
            self._records.record("lease_takeover", service, None, "watchdog", taken.as_data())
        return None

    def release(self, service: str) -> None:
        held = self._ours.pop(service, None)
        if held is not None:
            held.release()


class LocalRecords(Records):
    """The timeline and the state files of this host."""

    def __init__(self, recorder: Recorder, log: Log, store: StateStore) -> None:
        self._recorder = recorder
        self._log = log
        self._store = store
        self._unsaved: Dict[str, Mapping[str, Any]] = {}

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._recorder.record(type, service, incident, source, data)

    def save(self, service: str, data: Dict[str, Any]) -> None:
        try:
            self._store.save(service, data)
            self._unsaved.pop(service, None)
        except RecordError as error:
            if not self._unsaved:
                self._log.say(str(error), ERROR)
            self._unsaved[service] = data

    def load(self, service: str) -> Optional[Stored]:
        data = self._store.load(service)
        return None if data is None else Stored(data, data.get("boot_id") == boot_id())

    def unwritable(self) -> Optional[str]:
        if not self._recorder.writable:
            return self._recorder.problem
        return "the state of %s cannot be written" % ", ".join(self._unsaved) if self._unsaved else None

    def flush(self) -> None:
        """Try again what could not be written."""
        self._recorder.flush()
        for service, data in list(self._unsaved.items()):
            self.save(service, dict(data))


class Composition:
    """Everything on this host that healers share. `told` is called with every event recorded here."""

    def __init__(
        self, etc: str, config: WatchdogConfig, host: LocalHost, log: Log, told: Callable[[str, Optional[str], Dict[str, Any]], None]
    ) -> None:
        self._config = config
        self._host = host
        self.timeline = Timeline(os.path.join(config.state_dir, "timeline"), config.host, journal=log.event, retention=config.retention)
        self.recorder = Recorder(self.timeline, journal=log.event)
        store = StateStore(os.path.join(config.state_dir, "state"), self._reset)
        self.records = LocalRecords(self.recorder, log, store)
        self.ledger = Ledger(self.records, told)
        held = leases.LeaseSet(os.path.join(config.run_dir, "leases"))
        self.desk = LocalDesk(host, Holds(config.state_dir, etc), Approvals(config.state_dir), held, self.ledger)
        self.storm = StormWatch(config.storm, lambda: len(self.desk.names), self.ledger, lambda: host.wall() - host.monotonic())

    def healer(self, service: Service, operated: bool = False, override: FrozenSet[Reason] = frozenset(), **given: Any) -> Healer:
        """A healer of one service. Raises NoActuator."""
        run = os.path.join(self._config.run_dir, "services")
        actuator = actuator_for(service, run, os.path.join(self._config.state_dir, "log"))
        names = [actuator.key]
        if service.release is not None:
            names.append("release:%s/%s" % (service.release.root, service.release.project))
        self.desk.names[service.name] = tuple(names)
        fallback = Unsupported(service.fallback.kind) if service.fallback is not None else None
        wiring = Wiring(_dependency, _peer, fallback, None if operated else self.storm)
        return Healer(service, self._host, actuator, self.desk, self.ledger, _prober, operated, override, wiring=wiring, **given)

    def forget(self, name: str) -> None:
        """A service is no longer watched."""
        self.desk.names.pop(name, None)

    def close(self) -> None:
        self.timeline.close()

    def _reset(self, service: str, aside: str, problem: str) -> None:
        self.ledger.record("state_reset", service, None, "watchdog", {"reason": "unreadable", "detail": problem, "set_aside": aside})


def _prober(probe: Probe, instance: Optional[Instance]) -> Step:
    return step_for(probe.target, resource_instance=instance.id if instance is not None else None)


def _dependency(rules: Dependency) -> Step:
    return step_for(rules.probe.target)


def _peer(url: str) -> Step:
    return step_for(HttpTarget(url))


__all__ = ["Composition", "LocalDesk", "LocalRecords", "NoActuator", "actuator_for"]
