# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time as people and records see them: UTC, milliseconds, ``2026-11-21T21:03:38.123Z``.

Spans are measured with the monotonic clock and never with these.
"""

from __future__ import annotations

import datetime
import re
from typing import Tuple

_EPOCH = datetime.datetime(1970, 1, 1)
_POINT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)", re.ASCII | re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


_NO_POINT = "%r is no point in time (seconds since 1970, years 1 to 9999)"
# Of UTC, and so that the millisecond it is rounded to can be written: a zone can put the last day of 9999 beyond it.
_FIRST, _LAST = -62135596800.0, 253402300799.9994
# The last second written out: events come in bursts. Replaced as a whole, so threads may share it.
_last_second = (0, "1970-01-01T00:00:00")


def _remember(second: int) -> Tuple[int, str]:
    global _last_second
    try:
        moment = _EPOCH + datetime.timedelta(seconds=second)
    except OverflowError as error:
        raise ValueError(_NO_POINT % (second,)) from error
    _last_second = (second, moment.isoformat(timespec="seconds"))
    return _last_second


def format_time(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-21T21:03:38.123Z``, rounded to the millisecond. Raises ValueError."""
    try:
        second, fraction = divmod(round(seconds * 1000), 1000)
    except (OverflowError, ValueError, TypeError) as error:
        raise ValueError(_NO_POINT % (seconds,)) from error
    known = _last_second
    if known[0] != second:
        known = _remember(second)
    return "%s.%03dZ" % (known[1], fraction)


def compact(seconds: float) -> str:
    """The same as ``20261121T210338.123Z``, for names of incidents and files."""
    return format_time(seconds).replace("-", "").replace(":", "")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 point in time that names its zone. Raises ValueError."""
    match = _POINT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("%r is no point in time; expected the form 2026-11-21T21:03:38.123Z" % (text,))
    date, clock, second, fraction, zone = match.groups()
    try:
        since = datetime.datetime.fromisoformat("%sT%s:%s" % (date, clock, second or "00")) - _EPOCH
    except ValueError as error:
        raise ValueError("%r is no point in time: %s" % (text, error)) from error
    seconds = since.days * 86400 + since.seconds
    if zone not in ("Z", "z"):
        seconds -= (int(zone[1:3]) * 60 + int(zone[-2:])) * (-60 if zone[0] == "-" else 60)
    point = seconds + (int(fraction.ljust(9, "0")) / 1e9 if fraction else 0.0)
    if not _FIRST <= point <= _LAST:
        raise ValueError("%r is no point in time: in UTC it lies outside the years 1 to 9999" % (text,))
    return point


def parse_since(text: str, now: float) -> float:
    """A point in time, or a span before `now` such as ``90s``, ``30m``, ``24h``, ``7d``, ``2w``. Before the year 1 there is nothing: a
    longer span begins there. Raises ValueError."""
    match = _SPAN.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        return max(_FIRST, now - int(match.group(1)) * _SECONDS[match.group(2)])
    try:
        return parse_time(text)
    except ValueError as error:
        raise ValueError("%s, or a span before now such as 90s, 30m, 24h, 7d" % error) from error


__all__ = ["compact", "format_time", "parse_since", "parse_time"]
