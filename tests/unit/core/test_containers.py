# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What container_heal decides, told by tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core import containers as core
from selfheal._core.containers import Found, Labelled, Rules, Want, orphans, plan
from selfheal._core.reasons import Reason

WEB = Want("web")
RUNS = Found("web", "1", "running", image="sha256:a")
EXITED = replace(RUNS, status="exited", by_hand=False)
RESTARTS = replace(RUNS, status="restarting", pause=1.0, restarts=3)


@pytest.mark.parametrize(
    ("want", "found", "action", "reason"),
    [
        pytest.param(WEB, RUNS, "none", None, id="well"),
        pytest.param(WEB, None, "none", Reason.NO_SUCH_CONTAINER, id="there is none"),
        pytest.param(WEB, EXITED, "start", Reason.GONE, id="died of itself"),
        pytest.param(WEB, replace(EXITED, by_hand=True), "none", Reason.ADMIN_STOPPED, id="C01 stopped by somebody"),
        pytest.param(replace(WEB, desired="always"), replace(EXITED, by_hand=True), "start", Reason.GONE, id="desired always"),
        pytest.param(WEB, replace(RUNS, status="paused"), "none", Reason.ADMIN_STOPPED, id="paused"),
        pytest.param(replace(WEB, desired="always"), replace(RUNS, status="paused"), "unpause", Reason.GONE, id="paused, desired always"),
        pytest.param(WEB, replace(RUNS, health="unhealthy"), "restart", Reason.CONTAINER_UNHEALTHY, id="C06 unhealthy"),
        pytest.param(WEB, replace(RUNS, health="starting"), "none", None, id="C02 starting is started"),
        pytest.param(replace(WEB, state="healthy"), replace(RUNS, health="starting"), "none", Reason.NOT_STARTED, id="not healthy yet"),
        pytest.param(WEB, replace(RUNS, unhealthy="refused"), "restart", Reason.LIVENESS_FAILED, id="its probe fails"),
        pytest.param(WEB, RESTARTS, "none", Reason.BACKOFF, id="C02 within its policy's pauses"),
        pytest.param(WEB, replace(RESTARTS, pause=6.0), "restart", Reason.GONE, id="its policy does not heal it"),
        pytest.param(WEB, replace(RESTARTS, pause=6.0, acted=3), "keep", Reason.BUDGET_SPENT, id="C05 a loop ends with the budget"),
        pytest.param(WEB, replace(EXITED, acted=3), "none", Reason.BUDGET_SPENT, id="budget spent"),
        pytest.param(WEB, replace(EXITED, by_hand=True, kept=True), "none", Reason.BUDGET_SPENT, id="left for inspection"),
        pytest.param(WEB, replace(RUNS, status="created"), "start", Reason.GONE, id="never started"),
        pytest.param(WEB, replace(RUNS, status="dead"), "recreate", Reason.GONE, id="dead"),
        pytest.param(WEB, replace(RUNS, status="removing", pause=3.0), "none", Reason.NOT_RUNNING, id="being removed"),
        pytest.param(WEB, replace(RUNS, status="removing", pause=70.0), "recreate", Reason.GONE, id="stuck in removing"),
        pytest.param(WEB, replace(RUNS, status="melted"), "none", Reason.UNSUPPORTED, id="no state that is known"),
        pytest.param(WEB, replace(RUNS, status="stopping"), "none", Reason.NOT_RUNNING, id="Podman is stopping it"),
        pytest.param(replace(WEB, state="stopped"), RUNS, "stop", Reason.NOT_WANTED, id="should be stopped"),
        pytest.param(replace(WEB, state="stopped"), EXITED, "none", None, id="is stopped"),
        pytest.param(replace(WEB, state="absent"), RUNS, "remove", Reason.NOT_WANTED, id="should not exist"),
        pytest.param(replace(WEB, state="absent"), None, "none", None, id="does not exist"),
        pytest.param(
            replace(WEB, image="web:2"), replace(RUNS, wanted_image="sha256:b"), "recreate", Reason.DRIFTED, id="another image than wanted"
        ),
        pytest.param(replace(WEB, image="web:2"), replace(RUNS, wanted_image=None), "none", Reason.IMAGE_MISSING, id="no such image"),
        pytest.param(replace(WEB, labels={"a": "1"}), replace(RUNS, labels={"a": "2"}), "recreate", Reason.DRIFTED, id="another label"),
        pytest.param(replace(WEB, env={"A": "1"}), replace(RUNS, env={"A": "2"}), "recreate", Reason.DRIFTED, id="another environment"),
        pytest.param(replace(WEB, env={"A": "1"}), replace(RUNS, env={"A": "1", "B": "2"}), "none", None, id="more environment"),
        pytest.param(replace(WEB, restart_policy="always"), RUNS, "update", Reason.DRIFTED, id="another restart policy"),
        pytest.param(
            replace(WEB, labels={"a": "1"}), replace(EXITED, by_hand=True), "none", Reason.ADMIN_STOPPED, id="drifted, stopped by somebody"
        ),
    ],
)
def test_one_container(want: Want, found: Optional[Found], action: str, reason: Optional[Reason]) -> None:
    """Each state has its one action, and its reason."""
    made = plan(want, found, Rules())
    assert (action, reason) == (made.action, made.reason)


@pytest.mark.parametrize(
    ("rules", "found", "action"),
    [
        (Rules(recreate="never"), replace(RUNS, status="dead"), "none"),
        (Rules(recreate="stuck"), replace(RUNS, status="dead"), "recreate"),
        (Rules(recreate="stuck"), replace(RUNS, labels={}), "none"),
        (Rules(override=frozenset([Reason.BUDGET_SPENT])), replace(EXITED, acted=9), "start"),
        (Rules(override=frozenset([Reason.ADMIN_STOPPED])), replace(EXITED, by_hand=True), "start"),
        (Rules(budget=1), replace(EXITED, acted=1), "none"),
    ],
)
def test_what_the_task_allows(rules: Rules, found: Found, action: str) -> None:
    """recreate, budget and override bind what is done."""
    drifts = rules.recreate == "stuck" and found.status == "running"
    assert action == plan(replace(WEB, labels={"a": "1"} if drifts else {}), found, rules).action


@given(
    status=st.sampled_from(["running", "exited", "paused", "restarting", "created", "dead", "removing"]),
    health=st.sampled_from([None, "starting", "healthy", "unhealthy"]),
    acted=st.integers(0, 10),
    pause=st.floats(0, 100),
    by_hand=st.sampled_from([None, True, False]),
)
def test_never_more_than_the_budget(status: str, health: Optional[str], acted: int, pause: float, by_hand: Optional[bool]) -> None:
    """C05 whatever stands there, once the budget is spent nothing is started or restarted, and what somebody stopped is left alone."""
    found = replace(RUNS, status=status, health=health, acted=acted, pause=pause, by_hand=by_hand)
    made = plan(WEB, found, Rules(budget=3))
    if acted >= 3:
        assert made.action not in ("start", "restart", "unpause")
    if by_hand and status == "exited" or status == "paused":
        assert "none" == made.action


def labelled(name: str, age: float, **labels: str) -> Labelled:
    return Labelled(name, name, "running", 1000.0 - age, {"selfheal." + key: value for key, value in labels.items()})


@pytest.mark.parametrize(
    ("one", "removed"),
    [
        (labelled("a", 100, owner="gone"), True),
        (labelled("a", 5, owner="gone"), False),
        (labelled("a", 100, owner="web"), False),
        (labelled("a", 100, owner="web", helper="build"), True),
        (labelled("a", 5, owner="web", helper="build"), False),
        (labelled("a", 100, owner="a"), False),
        (labelled("a", 100), False),
        (labelled("a", 100, helper="build"), False),
    ],
)
def test_orphans(one: Labelled, removed: bool) -> None:
    """Only what bears our label, is old enough, and whose owner is gone or that is a helper."""
    found, left = orphans([one], frozenset(["web"]), 1000.0, 10.0, 5)
    assert (removed, 0) == (bool(found), left)


def test_no_more_orphans_than_allowed() -> None:
    """The oldest first, and it is told how many are left."""
    there = [labelled("a%d" % age, age, owner="gone") for age in (20, 40, 30)]
    found, left = orphans(there, frozenset(), 1000.0, 10.0, 2)
    assert (["a40", "a30"], 1) == ([each.name for each, _why in found], left)


def test_every_plan_says_why() -> None:
    """An action without a reason is none."""
    details: Dict[str, Any] = {}
    for status in ("running", "exited", "paused", "restarting", "dead", "removing"):
        made = plan(replace(WEB, desired="always"), replace(RUNS, status=status, pause=99.0, health="unhealthy"), Rules())
        details[status] = (made.action, bool(made.detail), made.reason)
    assert all(action == "none" or (said and reason) for action, said, reason in details.values()), details
    assert core.FINE == plan(WEB, RUNS, Rules())


def test_an_environment_is_told_by_its_names() -> None:
    """A value may be a secret: what differs is told, and neither what it is nor what it should be."""
    made = plan(replace(WEB, env={"TOKEN": "new-secret", "MODE": "x"}), replace(RUNS, env={"TOKEN": "old-secret"}), Rules())
    assert "environment variable TOKEN has another value" in made.detail and "MODE is missing" in made.detail
    assert "secret" not in made.detail
