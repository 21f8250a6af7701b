# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar in which contract, configuration and scenario are described: small checks that combine.

A check is called with a value, the path where it stands and the list of problems. It returns the clean value, or reports
why it cannot and returns `BAD`. No check raises and none stops at the first problem, so that one reading names them all.
The defaults are those of the dataclasses in `model.py`: a key that is absent or null is not passed on.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from .errors import ContractError, Problem

MOST_PROBLEMS = 100
MOST_NODES = 10000
DEEPEST = 32

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Check = Callable[[Any, str, "Problems"], Any]
Given = Dict[str, Any]


class _Bad:
    def __repr__(self) -> str:
        return "BAD"


BAD = _Bad()
"""What a check returns for a value it has refused."""


class Problems:
    """Collects what is wrong, at most 100 in words and the rest as a count."""

    def __init__(self) -> None:
        self._found: List[Problem] = []
        self._more = 0

    def add(self, path: str, message: str) -> Any:
        """Report one problem. Returns `BAD`, so that a check can end with it."""
        if len(self._found) < MOST_PROBLEMS:
            self._found.append(Problem(path, message))
        else:
            self._more += 1
        return BAD

    @property
    def count(self) -> int:
        return len(self._found) + self._more

    @property
    def full(self) -> bool:
        """Further problems are only counted: do not work on their words."""
        return len(self._found) >= MOST_PROBLEMS

    def refuse(self, what: str) -> None:
        """Raise `ContractError` if anything was reported."""
        if self._more:
            self._found.append(Problem("", "and %d more" % self._more))
        if self._found:
            raise ContractError(what, self._found)


def join(path: str, key: str) -> str:
    return "%s.%s" % (path, key) if path else key


def show(value: object) -> str:
    """A value in a message: short, on one line, whatever it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(str(value)) if len(value) <= 60 else repr(str(value[:60])) + "…"
    if isinstance(value, int):
        return "%d" % value if abs(value) < 10**20 else "a huge number"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    return "a value of type %s" % type(value).__name__[:60]


def words(names: Iterable[str], last: str) -> str:
    """``a, b or c``"""
    listed = list(names)
    return "%s %s %s" % (", ".join(listed[:-1]), last, listed[-1]) if len(listed) > 1 else "".join(listed)


def did_you_mean(given: object, known: Sequence[str]) -> str:
    """A hint to end a message with: the nearest known name, else all of them if they are few."""
    import difflib

    near = difflib.get_close_matches(str(given)[:64], known, n=1) if isinstance(given, str) else []
    if near:
        return "; did you mean %s?" % near[0]
    return "; known here: %s" % ", ".join(known) if 0 < len(known) <= 30 else ""


def printable(value: str) -> bool:
    """Free of control characters and of lone surrogates, which neither a file name nor a log can carry."""
    return value.isprintable() or not _UNPRINTABLE.search(value)


def text(longest: int = 1000) -> Check:
    """A string of one line, not empty."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str):
            return problems.add(path, "expected a string, found %s" % show(value))
        if not value.strip():
            return problems.add(path, "must not be empty")
        if len(value) > longest:
            return problems.add(path, "is %d characters long; at most %d are allowed" % (len(value), longest))
        if not printable(value):
            return problems.add(path, "must not contain control characters or line breaks")
        return value

    return check


def pattern(regex: Any, expected: str, longest: int = 255) -> Check:
    """A string that a compiled regular expression matches from end to end."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str) or len(value) > longest or not regex.fullmatch(value):
            return problems.add(path, "expected %s; found %s" % (expected, show(value)))
        return value

    return check


def number(low: float, high: float, unit: str = "seconds") -> Check:
    """A finite number within a range, as a float. true and false are no numbers."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            return problems.add(path, "expected a number of %s from %g to %g, found %s" % (unit, low, high, show(value)))
        return float(value)

    return check


def integer(low: int, high: int) -> Check:
    """A whole number within a range."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            return problems.add(path, "expected a whole number from %d to %d, found %s" % (low, high, show(value)))
        return value

    return check


def boolean(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, bool):
        return problems.add(path, "expected true or false, found %s" % show(value))
    return value


def choice(*names: str) -> Check:
    """One of a few words."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str) or value not in names:
            return problems.add(path, "expected %s, found %s" % (words(names, "or"), show(value)))
        return value

    return check


def anything(value: Any, path: str, problems: Problems) -> Any:
    """Whatever JSON can say, of bounded size: at most 10,000 values and 32 levels."""
    todo: List[Tuple[Any, int]] = [(value, 0)]
    nodes = 0
    while todo:
        found, depth = todo.pop()
        nodes += 1
        if depth > DEEPEST or nodes > MOST_NODES:
            return problems.add(path, "is too large: at most %d levels and %d values are allowed" % (DEEPEST, MOST_NODES))
        if isinstance(found, str):
            if any("\ud800" <= c <= "\udfff" for c in found):
                return problems.add(path, "contains half a character (a lone surrogate)")
        elif isinstance(found, dict):
            todo.extend((part, depth + 1) for pair in found.items() for part in pair)
            if any(not isinstance(key, str) for key in found):
                return problems.add(path, "has a key that is no string")
        elif isinstance(found, (list, tuple)):
            todo.extend((part, depth + 1) for part in found)
        elif isinstance(found, float) and not abs(found) < float("inf"):
            return problems.add(path, "contains a number that is not finite")
        elif found is not None and not isinstance(found, (bool, int, float)):
            return problems.add(path, "contains %s, which JSON cannot say" % show(found))
    return value


class ListOf:
    """A list, as a tuple. `most` bounds the work that an input can ask for.

    after: looks at all entries together, as they were written, and may report more; it runs even if an entry was refused.
    """

    def __init__(
        self, item: Check, most: int, of: str, least: int = 0, after: Optional[Callable[[Sequence[Any], str, Problems], None]] = None
    ) -> None:
        self.item, self.most, self.of, self.least, self.after = item, most, of, least, after

    def __call__(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, (list, tuple)):
            return problems.add(path, "expected a list of %s, found %s" % (self.of, show(value)))
        if len(value) < self.least:
            return problems.add(path, "must not be empty: expected a list of %s" % self.of)
        if len(value) > self.most:
            return problems.add(path, "has %d entries; at most %d are allowed" % (len(value), self.most))
        before = problems.count
        items = tuple(self.item(entry, "%s[%d]" % (path, index), problems) for index, entry in enumerate(value))
        if self.after is not None:
            self.after(value, path, problems)
        return items if problems.count == before else BAD


class Pairs:
    """A mapping of free keys to values, as a tuple of pairs in the order written."""

    def __init__(self, key: Check, value: Check, most: int = 100) -> None:
        self.key, self.value, self.most = key, value, most

    def __call__(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return problems.add(path, "expected a mapping, found %s" % show(value))
        if len(value) > self.most:
            return problems.add(path, "has %d entries; at most %d are allowed" % (len(value), self.most))
        before = problems.count
        pairs = []
        for name, content in value.items():
            if self.key(name, path, problems) is not BAD:
                pairs.append((name, self.value(content, join(path, name), problems)))
        return tuple(pairs) if problems.count == before else BAD


class Record:
    """A mapping of known keys, made into `make(**given)`.

    need, may: the keys that must and may be there, with their checks.
    one_of: keys of which exactly one must be there; what it says is passed on as `one_as`.
    after: looks at what could be read and at what was written, and may report more; it runs even if a key was refused.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        need: Optional[Mapping[str, Check]] = None,
        may: Optional[Mapping[str, Check]] = None,
        one_of: Optional[Mapping[str, Check]] = None,
        one_as: str = "target",
        after: Optional[Callable[[Given, Given, str, Problems], None]] = None,
    ) -> None:
        self.make, self.one_as, self.after = make, one_as, after
        self.need, self.may, self.one_of = dict(need or {}), dict(may or {}), dict(one_of or {})
        self.known: Dict[str, Check] = {**self.need, **self.one_of, **self.may}

    def __call__(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return problems.add(path, "expected a mapping with %s, found %s" % (self._wanted(), show(value)))
        before = problems.count
        self._refuse_unknown(value, path, problems)
        written = {key: content for key, content in value.items() if content is not None}
        given: Given = {}
        for key, check in self.known.items():
            if key in written:
                clean = check(written[key], join(path, key), problems)
                if clean is not BAD:
                    given[self.one_as if key in self.one_of else key] = clean
            elif key in self.need:
                problems.add(join(path, key), "is required")
        found = [key for key in self.one_of if key in written]
        if self.one_of and len(found) != 1:
            problems.add(path, "expected exactly one of %s; found %s" % (words(self.one_of, "or"), words(found, "and") or "none"))
        if self.after is not None:
            self.after(given, written, path, problems)
        return self.make(**given) if problems.count == before else BAD

    def _wanted(self) -> str:
        return words(self.need, "and") or words(self.one_of or self.may, "or")

    def _refuse_unknown(self, value: Mapping[Any, Any], path: str, problems: Problems) -> None:
        for key in value:
            if not isinstance(key, str) or key not in self.known:
                problems.add(path, "" if problems.full else "unknown key %s%s" % (show(key), did_you_mean(key, list(self.known))))


def refuse_twice(values: Iterable[Tuple[str, Any]], problems: Problems, what: str) -> None:
    """Report every string of (path, string) that stood before, naming where."""
    first: Dict[str, str] = {}
    for path, value in values:
        if isinstance(value, str):
            if value in first:
                problems.add(path, "%s %s is already taken by %s" % (what, show(value), first[value]))
            first.setdefault(value, path)


def unique(key: str, what: str) -> Callable[[Sequence[Any], str, Problems], None]:
    """For `ListOf`: no two entries with the same string at `key`."""

    def after(written: Sequence[Any], path: str, problems: Problems) -> None:
        entries = ((index, entry) for index, entry in enumerate(written) if isinstance(entry, dict))
        refuse_twice((("%s[%d].%s" % (path, index, key), entry.get(key)) for index, entry in entries), problems, what)

    return after


def keys(check: Any) -> Iterator[str]:
    """Every key a check knows, at any depth: for the tests that hold documentation to the parser."""
    parts: List[Check] = []
    if isinstance(check, Record):
        yield from check.known
        parts = list(check.known.values())
    elif isinstance(check, ListOf):
        parts = [check.item]
    elif isinstance(check, Pairs):
        parts = [check.value]
    for part in parts:
        yield from keys(part)


__all__ = [
    "BAD",
    "Check",
    "Given",
    "ListOf",
    "Pairs",
    "Problems",
    "Record",
    "anything",
    "boolean",
    "choice",
    "did_you_mean",
    "integer",
    "join",
    "keys",
    "number",
    "pattern",
    "printable",
    "refuse_twice",
    "show",
    "text",
    "unique",
    "words",
]
