# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves what a healer knows and takes it up again, also after a reboot."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional

from .._core import breaker, health
from .._core import memory as memories
from .._core.apply import action_ended
from .._core.errors import RecordError
from .._core.health import ProbeHealth
from .._core.memory import Memory
from .._core.model import Service
from .._core.reasons import Reason
from .._host import Host
from .ports import Records


class Kept(NamedTuple):
    """What was taken up. healths: of the instance the memory names; breakers: as `Surroundings.to_data` wrote them."""

    memory: Memory
    healths: Optional[Dict[str, ProbeHealth]]
    breakers: Mapping[str, Any]


class Keeper:
    """One service's state file."""

    def __init__(self, service: Service, host: Host, records: Records, source: str) -> None:
        self._service = service
        self._host = host
        self._records = records
        self._source = source

    def save(self, memory: Memory, healths: Mapping[str, ProbeHealth], breakers: Dict[str, Any]) -> None:
        data = memories.to_data(memory, self._host.monotonic(), self._host.wall())
        data["healths"] = health.to_data(healths)
        data["breakers"] = breakers
        self._records.save(self._service.name, data)

    def load(self) -> Optional[Kept]:
        """None when there is nothing to take up. An action that was under way is never repeated; another boot closes an open incident."""
        stored = self._records.load(self._service.name)
        if stored is None:
            return None
        try:
            if stored.same_boot:
                memory = action_ended(memories.from_data(stored.data), "interrupted", self._host.monotonic())
                healths = health.from_data(self._service, _mapping(stored.data, "healths"))
                breakers = _mapping(stored.data, "breakers")
                for raw in breakers.values():
                    if not isinstance(raw, dict) or "state" in raw:
                        breaker.from_data(raw)
                return Kept(memory, healths, breakers)
            memory, closed = memories.after_reboot(stored.data, self._host.monotonic(), self._host.wall())
        except RecordError as error:
            aside = self._records.refuse(self._service.name)
            kept = {"aside": aside} if aside is not None else {}
            self._say("state_reset", None, {"reason": "unreadable", "detail": str(error), **kept})
            return None
        if closed is not None:
            self._say("state_reset", closed.id, {"reason": Reason.HOST_REBOOTED.value, "phase": closed.phase.value})
        found = stored.data.get("breakers")
        known = found if isinstance(found, dict) else {}
        # Breakers begin afresh; where traffic goes meanwhile was decided by them, and no boot of this host has changed it.
        places = {name: {"traffic": raw["traffic"]} for name, raw in known.items() if isinstance(raw, dict) and "traffic" in raw}
        return Kept(memory, None, places)

    def _say(self, type: str, incident: Optional[str], data: Dict[str, Any]) -> None:
        self._records.record(type, self._service.name, incident, self._source, data)


def _mapping(data: Mapping[str, Any], key: str) -> Dict[str, Any]:
    found = data.get(key) or {}
    if not isinstance(found, dict):
        raise RecordError("reading a service's state: its %s are %.40r" % (key, found))
    return found


__all__ = ["Keeper", "Kept"]
