# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow services are given the time that their own units give them."""

from __future__ import annotations

from typing import Any

LADDER = [{"rung": "restart", "attempts": 3, "timeout": 2}, {"rung": "page"}]


def test_a_slow_starter_is_not_cut(bed: Any) -> None:
    """C32 the attempt's window of 2 s is extended while the unit's start job of 8 s is pending: one start, no second one."""
    bed.watch({**bed.unit("web", options="--slow-start 8"), "ladder": LADDER})
    bed.kill("web")
    bed.event("recover", within=30)
    assert 2 == len(bed.lines("/srv/web/starts"))
    assert 1 == len(bed.events("start")) and not bed.events("restart", "page")


def test_a_slow_stopper_is_not_killed(bed: Any) -> None:
    """TERM, then its TimeoutStopSec=: the stop of 8 s ends by itself, is asked for once, and no KILL comes from us."""
    bed.watch({**bed.unit("web", options="--slow-stop 8"), "ladder": LADDER})
    old = bed.pid("web")
    bed.sh("touch /srv/web/bad; (sleep 6; rm /srv/web/bad) >/dev/null 2>&1 &")
    bed.event("recover", within=30)
    assert [str(old)] == bed.lines("/srv/web/stopping") == bed.lines("/srv/web/stopped")
    assert 1 == len(bed.events("restart")) and not bed.events("page")


def test_an_admins_slow_stop_is_not_disturbed(bed: Any) -> None:
    """A stop job that takes longer than failing_for is no reason to restart: it ends as the admin wanted."""
    bed.watch({**bed.unit("web", options="--slow-stop 6"), "ladder": LADDER})
    bed.sh("systemctl stop --no-block web")
    bed.in_state("web", "stopped", within=20)
    assert not bed.events("start", "restart", "page")
    assert "inactive" == bed.show("web", "ActiveState")["ActiveState"] and 1 == len(bed.lines("/srv/web/stopped"))
