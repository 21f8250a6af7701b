# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site on which everything is looked at and nothing is done: for check mode."""

from __future__ import annotations

import json
import math
from typing import Any, Callable, Dict, Mapping, Optional

from .._actuators.base import Actuator, Around, Timed, Work
from .._core.model import Dependency, Service, WatchdogConfig
from .._host import Host, Outcome
from .._proc import Pause
from .._records.state import StateStore, same_boot
from .local import LocalDesk, Site
from .ports import Records, Stored
from .traffic import Fallback


class RehearsedRecords(Records):
    """Reads what was saved; writes nowhere but to memory."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._saved: Dict[str, str] = {}

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        return None

    def save(self, service: str, data: Dict[str, Any]) -> None:
        self._saved[service] = json.dumps(data)

    def load(self, service: str) -> Optional[Stored]:
        if service in self._saved:
            return Stored(json.loads(self._saved[service]), True)
        data = self._store.peek(service)
        return Stored(data, same_boot(data)) if data is not None else None


class RehearsedDesk(LocalDesk):
    """What people and other healers say holds; nothing is taken."""

    def consume_approval(self, service: str) -> bool:
        return self.approved(service)

    def take(self, service: str, purpose: str) -> Optional[str]:
        return self.lease(service)

    def release(self, service: str) -> None:
        """Nothing was taken."""


class RehearsedActuator(Around):
    """Looks, and never ends an action: what would follow from it nobody can know, so that the first one is the rehearsal's end."""

    def start(self) -> Work[Outcome]:
        return _nothing()

    def restart(self) -> Work[Outcome]:
        return _nothing()

    def redeploy(self) -> Work[Outcome]:
        return _nothing()

    def rollback(self) -> Work[Outcome]:
        return _nothing()

    def proven(self, rung: str) -> Optional[Work[Outcome]]:
        return None


def _nothing() -> Work[Outcome]:
    outcome = yield Timed(Pause(), math.inf)
    return outcome


class RehearsalSite(Site):
    """As `Site`: real probes, real holds and leases, and no effect."""

    def __init__(
        self, etc: str, config: WatchdogConfig, host: Host, source: str, wrap: Optional[Callable[[Records], Records]] = None
    ) -> None:
        super().__init__(etc, config, host, source)
        records = RehearsedRecords(self.store)
        self.records = wrap(records) if wrap is not None else records
        self.diagnostics = None
        self.desk = RehearsedDesk(self.desk.holds, self.desk.approvals, self.desk.leases, self.local, host, source)

    def actuator(self, service: Service) -> Actuator:
        return RehearsedActuator(super().actuator(service))

    def fallback(self, service: Service) -> Optional[Fallback]:
        return None

    def dependency_fallback(self, rules: Dependency) -> Optional[Fallback]:
        return None


__all__ = ["RehearsalSite", "RehearsedActuator", "RehearsedDesk", "RehearsedRecords"]
