# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page for people: one piece of plain HTML, light or dark as the reader likes it, without script or anything from elsewhere."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --well: #176639; --bad: #b3261e; --odd: #7a5200; --calm: #57606a;
 --line: #d0d7de; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e6e9ed; --well: #56d383; --bad: #ff8b82; --odd: #e8b84a;
 --calm: #a3adb8; --line: #3a424b; --link: #7cb7ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 1.5rem auto; padding: 0 1rem; background: var(--back);
 color: var(--text); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; } p { margin: .3rem 0; }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--calm); font-weight: 600; white-space: nowrap; } tbody th { font-weight: 600; }
td.wide { overflow-wrap: anywhere; min-width: 16rem; } .number { white-space: nowrap; font-variant-numeric: tabular-nums; }
time { white-space: nowrap; } .note, footer { color: var(--calm); } footer { margin-top: 2rem; }
.healthy, .closed, .recovered { color: var(--well); } .unhealthy, .open { color: var(--bad); font-weight: 600; }
.degraded, .not_ready, .half_open, .forced_open { color: var(--odd); font-weight: 600; }
.unknown, .stopped, .disabled, .closed_by_reboot { color: var(--calm); }
@media print { .scroll { overflow: visible; } }
"""
STYLE_HASH = "KC9UxnyErfgXkEeL9p9nAi+CE5dZVG1iIwdSxZxvcbI="
"""Base64 of the SHA-256 of `STYLE`, by which the browser is told that this style is ours; a test holds it."""
ALLOWS = "style-src 'sha256-%s'; " % STYLE_HASH

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_LONGEST = 400
"""Characters of what others say that are shown in one place."""


def escape(value: Any) -> str:
    """As text in HTML. What cannot be printed, such as a character that turns the direction of writing, is shown escaped."""
    text = str(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "\u2026"
    return text.translate(_ESCAPES)


def render(
    summary: Dict[str, Any], services: List[Dict[str, Any]], incidents: Sequence[Dict[str, Any]] = (), refresh: Optional[int] = None
) -> bytes:
    """The page, from what `Board.summary`, `Board.services` and `Board.incidents` say. refresh: load again every so many seconds."""
    host, status = escape(summary["host"]), str(summary["status"])
    again = '<meta http-equiv="refresh" content="%d">' % refresh if refresh is not None else ""
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        "%s<title>%s: %s</title><style>%s</style></head><body><main>" % (again, host, _words(status), STYLE),
        '<h1>%s <span class="%s">%s</span></h1><p>%s</p>' % (host, escape(status), _words(status), escape(summary["sentence"])),
        _warnings(summary),
        _table("services", "Services", _SERVICES, [_service(each) for each in services], "The contracts name no service."),
        _table("incidents", "Last incidents", _INCIDENTS, [_incident(each) for each in incidents], "None that is remembered."),
        _table("breakers", "Breakers", _BREAKERS, _breakers(services), "No service has a fallback or a dependency."),
        _table("holds", "Holds", _HOLDS, [_hold(each) for each in services if each["held"]], "Nobody holds anything."),
        "</main><footer>%s</footer></body></html>\n" % _foot(summary, refresh),
    ]
    return "\n".join(parts).encode("utf-8", "backslashreplace")


_SERVICES = ("Service", "State", "Rung", "Uptime", "Response", "Checks", "Last success", "What is being done, or why nothing")
_INCIDENTS = ("Incident", "Service", "Failed", "Why", "Probable cause", "Steps", "Outcome", "Took", "Paged")
_BREAKERS = ("In front of", "Of", "State", "Traffic")
_HOLDS = ("Service", "Held")


def _table(name: str, title: str, header: Sequence[str], rows: Sequence[str], nothing: str) -> str:
    heading = '<section><h2 id="%s">%s</h2>' % (name, title)
    if not rows:
        return '%s<p class="note">%s</p></section>' % (heading, nothing)
    cells = "".join('<th scope="col">%s</th>' % each for each in header)
    # What may be wider than the window can be scrolled with the keyboard, too.
    scroll = '<div class="scroll" role="region" aria-labelledby="%s" tabindex="0">' % name
    return "%s%s<table><thead><tr>%s</tr></thead><tbody>\n%s\n</tbody></table></div></section>" % (heading, scroll, cells, "\n".join(rows))


def _row(first: str, *cells: str) -> str:
    return '<tr><th scope="row">%s</th>%s</tr>' % (first, "".join(cells))


def _cell(text: str, kind: str = "") -> str:
    return "<td%s>%s</td>" % (' class="%s"' % kind if kind else "", text)


def _service(each: Dict[str, Any]) -> str:
    checks, state = each["checks"], str(each["state"])
    return _row(
        escape(each["name"]),
        _cell(_words(state), escape(state)),
        _cell(_or_none(each["rung"])),
        _cell("" if each["uptime_percent"] is None else "%.2f&nbsp;%%" % each["uptime_percent"], "number"),
        _cell("" if each["response_time_ms"] is None else "%.1f&nbsp;ms" % each["response_time_ms"], "number"),
        _cell("%d/%d" % (checks["ok"], checks["all"]), "number"),
        _cell(_time(each["last_success"])),
        _cell(escape(each["sentence"]), "wide"),
    )


def _incident(each: Dict[str, Any]) -> str:
    steps = ", ".join("%s %s" % (step["type"], step["attempt"] or "") for step in each["steps"][-6:])
    more = "\u2026 " if len(each["steps"]) > 6 else ""
    took = each["recovery_duration_ms"]
    return _row(
        escape(each["incident"]),
        _cell(_or_none(each["service"])),
        _cell(_time(each["failure_time"])),
        _cell(_words(each["reason"])),
        _cell(" ".join(text for text in (_words(each["probable_cause"]), escape(each["probable_detail"] or "")) if text)),
        _cell(more + escape(steps)),
        _cell(_words(each["outcome"]), escape(each["outcome"])),
        _cell("" if took is None else "%.3f&nbsp;s" % (took / 1000.0), "number"),
        _cell(_words(each["paged"])),
    )


def _breakers(services: List[Dict[str, Any]]) -> List[str]:
    rows = []
    for each in services:
        if each.get("traffic") is not None and each.get("breaker") is not None:
            rows.append(_breaker(each["name"], "the service itself", each["breaker"], _words(each["traffic"])))
        rows += [_breaker(each["name"], dependency["name"], dependency["breaker"], "") for dependency in each["dependencies"]]
    return rows


def _breaker(service: str, of: str, state: str, traffic: str) -> str:
    return _row(escape(service), _cell(escape(of)), _cell(_words(state), escape(state)), _cell(traffic))


def _hold(each: Dict[str, Any]) -> str:
    return _row(escape(each["name"]), _cell(escape(each["held"])))


def _warnings(summary: Dict[str, Any]) -> str:
    found = []
    if summary["contracts_refused"]:
        found.append("The newest contracts were refused; older ones are in force: %s" % escape(summary["contracts_refused"]))
    if summary["timeline"]["unwritable"]:
        found.append("The timeline cannot be written: %s" % escape(summary["timeline"]["unwritable"]))
    if summary["mode_ceiling"] != "auto":
        found.append("On this host no service goes beyond mode %s." % escape(summary["mode_ceiling"]))
    return "".join('<p class="unhealthy">%s</p>' % each for each in found)


def _foot(summary: Dict[str, Any], refresh: Optional[int]) -> str:
    head = summary["timeline"]
    link = '<a href="/?refresh=10">Load again every 10 seconds</a>' if refresh is None else '<a href="/">Stop loading again</a>'
    words = "<p>Timeline head %d: %s</p><p>Last cycle %s &middot; selfheal %s &middot; read-only &middot; %s</p>"
    return words % (head["seq"], escape(head["hash"][:16]), _time(summary["last_cycle"]), escape(summary["version"]), link)


def _words(value: Any) -> str:
    return "" if value is None else escape(str(value).replace("_", " "))


def _or_none(value: Any) -> str:
    return "\u2013" if value is None else escape(value)


def _time(value: Any) -> str:
    return "never" if not value else '<time datetime="%s">%s</time>' % (escape(value), escape(str(value)[:19].replace("T", " ")))


__all__ = ["ALLOWS", "STYLE", "STYLE_HASH", "escape", "render"]
