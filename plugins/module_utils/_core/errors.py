# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors this library raises on purpose.

Each says what was being done, what was found, what was expected and what to do next. They become
``fail_json`` in ``_module.py``, an exit status in the command line, and nothing else anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


class SelfhealError(Exception):
    """Base of every error raised on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where (``services[2].probes[0].http.url``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return "%s: %s" % (self.path, self.message) if self.path else self.message


class ContractError(SelfhealError):
    """A contract, configuration or scenario was refused; `problems` names every fault found."""

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.what = what
        self.problems = tuple(problems)
        lines = "".join("\n  %s" % problem for problem in self.problems)
        count = len(self.problems)
        super().__init__("%s: %d problem%s%s" % (what, count, "" if count == 1 else "s", lines))


class IllegalTransition(SelfhealError):
    """A state machine was asked for a transition its table does not have; nothing was changed."""


class RecordError(SelfhealError):
    """Something durable could not be read or written; names the path and the cause."""


class LeaseHeld(SelfhealError):
    """Somebody else holds the right to act; says who, since when and why."""


__all__ = [
    "ContractError",
    "IllegalTransition",
    "LeaseHeld",
    "Problem",
    "RecordError",
    "SelfhealError",
]
