# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redeploy and rollback on the ladder: when they can help, under whose leases they act, and what is held of what they left."""

from __future__ import annotations

import os
import sys
import time

import pytest

from selfheal._actuators.base import Around
from selfheal._actuators.process import ProcessActuator
from selfheal._actuators.released import Released, told
from selfheal._core.contract import parse_services
from selfheal._core.model import Release
from selfheal._core.reasons import Reason
from selfheal._engine.deploy_run import drive
from selfheal._engine.errands import Errands
from selfheal._engine.local import Site
from selfheal._engine.once import Once, Tape
from selfheal._host import Outcome
from selfheal._records.files import boot_id
from selfheal._transient import OperatorCommand

DAY = 86400.0


class Nothing(Around):
    """An actuator of which nothing is asked."""

    def __init__(self):
        self.key = "process:web"

    def cannot(self, rung):
        return None

    def window(self, rung):
        return 0.0


def released(stage, age=0.0, suspect_for=DAY, errand=None):
    return Released(Release(str(stage.root), "web", suspect_for), Nothing(), errand, lambda: time.time() + age)


def test_nothing_to_go_back_to_without_a_journal(stage):
    """A tree that no journal knows is neither built again nor gone back in."""
    assert released(stage).cannot("redeploy") is Reason.UNSUPPORTED
    assert released(stage).cannot("restart") is None


def test_old_code_is_not_the_cause(stage):
    """Only within suspect_for of its first activation is the release suspected; built again, it is as old as before."""
    stage.deploy("v1")
    assert released(stage).cannot("redeploy") is None
    assert released(stage).cannot("rollback") is Reason.NO_GOOD_RELEASE
    stage.deploy("v2")
    assert released(stage).cannot("rollback") is None
    assert released(stage, DAY + 1).cannot("redeploy") is Reason.RELEASE_SETTLED
    assert released(stage, DAY + 1).cannot("rollback") is Reason.RELEASE_SETTLED


def test_what_is_known_follows_the_journals(stage):
    """A deployment that ends meanwhile is seen without a restart of the watchdog."""
    stage.deploy("v1")
    one = released(stage)
    assert one.cannot("rollback") is Reason.NO_GOOD_RELEASE
    stage.deploy("v2")
    one._looked = (-10.0, one._looked[1])
    assert one.cannot("rollback") is None


def test_nothing_is_ruled_out_while_a_deployment_is_under_way(stage):
    """The rungs are not stepped over because the release in between has no activation yet: the lease makes them wait."""
    from dataclasses import replace

    from selfheal._core.deployment import Phase
    from selfheal._records.journal import Journal

    stage.deploy("v1")
    stage.deploy("v2")
    journal = Journal(str(stage.own("deployments")))
    journal.save(replace(journal.load("v2"), phase=Phase.HEALTH_CHECK, activated_at=None, standing=None))
    assert released(stage).cannot("redeploy") is None and released(stage).cannot("rollback") is None


def test_the_window_is_never_shorter_than_the_builds(stage):
    """A redeployment that builds for ten minutes is not called late after two."""
    stage.deploy("v1", build=[{"argv": ["true"], "timeout": 400}, {"argv": ["true"], "timeout": 500}])
    assert released(stage).window("redeploy") == 400 + 500
    assert released(stage).window("rollback") == 0.0


@pytest.mark.parametrize(
    ("stdout", "status", "reason"),
    [
        ('{"outcome": "changed", "reason": null, "detail": "x"}', "ok", None),
        ('noise\n{"outcome": "failed", "reason": "unhealthy", "detail": "x"}', "bad", Reason.UNHEALTHY),
        ('{"outcome": "failed", "reason": "release_settled", "detail": "x"}', "unknown", Reason.RELEASE_SETTLED),
        ('{"outcome": "blocked", "reason": "lease_held", "detail": "x"}', "bad", Reason.LEASE_HELD),
        ('{"outcome": "failed", "reason": "no such word", "detail": "x"}', "bad", Reason.ACTION_FAILED),
        ("", "unknown", Reason.INTERNAL_ERROR),
        ("{broken", "unknown", Reason.INTERNAL_ERROR),
    ],
)
def test_what_an_errand_answers(stdout, status, reason):
    """The healer judges the answer, not the exit status; no answer proves nothing."""
    found = told("redeploy", Outcome("ok", None, "", {"stdout": stdout}))
    assert (found.status, found.reason) == (status, reason)


def contract(stage, **changes):
    mark = stage.project / "current" / "well"
    data = {
        "name": "web",
        "resource": {"process": {"argv": [sys.executable, "-I", "-c", "import time; time.sleep(600)"], "stop_timeout": 1}},
        "probes": [{"role": "liveness", "period": 1, "timeout": 1, "exec": {"argv": ["/usr/bin/test", "-e", str(mark)]}}],
        "release": {"root": str(stage.root), "project": "web"},
        "ladder": [{"rung": rung, "attempts": 1, "timeout": seconds} for rung, seconds in (("redeploy", 1), ("rollback", 20))],
        "failing_for": 0,
        "recovered_after": 0.2,
        "notify": [],
    }
    (service,) = parse_services([{**data, **changes}])
    return service


def version(stage, name, well):
    place = stage.version(name)
    if well:
        (place / "well").write_text("")
    return place


@pytest.fixture
def service(stage):
    """A contract whose process is stopped at the end."""
    made = contract(stage)
    yield made
    inner = ProcessActuator("web", made.resource, stage.config.run_dir, boot_id(), str(stage.base / "log"))
    drive(stage.host, inner._stop())


def errand(stage, service, action):
    """Run an errand as the healer does, in this process's name."""
    made = Errands(str(stage.base / "etc"), stage.config, "watchdog").of(service)
    assert isinstance(made(action, 60.0), OperatorCommand)
    one = Released(service.release, Nothing(), made)
    return drive(stage.host, getattr(one, action)())


def test_an_errand_acts_only_under_leases_that_its_healer_holds(stage, service):
    """Without them it is refused and nothing is begun; with them it builds again into a directory of its own and restarts."""
    stage.deploy("v1", version(stage, "v1", True))
    refused = errand(stage, service, "redeploy")
    assert (refused.status, refused.reason) == ("bad", Reason.LEASE_HELD), refused
    assert stage.releases() == ["v1"] and stage.current == "deployments/v1"
    names = ["project:%s" % stage.project, "process:web"]
    with stage.site().leases.acquire(names, "watchdog", "healing web", 60):
        done = errand(stage, service, "redeploy")
    assert done.status == "ok", done
    assert stage.current == "deployments/v1.r1" and stage.releases() == ["v1", "v1.r1"]
    journal = stage.journal("v1.r1")
    assert journal["kind"] == "redeploy" and journal["by"] == "ladder" and journal["service"] == "web"
    assert journal["source"]["tree"] == stage.journal("v1")["source"]["tree"]
    assert stage.journal("v1")["standing"]["word"] == "suspect"


def test_the_ladder_redeploys_rolls_back_and_condemns(stage, service):
    """A release that passed its gate and fails later: built again in vain, rolled back, which helps; and only then is it bad."""
    stage.deploy("v1", version(stage, "v1", True))
    stage.deploy("v2", version(stage, "v2", False))
    (stage.base / "etc").mkdir(exist_ok=True)
    tapes = []

    def wrap(records):
        tapes.append(Tape(records, stage.host))
        return tapes[0]

    os.makedirs(stage.base / "run" / "leases", exist_ok=True)
    site = Site(str(stage.base / "etc"), stage.config, stage.host, "module", wrap=wrap)
    (ending,) = Once(site, tapes[0], [service], frozenset()).run(60.0)
    site.timeline.close()
    steps = [step.type for step in ending.steps]
    assert ending.outcome == "recovered", (ending, [step.as_data() for step in ending.steps])
    assert [step for step in steps if step in ("redeploy", "rollback")] == ["redeploy", "rollback"]
    assert stage.current == "deployments/v1" and stage.serves() == "v1"
    standing = {name: stage.journal(name)["standing"]["word"] for name in ("v1", "v2", "v2.r1")}
    assert standing == {"v1": "good", "v2": "bad", "v2.r1": "bad"}
    assert stage.journal("v2")["standing"]["reason"] == "healed_by_rollback"
    incidents = {each.get("incident") for each in stage.events() if each["type"] == "deployment_phase" and each.get("service") == "web"}
    assert incidents == {ending.incident}


def test_explain_counts_with_the_builds(stage):
    """C31: the worst case on this host has the time in it that building again may take."""
    from selfheal._engine.explain import windows, worst_case

    stage.deploy("v1", build=[{"argv": ["true"], "timeout": 900}])
    service = contract(stage)
    plain = {step["rung"]: step["at"] for step in worst_case(service)}
    found = {step["rung"]: step["at"] for step in worst_case(service, windows(service))}
    assert windows(service) == {"redeploy": 900.0}
    assert found["redeploy"] == plain["redeploy"] and found["rollback"] == pytest.approx(plain["rollback"] + 899, abs=2)
