# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill in words and numbers: its events as lines for people, its measurements against their limits, and the table at the end.

Note that this is a private utility of this collection; other collections must not import it.
Pure: timeline events and a fault's record in, text and numbers out.
"""

from __future__ import annotations

import datetime
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

Event = Mapping[str, Any]


class Line(NamedTuple):
    """One step for people: milliseconds since the fault, what happened in one word, the rest, and a colour's name."""

    ms: int
    word: str
    text: str
    color: str

    def __str__(self) -> str:
        return "  %+7d ms  %-9s %s" % (self.ms, self.word, self.text)


def seconds(timestamp: str) -> float:
    """Seconds since the epoch of a timeline's timestamp. Raises ValueError."""
    moment = datetime.datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def printable(value: Any, most: int = 160) -> str:
    """A value as one line: what a service or a file says must not move the terminal's cursor."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(str(value).split()))
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _injected(data: Mapping[str, Any]) -> tuple[str, str, str]:
    how = {"kill": "SIGKILL to pid %s", "hang": "SIGSTOP to pid %s: it lives and answers nothing"}
    return "failed", how.get(str(data.get("fault")), str(data.get("fault")) + " of pid %s") % data.get("pid"), "red"


def _reverted(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return "reverted", "the %s of pid %s was taken out again" % (data.get("fault"), data.get("pid")), "blue"


def _failure(data: Mapping[str, Any]) -> tuple[str, str, str]:
    why = {"gone": "the main process is gone", "liveness_failed": "liveness fails", "readiness_failed": "readiness fails"}
    detail = data.get("detail")
    reason = str(data.get("reason"))
    return "detected", why.get(reason, reason) + (" (%s)" % detail if detail and reason != "gone" else ""), "yellow"


def _attempt(word: str) -> Callable[[Mapping[str, Any]], tuple[str, str, str]]:
    def make(data: Mapping[str, Any]) -> tuple[str, str, str]:
        return word, "attempt %s on rung %s" % (data.get("attempt"), data.get("rung", word)), "cyan"

    return make


def _note(data: Mapping[str, Any]) -> tuple[str, str, str]:
    if "fault_id" not in data or "recovered_after_ms" not in data:
        return "note", str(data.get("text", "")), "normal"
    who = "the new process %s" if data.get("instance") == "new" else "pid %s, the same as before,"
    started = " (%s ms after its start)" % data["startup_ms"] if "startup_ms" in data else ""
    return "serving", (who + " answers%s") % (data.get("pid"), started), "green"


def _recover(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return "proven", "healthy without a break; the watchdog's own measure: %s ms" % data.get("recovery_duration_ms"), "bright green"


def _blocked(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return "blocked", "%s: %s" % (data.get("reason"), data.get("detail", "")), "magenta"


def _page(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return "paged", "a person was told: %s: %s" % (data.get("reason"), data.get("detail", "")), "bright red"


WORDS: dict[str, Callable[[Mapping[str, Any]], tuple[str, str, str]]] = {
    "fault_inject": _injected,
    "fault_revert": _reverted,
    "failure": _failure,
    "start": _attempt("start"),
    "restart": _attempt("restart"),
    "redeploy": _attempt("redeploy"),
    "rollback": _attempt("rollback"),
    "note": _note,
    "recover": _recover,
    "blocked": _blocked,
    "page": _page,
}


def line(event: Event, failure_time: str, after_ms: int | None = None) -> Line:
    """One event as a line. `after_ms`: its time as it was measured, where that is better than its stamp."""
    data = event.get("data", {})
    make = WORDS.get(event["type"])
    word, text, color = make(data) if make is not None else (event["type"].replace("_", " "), str(data.get("reason", "")), "normal")
    ms = round((seconds(event["timestamp"]) - seconds(failure_time)) * 1000) if after_ms is None else after_ms
    return Line(max(0, ms), printable(word, 20), printable(text), color)


def measured_ms(event: Event) -> int | None:
    """The time of a step since the fault where the drill itself has measured it."""
    data = event.get("data", {})
    if event["type"] == "fault_inject":
        return 0
    return data.get("recovered_after_ms") if event["type"] == "note" and "fault_id" in data else None


def incident_of(events: Iterable[Event], fault_id: str) -> str | None:
    """The incident that the fault opened: that of the first failure recorded after it."""
    begun = False
    for event in events:
        begun = begun or event["type"] == "fault_inject" and event.get("data", {}).get("fault_id") == fault_id
        if begun and event["type"] == "failure":
            return event.get("incident")
    return None


def outcome(events: Sequence[Event], fault: Mapping[str, Any]) -> str | None:
    """How the drill has ended: recovered, escalated or reverted; None while it goes on."""
    incident = incident_of(events, fault["fault_id"])
    of_incident = [event for event in events if incident is not None and event.get("incident") == incident]
    measured = fault.get("measured")
    if any(event["type"] == "recover" for event in of_incident) and measured is not None:
        return "recovered"
    # Drilled again and again, a service flaps. A person is told so, and its healing goes on.
    if any(event["type"] == "page" and event.get("data", {}).get("reason") != "flapping" for event in of_incident):
        return "escalated"
    if incident is None and measured is not None and fault.get("ended") in ("reverted", "timer"):
        return "reverted"
    return None


def limit(fault: str, contract: Mapping[str, float], startup_ms: int | None, limits: Mapping[str, float]) -> tuple[float | None, str]:
    """Within how many milliseconds the service must serve again, and how that comes about."""
    if fault == "kill":
        if startup_ms is None:
            return None, "%g ms + the start of a new process, which never answered" % limits["restart_ms"]
        return limits["restart_ms"] + startup_ms, "%g ms + %d ms that its new process took to start" % (limits["restart_ms"], startup_ms)
    if fault == "hang" and contract:
        period, timeout, failing_for = (contract[key] * 1000 for key in ("period", "timeout", "failing_for"))
        if failing_for == 0:
            extra = limits["hang_extra_ms"] - 500
            return period + 2 * timeout + extra, "period %g + 2 * timeout %g + %g ms" % (period, timeout, extra)
        extra = limits["hang_extra_ms"]
        return (
            period + timeout + failing_for + extra,
            "period %g + timeout %g + failing_for %g + %g ms" % (period, timeout, failing_for, extra),
        )
    return None, "none is promised"


def row(host: str, events: Sequence[Event], fault: Mapping[str, Any], ended: str, limits: Mapping[str, float]) -> dict[str, Any]:
    """The drill in one row; see the documentation of incident_follow for its keys."""
    measured = fault.get("measured") or {}
    incident = incident_of(events, fault["fault_id"])
    of_incident = [event for event in events if incident is not None and event.get("incident") == incident]
    recover = next((event for event in of_incident if event["type"] == "recover"), None)
    found: dict[str, Any] = {
        "fault": fault["fault"],
        "service": fault["service"],
        "host": host,
        "outcome": ended,
        "detected_after_ms": measured.get("detected_after_ms"),
        "recovered_after_ms": measured.get("recovered_after_ms"),
        "proven_after_ms": None,
        "recovery_duration_ms": None,
        "startup_ms": measured.get("startup_ms"),
        "rung": None,
        "detected_limit_ms": limits["detected_ms"] if fault["fault"] == "kill" else None,
    }
    if recover is not None:
        found["proven_after_ms"] = line(recover, fault["failure_time"]).ms
        found["recovery_duration_ms"] = recover["data"].get("recovery_duration_ms")
        found["rung"] = recover["data"].get("rung") or next(
            (event["type"] for event in reversed(of_incident) if event["type"] in ("start", "restart", "redeploy", "rollback")), None
        )
    found["recovered_limit_ms"], found["limit_text"] = limit(fault["fault"], fault["contract"], measured.get("startup_ms"), limits)
    found["problems"] = problems(found, measured)
    found["verdict"] = "bad" if found["problems"] else "good"
    return found


def problems(found: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """What is bad about a drill, one sentence each."""
    bad = []
    if found["outcome"] != "recovered":
        why = {"escalated": "a person was paged", "reverted": "the fault was reverted before anything helped"}
        bad.append("not healed: " + why.get(found["outcome"], "nothing had come to an end when time was up"))
    if measured.get("state") == "broken":
        bad.append("could not be measured: %s" % measured.get("detail"))
    if found["detected_after_ms"] is None:
        bad.append("the failure was never recorded")
    elif found["detected_limit_ms"] is not None and found["detected_after_ms"] > found["detected_limit_ms"]:
        bad.append("detected after %d ms, allowed are %g" % (found["detected_after_ms"], found["detected_limit_ms"]))
    if found["recovered_after_ms"] is None:
        bad.append("the service was not seen to answer again")
    elif found["recovered_limit_ms"] is not None and found["recovered_after_ms"] > found["recovered_limit_ms"]:
        bad.append(
            "serving after %d ms, allowed are %g (%s)" % (found["recovered_after_ms"], found["recovered_limit_ms"], found["limit_text"])
        )
    return bad


HEADINGS = ("host", "service", "fault", "detected", "recovered", "by", "limit", "verdict")


def _ms(value: float | None) -> str:
    return "-" if value is None else "%.0f ms" % value


def table(drills: Sequence[Mapping[str, Any]]) -> list[str]:
    """The drills as aligned lines, the headings first."""
    rows: list[Sequence[str]] = [HEADINGS]
    for each in drills:
        limits = [_ms(each["recovered_limit_ms"])]
        if each["detected_limit_ms"] is not None:
            limits.insert(0, _ms(each["detected_limit_ms"]))
        rows.append(
            [printable(each["host"], 30), printable(each["service"], 30), printable(each["fault"], 10), _ms(each["detected_after_ms"]),
             _ms(each["recovered_after_ms"]), printable(each["rung"] or "-", 12), " / ".join(limits), each["verdict"]]
        )  # fmt: skip
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    right = {3, 4, 6}
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width) for column, (cell, width) in enumerate(zip(cells, widths))
        ).rstrip()
        for cells in rows
    ]


__all__ = ["Line", "incident_of", "limit", "line", "measured_ms", "outcome", "printable", "problems", "row", "seconds", "table"]
