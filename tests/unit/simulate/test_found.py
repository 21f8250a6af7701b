# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What random weeks have found, each as the shortest story that tells it."""

from __future__ import annotations

from story import LIVENESS, READINESS, play

FALLBACK = {"fallback": {"agent_check": {"port": 9878}}}
EXEC = {"role": "liveness", "exec": {"argv": ["/bin/check"]}, "period": 30, "timeout": 4}


def test_an_incident_that_has_just_opened_survives_the_watchdog() -> None:
    """C37 killed after an incident opened and before anything was done about it: it is the same incident afterwards."""
    told = play("100 web/liveness bad\n102 crash", 104, failing_for=20)
    assert [event["type"] for event in told.events[1:]] == ["failure", "watchdog_start"]
    told = play("100 web/readiness bad\n150 crash", 400, probes=[LIVENESS, READINESS])
    assert len(told.of("failure")) == 1


def test_two_guards_of_one_service_do_not_take_turns_in_saying_no() -> None:
    """What forbids a rung and what forbids moving traffic are each said once, not every ten seconds."""
    script = "100 gone web\n100.5 web/liveness unknown\n101 instance web\n167 stop web"
    told = play(script, 400, mode="observe", **FALLBACK)
    said = [(event["data"]["reason"], event["data"].get("action")) for event in told.of("blocked")]
    assert said == [("observe", None), ("admin_stopped", None), ("observe", "failover")]


def test_what_peers_said_in_the_last_incident_is_no_news() -> None:
    """C56 traffic leaves only when the peers are ready now: an answer of minutes ago does not count."""
    guard = {"peers": ["http://two/ready"], "min_available": 1}
    script = "100 web/liveness bad\n103 web/liveness ok\n200 peer http://two/ready hang\n300 web/liveness bad"
    told = play(script, 320, guard=guard, **FALLBACK)
    assert told.times("failover") == [100.5]
    assert [(event["at"], event["data"]["reason"]) for event in told.of("blocked")][-1] == (304.5, "last_available")


def test_peers_that_are_ready_let_traffic_go_without_a_word() -> None:
    """The no of a guard that only waits for its first answer is nobody's news."""
    guard = {"peers": ["http://two/ready", "http://three/ready"], "min_available": 1}
    told = play("200 peer http://two/ready hang\n300 web/liveness bad", 302, guard=guard, **FALLBACK)
    assert told.times("failover") == [300.5] and told.of("blocked") == []


def test_peers_are_asked_again_by_whoever_comes_back() -> None:
    """C44 the watchdog that follows one that was killed hears the answers to its own first questions."""
    guard = {"peers": ["http://two/ready"], "min_available": 1}
    told = play("100 web/liveness bad\n102 crash", 125, guard=guard)
    assert [event["at"] for event in told.of("restart")] == [105, 115, 125]


def test_recovery_waits_for_an_answer_that_is_due() -> None:
    """C57 C36 a service that hangs again just before its proof is over gets no traffic for a second."""
    script = "100 web/liveness bad\n110 web/liveness ok\n117 web/liveness hang"
    told = play(script, 140, ladder=[{"rung": "page"}], **FALLBACK)
    assert told.of("recover", "failback") == []


def test_a_slow_answer_delays_recovery_by_no_more_than_itself() -> None:
    """What is waited for is one answer; the time of recovery is still the start of the good run."""
    slow = {"slow": {"after": 0.5}}
    told = play("100 web/liveness bad\n110 web/liveness slow", 140, ladder=[{"rung": "page"}], **slow)
    (recover,) = told.of("recover")
    assert 120 <= recover["at"] <= 124.5 and recover["data"]["recovery_time"].endswith("00:01:50.000Z")


def test_whoever_takes_over_an_almost_proven_recovery_sleeps_until_it_is_answered() -> None:
    """C09 an incident that only lacks one more answer costs no turn until that answer comes, however slow the probe."""
    told = play("100 gone web\n104 web/liveness unknown\n105 crash", 2000, probes=[EXEC])
    assert told.of("recover") == [] and told.probes["web/liveness"] < 400


def test_an_outage_of_hours_makes_no_later_window_longer() -> None:
    """C07 C30 what a person mended after two hours was no start of two hours: the next attempts follow each other as promised."""
    first = "100 web/liveness bad\n106 hold web\n7300 web/liveness ok\n7310 unhold web\n"
    told = play(first + "9000 web/liveness bad", 9060)
    assert told.times("restart")[1:] == [9005.0, 9015.0, 9025.0] and told.times("redeploy") == [9035.0]


def test_health_that_was_broken_before_a_crash_is_not_remembered_as_unbroken() -> None:
    """C34 C37 what proves a recovery is what was seen: readiness that failed for ten seconds meanwhile begins a new run, crash or not."""
    script = "40 web/readiness bad\n87 web/readiness ok\n94 web/readiness bad\n104 web/readiness ok\n113 crash"
    told = play(script, 130, probes=[LIVENESS, {**READINESS, "failure_threshold": 1}])
    (recover,) = told.of("recover")
    assert recover["data"]["recovery_time"].endswith("00:01:44.000Z")
