# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on the ladder a service stands, and what comes next.

Reset rule of the position: it is forgotten after ``ladder_reset_after`` seconds of unbroken health, and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from .model import Rung


@dataclass(frozen=True)
class Position:
    """`used` attempts of ``ladder[index]`` have begun; everything below `index` is behind us."""

    index: int = 0
    used: int = 0


GROUND = Position()


def settle(ladder: Tuple[Rung, ...], position: Position) -> Position:
    """The same place, with rungs that have no attempt left stepped over. The page is never stepped over.

    A place beyond the ladder (the contract was shortened since) is its end.
    """
    if position.index >= len(ladder):
        return Position(len(ladder) - 1, 0)
    while ladder[position.index].rung != "page" and position.used >= ladder[position.index].attempts:
        position = Position(position.index + 1, 0)
    return position


def upcoming(ladder: Tuple[Rung, ...], position: Position) -> Rung:
    """The rung of the next attempt; the page when the ladder is exhausted."""
    return ladder[settle(ladder, position).index]


def climb(ladder: Tuple[Rung, ...], position: Position) -> Position:
    """One attempt of the upcoming rung has begun."""
    at = settle(ladder, position)
    return at if ladder[at.index].rung == "page" else Position(at.index, at.used + 1)


def step_over(ladder: Tuple[Rung, ...], position: Position) -> Position:
    """The upcoming rung cannot help: none of its attempts is made."""
    at = settle(ladder, position)
    return at if ladder[at.index].rung == "page" else Position(at.index + 1, 0)


__all__ = ["GROUND", "Position", "climb", "settle", "step_over", "upcoming"]
