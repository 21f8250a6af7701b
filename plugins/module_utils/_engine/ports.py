# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the healer needs besides a host and an actuator: what people and other healers have said, and a place to write."""

from __future__ import annotations

import abc
from typing import Any, Dict, Mapping, NamedTuple, Optional


class Held(NamedTuple):
    """A hold in force. until: monotonic seconds, None for ever."""

    text: str
    until: Optional[float] = None


class Desk(abc.ABC):
    """Holds, approvals and leases. `recheck`: seconds after which a blocked healer asks again; None where news is pushed."""

    recheck: Optional[float] = 1.0

    @abc.abstractmethod
    def hold(self, service: str) -> Optional[Held]:
        """The hold that binds this service, be it its own, the host's or the red button."""

    @abc.abstractmethod
    def approved(self, service: str) -> bool:
        """Is an unexpired approval waiting?"""

    @abc.abstractmethod
    def consume_approval(self, service: str) -> bool:
        """Take the approval; False when somebody else was quicker."""

    @abc.abstractmethod
    def lease(self, service: str) -> Optional[str]:
        """Who else holds what healing this service needs, in words; None when it is free or ours."""

    @abc.abstractmethod
    def take(self, service: str, purpose: str) -> Optional[str]:
        """Take the leases of a healing; None when they are ours now, else who holds them."""

    @abc.abstractmethod
    def release(self, service: str) -> None:
        """Give the leases back; nothing happens when they are not ours."""

    def maintenance(self) -> Optional[str]:
        """Why the host is in no state to be healed (booting, stopping, packages being changed), or None. The answer may be a second old."""
        return None

    def refresh(self) -> None:
        """An action is about to begin: answers given from now on are of now."""
        return None


class Stored(NamedTuple):
    """A service's state as it was saved; same_boot: its monotonic times still hold."""

    data: Mapping[str, Any]
    same_boot: bool


class Records(abc.ABC):
    """The timeline and the state files."""

    @abc.abstractmethod
    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        """Write one event durably; what cannot be written now is kept and written later. Returns it as it was written, if it was."""

    @abc.abstractmethod
    def save(self, service: str, data: Dict[str, Any]) -> None:
        """Replace the service's state."""

    @abc.abstractmethod
    def load(self, service: str) -> Optional[Stored]:
        """The service's state; None when there is none or it had to be set aside."""

    def refuse(self, service: str) -> Optional[str]:
        """The state that was loaded makes no sense: put it aside; where it is now, None where nothing was kept. Raises RecordError."""
        return None

    def overtaken(self, service: str) -> bool:
        """Has somebody else replaced the service's state since it was loaded or saved here?"""
        return False

    def unwritable(self) -> Optional[str]:
        """Why events cannot be written at present, or None."""
        return None


class Relayed(Records):
    """Records that hand everything on to `records`: what listens or adds overrides what it needs to."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        return self._records.record(type, service, incident, source, data)

    def save(self, service: str, data: Dict[str, Any]) -> None:
        self._records.save(service, data)

    def load(self, service: str) -> Optional[Stored]:
        return self._records.load(service)

    def refuse(self, service: str) -> Optional[str]:
        return self._records.refuse(service)

    def overtaken(self, service: str) -> bool:
        return self._records.overtaken(service)

    def unwritable(self) -> Optional[str]:
        return self._records.unwritable()


__all__ = ["Desk", "Held", "Records", "Relayed", "Stored"]
