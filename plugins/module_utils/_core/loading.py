# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON from a file or a pipe, refused before it can cost memory, depth or meaning."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple, Union

from .errors import ContractError, Problem
from .schema import DEEPEST, show

MOST_BYTES = 1000000
_LONGEST_NUMBER = 40
_MARKS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


class _Refused(ValueError):
    """Raised from inside the decoder to stop it."""


def _pairs(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused("the key %s is written twice in one mapping" % show(key))
        found[key] = value
    return found


def _constant(word: str) -> Any:
    raise _Refused("%s is no JSON number" % word)


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _Refused("a number of %d digits" % len(digits))
    return int(digits)


def too_deep(data: bytes) -> bool:
    """Whether brackets nest deeper than 32 levels; one pass, before any parser recurses into them."""
    depth, in_string = 0, False
    for match in _MARKS.finditer(data):
        mark = match.group()
        if mark == b'"':
            in_string = not in_string
        elif in_string:
            continue
        elif mark in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif mark in b"]}":
            depth -= 1
    return False


def load_json(source: Union[str, bytes], what: str, most: int = MOST_BYTES) -> Any:
    """Decode JSON of at most `most` bytes (1 MB) and 32 levels, without NaN, Infinity or a key written twice.

    Raises `ContractError`, naming `what` (a path, for people) and the line where decoding stopped.
    """

    def refuse(message: str) -> ContractError:
        return ContractError(what, [Problem("", message)])

    size = len(source)
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass") if size <= most else b""
    size = max(size, len(data))
    if size > most:
        raise refuse("is %d bytes long; at most %d are read" % (size, most))
    if too_deep(data):
        raise refuse("nests deeper than %d levels" % DEEPEST)
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise refuse("is not UTF-8: %s at byte %d" % (error.reason, error.start)) from error
    except json.JSONDecodeError as error:
        raise refuse("is not JSON: %s at line %d column %d" % (error.msg, error.lineno, error.colno)) from error
    except (_Refused, RecursionError) as error:
        raise refuse(str(error)) from error


__all__ = ["MOST_BYTES", "load_json", "too_deep"]
