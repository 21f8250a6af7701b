# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon's engine, what it shows, and its metrics, on the virtual clock of a simulation."""

from __future__ import annotations

import json
import math
import pathlib
import re
from typing import Any, Dict, List, Optional

import pytest
from daemon_stage import Stage

from selfheal._engine.healer import Healer
from selfheal.daemon import metrics, page, view
from selfheal.daemon.ledger import Histogram


def test_one_broken_healer_costs_only_its_own_service() -> None:
    """C03 C13: a healer that raises is made anew after 1, 2, 4 … s, up to a minute; the others are healed meanwhile."""
    stage = Stage("bad", "good")
    stage.run(5)
    real = Healer.turn

    def turn(self: Healer, now: float) -> None:
        if self.name == "bad":
            raise RuntimeError("out of ideas")
        real(self, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Healer, "turn", turn)
        stage.world.bodies["good"].alive = False
        stage.world.bodies["good"].ends(stage.host)
        stage.run(200)
    pauses = [fault.again - fault.at for fault in stage.faults]
    assert [1, 2, 4, 8, 16, 32, 60] == pauses[:7] and "out of ideas" in stage.faults[0].problem
    assert ["start"] == [event["type"] for event in stage.memory.events if event.get("service") == "good" and event["type"] == "start"]
    assert "healthy" == json.loads(stage.get("/services/good")[1])["state"]
    assert (503, False) == (stage.get("/services/bad/ready")[0], json.loads(stage.get("/services/bad")[1])["ready"])
    assert "its healer broke" in json.loads(stage.get("/health")[1])["sentence"]
    assert 'selfheal_healer_broken{service="bad"} 1' in stage.get("/metrics")[1]
    stage.run(330)
    assert "healthy" == json.loads(stage.get("/services/bad")[1])["state"], "once it no longer breaks it is watched again"


def test_a_healer_that_cannot_even_be_made_is_tried_again() -> None:
    """A fault while a healer is put together keeps no other service unwatched."""
    stage = Stage("web")
    stage.rounds.leave("web")
    real, tries = stage.build, []

    def build(service: Any) -> Healer:
        tries.append(stage.host.now)
        if len(tries) < 3:
            raise OSError("no boot id")
        return real(service)

    stage.rounds._build = build
    stage.rounds.begin(stage.services["web"])
    stage.run(20)
    assert [0, 1, 3] == tries and stage.rounds.find("web") is not None and {} == stage.rounds.broken


def test_ready_means_answered_well_once() -> None:
    """A new instance is not ready before its first good answer, though liveness begins as healthy; nor while it fails."""
    stage = Stage("web")
    stage.rounds.spin(0)
    stage.run(0.1)
    assert 200 == stage.get("/services/web/ready")[0]
    body = stage.world.bodies["web"]
    body.results["liveness"] = "unknown"
    body.renew(stage.host, heals=False)
    stage.run(5)
    assert (503, "healthy") == (stage.get("/services/web/ready")[0], json.loads(stage.get("/services/web/ready")[1])["state"])
    body.results["liveness"] = "ok"
    stage.run(25)
    assert 200 == stage.get("/services/web/ready")[0]
    body.results["liveness"] = "bad"
    stage.run(45)
    assert 503 == stage.get("/services/web/ready")[0]


def test_an_instance_known_before_is_ready_at_once() -> None:
    """A restart of the watchdog drains no host: an instance its predecessor knew is believed until shown otherwise."""
    stage = Stage("web")
    stage.run(15)
    successor = Stage("web")
    successor.rounds.leave("web")
    successor.memory._states = stage.memory._states
    successor.rounds.begin(successor.services["web"])
    assert 200 == successor.get("/services/web/ready")[0]


def test_metrics_are_well_formed_and_documented(repository: pathlib.Path) -> None:
    """Every line is a comment or a sample of a declared metric; every metric has its HELP and TYPE and stands in docs/endpoints.md."""
    stage = Stage("web", "db")
    stage.run(12)
    body = stage.world.bodies["web"]
    body.results["liveness"] = "bad"
    body.actions["restart"] = type("Script", (), {"takes": 1.0, "result": "ok", "heals": True})()
    stage.run(80)
    status, text = stage.get("/metrics")
    sample = re.compile(r'([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? (-?[0-9.e+-]+|\+Inf)\Z')
    declared: Dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            declared[line.split()[2]] = line.split()[3]
        elif not line.startswith("# HELP "):
            match = sample.match(line)
            assert match is not None, line
            name = match.group(1)
            assert name in declared or declared.get(name.rpartition("_")[0]) == "histogram", line
    assert 200 == status and len(text.splitlines()) == len(set(text.splitlines()))
    assert 'selfheal_actions_total{service="web",rung="restart",reason="liveness_failed",outcome="ok"} 1' in text
    assert 'selfheal_recovery_seconds_count{service="web"} 1' in text and 'selfheal_incidents_total{service="db"} 0' in text
    documented = (repository / "docs" / "endpoints.md").read_text()
    assert [] == [metric for metric in metrics.METRICS.values() if "`%s` | %s |" % (metric.name, metric.type) not in documented]


def test_labels_cannot_break_out_of_the_format() -> None:
    """Quotes, backslashes and newlines in a label are escaped as Prometheus wants them."""
    assert 'x{a="q\\"b\\\\c\\nd"} 1' == metrics._line("x", (("a", 'q"b\\c\nd'),), 1.0)


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    """A value counts in its own bucket and all larger ones; one beyond the last bound only in +Inf."""
    histogram = Histogram()
    for seconds in (0.1, 0.2, 5.0, 99999.0):
        histogram.add(seconds)
    assert [1, 1, 0, 0, 0, 1] == histogram.counts[:6] and 1 == histogram.counts[-1]
    assert 4 == sum(histogram.counts) and pytest.approx(100004.3) == histogram.total


def test_uptime_counts_what_is_known() -> None:
    """Unknown and stopped time counts neither for nor against a service."""
    uptime = view.Uptime("unknown", 0.0)
    assert uptime.share(10.0) is None
    for at, state in ((10.0, "healthy"), (40.0, "unhealthy"), (50.0, "stopped"), (90.0, "degraded")):
        uptime.become(state, at)
    assert 0.8 == uptime.share(100.0)


WORST = [
    (["healthy"], "healthy"),
    (["healthy", "degraded"], "degraded"),
    (["stopped", "healthy"], "healthy"),
    (["stopped"], "healthy"),
    (["unknown", "not_ready"], "not_ready"),
    (["unhealthy", "unknown"], "unhealthy"),
    ([], "unknown"),
]


@pytest.mark.parametrize(("states", "expected"), WORST)
def test_a_host_is_as_well_as_its_worst_service(states: List[str], expected: str) -> None:
    """The summary shows the worst state; what was stopped on purpose is no fault, and no service at all is unknown."""
    assert expected == view.overall([{"state": state} for state in states])


def test_the_page_shows_hostile_words_as_words() -> None:
    """Nothing that a service, a person or a probe says becomes markup."""
    stage = Stage("web")
    stage.run(5)
    summary, services = stage.board.summary(), stage.board.services()
    services[0]["sentence"] = summary["sentence"] = summary["contracts_refused"] = "<script>alert('1')</script>&\""
    services[0]["held"] = "</td><img src=x onerror=y>"
    text = page.render(summary, services).decode()
    assert "<script" not in text and "<img" not in text and "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text and "http://" not in text and "https://" not in text


def test_every_path_that_is_documented_is_there(repository: pathlib.Path) -> None:
    """docs/endpoints.md names exactly the paths there are."""
    stage = Stage("web")
    stage.run(5)
    documented = re.findall(r"^\| `(/[^`]*)` \|", (repository / "docs" / "endpoints.md").read_text(), re.MULTILINE)
    known = set(stage.endpoints._pages) | {"/services/<name>", "/services/<name>/ready"}
    assert known == set(documented)


def test_before_the_first_cycle_it_is_live_but_not_ready() -> None:
    """/health/live needs nothing; /health/ready and /health/startup wait for contracts and the first cycle."""
    stage = Stage("web")
    assert [200, 503, 503] == [stage.get(path)[0] for path in ("/health/live", "/health/ready", "/health/startup")]
    stage.run(1)
    assert [200, 200] == [stage.get(path)[0] for path in ("/health/ready", "/health/startup")]


TOKENS = [(None, 401), ("", 401), ("wrong", 401), ("sésame", 401), ("open-sesame-open", 200)]


@pytest.mark.parametrize(("token", "status"), TOKENS)
def test_only_the_right_token_opens(token: Optional[str], status: int) -> None:
    """With a token asked for, everything but live and ready needs exactly it."""
    stage = Stage("web")
    stage.run(5)
    stage.endpoints.token = "open-sesame-open"
    assert status == stage.get("/health", token=token)[0]
    assert [200, 200] == [stage.get(path, token=token)[0] for path in ("/health/live", "/services/web/ready")]


def test_what_is_held_is_shown() -> None:
    """A hold shows in the service, the summary and the metrics."""
    from selfheal._engine.ports import Held

    stage = Stage("web")
    stage.run(5)
    stage.world.desk.holds["*"] = Held("held by ada: fire")
    assert "held by ada: fire" == json.loads(stage.get("/services/web")[1])["held"]
    assert ["web"] == json.loads(stage.get("/health")[1])["held"]
    assert 'selfheal_held{service="web"} 1' in stage.get("/metrics")[1]


def test_sleeping_is_the_rule() -> None:
    """With everything well the engine next wakes for a probe that is due, and for nothing else."""
    stage = Stage("web", "db")
    stage.run(100.5)
    assert 110 == stage.rounds.wake and math.inf not in (stage.rounds.wake,)
