# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Will a service soon be too slow? A robust line through its latest latencies, and whether it crosses the limit within minutes.

The slope is Theil's incomplete estimate: the median over pairs half a window apart, so that each answer counts once, a quarter of them may
be outliers, and it costs two sorts. A line is believed only when three things hold: most pairs rise (a sign test), both halves of the
window rise by themselves (a step rises in one only: a burst is no trend), and it does so three answers in a row. It is looked for in the
whole window, its newest half and its newest quarter, as a fast rise would be over before it fills a long one. What that costs and yields
is measured in decision 14.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Deque, List, NamedTuple, Optional, Sequence, Tuple

HORIZON = 300.0
"""A crossing within so many seconds is foretold."""
LEAST = 24
"""Answers below which no line is drawn."""
IN_A_ROW, GONE_AFTER = 3, 12
"""So many answers in a row must foretell it, and so many must not for it to be taken back."""
_SIGNS = 3.4
"""Standard deviations by which rising pairs must outnumber falling ones: all of 12, 37 of 50."""
_OF_SLOPE = 0.4
"""Each half must rise at least so much of the whole's slope."""
_FLOOR = 0.25
"""Below this share of the limit nothing is foretold, and nothing is computed: most services live there."""
_SCALES = (1, 2, 4)

Points = Sequence[Tuple[float, float]]


class Forecast(NamedTuple):
    """seconds: until the line reaches the limit, 0 when it has; slope: seconds of latency per second."""

    seconds: float
    slope: float


class Trend:
    """The latencies of one probe of one instance. after: the limit in seconds; window: how many answers count.

    Reset rule: `clear`, for a new instance. `forecast`: what is foretold at present, or None.
    """

    def __init__(self, after: float, window: int) -> None:
        self.forecast: Optional[Forecast] = None
        self._after = after
        self._points: Deque[Tuple[float, float]] = deque(maxlen=window)
        self._sizes = [window // scale for scale in _SCALES if window // scale >= LEAST]
        self._every = max(1, window // 100)
        self._count = 0
        self._yes = self._no = 0

    def clear(self) -> None:
        """The instance is another one: nothing is known."""
        self._points.clear()
        self.forecast = None
        self._yes = self._no = 0

    def add(self, at: float, latency: float) -> Optional[Forecast]:
        """Take one answer in (monotonic seconds, seconds); what is foretold now."""
        # An answer beyond the limit says only that: how far beyond it depends on the probe's timeout.
        self._points.append((at, min(latency, self._after)))
        self._count += 1
        if self._count % self._every:
            return self.forecast
        found = self._foretell()
        self._yes, self._no = (self._yes + 1, 0) if found is not None else (0, self._no + 1)
        if found is not None and (self._yes >= IN_A_ROW or self.forecast is not None):
            self.forecast = found
        elif self._no >= GONE_AFTER:
            self.forecast = None
        return self.forecast

    def _foretell(self) -> Optional[Forecast]:
        if not self._sizes or len(self._points) < self._sizes[-1]:
            return None
        if all(self._points[-1 - back][1] < _FLOOR * self._after for back in range(3)):
            return None
        points: List[Tuple[float, float]] = list(self._points)
        for size in self._sizes:
            found = _crossing(points[-size:], self._after) if len(points) >= size else None
            if found is not None:
                return found
        return None


def _crossing(points: Points, after: float) -> Optional[Forecast]:
    slope, signs = _slope(points)
    if slope <= 0 or signs < _SIGNS:
        return None
    half = len(points) // 2
    if _slope(points[:half])[0] < _OF_SLOPE * slope or _slope(points[half:])[0] < _OF_SLOPE * slope:
        return None
    now = points[-1][0]
    level = _median([latency - slope * (at - now) for at, latency in points])
    if level < _FLOOR * after or level + slope * HORIZON < after:
        return None
    return Forecast(max(0.0, (after - level) / slope), slope)


def _slope(points: Points) -> Tuple[float, float]:
    """The median slope of pairs half a window apart, and by how many standard deviations more of them rise than fall."""
    pairs = len(points) // 2
    apart = len(points) - pairs
    slopes = []
    for early, late in zip(points[:pairs], points[apart:]):
        slopes.append((late[1] - early[1]) / max(late[0] - early[0], 1e-9))
    rising = sum(1 for each in slopes if each > 0)
    return _median(slopes), (2 * rising - pairs) / math.sqrt(pairs)


def _median(values: List[float]) -> float:
    values.sort()
    return values[len(values) // 2]


__all__ = ["Forecast", "HORIZON", "LEAST", "Trend"]
