# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From observations to a published state: the kubelet's rules, as tables.

A run is written as a string, one character an observation, ten seconds apart: ``o`` ok, ``b`` bad, ``s`` slow, ``?`` unknown.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import pytest

from selfheal._core import health
from selfheal._core.health import Observation, ProbeHealth, State, Verdict
from selfheal._core.model import HttpTarget, Probe, Service, Slow, UnitResource
from selfheal._core.reasons import Reason

STATUS = {"o": "ok", "b": "bad", "s": "slow", "?": "unknown"}
TARGET = HttpTarget("http://127.0.0.1/")


def probe(role: str, name: Optional[str] = None, **changes: object) -> Probe:
    return Probe(name or role, role, TARGET, **changes)  # type: ignore[arg-type]


def seen(name: str, letter: str, at: float) -> Observation:
    return Observation(name, STATUS[letter], at, at)


def run(of: Probe, letters: str, every: float = 10.0) -> ProbeHealth:
    found = health.INITIAL[of.role]
    for turn, letter in enumerate(letters):
        found = health.observe(of, found, seen(of.name, letter, turn * every))
    return found


def service(*probes: Probe) -> Service:
    return Service("web", UnitResource("web.service"), probes, slow=Slow(3.0))


# (role, failure_threshold, success_threshold, observations) -> published
PUBLISHED = [
    ("liveness", 2, 1, "", True),
    ("liveness", 2, 1, "b", True),
    ("liveness", 2, 1, "bb", False),
    ("liveness", 2, 1, "bob", True),
    ("liveness", 2, 1, "b?b", False),
    ("liveness", 2, 1, "b??????", True),
    ("liveness", 2, 1, "????????", True),
    ("liveness", 2, 1, "bbb?", False),
    ("liveness", 2, 1, "bbo", True),
    ("liveness", 2, 2, "bbo", False),
    ("liveness", 2, 2, "bbobo", False),
    ("liveness", 2, 2, "bbo?o", True),
    ("liveness", 2, 3, "bboo", False),
    ("liveness", 2, 3, "bbooo", True),
    ("liveness", 3, 1, "bb", True),
    ("liveness", 3, 1, "bbb", False),
    ("liveness", 3, 1, "bbobb", True),
    ("liveness", 1, 1, "b", False),
    ("liveness", 2, 1, "ssss", True),
    ("liveness", 2, 1, "bbs", True),
    ("liveness", 2, 1, "bsb", True),
    ("readiness", 2, 1, "", False),
    ("readiness", 2, 1, "?", False),
    ("readiness", 2, 1, "o", True),
    ("readiness", 2, 2, "o", False),
    ("readiness", 2, 2, "oo", True),
    ("readiness", 2, 1, "ob", True),
    ("readiness", 2, 1, "obb", False),
    ("startup", 3, 1, "", None),
    ("startup", 3, 1, "bb", None),
    ("startup", 3, 1, "bbb", False),
    ("startup", 3, 1, "b?bb", False),
    ("startup", 3, 1, "bbo", True),
    ("startup", 3, 1, "?", None),
    ("startup", 3, 2, "obo", None),
    ("startup", 3, 2, "oo", True),
]


@pytest.mark.parametrize("role,failures,successes,letters,published", PUBLISHED)
def test_what_is_published_moves_at_the_threshold_and_not_before(
    role: str, failures: int, successes: int, letters: str, published: Optional[bool]
) -> None:
    """C57 C18 thresholds count consecutive observations, for down and for up; an unknown neither counts nor breaks a run."""
    of = probe(role, failure_threshold=failures, success_threshold=successes)
    assert run(of, letters).passing is published


# observations -> (start of the run that goes on, degraded)
RUNS = [
    ("o", 0.0, False),
    ("ob", 10.0, False),
    ("obb", 10.0, False),
    ("ob?b", 10.0, False),
    ("obbo", 30.0, False),
    ("obboooo", 30.0, False),
    ("os", 0.0, False),
    ("oss", 0.0, True),
    ("osso", 0.0, False),
    ("osos", 0.0, False),
    ("osbs", 30.0, False),
    ("ossb", 30.0, True),
]


@pytest.mark.parametrize("letters,since,degraded", RUNS)
def test_a_run_begins_with_its_first_observation_and_slow_answers_degrade_at_the_threshold(
    letters: str, since: float, degraded: bool
) -> None:
    """Slow is good: it keeps a good run going; so many in a row degrade, one fast answer ends that."""
    found = run(probe("liveness"), letters)
    assert (found.since, found.degraded) == (since, degraded)


def test_a_startup_probe_counts_one_failure_a_period_however_often_it_is_asked() -> None:
    """C32 close probing in an incident does not eat the startup budget."""
    of = probe("startup", failure_threshold=3, period=10.0)
    assert run(of, "b" * 80, every=0.25).passing is None
    assert run(of, "b" * 81, every=0.25).passing is False


def test_a_startup_failure_within_the_period_still_breaks_a_good_run() -> None:
    """Consecutive means consecutive: good, bad, good are not two in a row."""
    of = probe("startup", failure_threshold=9, success_threshold=2)
    assert run(of, "bob", every=1).good == 0
    assert run(of, "bobo", every=1).passing is None


def test_an_observation_that_changes_nothing_gives_back_the_same_object() -> None:
    """A steady service costs no memory and wakes nobody."""
    of = probe("liveness")
    for letters in ("o", "bb"):
        settled = run(of, letters)
        assert health.observe(of, settled, seen("liveness", letters[-1], 99.0)) is settled
        assert health.observe(of, settled, seen("liveness", "?", 99.0)) is settled


LIVE, DEEP, READY = probe("liveness"), probe("liveness", "deep"), probe("readiness")
UP = probe("startup", failure_threshold=3)


class Case(NamedTuple):
    holds: str
    probes: tuple[Probe, ...]
    letters: dict[str, str]
    verdict: Verdict


CASES = [
    Case("before any answer a service with liveness alone is healthy, proven since never", (LIVE,), {}, Verdict(State.HEALTHY)),
    Case("before any answer readiness says not ready, and demands nothing", (LIVE, READY), {}, Verdict(State.NOT_READY)),
    Case("good answers", (LIVE,), {"liveness": "oo"}, Verdict(State.HEALTHY, alive_since=0.0, well_since=0.0)),
    Case(
        "below the threshold nothing moves but the start of the failure",
        (LIVE,),
        {"liveness": "ob"},
        Verdict(State.HEALTHY, failing_since=10.0, unbroken_since=10.0),
    ),
    Case(
        "at the threshold it fails, since the first failed probe",
        (LIVE,),
        {"liveness": "obb"},
        Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "liveness", 10.0, unbroken_since=10.0),
    ),
    Case(
        "any failing liveness probe fails",
        (LIVE, DEEP),
        {"liveness": "ooo", "deep": "obb"},
        Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "deep", 10.0, unbroken_since=10.0),
    ),
    Case(
        "alive means that every liveness probe is, since the last of them was",
        (LIVE, DEEP),
        {"liveness": "ooo", "deep": "bbo"},
        Verdict(State.HEALTHY, alive_since=20.0, well_since=20.0),
    ),
    Case(
        "readiness failing is no failure of life",
        (LIVE, READY),
        {"liveness": "ooo", "readiness": "obb"},
        Verdict(State.NOT_READY, unready="readiness", unready_since=10.0, alive_since=0.0),
    ),
    Case(
        "liveness failing outranks readiness",
        (LIVE, READY),
        {"liveness": "bb", "readiness": "bb"},
        Verdict(State.UNHEALTHY, True, Reason.LIVENESS_FAILED, "liveness", 0.0, "readiness", 0.0, unbroken_since=0.0),
    ),
    Case(
        "slow is degraded",
        (LIVE,),
        {"liveness": "oss"},
        Verdict(State.DEGRADED, alive_since=0.0, well_since=0.0),
    ),
    Case(
        "not ready outranks degraded",
        (LIVE, READY),
        {"liveness": "oss", "readiness": "obb"},
        Verdict(State.NOT_READY, unready="readiness", unready_since=10.0, alive_since=0.0),
    ),
    Case("before startup has passed the state is unknown", (LIVE, UP), {}, Verdict(State.UNKNOWN, None)),
    Case(
        "startup suppresses liveness, whatever it said",
        (LIVE, UP),
        {"liveness": "bbbb", "startup": "b"},
        Verdict(State.UNKNOWN, None, failing_since=0.0),
    ),
    Case(
        "startup given up is unhealthy",
        (LIVE, UP),
        {"startup": "bbb"},
        Verdict(State.UNHEALTHY, False, Reason.STARTUP_FAILED, "startup", 0.0),
    ),
    Case(
        "startup passed: liveness counts",
        (LIVE, UP),
        {"liveness": "o", "startup": "o"},
        Verdict(State.HEALTHY, alive_since=0.0, well_since=0.0),
    ),
    Case(
        "without a liveness probe readiness proves life, and its failure is none of life's",
        (READY,),
        {"readiness": "o"},
        Verdict(State.HEALTHY, alive_since=0.0, well_since=0.0),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.holds for case in CASES])
def test_all_probes_together(case: Case) -> None:
    """What the probes of a service say together."""
    healths = health.initial(service(*case.probes))
    for of in case.probes:
        healths[of.name] = run(of, case.letters.get(of.name, ""))
    assert health.judge(service(*case.probes), healths) == case.verdict


BUDGETS = [((), 0.0), ((UP,), 30.0), ((probe("startup", failure_threshold=30, period=2.0, initial_delay=5.0), UP), 65.0)]


@pytest.mark.parametrize("probes,budget", BUDGETS)
def test_startup_budget(probes: tuple[Probe, ...], budget: float) -> None:
    """How long a new instance may take: the delay and all periods of the most patient startup probe."""
    assert health.startup_budget(service(LIVE, *probes)) == budget


def test_a_restart_of_ours_does_not_end_an_unbroken_failure() -> None:
    """The counters start afresh; the failure went on until the new instance has failed too, and ends with its first good answer."""
    web = service(LIVE, READY)
    restarted = health.renewed(web, {"liveness": run(LIVE, "obb"), "readiness": run(READY, "b")})
    assert health.judge(web, restarted) == Verdict(State.NOT_READY)
    failed = health.observe(LIVE, restarted["liveness"], seen("liveness", "b", 40.0))
    assert health.judge(web, {**restarted, "liveness": failed}) == Verdict(State.NOT_READY, failing_since=40.0, unbroken_since=10.0)
    answered = health.observe(LIVE, restarted["liveness"], seen("liveness", "o", 40.0))
    broken = health.observe(LIVE, answered, seen("liveness", "b", 50.0))
    assert health.judge(web, {**restarted, "liveness": broken}).unbroken_since == 50.0


def test_a_startup_probe_is_passed_anew_by_what_we_started() -> None:
    """With a startup probe nothing of the old instance is kept."""
    web = service(LIVE, UP)
    assert health.renewed(web, {"liveness": run(LIVE, "bb"), "startup": run(UP, "o")}) == health.initial(web)


def test_health_survives_being_written_down() -> None:
    """What another process of this boot reads is what this one knew; what is unknown or unreadable begins afresh."""
    web = service(LIVE, READY)
    healths = {"liveness": run(LIVE, "ob"), "readiness": run(READY, "oss")}
    data = health.to_data(healths)
    assert health.from_data(web, data) == healths
    assert health.from_data(web, {"liveness": {"nonsense": 1}, "readiness": 7, "gone": {}}) == health.initial(web)
