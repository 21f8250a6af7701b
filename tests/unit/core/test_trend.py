# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast of slowness: what it foretells, what it does not, and the figures of decision 14 on fewer days."""

from __future__ import annotations

import importlib.util
import math
import pathlib
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal._core.trend import GONE_AFTER, HORIZON, IN_A_ROW, LEAST, Forecast, Trend


@pytest.fixture(scope="module")
def figures() -> types.ModuleType:
    path = pathlib.Path(__file__).with_name("trend_figures.py")
    spec = importlib.util.spec_from_file_location("trend_figures", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fed(latencies: list[float], window: int = 100, after: float = 3.0) -> Trend:
    trend = Trend(after, window)
    for number, latency in enumerate(latencies):
        trend.add(number * 10.0, latency)
    return trend


def ramp(first: float, slope: float, count: int) -> list[float]:
    return [first + slope * 10.0 * number for number in range(count)]


def test_a_rise_that_will_cross_is_foretold_with_its_time() -> None:
    """From 1 s by 4 ms a second the limit of 3 s is reached at 500 s; said as soon as there are answers enough."""
    trend = Trend(3.0, 100)
    first = next(
        (at, forecast)
        for at, forecast in ((number * 10.0, trend.add(number * 10.0, 1.0 + 0.04 * number)) for number in range(100))
        if forecast is not None
    )
    assert 240 <= first[0] <= 270 and first[1].slope == pytest.approx(0.004)
    assert first[0] + first[1].seconds == pytest.approx(500.0, abs=1.0)


NOT = [
    ("too few answers", ramp(1.0, 0.02, LEAST - 1)),
    ("it falls", ramp(2.9, -0.004, 100)),
    ("it is flat just below the limit", [2.9] * 100),
    ("it crosses later than anybody asks", ramp(1.0, 0.001, 100)),
    ("it rises far below the limit", ramp(0.01, 0.0004, 150)),
    ("a step is no rise", [0.8] * 60 + [2.5] * 40),
    ("a burst is no rise", [0.8] * 70 + [2.5] * 15 + [0.8] * 15),
    ("a single outlier", [1.0] * 99 + [3.0]),
    ("a quarter are outliers", [3.0 if number % 4 == 3 else 1.0 for number in range(100)]),
    ("up and down", [1.5 + (number % 7) * 0.2 for number in range(200)]),
]


@pytest.mark.parametrize("why,latencies", NOT, ids=[why for why, _latencies in NOT])
def test_what_is_no_trend_is_not_foretold(why: str, latencies: list[float]) -> None:
    """At no moment of the series, not only at its end."""
    trend = Trend(3.0, 100)
    assert [trend.add(number * 10.0, latency) for number, latency in enumerate(latencies)] == [None] * len(latencies)


def test_outliers_do_not_hide_a_rise() -> None:
    """One answer in sixteen is nonsense, and the rise is seen all the same."""
    latencies = ramp(1.0, 0.002, 90)
    for number in range(3, 90, 16):
        latencies[number] = 0.05 if number % 32 == 3 else 2.99
    assert fed(latencies).forecast is not None


def test_it_is_taken_back_when_it_is_over_and_not_at_the_first_good_answer() -> None:
    """It neither flickers nor stays for ever."""
    trend = fed(ramp(1.0, 0.006, 40))
    assert trend.forecast is not None
    gone = [number for number in range(200) if trend.add(400.0 + number * 10.0, 0.5) is None]
    assert IN_A_ROW <= gone[0] <= 60 and gone == list(range(gone[0], 200))
    assert GONE_AFTER > IN_A_ROW


def test_another_instance_begins_afresh() -> None:
    """What the last one did is no sign of what this one will do."""
    trend = fed(ramp(1.0, 0.006, 40))
    trend.clear()
    assert trend.forecast is None and trend.add(500.0, 2.9) is None


def test_a_window_too_small_foretells_nothing() -> None:
    """Below 24 answers no line is drawn, whatever they say."""
    assert fed(ramp(1.0, 0.01, 100), window=LEAST - 1).forecast is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(min_value=0.0, max_value=1e6), max_size=150), st.integers(min_value=2, max_value=300))
def test_whatever_is_answered_the_forecast_is_sound(latencies: list[float], window: int) -> None:
    """No series breaks it; what it foretells lies within the horizon and rises."""
    trend = Trend(3.0, window)
    for number, latency in enumerate(latencies):
        found = trend.add(number * 0.25, latency)
        assert found is None or (isinstance(found, Forecast) and 0 <= found.seconds <= HORIZON and found.slope > 0)


@pytest.mark.parametrize("series,most", [("steady", 0), ("noisy", 1), ("wave", 0), ("bursty", 6)])
def test_false_alarms_are_as_few_as_decision_14_says(figures: types.ModuleType, series: str, most: int) -> None:
    """Three days of each; steady ones and daily waves never, noise hardly, eighty bursts a day rarely."""
    assert figures.false_alarms(series, 3, 1) <= most


@pytest.mark.parametrize("rise,median", [(250, 30), (600, 120), (1250, 200), (2500, 200)])
def test_lead_time_is_as_long_as_decision_14_says(figures: types.ModuleType, rise: float, median: float) -> None:
    """A ramp with a tenth of noise is foretold nearly always, and minutes ahead unless it is over in minutes."""
    told = figures.lead(rise, 15)
    assert told.foretold >= 14 and told.median >= median and not math.isnan(told.least)
