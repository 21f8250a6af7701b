# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that turn events of a timeline into numbers. Their documentation stands in the .yml files beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import parse_time
from ansible_collections.faultline.selfheal.plugins.module_utils._records.statistics import ServiceStatistics, Statistics


def _counted(name: str, events: Any, service: str | None, until: str | None = None) -> ServiceStatistics:
    if isinstance(events, (str, Mapping)) or not isinstance(events, Iterable):
        raise AnsibleFilterError("%s: expected a list of events, as timeline_info returns them; found %s" % (name, type(events).__name__))
    try:
        end = None if until is None else parse_time(until)
    except ValueError as error:
        raise AnsibleFilterError("%s: until: %s" % (name, error)) from error
    found = Statistics()
    for place, event in enumerate(events):
        if not isinstance(event, Mapping):
            raise AnsibleFilterError("%s: events[%d]: expected an event; found %s" % (name, place, type(event).__name__))
        if end is None or _before(event, end):
            found.add(event)
    found.close(end)
    merged = ServiceStatistics()
    for each in sorted(found.services):
        if service is None or each == service:
            merged.merge(found.services[each])
    return merged


def _before(event: Mapping[str, Any], end: float) -> bool:
    try:
        return parse_time(str(event.get("timestamp"))) <= end
    except ValueError:
        return False  # it has no time, and counts nowhere


def recovery_stats(events: Any, service: str | None = None) -> dict[str, Any]:
    """What the events say in numbers about one service, or all."""
    return _counted("recovery_stats", events, service).result()


def availability(events: Any, service: str | None = None, until: str | None = None) -> float | None:
    """The share of the time on record in which no incident was open; None when nothing is on record."""
    share: float | None = _counted("availability", events, service, until).result()["availability"]
    return share


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"availability": availability, "recovery_stats": recovery_stats}
