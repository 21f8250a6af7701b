# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frozen data back from a file of our own, believed only where every value is of the kind its field says.

A file that was garbled can still be JSON. A word where a number stood would break a decision much later, again after every restart.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Callable, Dict, Mapping, Type, TypeVar

from .errors import RecordError

Made = TypeVar("Made")
LARGEST = 1e15
"""No count and no second of ours is beyond it; NaN and infinity are not within."""


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


_KINDS: Dict[str, Callable[[Any], bool]] = {
    "float": _number,
    "int": _whole,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "Mapping[str, Any]": lambda value: isinstance(value, dict),
    "Tuple[float, ...]": lambda value: isinstance(value, (list, tuple)) and all(_number(each) for each in value),
}


def made(kind: Type[Made], values: Any, **given: Any) -> Made:
    """An instance of the frozen dataclass `kind` from `values` of a file; `given` are its fields that were made already.

    A field that is missing has its default. Raises RecordError naming the field that does not fit.
    """
    what = kind.__name__.lower()
    if not isinstance(values, Mapping):
        raise RecordError("reading %s: expected a mapping, found %.40r" % (what, values))
    known = {each.name: str(each.type) for each in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in set(values) - set(known))
    if unknown:
        raise RecordError("reading %s: unknown keys %s" % (what, ", ".join(unknown)))
    clean = dict(given)
    for name, value in values.items():
        if name in given:
            continue
        annotation = known[name]
        optional = annotation.startswith("Optional[")
        fits = _KINDS[annotation[len("Optional[") : -1] if optional else annotation]
        if not (optional and value is None) and not fits(value):
            raise RecordError("reading %s: %s is %.40r, expected %s" % (what, name, value, annotation))
        clean[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**clean)
    except TypeError as error:
        raise RecordError("reading %s: %s" % (what, error)) from error


def chosen(kind: Type[Made], value: Any) -> Made:
    """A member of the enumeration `kind` by its value. Raises RecordError."""
    try:
        return kind(value)  # type: ignore[call-arg]
    except ValueError as error:
        raise RecordError("reading a state: %s" % error) from error


__all__ = ["chosen", "made"]
