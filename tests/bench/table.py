# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that every measurement prints its rows into, and ``make bench`` all of them.

SELFHEAL_BENCH_TABLE names a file to which the rows are added too.
"""

from __future__ import annotations

import os
import statistics
import sys
from typing import Iterable, NamedTuple, Optional, Sequence

HEADER = "| what | ours | anchor | ratio | must | ok |\n|---|---|---|---|---|---|\n"


class Row(NamedTuple):
    """What was measured, ours, the anchor, their ratio, what it must be, and whether it is (None: nothing is demanded)."""

    what: str
    ours: str
    anchor: str = "-"
    ratio: str = "-"
    must: str = "-"
    ok: Optional[bool] = None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**NO**", None: "-"}[self.ok]
        return "| %s | %s |\n" % (" | ".join(self[:5]), verdict)


def show(rows: Iterable[Row]) -> int:
    """Print each row as soon as it is known. The exit status: 1 when one does not hold."""
    status = 0
    _write(HEADER)
    try:
        for row in rows:
            _write(str(row))
            collected = os.environ.get("SELFHEAL_BENCH_TABLE")
            if collected:
                with open(collected, "a", encoding="utf-8") as file:
                    file.write(str(row))
            if row.ok is False:
                status = 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the table is not complete\n")
        return 130
    return status


def told(values: Sequence[float]) -> str:
    """Seconds as median, range and number."""
    unit, factor, digits = ("ms", 1000.0, 0 if max(values) >= 0.1 else 1) if max(values) < 1 else ("s", 1.0, 2)
    numbers = ["%.*f" % (digits, value * factor) for value in (statistics.median(values), min(values), max(values))]
    return "%s %s [%s–%s] n=%d" % (numbers[0], unit, numbers[1], numbers[2], len(values))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


__all__ = ["HEADER", "Row", "show", "told"]
