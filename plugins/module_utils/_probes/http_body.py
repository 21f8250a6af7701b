# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a contract asserts about the body of an HTTP answer.

A regular expression can take for ever on the wrong text, and nothing in this thread could stop it: it runs under an interval
timer of `REGEX_SECONDS`, which the regular expression engine honours between steps, and counts as unknown when that strikes.
"""

from __future__ import annotations

import json
import re
import signal
import time
from typing import Any, NamedTuple, Optional

from .._core.reasons import Reason
from .._core.target import HttpTarget
from .http_answer import Buffer, printable

REGEX_SECONDS = 0.25

_MISSING = object()


class Judgement(NamedTuple):
    """status: ok, bad or unknown; `finding` for people."""

    status: str
    reason: Optional[Reason] = None
    finding: str = ""


_FINE = Judgement("ok")


class _TooSlow(Exception):
    """The regular expression ran for too long."""


class BodyCheck:
    """The assertions of one target, compiled once. Raises re.error for a pattern that the contract's parser refuses."""

    __slots__ = ("text", "regex", "json")

    def __init__(self, target: HttpTarget) -> None:
        self.text = None if target.body_text is None else target.body_text.encode("utf-8")
        self.regex = None if target.body_regex is None else re.compile(target.body_regex)
        self.json = target.json

    @property
    def needed(self) -> bool:
        return self.text is not None or self.regex is not None or bool(self.json)

    def judge(self, body: Buffer, cut: bool) -> Judgement:
        """Hold the body, or as much as was read of it (`cut`), against every assertion."""
        where = "in the first %d bytes of the body" % len(body) if cut else "in the body of %d bytes" % len(body)
        if self.text is not None and self.text not in body:
            return _mismatch("expected the text %s, not found %s: %s" % (printable(self.text, 60), where, printable(body)))
        if self.regex is not None:
            try:
                found = _search(self.regex, bytes(body).decode("utf-8", "replace"))
            except _TooSlow:
                finding = "body_regex took more than %g s on %d bytes; simplify the pattern" % (REGEX_SECONDS, len(body))
                return Judgement("unknown", Reason.RESOURCE_LIMIT, finding)
            if not found:
                pattern = printable(self.regex.pattern.encode("utf-8", "replace"), 60)
                return _mismatch("expected a match of %s, not found %s: %s" % (pattern, where, printable(body)))
        return self._judge_json(body, cut) if self.json else _FINE

    def _judge_json(self, body: Buffer, cut: bool) -> Judgement:
        if cut:
            finding = "the JSON body is longer than body_limit (%d bytes), so it cannot be read" % (len(body),)
            return Judgement("bad", Reason.BODY_TOO_LARGE, finding)
        try:
            document = json.loads(bytes(body))
        except (ValueError, RecursionError) as error:
            return Judgement("bad", Reason.JSON_MISMATCH, "expected JSON, found %s (%s)" % (printable(body), str(error)[:100]))
        for path, expected in self.json:
            found = look_up(document, path)
            if found is _MISSING:
                finding = "expected %s at %s, which is not there: %s" % (_show(expected), path, printable(body))
                return Judgement("bad", Reason.JSON_MISMATCH, finding)
            if not same(found, expected):
                return Judgement("bad", Reason.JSON_MISMATCH, "expected %s at %s, found %s" % (_show(expected), path, _show(found)))
        return _FINE


def _mismatch(finding: str) -> Judgement:
    return Judgement("bad", Reason.BODY_MISMATCH, finding)


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:60] + "…"


def look_up(document: Any, path: str) -> Any:
    """What stands at a dotted path; a number is an index where a list stands (negative counts from its end)."""
    for part in path.split("."):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and re.fullmatch("-?[0-9]{1,9}", part) and -len(document) <= int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def same(found: Any, expected: Any) -> bool:
    """Equal as JSON: true is not 1, and 1 is 1.0."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, list) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(same(a, b) for a, b in zip(found, expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)
    return bool(found == expected)


def _search(regex: re.Pattern[str], text: str) -> bool:
    """Search under a timer. Only the main thread can have one, and only the main thread probes."""
    try:
        before = signal.signal(signal.SIGALRM, _strike)
    except ValueError:  # not the main thread
        return regex.search(text) is not None
    began = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, REGEX_SECONDS)
    try:
        try:
            return regex.search(text) is not None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # also if the timer strikes in the lines above
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
        if left:  # somebody else's timer goes on where it was
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)), interval)


def _strike(_number: int, _frame: Any) -> None:
    raise _TooSlow()


__all__ = ["BodyCheck", "Judgement", "REGEX_SECONDS", "look_up", "same"]
