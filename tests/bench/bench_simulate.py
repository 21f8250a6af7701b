# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a simulation takes: 1,000 simulated hours of one steady service, and a full climb to the page.

Run alone: ``python tests/bench/bench_simulate.py [--quick]``; prints rows of a Markdown table.
"""

from __future__ import annotations

import os
import pathlib
import sys
import time
import types
from typing import Any

from table import Row, show

ROOT = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or pathlib.Path(__file__).resolve().parents[2])
HOURS = 1000
MOST_SECONDS = 20.0
WEB = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [{"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}],
    "release": {"root": "/var/www", "project": "web"},
}


def rows(quick: bool = False) -> list[Row]:
    """quick: a tenth of the hours, and a tenth of the seconds."""
    hours, most = (HOURS // 10, MOST_SECONDS / 10) if quick else (HOURS, MOST_SECONDS)
    steady, result = timed(hours * 3600.0, [])
    runs = result["probes"]["web/liveness"]
    if runs != hours * 360 + 1:
        raise RuntimeError("a steady hour has 360 probes, and the first comes at 0; %d were run in %d hours" % (runs, hours))
    climb, result = timed(360.0, [{"at": 0.001, "probe": "web/liveness", "result": "hang"}])
    if result["events"][-1]["type"] != "page":
        raise RuntimeError("a climb ends with a page, this one with %s" % result["events"][-1])
    return [
        Row("%d simulated hours of one steady service" % hours, "%.1f s" % steady, "-", "-", "< %g s" % most, steady < most),
        Row("a simulated climb to the page", "%.0f ms" % (climb * 1000), "-", "-", "< 1000 ms", climb < 1.0),
    ]


def timed(until: float, script: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    if "selfheal" not in sys.modules:
        package = types.ModuleType("selfheal")
        package.__path__ = [str(ROOT / "plugins" / "module_utils")]
        sys.modules["selfheal"] = package
    from selfheal._core.contract import parse_services
    from selfheal._core.scenario import parse_scenario
    from selfheal._engine.simulation import simulate

    services = parse_services([WEB])
    scenario = parse_scenario({"until": until, "script": script}, services)
    begun = time.perf_counter()
    result = simulate(services, scenario)
    return time.perf_counter() - begun, result


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
