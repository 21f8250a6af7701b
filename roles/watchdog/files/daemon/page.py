# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page for people: one piece of plain HTML, light or dark as the reader likes it, without anything from elsewhere."""

from __future__ import annotations

from typing import Any, Dict, List

_STYLE = """
:root { color-scheme: light dark; --well: #1a7f37; --bad: #c62828; --odd: #9a6700; --calm: #6b7280; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --well: #4ac26b; --bad: #ff6b6b; --odd: #e3b341; --calm: #9ca3af; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } p { margin: .3rem 0 1.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
td.wide { white-space: normal; min-width: 16rem; } small, footer { color: var(--calm); }
.healthy { color: var(--well); } .unhealthy { color: var(--bad); font-weight: 600; }
.degraded, .not_ready { color: var(--odd); font-weight: 600; } .unknown, .stopped { color: var(--calm); }
"""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def escape(value: Any) -> str:
    return str(value).translate(_ESCAPES)


def render(summary: Dict[str, Any], services: List[Dict[str, Any]]) -> bytes:
    """The page, from what `Board.summary` and `Board.services` say."""
    rows = "\n".join(_row(each) for each in services)
    refused = summary["contracts_refused"]
    warning = '<p class="unhealthy">The newest contracts were refused; older ones are in force: %s</p>' % escape(refused) if refused else ""
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="refresh" content="10"><title>%(host)s: %(status)s</title><style>%(style)s</style></head><body>\n'
        '<h1>%(host)s <span class="%(status)s">%(words)s</span></h1><p>%(sentence)s</p>%(warning)s\n'
        '<div class="scroll"><table><thead><tr><th>Service</th><th>State</th><th>Uptime</th><th>Response</th><th>Checks</th>'
        "<th>Last success</th><th>What is being done, or why nothing</th></tr></thead><tbody>\n%(rows)s\n</tbody></table></div>\n"
        "<footer><p>selfheal %(version)s &middot; timeline head %(seq)d &middot; last cycle %(cycle)s &middot; read-only</p></footer>"
        "</body></html>\n"
    )
    return (
        page
        % {
            "host": escape(summary["host"]),
            "status": escape(summary["status"]),
            "words": escape(summary["status"].replace("_", " ")),
            "sentence": escape(summary["sentence"]),
            "warning": warning,
            "style": _STYLE,
            "rows": rows,
            "version": escape(summary["version"]),
            "seq": summary["timeline"]["seq"],
            "cycle": escape(summary["last_cycle"]),
        }
    ).encode("utf-8", "backslashreplace")


def _row(each: Dict[str, Any]) -> str:
    uptime = "" if each["uptime_percent"] is None else "%.2f %%" % each["uptime_percent"]
    response = "" if each["response_time_ms"] is None else "%.1f ms" % each["response_time_ms"]
    held = " <small>held: %s</small>" % escape(each["held"]) if each["held"] else ""
    checks = "%d/%d" % (each["checks"]["ok"], each["checks"]["all"])
    return '<tr><td>%s</td><td class="%s">%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td class="wide">%s%s</td></tr>' % (
        escape(each["name"]),
        escape(each["state"]),
        escape(each["state"].replace("_", " ")),
        uptime,
        response,
        checks,
        escape(each["last_success"] or "never"),
        escape(each["sentence"]),
        held,
    )


__all__ = ["escape", "render"]
