# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow services are given the time that their own units give them."""

from __future__ import annotations

from typing import Any

import pytest

LADDER = [{"rung": "restart", "attempts": 3, "timeout": 2}, {"rung": "page"}]


@pytest.mark.long(110)
def test_a_slow_starter_is_not_cut(bed: Any) -> None:
    """C32 the attempt's window of 2 s is extended while the unit's start job of 40 s is pending: one start, no second one."""
    web = bed.unit("web", options="--slow-start 40", within=90)
    bed.watch({**web, "ladder": LADDER})
    bed.kill("web")
    recovered = bed.event("recover", within=90)
    assert 40_000 <= recovered["data"]["recovery_duration_ms"] < 60_000
    assert 2 == len(bed.lines("/srv/web/starts"))
    assert 1 == len(bed.events("start")) and not bed.events("restart", "page")


@pytest.mark.long(100)
def test_a_starter_without_a_start_job_is_not_cut(bed: Any) -> None:
    """C32 a Type=exec unit is up for systemd at once; its startup probe's budget keeps it from being restarted for 40 s."""
    web = bed.unit("web", options="--slow-start 40", kind="exec")
    startup = {**web["probes"][0], "role": "startup", "failure_threshold": 60}
    bed.contracts({**web, "probes": [*web["probes"], startup], "ladder": LADDER})
    bed.sh("systemctl start selfheal-watchdog")
    bed.healthy("web", within=60)
    bed.kill("web")
    bed.event("recover", within=90)
    assert 2 == len(bed.lines("/srv/web/starts"))
    assert 1 == len(bed.events("start")) and not bed.events("restart", "page")


@pytest.mark.long(90)
def test_a_slow_stopper_is_not_killed(bed: Any) -> None:
    """TERM, then its TimeoutStopSec=: the stop of 60 s ends by itself, is asked for once, and no KILL comes from us."""
    bed.watch({**bed.unit("web", options="--slow-stop 60", stop="90s"), "ladder": LADDER})
    old = bed.pid("web")
    bed.sh("touch /srv/web/bad; (sleep 30; rm /srv/web/bad) >/dev/null 2>&1 &")
    bed.event("recover", within=120)
    assert [str(old)] == bed.lines("/srv/web/stopping") == bed.lines("/srv/web/stopped")
    assert 1 == len(bed.events("restart")) and not bed.events("page")


def test_an_admins_slow_stop_is_not_disturbed(bed: Any) -> None:
    """A stop job that takes longer than failing_for is no reason to restart: it ends as the admin wanted."""
    bed.watch({**bed.unit("web", options="--slow-stop 6"), "ladder": LADDER})
    bed.sh("systemctl stop --no-block web")
    bed.in_state("web", "stopped", within=20)
    assert not bed.events("start", "restart", "page")
    assert "inactive" == bed.show("web", "ActiveState")["ActiveState"] and 1 == len(bed.lines("/srv/web/stopped"))
