# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard between alerts and runbooks: text of an alert is code to Ansible, and a missing host is every host."""

from __future__ import annotations

import datetime
import json
import pathlib
import runpy
from typing import Any

import pytest

NOW = 1795294218.0
BEGAN = "2026-11-21T20:49:18.123456789Z"


@pytest.fixture
def guard(collection: pathlib.Path) -> dict[str, Any]:
    """As a rulebook loads it: the file alone, anew."""
    return runpy.run_path(str(collection / "extensions/eda/plugins/event_filter/guard.py"))


def alert(**changes: Any) -> dict[str, Any]:
    labels = {"alertname": "SelfhealServiceDown", "host": "web1", "service": "web", "severity": "page", **changes.pop("labels", {})}
    return {
        "status": "firing",
        "labels": {key: value for key, value in labels.items() if value is not None},
        "annotations": {"summary": "web on web1 is down"},
        "startsAt": BEGAN,
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "5ef77f1f8a3ecb8d",
        "meta": {"uuid": "u-1", "received_at": "2026-11-21T20:50:00Z", "hosts": ["all"]},
        **changes,
    }


def judge(guard: dict[str, Any], event: Any, **options: Any) -> Any:
    try:
        return guard["judge"](event, {"hosts": ["web1", "web2"], **options}, NOW)
    except guard["Dropped"] as dropped:
        return dropped.reason


def test_a_sound_alert_goes_on_with_what_a_runbook_needs(guard: dict[str, Any]) -> None:
    """Host, service, alert and its identity; no annotation, no other label, no host that something before had put into meta."""
    assert judge(guard, alert()) == {
        "status": "firing",
        "fingerprint": "5ef77f1f8a3ecb8d",
        "starts_at": "2026-11-21T20:49:18Z",
        "labels": {"alertname": "SelfhealServiceDown", "host": "web1", "service": "web"},
        "heal": {
            "names": ["web"],
            "alert": {"fingerprint": "5ef77f1f8a3ecb8d", "starts_at": "2026-11-21T20:49:18Z", "alertname": "SelfhealServiceDown"},
        },
        "meta": {"uuid": "u-1", "received_at": "2026-11-21T20:50:00Z"},
    }


TEMPLATE = '{{ lookup("pipe", "touch /tmp/x") }}'
UNSAFE = [
    ("C43 template in a label", alert(labels={"service": TEMPLATE}), "template"),
    ("template in an annotation", alert(annotations={"summary": "a {% if x %}"}), "template"),
    ("template in a key", alert(annotations={"{# x": 1}), "template"),
    ("template deep in a list", alert(more=[[{"a": ["b", TEMPLATE]}]]), "template"),
    ("nested without end", alert(more=json.loads("[" * 50 + "]" * 50)), "too_large"),
    ("a huge event", alert(more=["x"] * 20000), "too_large"),
    ("no host", alert(labels={"host": None}), "no_host"),
    ("empty host", alert(labels={"host": ""}), "no_host"),
    ("all", alert(labels={"host": "all"}), "no_host"),
    ("two hosts", alert(labels={"host": "web1,web2"}), "no_host"),
    ("pattern", alert(labels={"host": "web*"}), "no_host"),
    ("exclusion", alert(labels={"host": "!web1"}), "no_host"),
    ("regular expression", alert(labels={"host": "~web.*"}), "no_host"),
    ("group and place", alert(labels={"host": "web1[0]"}), "no_host"),
    ("a path", alert(labels={"host": "../web1"}), "no_host"),
    ("an option", alert(labels={"host": "-e@/etc/passwd"}), "no_host"),
    ("newline", alert(labels={"host": "web1\n"}), "no_host"),
    ("a list", alert(labels={"host": ["web1"]}), "no_host"),
    ("a number with a line", alert(labels={"host": "1_0"}), "no_host"),
    ("foreign", alert(labels={"host": "db1"}), "foreign_host"),
    ("no service", alert(labels={"service": None}), "no_service"),
    ("a unit's name", alert(labels={"service": "web.service"}), "no_service"),
    ("service with newline", alert(labels={"service": "web\n"}), "no_service"),
    ("resolved", alert(status="resolved"), "not_firing"),
    ("no status", alert(status=None), "not_firing"),
    ("stale", alert(startsAt="2026-11-21T19:50:18Z"), "stale"),
    ("from the future", alert(startsAt="2026-11-21T20:56:00Z"), "stale"),
    ("no beginning", alert(startsAt=None), "malformed"),
    ("a beginning without zone", alert(startsAt="2026-11-21T20:49:18"), "malformed"),
    ("no labels", {"payload": {}}, "malformed"),
    ("no mapping", ["x"], "malformed"),
    ("no fingerprint", alert(fingerprint=None), "malformed"),
    ("no name", alert(labels={"alertname": None}), "malformed"),
]  # fmt: skip


@pytest.mark.parametrize("event, reason", [row[1:] for row in UNSAFE], ids=[row[0] for row in UNSAFE])
def test_what_is_unsafe_is_dropped_with_its_reason(guard: dict[str, Any], event: Any, reason: str) -> None:
    """Nothing an alert can say makes a runbook act on another host, on more hosts, or run its text."""
    assert judge(guard, event) == reason


@pytest.mark.parametrize("host", ["10", "1e3", "0x1f", "None", "True"])
def test_a_host_whose_name_a_rulebook_takes_for_something_else_is_dropped(guard: dict[str, Any], host: str) -> None:
    """C43 It would be a number or nothing to the playbook, which refuses both: that it is not healed is said here, with the reason."""
    assert judge(guard, alert(labels={"host": host}), hosts=[host]) == "no_host"


OPTIONS = [
    ({"hosts": []}, "foreign_host"),
    ({"hosts": {"web1": ["web"]}}, None),
    ({"hosts": {"web1": ["db"]}}, "unknown_service"),
    ({"hosts": {"web1": None}}, "unknown_service"),
    ({"services": ["db"]}, "unknown_service"),
    ({"alerts": ["Other"]}, "unknown_alert"),
    ({"alerts": ["SelfhealServiceDown"]}, None),
    ({"max_age": 59}, "stale"),
    ({"host_label": "instance"}, "no_host"),
]


@pytest.mark.parametrize("options, reason", OPTIONS)
def test_options_narrow_what_goes_on(guard: dict[str, Any], options: dict[str, Any], reason: str | None) -> None:
    """An empty list of hosts is no host, not every host."""
    found = judge(guard, alert(), **options)
    assert found == reason if reason else found["labels"]["host"] == "web1"


@pytest.mark.parametrize("options", [{"hosts": "web1"}, {"hosts": {"web1": "web"}}, {"services": "web"}, {"alerts": "SelfhealServiceDown"}])
def test_a_text_is_no_list_of_names(guard: dict[str, Any], options: dict[str, Any]) -> None:
    """A part of a text would be found in it: the host `web` in `web1`. Nothing is let through until somebody has written a list."""
    assert judge(guard, alert(), **options) == "no_settings"


FORGED = [
    None,
    "x",
    ["uuid"],
    {"source": "x"},
    {"source": {"name": ["x"]}},
    {"uuid": ["x"], "received_at": {"a": 1}},
    {"uuid": "\ud800"},
    {"uuid": "a b"},
    {"hosts": "all", "uuid": ""},
    {"uuid": "u" * 65},
]


@pytest.mark.parametrize("meta", FORGED)
def test_what_a_sender_forged_beside_an_alert_does_not_go_on(guard: dict[str, Any], meta: Any) -> None:
    """C43 The filters after this one write into `meta` and fail, with the whole notification, where it is not as they expect it."""
    assert judge(guard, alert(meta=meta))["meta"] == {}


def test_one_alert_makes_one_run(guard: dict[str, Any]) -> None:
    """C43 Alertmanager sends again what it thinks was not taken: the same alert is handed on once in ten minutes, then again."""
    options = {"hosts": ["web1"]}
    assert guard["judge"](alert(), options, NOW)["status"] == "firing"
    with pytest.raises(guard["Dropped"], match="handed on 599 s ago"):
        guard["judge"](alert(), options, NOW + 599)
    assert guard["judge"](alert(startsAt="2026-11-21T20:50:18Z"), options, NOW + 599)["status"] == "firing"
    assert guard["judge"](alert(), options, NOW + 600)["status"] == "firing"


def test_alerts_of_one_notification_share_nothing(guard: dict[str, Any]) -> None:
    """A splitter that gives all alerts one meta cannot send a heal to the last one's host."""
    meta: dict[str, Any] = {"uuid": "u"}
    one, other = alert(meta=meta), alert(meta=meta, fingerprint="b", labels={"host": "web2"})
    first, second = judge(guard, one), judge(guard, other)
    first["meta"]["hosts"] = "web1"
    assert second["meta"] == {"uuid": "u"}


def test_what_is_dropped_is_recorded_once(guard: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """The timeline says why nothing was done; a sender that repeats itself does not fill it."""
    began = datetime.datetime.now(datetime.timezone.utc).isoformat()
    event = alert(startsAt=began, labels={"host": "all"})
    for _again in range(3):
        assert guard["main"](event, hosts=["web1"], timeline=str(tmp_path / "timeline"), recorded_as="awx1") == []
    lines = (tmp_path / "timeline" / "000001.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [(each["type"], each["host"], each["data"]["reason"]) for each in events] == [("alert_dropped", "awx1", "no_host")]


def test_a_record_that_cannot_be_written_ends_no_rulebook(
    guard: dict[str, Any], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, the alert is dropped all the same, and the next one is judged."""
    (tmp_path / "file").write_text("")
    assert guard["main"](alert(labels={"host": "all"}), hosts=["web1"], timeline=str(tmp_path / "file")) == []
    assert "could not be recorded" in caplog.text
    began = datetime.datetime.now(datetime.timezone.utc).isoformat()
    assert guard["main"](alert(startsAt=began), hosts=["web1"])["status"] == "firing"


def test_one_service_has_one_run_at_a_time(guard: dict[str, Any]) -> None:
    """C45 Another alert about the same service waits for its next notification; other services and hosts do not."""
    options = {"hosts": ["web1", "web2"], "throttle": 300}
    assert guard["judge"](alert(), options, NOW)["status"] == "firing"
    with pytest.raises(guard["Dropped"], match="an alert about web1/web was handed on 299 s ago") as dropped:
        guard["judge"](alert(fingerprint="other"), options, NOW + 299)
    assert dropped.value.reason == "throttled"
    assert guard["judge"](alert(labels={"service": "db"}, fingerprint="db"), options, NOW + 299)["status"] == "firing"
    assert guard["judge"](alert(labels={"host": "web2"}, fingerprint="w2"), options, NOW + 299)["status"] == "firing"
    assert guard["judge"](alert(fingerprint="other"), options, NOW + 300)["status"] == "firing"


def test_what_was_handed_on_outlives_a_restart(collection: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """C44 A rulebook that is started again, also after a kill, does not begin anew what it has begun; after its time it does."""
    path = str(collection / "extensions/eda/plugins/event_filter/guard.py")
    options = {"hosts": ["web1"], "memory": str(tmp_path / "handed.json")}
    first, second, third = (runpy.run_path(path) for _again in range(3))
    assert first["judge"](alert(), options, NOW)["status"] == "firing"
    with pytest.raises(second["Dropped"], match="handed on 599 s ago") as dropped:
        second["judge"](alert(), options, NOW + 599)
    assert dropped.value.reason == "duplicate"
    assert third["judge"](alert(), options, NOW + 600)["status"] == "firing"
    assert [each.name for each in tmp_path.iterdir()] == ["handed.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"handed": 7}', '{"handed": {"a": "b"}}'])
def test_a_memory_that_cannot_be_read_keeps_nothing_from_being_healed(guard: dict[str, Any], tmp_path: pathlib.Path, content: str) -> None:
    """A heal too many is confirmed on the host; one too few is an outage."""
    path = tmp_path / "handed.json"
    path.write_text(content)
    assert judge(guard, alert(), memory=str(path))["status"] == "firing"
    assert len(json.loads(path.read_text())["handed"]) >= 2


def test_a_memory_that_cannot_be_written_keeps_nothing_from_being_healed(
    guard: dict[str, Any], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the log, and what this rulebook knows itself still counts."""
    options = {"memory": str(tmp_path / "nowhere" / "handed.json")}
    assert judge(guard, alert(), **options)["status"] == "firing"
    assert "cannot be kept" in caplog.text
    assert judge(guard, alert(), **options) == "duplicate"


def test_a_clock_that_was_put_back_stops_no_heal(guard: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """A time in the future would make every alert a duplicate for hours."""
    options = {"hosts": ["web1"]}
    assert guard["judge"](alert(), options, NOW + 120)["status"] == "firing"
    assert guard["judge"](alert(), options, NOW)["status"] == "firing"


def test_settings_are_read_from_a_file_and_anew_when_it_changes(
    guard: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is taken out of the inventory is no longer acted on, without a restart; without the file nothing is."""
    began = datetime.datetime.now(datetime.timezone.utc).isoformat()
    path = tmp_path / "guard.json"
    monkeypatch.setenv("SELFHEAL_GUARD", str(path))
    assert guard["main"](alert(startsAt=began)) == []
    path.write_text(json.dumps({"hosts": {"web1": ["web"]}}))
    assert guard["main"](alert(startsAt=began), alerts=["Other"]) == []
    assert guard["main"](alert(startsAt=began))["labels"]["host"] == "web1"
    new = tmp_path / "new"
    new.write_text(json.dumps({"hosts": {"web2": ["web"]}}))
    new.replace(path)
    assert guard["main"](alert(startsAt=began, fingerprint="b")) == []
    assert guard["main"](alert(startsAt=began, fingerprint="c", labels={"host": "web2"}))["labels"]["host"] == "web2"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"hosts": "all"}', '{"hosts": null}'])
def test_settings_without_hosts_let_nothing_through(guard: dict[str, Any], tmp_path: pathlib.Path, content: str, caplog: Any) -> None:
    """An empty selection is not everything."""
    path = tmp_path / "guard.json"
    path.write_text(content)
    assert guard["main"](alert(), settings=str(path)) == []
    assert "no_settings" in caplog.text


def test_what_the_guard_itself_cannot_bear_is_dropped(guard: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """An error in it fails no other alert of the same notification."""
    began = datetime.datetime.now(datetime.timezone.utc).isoformat()
    assert guard["main"](alert(startsAt=began), hosts=["web1"], max_age="soon") == []
    assert "internal_error" in caplog.text
