# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual clock, and when probes run on it."""

from __future__ import annotations

import pytest
from story import play


def test_the_deterministic_clock_tells_the_same_twice() -> None:
    """The same scenario gives the same events, byte for byte."""
    script = "100 web/liveness hang\n300 crash\n500 gone web"
    assert play(script, 900).events == play(script, 900).events


def test_until_is_included() -> None:
    """What is due at the last second still happens, and nothing after it."""
    assert play("0.5 web/liveness hang", 28.5).times("restart") == [18.5, 28.5]
    assert play("0.5 web/liveness hang", 28.499).times("restart") == [18.5]


def test_entries_apply_before_the_probes_of_their_instant() -> None:
    """A probe due at 100 sees what the script says from 100 on, and one due at 99 does not."""
    assert play("100 web/liveness bad", 101).of("failure")[0]["at"] == 100.5
    assert play("100.001 web/liveness bad", 111).of("failure")[0]["at"] == 110.5


def test_the_probes_that_ran_are_counted() -> None:
    """The first at 0, then one every period, `until` included."""
    assert play("", 100).probes == {"web/liveness": 11}
    assert play("", 99.9).probes == {"web/liveness": 10}


@pytest.mark.parametrize("period,until", [(0.1, 1), (0.1, 100), (0.3, 300), (7.7, 7700)])
def test_a_period_that_binary_fractions_do_not_know_is_kept(period: float, until: float) -> None:
    """No probe runs twice for one point of its grid because a multiple of its period is not exact."""
    probes = [{"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 1}, "period": period, "timeout": 0.1}]
    assert play("", until, probes=probes).probes == {"web/liveness": round(until / period) + 1}


def test_probes_come_every_quarter_second_in_an_incident_then_at_their_period() -> None:
    """Until 60 s after the opening close together, after that at the period; the incident has no attempt, so nothing prolongs it."""
    held = "0 hold web\n100 web/liveness bad\n"
    inside = play(held, 160).probes["web/liveness"] - play(held, 101).probes["web/liveness"]
    after = play(held, 260).probes["web/liveness"] - play(held, 161).probes["web/liveness"]
    assert inside == pytest.approx(59 * 4, abs=4)
    assert after == 10


@pytest.mark.parametrize("until", [200, 400])
def test_exec_probes_are_asked_at_most_every_five_seconds(until: float) -> None:
    """C09 no confirmation for a program, and five seconds between two runs also during an incident."""
    probes = [{"role": "liveness", "exec": {"argv": ["/bin/check"]}}]
    told = play("100 web/liveness bad", until, probes=probes)
    assert told.times("failure") == [110]
    assert told.probes["web/liveness"] <= 11 + (until - 100) / 5 + 1
