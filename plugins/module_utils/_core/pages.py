# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page says, to whom, and how long its sender waits before it tries again. Pure; `docs/paging.md` describes it to receivers."""

from __future__ import annotations

import urllib.parse
from typing import Any, Dict, Iterable, List, Mapping, Optional

from .model import Notify
from .times import format_time

VERSION = 1
SEVERITY = "critical"
ALERT = "SelfhealEscalated"
LASTS = 300.0
"""Seconds after which an Alertmanager takes an alert for resolved when it hears no more of it."""
_LONGEST_WAIT = 60.0


def firing(host: str, service: Optional[str], incident: str, data: Mapping[str, Any], timestamp: str, seq: Optional[int]) -> Dict[str, Any]:
    """The message that calls a person, from the `page` event's data (already without secrets)."""
    reason = str(data.get("reason", ""))
    message: Dict[str, Any] = {
        "version": VERSION,
        "status": "firing",
        "host": host,
        "service": service,
        "incident": incident,
        "severity": SEVERITY,
        "reason": reason,
        "sentence": "",
        "failure_time": str(data.get("failure_time") or timestamp),
    }
    for key in ("held", "previous", "services", "probable_cause", "probable_detail"):
        if data.get(key) is not None:
            message[key] = data[key]
    message["sentence"] = _call(message, str(data.get("detail") or ""))
    message["timeline"] = {"seq": seq}
    return message


def _call(message: Mapping[str, Any], detail: str) -> str:
    why = "%s (%s)" % (detail, message["reason"]) if detail else message["reason"]
    if message["service"] is None:
        return "%s needs a person: %s. Nothing that runs is restarted meanwhile." % (message["host"], why)
    said = "%s on %s needs a person: %s. It has been failing since %s." % (
        message["service"],
        message["host"],
        why,
        message["failure_time"],
    )
    if message.get("probable_detail"):
        said += " Probable cause: %s (%s)." % (message["probable_detail"], message["probable_cause"])
    if "held" in message:
        said += " Nothing is done about it: %s." % message["held"]
    return said


def resolved(
    message: Mapping[str, Any], how: str, timestamp: str, seq: Optional[int], recovery: Optional[Mapping[str, Any]]
) -> Dict[str, Any]:
    """The message that takes the call back. recovery: the `recover` event's data, where there is one."""
    who = "%s on %s" % (message["service"], message["host"]) if message["service"] is not None else message["host"]
    told = {key: value for key, value in message.items() if key not in ("held", "previous", "reminder")}
    told.update(status="resolved", sentence="%s needs nobody any more: %s." % (who, how))
    told["recovery_time"] = str((recovery or {}).get("recovery_time") or timestamp)
    told["timeline"] = {"seq": seq}
    return told


def alerts(message: Mapping[str, Any], opened: float, now: float) -> List[Dict[str, Any]]:
    """The body of ``POST /api/v2/alerts``. Labels are the alert's identity: they are the same for firing and resolved."""
    labels = {"alertname": ALERT, "host": message["host"], "severity": SEVERITY}
    if message["service"] is not None:
        labels["service"] = message["service"]
    annotations = {
        key: str(message[key]) for key in ("incident", "reason", "sentence", "failure_time", "held", "probable_cause") if key in message
    }
    ends = now + LASTS if message["status"] == "firing" else now
    return [{"labels": labels, "annotations": annotations, "startsAt": format_time(min(opened, now)), "endsAt": format_time(ends)}]


def name_of(notify: Notify) -> str:
    """A target for events, metrics and people: no path and no parameter, since both can be secrets."""
    if notify.kind == "command":
        return "command %s" % notify.options["argv"][0]
    parts = urllib.parse.urlsplit(notify.options["url"])
    return "%s %s" % (notify.kind, parts.netloc.rpartition("@")[2])


def names_of(targets: Iterable[Notify]) -> List[str]:
    """The same for several, each with a name of its own."""
    names: List[str] = []
    for notify in targets:
        name, number = name_of(notify), 2
        while name in names:
            name, number = "%s (%d)" % (name_of(notify), number), number + 1
        names.append(name)
    return names


def pause(tries: int, share: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row: 1, 2, 4 … 60, less up to a quarter, each host its own share of it."""
    return min(_LONGEST_WAIT, 2.0 ** min(tries - 1, 10)) * (1.0 - 0.25 * share)


def remaining(since: float, span: float, now: float) -> float:
    """How much of a span begun at `since` is left, from 0 to `span` whatever the wall clock did meanwhile."""
    return max(0.0, min(span, since + span - now))


def to_data(notify: Notify) -> Dict[str, Any]:
    """As it stands in a contract."""
    return {notify.kind: {key: list(value) if isinstance(value, tuple) else value for key, value in notify.options.items()}}


def from_data(data: Any) -> Notify:
    """The reverse. Raises ValueError."""
    if not isinstance(data, dict) or len(data) != 1:
        raise ValueError("a target is one kind with its options")
    kind, options = next(iter(data.items()))
    need = {"webhook": "url", "alertmanager": "url", "command": "argv"}.get(kind)
    if need is None or not isinstance(options, dict) or need not in options:
        raise ValueError("%.40r is no target" % kind)
    if kind == "command":
        argv = options["argv"]
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
            raise ValueError("argv is no list of words")
        return Notify(kind, {"argv": tuple(argv)})
    if not all(isinstance(value, str) or value is None for value in options.values()):
        raise ValueError("an option of %s is no text" % kind)
    return Notify(kind, dict(options))


__all__ = [
    "ALERT",
    "LASTS",
    "alerts",
    "firing",
    "from_data",
    "name_of",
    "names_of",
    "pause",
    "remaining",
    "resolved",
    "to_data",
]
