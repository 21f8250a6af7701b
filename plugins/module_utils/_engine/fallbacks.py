# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fallback kind is driven by what."""

from __future__ import annotations

from typing import Optional, Tuple

from .._actuators.base import Timed, Work
from .._core.model import Fallback as Rules
from .._host import Outcome
from .._transient import OperatorCommand
from .traffic import Fallback, Unsupported

COMMAND_LIMIT = 30.0


class CommandFallback(Fallback):
    """Traffic moved by the operator's own commands: exit status 0 means moved, and read back."""

    def __init__(self, argv_open: Tuple[str, ...], argv_close: Tuple[str, ...]) -> None:
        self._open = argv_open
        self._close = argv_close

    def open(self) -> Work[Outcome]:
        return self._run(self._open)

    def close(self) -> Work[Outcome]:
        return self._run(self._close)

    def _run(self, argv: Tuple[str, ...]) -> Work[Outcome]:
        outcome = yield Timed(OperatorCommand(argv, COMMAND_LIMIT), COMMAND_LIMIT + 5.0)
        return outcome


def fallback_for(rules: Optional[Rules]) -> Optional[Fallback]:
    """What drives a contract's fallback; one that says so for a kind that nothing here can drive."""
    if rules is None:
        return None
    if rules.kind == "command":
        return CommandFallback(tuple(rules.options["argv_open"]), tuple(rules.options["argv_close"]))
    return Unsupported(rules.kind)


__all__ = ["CommandFallback", "fallback_for"]
