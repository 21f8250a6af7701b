# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a forecast of slowness is worth: false alarms a day on series that never breach, and lead time on ramps that do.

`python tests/unit/core/trend_figures.py` prints the figures of decision 14; the tests beside it hold them on fewer days.
"""

from __future__ import annotations

import math
import pathlib
import random
import statistics
import sys
import time
import types
from typing import Callable, Iterator, NamedTuple

AFTER, PERIOD, WINDOW = 3.0, 10.0, 100
DAY = 8640
"""Answers of a day at a period of 10 s."""
QUIET = 600.0
"""An alarm within so many seconds after the last one is the same one."""


def steady(rng: random.Random) -> Iterator[float]:
    """0.9 s, give or take a hundredth."""
    while True:
        yield 0.9 + rng.gauss(0, 0.01)


def noisy(rng: random.Random) -> Iterator[float]:
    """Around 1.2 s, log-normal: one answer in thirty takes more than the limit."""
    while True:
        yield 1.2 * math.exp(rng.gauss(0, 0.5))


def bursty(rng: random.Random) -> Iterator[float]:
    """0.8 s, and some 80 times a day 10 to 300 s on a plateau anywhere between 1 s and 2.6 s."""
    while True:
        for _each in range(int(rng.expovariate(0.01)) + 1):
            yield 0.8 + abs(rng.gauss(0, 0.1))
        plateau = rng.uniform(1.0, 2.6)
        for _each in range(rng.randint(1, 30)):
            yield plateau + rng.gauss(0, 0.1)


def wave(rng: random.Random) -> Iterator[float]:
    """A day's wave between 0.3 s and 2.7 s of a limit of 3 s."""
    at = 0
    while True:
        at += 1
        yield 1.5 + 1.2 * math.sin(2 * math.pi * at / DAY) + rng.gauss(0, 0.15)


SERIES: dict[str, Callable[[random.Random], Iterator[float]]] = {"steady": steady, "noisy": noisy, "bursty": bursty, "wave": wave}
RAMPS = (100, 250, 600, 1250, 2500, 5000)
"""Seconds in which the latency rises from 0.5 s to the limit."""


class Lead(NamedTuple):
    """Seconds between the forecast and the breach, of those that were foretold."""

    rise: float
    foretold: int
    runs: int
    median: float
    least: float


def false_alarms(series: str, days: int, seed: int) -> int:
    """How often slowness is foretold in so many days of a series that has no trend."""
    from selfheal._core.trend import Trend

    rng = random.Random(seed)
    trend, alarms, last = Trend(AFTER, WINDOW), 0, -QUIET
    for number, latency in zip(range(days * DAY), SERIES[series](rng)):
        at = number * PERIOD + rng.uniform(0, 0.2)
        before = trend.forecast
        if trend.add(at, max(0.001, latency)) is not None:
            alarms += before is None and at - last > QUIET
            last = at
    return alarms


def lead(rise: float, runs: int, noise: float = 0.1) -> Lead:
    """How long before the breach a ramp is foretold; `noise` is a share of the latency."""
    from selfheal._core.trend import Trend

    found = []
    for seed in range(runs):
        rng, trend = random.Random(seed), Trend(AFTER, WINDOW)
        begin = 1000.0 + rng.uniform(0, PERIOD)
        at, first = 0.0, None
        while at < begin + rise:
            latency = 0.5 + max(0.0, at - begin) / rise * (AFTER - 0.5)
            if trend.add(at, latency * (1 + rng.gauss(0, noise))) is not None and first is None:
                first = at
            at += PERIOD
        if first is not None:
            found.append(begin + rise - first)
    return Lead(rise, len(found), runs, statistics.median(found) if found else math.nan, min(found, default=math.nan))


def main() -> None:
    root = pathlib.Path(__file__).resolve().parents[3]
    package = types.ModuleType("selfheal")
    package.__path__ = [str(root / "plugins" / "module_utils")]
    sys.modules["selfheal"] = package
    days, runs = 30, 100
    for name in SERIES:
        began = time.process_time()
        alarms = false_alarms(name, days, 1)
        cost = (time.process_time() - began) / (days * DAY) * 1e6
        sys.stdout.write("%-7s %3d false alarms in %d days, %.1f us an answer\n" % (name, alarms, days, cost))
    for rise in RAMPS:
        told = lead(rise, runs)
        words = "rise of %4d s: foretold %3d of %d, lead median %.0f s, least %.0f s\n"
        sys.stdout.write(words % (rise, told.foretold, told.runs, told.median, told.least))


if __name__ == "__main__":
    main()
