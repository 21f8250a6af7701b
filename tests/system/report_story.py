# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines of a fleet, and the report of them as the action plugin makes it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import sys
import types
from typing import Any

COLLECTION = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or pathlib.Path(__file__).resolve().parents[2])
for _name in ("ansible_collections", "ansible_collections.faultline", "ansible_collections.faultline.selfheal"):
    _package = types.ModuleType(_name)
    _package.__path__ = [str(COLLECTION)]
    sys.modules.setdefault(_name, _package)

from ansible_collections.faultline.selfheal.plugins.action import fleet_report  # noqa: E402
from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time  # noqa: E402
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import Head  # noqa: E402
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror, Told  # noqa: E402

NOW = 1795294218.0
DAY = 86400.0


class Story:
    """Timelines of hosts, as they are fetched: their lines are made here, as a host that was taken over would make them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.hosts: list[str] = []

    def host(self, name: str, told: list[tuple[float, str, str | None, str | None, dict[str, Any]]]) -> None:
        """(seconds before the end, type, service, incident, data), in any order."""
        lines, previous = [], "0" * 64
        for seq, (ago, type, service, incident, data) in enumerate(sorted(told, key=lambda each: -each[0]), 1):
            event = {"seq": seq, "timestamp": format_time(NOW - ago), "host": name, "service": service, "incident": incident, "type": type}
            event.update(source="watchdog", data=data, previous=previous)
            lines.append(json.dumps({key: value for key, value in event.items() if value is not None}).encode())
            previous = hashlib.sha256(lines[-1]).hexdigest()
        with Mirror(str(self.root / "mirror"), name, lambda: NOW) as mirror:
            mirror.fetch(lambda after: Told(True, lines, Head(len(lines), previous), False))
        self.hosts.append(name)

    def page(self, **more: Any) -> pathlib.Path:
        options = {"mirror": str(self.root / "mirror"), "dest": str(self.root / "out"), "hosts": self.hosts, "unreached": {}}
        fleet_report._make({**options, "title": "A fleet", **more}, NOW - 7 * DAY, NOW, False)
        return self.root / "out" / "index.html"


def incident(ago: float, service: str, took: float | None, **more: Any) -> list[tuple[float, str, str | None, str | None, dict[str, Any]]]:
    name, failed = "%s-%d" % (service, ago), format_time(NOW - ago)
    told = [
        (ago - 0.1, "failure", service, name, {"failure_time": failed, "reason": "liveness_failed", **more}),
        (ago - 0.2, "failover", service, name, {"reason": "liveness_failed"}),
        (ago - 1, "restart", service, name, {"rung": "restart", "attempt": 1}),
    ]
    if took is not None:
        end = {"failure_time": failed, "recovery_time": format_time(NOW - ago + took), "recovery_duration_ms": took * 1000}
        told.append((ago - took - 10, "recover", service, name, {**end, "rung": "restart", "cause": "oom_killed"}))
    return told


__all__ = ["DAY", "NOW", "Story", "incident"]
