# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long answers took: percentiles, and the default for what counts as slow."""

from __future__ import annotations

import math
from typing import Dict, Optional, Sequence


def slow_after(timeout: float) -> float:
    """The default of ``slow.after``: three quarters of the probe's timeout, at most 3 s."""
    return min(3.0, 0.75 * timeout)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of an ascending, non-empty sequence: always a value that was measured."""
    rank = math.ceil(percent / 100.0 * len(ordered))
    return ordered[max(0, rank - 1)]


def summary_ms(seconds: Sequence[float]) -> Dict[str, Optional[float]]:
    """p50, p95 and max in milliseconds, to a microsecond; None where nothing was measured."""
    ordered = sorted(seconds)
    if not ordered:
        return {"p50": None, "p95": None, "max": None}
    return {
        "p50": milliseconds(percentile(ordered, 50)),
        "p95": milliseconds(percentile(ordered, 95)),
        "max": milliseconds(ordered[-1]),
    }


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 3)


__all__ = ["milliseconds", "percentile", "slow_after", "summary_ms"]
