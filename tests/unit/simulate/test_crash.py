# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A watchdog that dies goes on where it was: same rung, same failure_time, nothing twice, nothing left out."""

from __future__ import annotations

import pytest
from story import LIVENESS, READINESS, lines, play

from selfheal._engine import simulation

HUNG = "0.5 web/liveness hang\n0 does web/restart ok takes 2\n0 does web/redeploy ok takes 5\n"
CLIMB = [("restart", 1), ("restart", 2), ("restart", 3), ("redeploy", 1), ("redeploy", 2), ("rollback", 1), ("page", None)]
RUNGS = ("start", "restart", "redeploy", "rollback", "page")
OPENED, PAGED = 18.5, 348.5


def climb_of(script: str, until: float = 640) -> list[tuple[str, object]]:
    return [(event["type"], event["data"].get("attempt")) for event in play(script, until).of(*RUNGS)]


def quarters(first: float, last: float) -> list[float]:
    return [first + n / 4 for n in range(int((last - first) * 4) + 1)]


@pytest.mark.parametrize("minute", range(6))
def test_a_crash_at_every_quarter_second_of_a_climb_changes_no_attempt(minute: int) -> None:
    """C17 C37 C46 the same attempts, none repeated, none left out, one page, one failure_time, wherever the watchdog dies."""
    for at in quarters(max(60.0 * minute, OPENED + 0.25), min(60.0 * (minute + 1) - 0.25, PAGED + 4)):
        told = play(HUNG + "%g crash" % at, 400)
        found = [(event["type"], event["data"].get("attempt")) for event in told.of(*RUNGS)]
        assert found == CLIMB, "crash at %g" % at
        failures = told.of("failure")
        assert [event["data"]["failure_time"] for event in failures] == ["2026-01-01T00:00:10.000Z"], "crash at %g" % at
        assert len({event["incident"] for event in told.of("failure", *RUNGS)}) == 1
        late = [there - due for there, due in zip(told.times(*RUNGS), (18.5, 28.5, 38.5, 48.5, 168.5, 288.5, 348.5))]
        assert min(late) >= 0 and max(late) <= 1 + 4 + 0.25, "crash at %g: late by %s" % (at, late)


def test_an_attempt_begun_is_not_repeated_and_its_window_goes_on_to_its_end() -> None:
    """C51 killed in the middle of a restart: it goes on in the world, and its window counts from its own beginning."""
    told = play(HUNG + "19 crash", 60)
    assert told.lines == lines("""
        18.5  failure liveness_failed since 10
        18.5  restart 1 liveness_failed
        20    watchdog_start
        28.5  restart 2 liveness_failed after not_healed/window_over
        38.5  restart 3 liveness_failed after not_healed/window_over
        48.5  redeploy 1 liveness_failed after not_healed/window_over
    """)


@pytest.mark.parametrize("at", [18.5, 28.5, 38.5, 168.5, 348.5])
def test_a_crash_comes_before_the_decision_of_its_instant(at: float) -> None:
    """The dead decide nothing, also not in the instant of their death."""
    told = play(HUNG + "%g crash" % at, 400)
    assert [event["at"] for event in told.events if at <= event["at"] < at + 1] == []


def test_a_watchdog_that_dies_every_ten_seconds_still_reaches_a_person() -> None:
    """C29 no counter begins anew with the process: the ladder is climbed once and ends with one page."""
    crashes = "\n".join("%d crash" % at for at in range(23, 600, 10))
    assert climb_of("0 does web/restart ok takes 2\n0.5 web/liveness bad\n" + crashes, 640)[:7] == CLIMB


@pytest.mark.parametrize("at", quarters(105, 117))
def test_a_crash_during_recovery_proves_it_with_its_own_eyes(at: float) -> None:
    """The run of good answers of the same instance still counts; the incident closes once, with the same recovery_time."""
    script = "0 does web/restart ok takes 2 heals\n100 web/liveness bad\n%g crash" % at
    told = play(script, 200)
    assert len(told.of("restart")) == 1
    recovered = told.of("recover")
    assert len(recovered) == 1
    assert recovered[0]["data"]["failure_time"] == "2026-01-01T00:01:40.000Z"
    assert recovered[0]["at"] >= recovered[0]["data"]["recovery_duration_ms"] / 1000 + 100 + 10
    assert told.state == "healthy"


def test_a_crash_keeps_the_position_for_the_next_incident() -> None:
    """Within ladder_reset_after the next incident goes on at the next attempt, also with another process."""
    script = "0 does web/restart ok takes 1 heals\n100 web/liveness bad\n300 crash\n500 web/liveness bad"
    assert play(script, 600).lines[-3:] == lines("""
        500.5 failure liveness_failed since 500 continues
        505   restart 2 liveness_failed
        516   recover at 506 took 6
    """)


def test_a_crash_does_not_lengthen_the_time_to_forget() -> None:
    """Health that went on without a break while the watchdog was away is unbroken."""
    script = "0 does web/restart ok takes 1 heals\n100 web/liveness bad\n300 crash\n710 web/liveness bad"
    assert play(script, 716).of("restart")[-1]["data"]["attempt"] == 1


def test_a_crash_keeps_the_budget() -> None:
    """C37 a restart of the watchdog gives no new actions."""
    guard = {"actions": 2, "per": 600}
    script = "100 web/liveness bad\n118 crash\n130 crash"
    told = play(script, 500, guard=guard)
    assert len(told.of("restart")) == 2
    assert [page["data"]["reason"] for page in told.of("page")] == ["budget_spent"]


def test_a_death_while_the_watchdog_is_away_is_found_on_its_return() -> None:
    """Nobody waits for a probe: the look at the start sees it."""
    told = play("100 crash\n100.5 gone web", 150)
    assert told.lines == lines("""
        101   watchdog_start
        101   failure gone since 101
        101   start 1 gone
        112   recover at 102 took 1
    """)


def test_a_service_an_admin_stopped_meanwhile_stays_stopped() -> None:
    """C01 also when the stop came while nobody watched."""
    told = play("100 crash\n100.5 stop web", 300)
    assert told.lines == ["101 watchdog_start"]
    assert told.state == "stopped"


def test_a_run_that_ends_while_the_watchdog_is_away_still_names_every_service() -> None:
    """`states` has a key for every contract, whatever happened."""
    assert play("99.5 crash", 100).states == {"web": "unknown"}


def test_a_crash_of_a_quiet_watchdog_is_no_event_of_the_service() -> None:
    """Nothing was wrong and nothing is."""
    told = play("100 crash\n200 crash", 300, probes=[LIVENESS])
    assert told.lines == ["101 watchdog_start", "201 watchdog_start"]
    assert told.state == "healthy"


REPLAYED = {
    "nothing heals": ("100 web/liveness bad", {}),
    "the second restart heals": ("100 web/liveness bad\n110 does web/restart ok takes 2 heals", {}),
    "a relapse": ("0 does web/restart ok takes 1 heals\n100 web/liveness bad\n110 web/liveness bad", {}),
    "deaths": ("100 gone web\n161 gone web\n222 gone web\n283 gone web", {"release": None}),
    "a hold": ("90 hold web\n100 web/liveness bad\n200 unhold web\n230 web/liveness ok", {}),
    "approvals": ("100 web/liveness bad\n130 approve web\n200 approve web", {"mode": "approve"}),
    "the budget": ("100 web/liveness bad", {"guard": {"actions": 2, "per": 300}}),
    "readiness": ("100 web/readiness bad\n200 web/readiness ok", {"probes": [LIVENESS, READINESS]}),
    "flapping": (
        "\n".join("%d web/readiness %s" % (100 + 5 * n, ("bad", "ok")[n % 2]) for n in range(9)),
        {"probes": [LIVENESS, READINESS]},
    ),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_the_state_saved_at_every_step_leads_to_the_same_remaining_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed right after any event and back at once: what follows is what would have followed, nothing twice, nothing left out."""
    monkeypatch.setattr(simulation, "BACK_AFTER", 0.0)
    script, contract = REPLAYED[name]
    undisturbed = play(script, 700, **contract)
    assert undisturbed.lines
    for at in sorted({event["at"] for event in undisturbed.events}):
        told = play(script + "\n%.3f crash" % (at + 0.001), 700, **contract)
        found = [line for line in told.lines if not line.endswith("watchdog_start")]
        assert [words(line) for line in found] == [words(line) for line in undisturbed.lines], "killed at %g" % at
        drift = [abs(float(one.split()[0]) - float(other.split()[0])) for one, other in zip(found, undisturbed.lines)]
        assert max(drift) <= 0.5, "killed at %g" % at


def words(line: str) -> list[str]:
    """A line without its own time; how long a recovery took may differ by the next probe's moment."""
    return [word for word in line.split()[1:] if not word.replace(".", "").isdigit()]
