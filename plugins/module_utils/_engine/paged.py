# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records that the pager listens to: what calls a person, and what takes the call back, is an event first."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from .pager import Pager
from .ports import Records, Relayed


class PagedRecords(Relayed):
    """`records`, and the pager told. The event is durable before the page: should the process die between, the healer decides it again."""

    def __init__(self, records: Records, pager: Pager) -> None:
        super().__init__(records)
        self._pager = pager

    def record(
        self,
        type: str,
        service: Optional[str] = None,
        incident: Optional[str] = None,
        source: str = "watchdog",
        data: Optional[Dict[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        written = self._records.record(type, service, incident, source, data)
        if incident is not None:
            if type == "page":
                self._pager.paged(service, incident, data or {}, written)
            elif type == "recover":
                self._pager.recovered(incident, data or {})
            elif type == "page_resolved":
                self._pager.resolved(incident, written)
        return written


__all__ = ["PagedRecords"]
