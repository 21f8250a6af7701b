# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one page for people, that needs nothing else: no request leaves it, and no script but its own runs in it.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from ansible_collections.faultline.selfheal.plugins.module_utils._core.reasons import Reason
from ansible_collections.faultline.selfheal.plugins.plugin_utils._report import BUCKETS, Fleet

FILES = os.path.join(os.path.dirname(__file__), "..", "..", "roles", "report", "files")
LANES = 2000
"""So many lanes have a place in the picture, besides those of incidents that are shown one by one."""
LONGEST = 400
"""Characters of what a host says that are shown in one place."""
NAMED = 12
"""So many hosts are named in one sentence."""
RESTARTS = ("start", "restart", "recreate")
WHY = {
    Reason.HOLD: "a person said: hands off",
    Reason.OBSERVE: "the service, or its host, is only observed",
    Reason.AWAITING_APPROVAL: "a person must approve each action, and had not yet",
    Reason.ADMIN_STOPPED: "an admin stopped it, so it stays stopped",
    Reason.MAINTENANCE: "packages were being installed, or the host was starting or stopping",
    Reason.NOT_STARTED: "it was still starting",
    Reason.LEASE_HELD: "somebody else was at work on it",
    Reason.DEPENDENCY_DOWN: "what it depends on was down: a restart would not help",
    Reason.LAST_AVAILABLE: "too few others were ready to serve meanwhile",
    Reason.BUDGET_SPENT: "its actions for the hour were spent",
    Reason.COOLDOWN: "it rested after an action",
    Reason.BACKOFF: "it rested, longer after each failed action",
    Reason.FLAPPING: "it changed its state again and again",
    Reason.STORM: "much of the host failed at once: the cause is elsewhere",
    Reason.OWN_NETWORK_DOWN: "the host's own network was down",
    Reason.ENGINE_DOWN: "the container engine did not answer",
    Reason.RECORDS_UNWRITABLE: "the timeline could not be written",
}
"""What stands behind the reasons of guards, as people would say it."""
_MARK = re.compile(r"\{\{(\w+)\}\}")


@functools.lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """What cannot be printed, such as a line break or a sign that turns the direction of writing, is shown escaped; long text is cut."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


@functools.lru_cache(maxsize=8192)
def _escape(text: str) -> str:
    return html.escape(plain(text))


def page(data: dict[str, Any], fleet: Fleet) -> str:
    """The page. The checksums of its style and script go into its policy, so that no others count in it."""
    source, style = _file("page.html"), _file("page.css")
    script = _file("picture.js") + _file("page.js")
    total, when = data["total"], "%s to %s" % (data["from"][:16].replace("T", " "), data["to"][:16].replace("T", " "))
    allowed = "default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'" % (
        _checksum(style),
        _checksum(script),
    )
    mood, headline, verdict = _verdict(data)
    filled = {
        "policy": allowed,
        "style": style,
        "script": script,
        "title": _escape(data["title"]),
        "period": html.escape(when),
        "generated": html.escape(data["generated"][:19].replace("T", " ")),
        "mood": mood,
        "headline": headline,
        "verdict": verdict,
        "tiles": _tiles(total),
        "services": _services(data["services"], fleet),
        "rungs": _rungs(total["rungs"]),
        "recoveries": _recoveries(total["recoveries"]),
        "blocked": _blocked(total["blocked"]),
        "hosts": _hosts(data["hosts"]),
        "data": _embedded(fleet),
    }
    return _MARK.sub(lambda mark: filled.get(mark.group(1), mark.group(0)), source)


def _file(name: str) -> str:
    with open(os.path.join(FILES, name), encoding="utf-8") as file:
        return file.read()


def _checksum(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


# -- what the script draws


def _embedded(fleet: Fleet) -> str:
    """Small: indexes instead of names and words, seconds since the period's begin instead of dates."""
    words: dict[str, int] = {}

    def word(text: str) -> int:
        return words.setdefault(plain(text), len(words))

    incidents, marks = fleet.incidents.all(), fleet.marks.all()
    lanes = _lanes(fleet, {(each.host, each.service) for each in (*incidents, *marks)})
    place = {lane: index for index, lane in enumerate(lanes)}
    drawn = [
        [
            place[(each.host, each.service)],
            round(each.failed - fleet.begin, 3),
            None if each.ended is None else round(each.ended - fleet.begin, 3),
            each.took_ms,
            each.detected_ms,
            word(each.outcome),
            word(each.reason),
            word(each.cause),
            word(each.paged),
            [[round(at - fleet.begin, 3), word(type)] for at, type in each.steps],
            plain(each.name),
        ]
        for each in incidents
    ]
    beside = [[place[(each.host, each.service)], round(each.at - fleet.begin, 3), word(each.type), plain(each.detail)] for each in marks]
    made = {
        "begin": fleet.begin,
        "span": fleet.end - fleet.begin,
        "buckets": BUCKETS,
        "lanes": [[plain(host), plain(service), _counts(fleet.lanes.get((host, service), {}))] for host, service in lanes],
        "incidents": drawn,
        "all": fleet.incidents.count,
        "marks": beside,
        "words": list(words),
    }
    # "<" would end the element that holds it.
    return json.dumps(made, separators=(",", ":")).replace("<", "\\u003c")


def _lanes(fleet: Fleet, needed: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those with the most incidents first, then by name; all that are needed, others as far as there is room."""
    lanes = sorted({*fleet.lanes, *needed}, key=lambda lane: (-sum(fleet.lanes.get(lane, {}).values()), lane))
    return [lane for index, lane in enumerate(lanes) if index < LANES or lane in needed]


def _counts(buckets: dict[int, int]) -> list[int]:
    """Every bucket's count, or, which is never as long, of a few buckets their number and count."""
    if len(buckets) * 3 > BUCKETS:
        return [buckets.get(bucket, 0) for bucket in range(BUCKETS)]
    return [number for bucket in sorted(buckets) for number in (bucket, buckets[bucket])]


# -- what is read without a script


def _verdict(data: dict[str, Any]) -> tuple[str, str, str]:
    """The mood, one sentence, and what somebody should look at."""
    hosts = data["hosts"]
    if not hosts:
        return "warn", "No host is in this report", "<p>The selection of hosts was empty.</p>"
    tampered = [host["host"] for host in hosts if host["chain"] == "tampered"]
    still = ["%s on %s" % (each["service"], each["host"]) for each in data["incidents"] if each["outcome"] == "open"]
    away = [host["host"] for host in hosts if host["note"]]
    # What began before anything that is kept is among the incidents only.
    many = max(len(still), data["total"]["open"])
    gaps = [host["host"] for host in hosts if host["chain"] == "gap"]
    silent = [host["host"] for host in hosts if host["chain"] == "unknown" and not host["note"]]
    told = [
        ("bad", len(tampered), "timeline is not what it was", "timelines are not what they were", tampered),
        ("bad", many, "incident is open", "incidents are open", still),
        ("warn", len(away), "host was not reached, what is known of it is older", "hosts were not reached, what is known is older", away),
        ("warn", len(gaps), "timeline lost events before they were fetched", "timelines lost events before they were fetched", gaps),
        ("warn", len(silent), "host has recorded nothing", "hosts have recorded nothing", silent),
    ]
    told = [each for each in told if each[1]]
    if not told:
        return "good", "All is well", "<p>No incident is open, every host was reached, and every timeline is what it was.</p>"
    lines = ["<li>%d %s: %s</li>" % (count, one if count == 1 else more, _named(names, count)) for _mood, count, one, more, names in told]
    mood = told[0][0]
    return mood, "This wants a look" if mood == "warn" else "This needs somebody", "<ul>\n%s\n</ul>" % "\n".join(lines)


def _named(names: Sequence[str], count: int) -> str:
    shown = names[:NAMED]
    more = " and %d more" % (count - len(shown)) if count > len(shown) else ""
    return ", ".join("<bdi>%s</bdi>" % _escape(name) for name in shown) + more


def _tiles(total: dict[str, Any]) -> str:
    mttd, mttr = total["mttd_ms"], total["mttr_ms"]
    alone = 1 - total["paged"] / total["incidents"] if total["incidents"] else None
    restarts = sum(total["actions"].get(rung, {}).get("total", 0) for rung in RESTARTS)
    shown = [
        ("Hosts", _count(total["hosts"]), "%s not reached" % _count(total["unreached"])),
        ("Incidents", _count(total["incidents"]), "%s open" % _count(total["open"])),
        ("Healed without a person", _percent(alone), _some(total["pages"], "page")),
        ("Detected (MTTD)", span(mttd and mttd["median"]), "p95 %s, max %s" % (span(mttd and mttd["p95"]), span(mttd and mttd["max"]))),
        ("Recovered (MTTR)", span(mttr and mttr["median"]), "p95 %s, max %s" % (span(mttr and mttr["p95"]), span(mttr and mttr["max"]))),
        ("Between failures (MTBF)", span(total["mtbf_ms"]), "of one service on one host"),
        ("Availability", _percent(total["availability"], 3), "of the time on record"),
        ("Restarts", _count(restarts), "%s, %s flapped" % (_some(total["relapses"], "relapse"), _count(total["flaps"]))),
    ]
    return "\n".join("<div><dt>%s</dt><dd>%s<small>%s</small></dd></div>" % tuple(html.escape(part) for part in each) for each in shown)


def _services(services: dict[str, dict[str, Any]], fleet: Fleet) -> str:
    begun: dict[str, dict[int, int]] = {}
    for (_host, service), buckets in fleet.lanes.items():
        sums = begun.setdefault(service, {})
        for bucket, count in buckets.items():
            sums[bucket] = sums.get(bucket, 0) + count
    rows = []
    for name, each in sorted(services.items(), key=lambda pair: (-pair[1]["incidents"], pair[0])):
        mttd, mttr = each["mttd_ms"] or {}, each["mttr_ms"] or {}
        restarts = sum(counts["total"] for rung, counts in each["actions"].items() if rung in RESTARTS)
        cells = [
            _number(each["hosts"]),
            _number(each["availability"], _percent(each["availability"], 4)),
            _number(each["incidents"]),
            "<td>%s</td>" % _spark(begun.get(name, {})),
            _number(each["open"], kind=" open" if each["open"] else ""),
            *(
                _number(value, span(value))
                for value in (mttd.get("median"), mttr.get("median"), mttr.get("p95"), mttr.get("max"), each["mtbf_ms"])
            ),
            *(_number(value) for value in (restarts, each["flaps"], each["relapses"], each["pages"])),
        ]
        rows.append('<tr><th scope="row" data-only="service">%s</th>%s</tr>' % (_escape(name), "".join(cells)))
    return "\n".join(rows) or _nothing(15, "no service is on record")


def _spark(buckets: dict[int, int]) -> str:
    """When incidents began, over the period; the number stands beside it."""
    parts, most = 60, 0
    sums = [0] * parts
    for bucket, count in buckets.items():
        sums[bucket * parts // BUCKETS] += count
    most = max(sums)
    path = "".join(
        "M%d 20v-%.1fh1.6v%.1fz" % (index * 2, max(1.5, count / most * 19), max(1.5, count / most * 19))
        for index, count in enumerate(sums)
        if count
    )
    return (
        '<svg class="spark" viewBox="0 0 120 20" preserveAspectRatio="none" aria-hidden="true"><path d="%s"/></svg>' % path if most else ""
    )


def _rungs(rungs: dict[str, dict[str, Any]]) -> str:
    rows = [
        '<tr><th scope="row">%s</th>%s%s%s<td>%s</td></tr>'
        % (
            _escape(rung),
            _number(each["total"]),
            _number(each["recovered"]),
            _number(each["rate"], _percent(each["rate"])),
            _bar(each["rate"]),
        )
        for rung, each in rungs.items()
    ]
    return "\n".join(rows) or _nothing(5, "nothing was done")


def _recoveries(spans: list[dict[str, Any]]) -> str:
    all_of_them, rows = sum(each["count"] for each in spans), []
    while spans and not spans[-1]["count"]:
        spans = spans[:-1]
    for each in spans:
        words = "longer" if each["up_to_ms"] is None else span(each["up_to_ms"]).replace(".0 ", " ")
        share = each["count"] / all_of_them
        rows.append(
            '<tr><th scope="row">%s</th>%s%s<td>%s</td></tr>'
            % (words, _number(each["count"]), _number(share, _percent(share)), _bar(share))
        )
    return "\n".join(rows) or _nothing(4, "nothing recovered")


def _blocked(blocked: dict[str, int]) -> str:
    most, rows = max(blocked.values(), default=0), []
    for reason, count in sorted(blocked.items(), key=lambda each: (-each[1], each[0])):
        why = WHY.get(Reason(reason)) if reason in Reason._value2member_map_ else None
        text = "%s%s" % (_escape(reason), "<small>%s</small>" % html.escape(why) if why else "")
        rows.append('<tr><th scope="row">%s</th>%s<td>%s</td></tr>' % (text, _number(count), _bar(count / most, " held")))
    return "\n".join(rows) or _nothing(3, "nothing was blocked")


def _hosts(hosts: list[dict[str, Any]]) -> str:
    rows = []
    for host in hosts:
        problems = [*(each["problem"] for each in host["faults"][-3:]), *([host["note"]] if host["note"] else [])]
        head = host["head"]
        rows.append(
            '<tr><th scope="row" data-only="host">%s</th><td class="%s">%s</td>%s'
            '<td class="time">%s</td><td>%s</td><td class="text">%s</td></tr>'
            % (
                _escape(host["host"]),
                host["chain"],
                host["chain"],
                _number(host["events"]),
                html.escape((host["to"] or "–")[:19].replace("T", " ")),
                html.escape("%s:%s…" % (head["seq"], str(head["hash"])[:12]) if head["seq"] else "–"),
                _escape("; ".join(problems)),
            )
        )
    return "\n".join(rows) or _nothing(6, "no host")


def _nothing(columns: int, words: str) -> str:
    return '<tr><td colspan="%d" class="quiet">%s</td></tr>' % (columns, html.escape(words))


def _number(value: float | None, text: str | None = None, kind: str = "") -> str:
    """A cell that is sorted by its value."""
    shown = text if text is not None else "–" if value is None else _count(int(value))
    return '<td class="n%s"%s>%s</td>' % (kind, "" if value is None else ' data-v="%s"' % value, html.escape(shown))


def _bar(share: float | None, kind: str = "") -> str:
    """A share as a bar; the number stands beside it."""
    if share is None:
        return ""
    return (
        '<svg class="share%s" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="of" width="100" height="10"/>'
        '<rect class="is" width="%.1f" height="10"/></svg>' % (kind, share * 100)
    )


def _count(number: int) -> str:
    return "{:,}".format(number).replace(",", "\u202f")


def _some(number: int, what: str) -> str:
    return "%s %s%s" % (_count(number), what, "" if number == 1 else "s")


def _percent(share: float | None, digits: int = 1) -> str:
    """Rounded down where it would say more than is true: 100 % is all."""
    if share is None:
        return "–"
    shown = "%.*f" % (digits, share * 100)
    if share < 1 and float(shown) >= 100:
        shown = "%.*f" % (digits, 100 - 10**-digits)
    return "%s %%" % shown


def span(milliseconds: float | None) -> str:
    """A span as people read it."""
    if milliseconds is None:
        return "–"
    for limit, divisor, unit in ((1000, 1, "ms"), (60_000, 1000, "s"), (3_600_000, 60_000, "min"), (172_800_000, 3_600_000, "h")):
        if milliseconds < limit:
            return ("%.0f %s" if divisor == 1 else "%.1f %s") % (milliseconds / divisor, unit)
    return "%.1f d" % (milliseconds / 86_400_000)


__all__ = ["FILES", "WHY", "page", "plain", "span"]
