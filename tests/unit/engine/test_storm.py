# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storm, and a watchdog that comes back in the midst of one, or in the midst of many failures that are none."""

from __future__ import annotations

import pathlib
from typing import Any, Dict, List, Optional

import pytest

from selfheal._core import pages as core
from selfheal._core.model import Storm, WatchdogConfig
from selfheal._engine.local import Site
from selfheal._engine.simulation import MemoryRecords
from selfheal._engine.storm import StormWatch, lasting_storm
from selfheal._probes.engine import LocalHost
from selfheal._records.pages import Page, Pages
from selfheal._records.read import read

NAMES = ["s%d" % number for number in range(5)]


class Stage:
    """`total` services on a host; `lasting`: the storm somebody was told of before."""

    def __init__(self, total: int, lasting: Optional[str] = None) -> None:
        self.total = total
        self.records = MemoryRecords(lambda: 0.0)
        self.storm = StormWatch(Storm(), lambda: self.total, self.records, lambda: 1767225600.0, lambda: lasting)

    def taken_up(self, opened: Dict[str, float]) -> Optional[str]:
        """The incidents of a watchdog that comes back, each service begun after the other."""
        whole, self.total = self.total, 0
        for name, at in opened.items():
            self.total += 1
            self.storm.failing(name, at, again=True)
        self.total = whole
        return self.storm.text("s0")

    def told(self) -> List[Any]:
        return [(event["type"], event["incident"]) for event in self.records.events]


@pytest.mark.parametrize(
    ("total", "opened", "storm"),
    [
        pytest.param(5, dict.fromkeys(NAMES, 100.0), True, id="all at once"),
        pytest.param(5, {name: 100.0 * at for at, name in enumerate(NAMES)}, False, id="one after the other"),
        pytest.param(5, {name: 100.0 + 14.9 * at for at, name in enumerate(NAMES)}, True, id="within a minute"),
        pytest.param(5, {name: 100.0 + 14.9 * at for at, name in enumerate(reversed(NAMES))}, True, id="in whatever order"),
        pytest.param(11, dict.fromkeys(NAMES, 100.0), False, id="less than half of all, though of the first that were begun"),
    ],
)
def test_what_is_taken_up_is_judged_by_when_it_opened(total: int, opened: Dict[str, float], storm: bool) -> None:
    """A watchdog that comes back sees a storm where there was one, and none in what failed at other times or beside many that are well."""
    stage = Stage(total)
    assert (stage.taken_up(opened) is not None) is storm
    assert [type for type, _incident in stage.told()] == ["page"] * storm


def test_a_storm_that_lasts_is_told_once_and_called_over_by_its_name() -> None:
    """Who was told of a storm before the watchdog was restarted is not told again, and hears of its end."""
    stage = Stage(8, "storm-20260101T000001.000Z")
    assert stage.taken_up({**dict.fromkeys(NAMES, 100.0), "late": 400.0}) == "6 of 8 services of this host failed within 60 s"
    assert stage.told() == []
    for name in ("late", "s1", "s2"):
        stage.storm.over(name)
    assert stage.told() == [("page_resolved", "storm-20260101T000001.000Z")] and stage.storm.text("s0") is None


def page(incident: str, service: Optional[str], closed: Optional[float] = None) -> Page:
    message = core.firing("h1", service, incident, {"reason": "storm"}, "2026-11-21T21:03:30.001Z", 3)
    return Page(incident, service, 1700000000.5, message, [], closed=closed)


def test_the_storm_that_lasts_is_known_from_its_page(tmp_path: pathlib.Path) -> None:
    """Neither the page of a service nor that of a storm that is over says that one lasts."""
    damaged: List[Any] = []
    spool = Pages(str(tmp_path), lambda *which: damaged.append(which))
    assert lasting_storm(spool) is None
    spool.save(page("storm-1", None, closed=1700000001.0))
    spool.save(page("web-1", "web"))
    assert lasting_storm(spool) is None
    spool.save(page("storm-2", None))
    assert lasting_storm(spool) == "storm-2" and damaged == []


def test_a_service_that_is_watched_no_more_keeps_no_storm_going(tmp_path: pathlib.Path) -> None:
    """Its contract was taken away while it failed: the others need not wait for a recovery that nobody will see."""
    config = WatchdogConfig("h1", state_dir=str(tmp_path / "var"), run_dir=str(tmp_path / "run"))
    with LocalHost() as host:
        site = Site(str(tmp_path), config, host)
        site.watched.extend(NAMES)
        for name in NAMES:
            site.storm.failing(name, host.monotonic())
        assert site.storm.text("s0") is not None
        site.forget("s4")
        assert site.storm.text("s0") is None and site.storm.incident is None
        site.timeline.close()
    told = read(str(tmp_path / "var" / "timeline"))
    assert ["page", "page_resolved"] == [event["type"] for event in told] and told[0]["incident"] == told[1]["incident"]
