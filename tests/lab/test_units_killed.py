# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units whose main process is killed, hangs, or never stays: what systemd does itself is left to it, the rest is healed."""

from __future__ import annotations

import time
from typing import Any

# From the kill, told by the clock that all of a machine's hosts share, to the start of the next main process, in milliseconds.
MEASURE = """
unit=$1 old=$(systemctl show -p MainPID --value "$unit")
python3 -I - "$unit" "$old" <<'END'
import os, signal, subprocess, sys, time
unit, old = sys.argv[1], sys.argv[2]
killed = time.monotonic()
os.kill(int(old), signal.SIGKILL)
ask = ["systemctl", "show", "-p", "MainPID,ExecMainStartTimestampMonotonic", unit]
while time.monotonic() < killed + 20:
    told = dict(line.split("=") for line in subprocess.run(ask, capture_output=True, text=True).stdout.split())
    if told["MainPID"] not in ("0", old):
        print((int(told["ExecMainStartTimestampMonotonic"]) / 1e6 - killed) * 1000)
        break
    time.sleep(0.02)
END
"""


def milliseconds(bed: Any, unit: str) -> float:
    return float(bed.run("sh", "-c", MEASURE, "sh", unit).stdout)


def test_killed_and_nothing_else_restarts_it(bed: Any, record_property: Any) -> None:
    """Kill -9 of a unit without Restart=: seen at once, started once, proven, timed."""
    bed.watch(bed.unit("web"))
    old = bed.pid("web")
    took = milliseconds(bed, "web")
    record_property("milliseconds", took)
    print("killed, no Restart=, to the next start: %.0f ms (%s)" % (took, bed.distribution))
    recovered = bed.event("recover")
    failure, started = bed.events("failure")[0], bed.events("start")
    assert "gone" == failure["data"]["reason"] and failure["data"]["detected_after_ms"] < 500
    assert 1 == len(started) and not bed.events("restart")
    assert recovered["incident"] == failure["incident"]
    assert bed.pid("web") not in (0, old) and 2 == len(bed.lines("/srv/web/starts"))
    assert took < 1000
    bed.selfheal("timeline", "verify")


def test_killed_and_systemd_restarts_it(bed: Any) -> None:
    """A unit with Restart= comes back by systemd alone, as fast as without us, and nothing is done beside it."""
    web = bed.unit("web", "Restart=on-failure", "RestartSec=300ms", "StartLimitBurst=100")
    alone = min(milliseconds(bed, "web") for _run in range(3))
    bed.watch(web)
    watched = min(milliseconds(bed, "web") for _run in range(3))
    print("killed, Restart=: systemd alone %.0f ms, watched %.0f ms (%s)" % (alone, watched, bed.distribution))
    assert watched <= alone * 1.1 + 30
    bed.healthy("web")
    time.sleep(3)
    assert not bed.events("start", "restart", "page")
    assert "6" == bed.show("web", "NRestarts")["NRestarts"]


def test_hangs(bed: Any) -> None:
    """SIGSTOP: active to systemd, silent to its probe; restarted once after failing_for, TERM first, and the old process is gone."""
    bed.watch(bed.unit("web", stop="2s"))
    old = bed.kill("web", "STOP")
    bed.event("recover")
    restart = bed.events("restart")
    assert [("liveness_failed", 1)] == [(event["data"]["reason"], event["data"]["attempt"]) for event in restart]
    assert bed.pid("web") != old and not bed.lines("/proc/%d/comm" % old)


def test_crash_loop(bed: Any) -> None:
    """C22 C25 systemd's own restarts come first; after its start limit every attempt resets it once, then a person is told."""
    web = bed.unit("web", "Restart=on-failure", "RestartSec=50ms", kind="exec")
    web["ladder"] = [{"rung": "restart", "attempts": 2, "timeout": 10}]
    bed.watch(web)
    bed.sh("touch /srv/web/crash")
    bed.kill("web")
    page = bed.event("page", within=50)
    assert "ladder_exhausted" == page["data"]["reason"]
    assert [1, 2] == [event["data"]["attempt"] for event in bed.events("start", "restart")]
    assert 1 == len(bed.events("failure"))
    # 1 + 4 of systemd until its limit of 5, then 5 for each attempt: no attempt resets twice.
    starts = len(bed.lines("/srv/web/starts"))
    assert starts in (15, 16), "the first start of all may lie before the interval of the limit"
    assert "failed" == bed.show("web", "ActiveState")["ActiveState"]


def test_dies_some_time_after_every_start(bed: Any) -> None:
    """C36 a service that lives for a while after each start climbs on instead of starting over, and ends with a page."""
    web = bed.unit("web", options="--dies-after 4")
    web["ladder"] = [{"rung": "restart", "attempts": 2, "timeout": 10}]
    bed.watch(web)
    bed.event("page", within=50)
    assert [1, 2] == [event["data"]["attempt"] for event in bed.events("start")]
    assert 2 <= len(bed.events("recover")), "it was healthy in between"
    first, second = bed.events("failure")[:2]
    assert first["incident"] == second["data"]["continues"]
