# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback `timeline`: one event for each host of a run, nothing secret, and no run that fails because of it."""

from __future__ import annotations

import json
import pathlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.executor.stats import AggregateStats

from ansible_collections.faultline.selfheal.plugins.callback.timeline import CallbackModule, outcome, playbook_name

FQCN = "/x/ansible_collections/faultline/selfheal/playbooks/heal.yml"


class Display:
    """Keeps warnings."""

    verbosity = 0

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def ended(path: pathlib.Path, hosts: dict[str, list[str]], **options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The events and warnings after a run of `hosts` with these counted words each; "failures" also fails a task."""
    display = Display()
    callback = CallbackModule(display=display)
    told = {"path": str(path), "run": "", **options}
    callback.get_option = told.get  # type: ignore[method-assign]
    callback.v2_playbook_on_start(SimpleNamespace(_file_name=FQCN))
    stats = AggregateStats()
    for host, words in hosts.items():
        task = SimpleNamespace(get_name=lambda: "Use the password", ignore_unreachable=False)
        result = SimpleNamespace(
            host=SimpleNamespace(get_name=lambda host=host: host), task=task, result={"msg": "hunter2", "password": "x"}
        )
        for word in words:
            stats.increment(word, host)
            if word == "failures":
                callback.v2_runner_on_failed(result)
            elif word == "dark":
                callback.v2_runner_on_unreachable(result)
            elif word == "ignored":
                callback.v2_runner_on_failed(result, ignore_errors=True)
    callback.v2_playbook_on_stats(stats)
    lines = [line for file in sorted(path.glob("0*.jsonl")) for line in file.read_text().splitlines()] if path.is_dir() else []
    return [json.loads(line) for line in lines], display.warnings


def test_one_event_for_each_host(tmp_path: pathlib.Path) -> None:
    """With its outcome, what was counted, and which task failed; what was ignored is no failure."""
    hosts = {"web2": ["ok", "changed"], "web1": ["ok", "failures"], "web3": ["dark"], "web4": ["ok", "ignored"]}
    events, warnings = ended(tmp_path / "timeline", hosts, run="selfheal-heal.timer")
    assert warnings == []
    assert [(event["seq"], event["host"], event["data"]["outcome"]) for event in events] == [
        (1, "web1", "failed"),
        (2, "web2", "changed"),
        (3, "web3", "unreachable"),
        (4, "web4", "ok"),
    ]
    assert {(event["type"], event["source"], event["data"]["playbook"], event["data"]["run"]) for event in events} == {
        ("run_result", "runbook", "faultline.selfheal.heal", "selfheal-heal.timer")
    }
    assert [event["data"].get("failed_tasks") for event in events] == [["Use the password"], None, ["Use the password"], None]
    assert "hunter2" not in json.dumps(events)


@pytest.mark.parametrize("run, told", [("reconcile", "0f" * 16), ("", None)])
def test_a_timers_run_is_known_by_its_invocation(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run: str, told: str | None
) -> None:
    """The unit that began it finds its record; that of a shell in which somebody runs a playbook says nothing."""
    monkeypatch.setenv("INVOCATION_ID", "0f" * 16)
    [event], _warnings = ended(tmp_path / "timeline", {"web1": ["ok"]}, run=run)
    assert event["data"].get("invocation") == told


def test_many_hosts_are_one_chain(tmp_path: pathlib.Path) -> None:
    """More events than are written at once."""
    events, warnings = ended(tmp_path / "timeline", {"host%04d" % number: ["ok"] for number in range(450)})
    assert warnings == [] and [event["seq"] for event in events] == list(range(1, 451))


def test_a_timeline_that_cannot_be_written_fails_no_run(tmp_path: pathlib.Path) -> None:
    """It is warned about, with the reason."""
    (tmp_path / "file").write_text("")
    events, [warning] = ended(tmp_path / "file" / "timeline", {"web1": ["ok"]})
    assert events == [] and "The run is not in the timeline: RecordError" in warning


@pytest.mark.parametrize(
    "path, name",
    [
        (FQCN, "faultline.selfheal.heal"),
        ("/x/ansible_collections/faultline/selfheal/roles/heal/tests/test.yml", "test.yml"),
        ("site.yml", "site.yml"),
        ("/srv/ansible_collections/site.yml", "site.yml"),
    ],
)
def test_how_a_playbook_is_called(path: str, name: str) -> None:
    """As an operator gives it."""
    assert playbook_name(path) == name


@pytest.mark.parametrize(
    "counts, word", [({}, "ok"), ({"changed": 1}, "changed"), ({"changed": 1, "failures": 1, "unreachable": 1}, "failed")]
)
def test_the_worst_counts(counts: dict[str, int], word: str) -> None:
    """A host that failed is not called changed."""
    assert outcome(counts) == word
