# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as files: JSON for machines, CSV for spreadsheets.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import tempfile
from typing import IO, Any

from ansible_collections.faultline.selfheal.plugins.module_utils._core.times import format_time
from ansible_collections.faultline.selfheal.plugins.plugin_utils._incidents import Incident
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import Fleet

COLUMNS = (
    "host",
    "service",
    "incident",
    "failure_time",
    "detected_ms",
    "recovery_time",
    "recovery_duration_ms",
    "outcome",
    "reason",
    "cause",
    "paged",
    "steps",
)
SERVICE_COLUMNS = ("host", "service", "incidents", "open", "recovered", "availability", "mttd_ms", "mttr_ms", "mtbf_ms", "pages", "flaps")
_encode = json.JSONEncoder(separators=(",", ":")).encode
# What a spreadsheet would take for a formula: at the beginning of a cell, or of what another country's separator makes one.
_FORMULA = re.compile(r"(^|[;|])(?=\s*[-=+@\uff1d\uff0b\uff0d\uff20])")
# Line breaks, tabs and other controls would begin a row or a cell of their own; directions of writing would turn what follows.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Output:
    """A file that is replaced when it is complete, and not otherwise. Use it as a context. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._path = path
        descriptor, self._temporary = tempfile.mkstemp(prefix=".%s." % os.path.basename(path), dir=os.path.dirname(path))
        self.file: IO[str] = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")

    def __enter__(self) -> IO[str]:
        return self.file

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            with self.file:
                if kind is None:
                    self.file.flush()
                    os.fchmod(self.file.fileno(), 0o640)
                    os.fsync(self.file.fileno())
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            if os.path.exists(self._temporary):
                os.unlink(self._temporary)


def cell(value: Any) -> Any:
    """A value for a spreadsheet. Text from hosts (a service can be named by anybody) stays text, whatever it begins with."""
    return _text(value) if isinstance(value, str) else value


@functools.lru_cache(maxsize=4096)
def _text(value: str) -> str:
    return _FORMULA.sub(r"\1'", _CONTROL.sub(" ", value))


def incident_row(incident: Incident) -> list[Any]:
    return [
        cell(incident.host),
        cell(incident.service),
        cell(incident.name),
        format_time(incident.failed),
        incident.detected_ms,
        None if incident.ended is None else format_time(incident.ended),
        incident.took_ms,
        incident.outcome,
        cell(incident.reason),
        cell(incident.cause),
        cell(incident.paged),
        " ".join([type for _at, type in incident.steps]),
    ]


def write_services(file: IO[str], fleet: Fleet) -> None:
    """One line for each service of each host."""
    writer = csv.writer(file)
    writer.writerow(SERVICE_COLUMNS)
    for host in fleet.hosts:
        for name, service in sorted(host.statistics.services.items()):
            found = service.result()
            for key in ("mttd_ms", "mttr_ms"):
                found[key] = found[key]["median"] if found[key] else None
            writer.writerow([cell(host.host), cell(name), *(found[column] for column in SERVICE_COLUMNS[2:])])


def write_json(file: IO[str], data: dict[str, Any]) -> None:
    """One line for each key, and for each entry of a list: quick to write, and to be compared with the report of last time."""
    made = ["%s: %s" % (_encode(key), _lines(value) if isinstance(value, list) else _encode(value)) for key, value in data.items()]
    file.write("{\n%s\n}\n" % ",\n".join(made))


def _lines(values: list[Any]) -> str:
    return "[\n%s\n]" % ",\n".join(map(_encode, values)) if values else "[]"


__all__ = ["COLUMNS", "Output", "SERVICE_COLUMNS", "cell", "incident_row", "write_json", "write_services"]
