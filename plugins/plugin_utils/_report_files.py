# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as files: JSON for machines, CSV for spreadsheets, one page for people that needs nothing else.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import IO, Any

from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import BUCKETS, Fleet, Incident

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
_FORMULA = re.compile(r"^[=+\-@\t\r]")
_MARK = re.compile(r"\{\{(\w+)\}\}")


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
    """A value for a spreadsheet: text that one would run as a formula is marked as text (a service can be named by anybody)."""
    return "'" + value if isinstance(value, str) and _FORMULA.match(value) else value


def incident_row(incident: Incident) -> list[Any]:
    data = incident.as_data()
    data["steps"] = " ".join(step["type"] for step in data["steps"])
    return [cell(data[column]) for column in COLUMNS]


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


def page(source: str, data: dict[str, Any], fleet: Fleet) -> str:
    """The page: `source` with its marks filled. The script's checksum goes into the policy, so that no other script runs in it."""
    begin = source.index("<script>") + len("<script>")
    script = source[begin : source.index("</script>", begin)]
    checksum = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    total = data["total"]
    filled = {
        "policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'" % checksum,
        "title": html.escape(data["title"]),
        "period": html.escape("%s to %s" % (data["from"][:16].replace("T", " "), data["to"][:16].replace("T", " "))),
        "generated": html.escape(data["generated"]),
        "numbers": _numbers(total),
        "chains": _chains(data["hosts"]),
        "services": _services(data["services"]),
        "rungs": _rows(
            [(rung, each["total"], each["recovered"], _percent(each["rate"])) for rung, each in total["rungs"].items()], "nothing was done"
        ),
        "blocked": _rows(sorted(total["blocked"].items(), key=lambda each: -each[1]), "nothing was blocked"),
        "lanes": str(min(len(fleet.lanes), 400)),
        "data": _embedded(data, fleet),
    }
    return _MARK.sub(lambda mark: filled.get(mark.group(1), mark.group(0)), source)


def _embedded(data: dict[str, Any], fleet: Fleet) -> str:
    """What the script draws, small: indexes instead of names, seconds since the period's begin instead of dates."""
    lanes = sorted(fleet.lanes, key=lambda lane: (-sum(fleet.lanes[lane].values()), lane))
    place = {lane: index for index, lane in enumerate(lanes)}
    drawn = [
        [
            place[(each.host, each.service)],
            round(each.failed - fleet.begin, 3),
            None if each.ended is None else round(each.ended - fleet.begin, 3),
            each.took_ms,
            each.outcome,
            each.reason,
            each.cause,
            each.paged,
            [[round(at - fleet.begin, 3), type] for at, type in each.steps],
            each.name,
        ]
        for each in fleet.newest
    ]
    made = {
        "begin": fleet.begin,
        "span": fleet.end - fleet.begin,
        "buckets": BUCKETS,
        "lanes": [[host, service, sorted(fleet.lanes[(host, service)].items())] for host, service in lanes],
        "incidents": drawn,
        "all": fleet.incidents,
    }
    # "<" would end the element that holds it.
    return json.dumps(made, separators=(",", ":")).replace("<", "\\u003c")


def _rows(rows: Iterable[Sequence[Any]], nothing: str) -> str:
    made = []
    for first, *rest in rows:
        cells = "".join("<td>%s</td>" % html.escape(str("–" if each is None else each)) for each in rest)
        made.append('<tr><th scope="row">%s</th>%s</tr>' % (html.escape(str(first)), cells))
    return "\n".join(made) or '<tr><td colspan="9" class="quiet">%s</td></tr>' % html.escape(nothing)


def _numbers(total: dict[str, Any]) -> str:
    mttd, mttr = total["mttd_ms"], total["mttr_ms"]
    alone = None if not total["incidents"] else 1 - min(total["pages"], total["incidents"]) / total["incidents"]
    shown = [
        ("Hosts", str(total["hosts"]), "%d not reached" % total["unreached"]),
        ("Incidents", str(total["incidents"]), "%d open" % total["open"]),
        ("Without a person", _percent(alone), "%d pages" % total["pages"]),
        ("Detected after", span(mttd and mttd["median"]), "p95 %s, max %s" % (span(mttd and mttd["p95"]), span(mttd and mttd["max"]))),
        ("Recovered after", span(mttr and mttr["median"]), "p95 %s, max %s" % (span(mttr and mttr["p95"]), span(mttr and mttr["max"]))),
        ("Between failures", span(total["mtbf_ms"]), "%d relapses, %d flapped" % (total["relapses"], total["flaps"])),
        ("Availability", _percent(total["availability"], 4), "of the time that is on record"),
    ]
    return "\n".join("<div><dt>%s</dt><dd>%s<small>%s</small></dd></div>" % tuple(html.escape(part) for part in each) for each in shown)


def _chains(hosts: list[dict[str, Any]]) -> str:
    rows = []
    for host in hosts:
        problem = "; ".join(each["problem"] for each in host["faults"][-3:]) or host["note"]
        head = host["head"]
        text = "%s:%s…" % (head["seq"], str(head["hash"])[:12]) if head["seq"] else "–"
        rows.append(
            '<tr><th scope="row">%s</th><td><span class="mark %s">%s</span></td><td>%d</td><td>%s</td><td>%s</td><td>%s</td></tr>'
            % (
                html.escape(host["host"]),
                host["chain"],
                host["chain"],
                host["events"],
                html.escape((host["to"] or "–")[:19].replace("T", " ")),
                html.escape(text),
                html.escape(problem),
            )
        )
    return "\n".join(rows) or '<tr><td colspan="6" class="quiet">no host</td></tr>'


def _services(services: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, each in sorted(services.items(), key=lambda pair: (-pair[1]["incidents"], pair[0])):
        mttd, mttr = each["mttd_ms"], each["mttr_ms"]
        restarts = sum(counts["total"] for rung, counts in each["actions"].items() if rung in ("start", "restart", "recreate"))
        rows.append(
            (
                name,
                each["hosts"],
                _percent(each["availability"], 4),
                each["incidents"],
                each["open"],
                span(mttd and mttd["median"]),
                " / ".join(span(mttr and mttr[key]) for key in ("median", "p95", "max")),
                span(each["mtbf_ms"]),
                restarts,
                each["flaps"],
                each["pages"],
            )
        )
    return _rows(rows, "no service is on record")


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else "%.*f %%" % (digits, share * 100)


def span(milliseconds: float | None) -> str:
    """A span as people read it."""
    if milliseconds is None:
        return "–"
    for limit, divisor, unit in ((1000, 1, "ms"), (60_000, 1000, "s"), (3_600_000, 60_000, "min"), (172_800_000, 3_600_000, "h")):
        if milliseconds < limit:
            return ("%.0f %s" if divisor == 1 else "%.1f %s") % (milliseconds / divisor, unit)
    return "%.1f d" % (milliseconds / 86_400_000)


__all__ = ["COLUMNS", "Output", "cell", "incident_row", "page", "span", "write_services"]
