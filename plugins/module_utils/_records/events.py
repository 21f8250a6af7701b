# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an event of the timeline is, before it has its place in the chain: its types, its sources, and what may stand in it."""

from __future__ import annotations

import difflib
import json
import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from .._core.errors import RecordError
from .._core.redact import REDACTED, redact_text, secret_flag, secret_key, suspicious
from .._core.times import format_time, parse_time

TYPES = (
    "failure",
    "degrade",
    "failover",
    "failback",
    "start",
    "restart",
    "recreate",
    "redeploy",
    "rollback",
    "recover",
    "page",
    "page_failed",
    "page_resolved",
    "breaker_trip",
    "breaker_half_open",
    "breaker_reset",
    "breaker_forced",
    "symlink_repair",
    "deployment_phase",
    "deployment_resume",
    "deployment_fail",
    "container_remove",
    "hold",
    "unhold",
    "approve",
    "blocked",
    "override",
    "fault_inject",
    "fault_revert",
    "watchdog_start",
    "watchdog_stop",
    "contract_loaded",
    "contract_refused",
    "state_reset",
    "lease_takeover",
    "alert_dropped",
    "run_result",
    "log_repair",
    "log_prune",
    "note",
)
SOURCES = ("liveness", "readiness", "startup", "circuit_breaker", "watchdog", "module", "runbook", "drill", "operator")
# What only the log itself may say: verification believes it.
OWN_TYPES = ("log_repair", "log_prune")

_TYPES = frozenset(TYPES)
_SOURCES = frozenset(SOURCES)

MAX_EVENT = 65536
"""Bytes of one event's line, its place in the chain not counted."""
MAX_LINE = MAX_EVENT + 256
_MAX_DEPTH = 16
_MAX_ITEMS = 10000
_MAX_NAME = 253
_MAX_INTEGER = 1 << 256
_known: Dict[Tuple[str, Optional[str], Optional[str], str, str], Tuple[Dict[str, Any], str]] = {}


def _refuse(value: Any) -> Any:
    raise TypeError("a %s cannot be recorded" % value.__class__.__name__)


def _encoder() -> Callable[[Any], str]:
    # ASCII only: a line looks the same in every terminal and locale, and any string Python can hold can be written.
    whole = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False)
    # JSONEncoder makes this object anew for every call, which costs more than encoding an event. Elsewhere than in CPython there is none.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return whole.encode
    try:
        chunks = make(None, _refuse, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
        if "".join(chunks({"a": [1, None]}, 0)) != '{"a":[1,null]}':
            return whole.encode
    except (TypeError, ValueError):
        return whole.encode
    return lambda value: "".join(chunks(value, 0))


encode = _encoder()
"""Compact JSON in ASCII. Raises TypeError, ValueError, RecursionError."""


class EventRefused(RecordError):
    """The event itself is wrong; writing it later would not help."""


def _one_of(word: str, value: Any, allowed: Tuple[str, ...]) -> None:
    close = difflib.get_close_matches(str(value), allowed, 1)
    hint = " Did you mean %s?" % close[0] if close else ""
    raise EventRefused("Event %s %r is unknown.%s Known are: %s." % (word, value, hint, ", ".join(allowed)))


def _name(word: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
        raise EventRefused("Event %s %.80r must be a string of 1 to %d printable characters." % (word, value, _MAX_NAME))
    return _plain(value)


def _plain(text: str) -> str:
    """Exactly a str (no subclass), without lone surrogates: readers in other languages refuse those."""
    text = str.__str__(text)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Cleaner:
    """Copies plain data without secrets; counts what it copies."""

    def __init__(self) -> None:
        self.left = _MAX_ITEMS

    def clean(self, value: Any, path: str, depth: int = 0) -> Any:
        if isinstance(value, str):
            return redact_text(_plain(value))
        if value is None or value is True or value is False:
            return value
        if isinstance(value, int):
            if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
                raise EventRefused("Event %s: an integer of %d bits; at most 256 are recorded." % (path, value.bit_length()))
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise EventRefused("Event %s is %r, which JSON cannot say. Give null or a string." % (path, value))
            return float(value)
        self.left -= 1
        if depth >= _MAX_DEPTH:
            return "[left out: deeper than %d levels]" % _MAX_DEPTH
        if self.left < 0:
            return "[left out: more than %d lists and objects]" % _MAX_ITEMS
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, (list, tuple)):
            return [
                REDACTED if place and secret_flag(value[place - 1]) else self.clean(item, "%s[%d]" % (path, place), depth + 1)
                for place, item in enumerate(value)
            ]
        if isinstance(value, (bytes, bytearray)):
            return redact_text(bytes(value).decode("utf-8", "backslashreplace"))
        kind = value.__class__.__name__
        raise EventRefused("Event %s is a %s; only strings, numbers, booleans, null, lists and objects can be recorded." % (path, kind))

    def _mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> Dict[str, Any]:
        result: Dict[str, Any] = {}
        for key, item in value.items():
            name = _plain(key if isinstance(key, str) else str(key))
            # `tokens: 3` and `password: null` say nothing secret.
            if secret_key(name) and item is not None and not isinstance(item, (bool, int, float)):
                result[name] = REDACTED
            else:
                result[name] = self.clean(item, path + "." + name, depth + 1)
        return result


def clean(data: Any) -> Any:
    """`data` as it may be recorded: plain, without secrets. Raises EventRefused for what JSON cannot say."""
    return _Cleaner().clean(data, "data")


def _encode_data(data: Mapping[Any, Any]) -> Tuple[Any, str]:
    """The data to be recorded, and its JSON.

    Nearly all data is small, flat and has nothing to hide. Its JSON shows that, which is far quicker than walking through it.
    """
    try:
        text = encode(data)
    except (TypeError, ValueError, RecursionError):
        text = ""
    if text and len(text) < 4096 and text.count("{") + text.count("[") <= _MAX_DEPTH and not suspicious(text):
        return dict(data), text
    data = clean(data)
    return data, encode(data)


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        if len(value) <= longest:
            return value
        return "%s...[cut, %d characters]" % (value[:longest], len(value))
    if isinstance(value, dict):
        return {key: _cut(item, longest) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, longest) for item in value]
    return value


class Draft:
    """One event without its place in the chain. `fields` are those between seq and previous; `body` is their JSON."""

    __slots__ = ("fields", "body")

    def __init__(self, fields: Dict[str, Any], body: str) -> None:
        self.fields = fields
        # What stands in the line between `{"seq":N,` and `,"previous":"..."}`.
        self.body = body
        if len(body) > MAX_EVENT:
            self._shorten()

    def _shorten(self) -> None:
        data = self.fields["data"]
        size = len(self.body)
        for longest in (8192, 1024, 128):
            self.fields["data"] = _cut(data, longest)
            self.body = encode(self.fields)[1:-1]
            if len(self.body) <= MAX_EVENT:
                return
        keys = [key[:80] for key in list(data)[:100]] if isinstance(data, dict) else []
        self.fields["data"] = {"cut": "the data made an event of %d bytes; at most %d are kept" % (size, MAX_EVENT), "keys": keys}
        self.body = encode(self.fields)[1:-1]

    def line(self, seq: int, previous: str) -> bytes:
        """The line as it is written, with its newline."""
        return ('{"seq":%d,%s,"previous":"%s"}\n' % (seq, self.body, previous)).encode("ascii")

    def event(self, seq: int, previous: str, digest: str) -> Dict[str, Any]:
        """The event as readers give it, with its hash."""
        return {"seq": seq, **self.fields, "previous": previous, "hash": digest}


def draft(
    host: str,
    moment: Union[float, str],
    type: str,
    service: Optional[str] = None,
    incident: Optional[str] = None,
    source: str = "watchdog",
    data: Optional[Mapping[str, Any]] = None,
) -> Draft:
    """Check and clean an event. `moment` is seconds since the epoch or an ISO point in time. Raises EventRefused."""
    try:
        timestamp = format_time(parse_time(moment) if isinstance(moment, str) else moment)
    except ValueError as error:
        raise EventRefused("Event timestamp: %s" % error) from error
    try:
        known, text = _known[host, service, incident, type, source]
    except (KeyError, TypeError):
        known, text = _check(host, service, incident, type, source)
    fields = {"timestamp": timestamp, **known}
    body = '"timestamp":"%s",%s' % (timestamp, text)
    if data is not None:
        if not isinstance(data, (dict, Mapping)):
            raise EventRefused("Event data is a %s; expected an object (key: value)." % data.__class__.__name__)
        if data:
            fields["data"], text = _encode_data(data)
            body = '%s,"data":%s' % (body, text)
    return Draft(fields, body)


def _check(host: str, service: Optional[str], incident: Optional[str], type: str, source: str) -> Tuple[Dict[str, Any], str]:
    """The fields that come again and again in an incident, checked, and their JSON; remembered. Raises EventRefused."""
    if not isinstance(type, str) or type not in _TYPES:
        _one_of("type", type, TYPES)
    if not isinstance(source, str) or source not in _SOURCES:
        _one_of("source", source, SOURCES)
    fields = {"host": _name("host", host)}
    if service is not None:
        fields["service"] = _name("service", service)
    if incident is not None:
        fields["incident"] = _name("incident", incident)
    fields["type"] = _plain(type)
    fields["source"] = _plain(source)
    if len(_known) >= 1000:
        _known.clear()
    _known[host, service, incident, type, source] = answer = fields, encode(fields)[1:-1]
    return answer


KEYS: List[str] = ["seq", "timestamp", "host", "service", "incident", "type", "source", "data", "previous"]

__all__ = ["Draft", "EventRefused", "KEYS", "MAX_EVENT", "MAX_LINE", "OWN_TYPES", "SOURCES", "TYPES", "clean", "draft", "encode"]
