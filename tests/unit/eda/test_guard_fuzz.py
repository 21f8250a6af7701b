# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C43 Whatever is sent as an alert: the guard raises nothing, and lets nothing through but names it knows."""

from __future__ import annotations

import copy
import datetime
import json
import pathlib
import re
import runpy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

HOSTS = {"web1": ["web", "worker"], "web2": ["web"], "10": ["web"]}
TEMPLATE = '{{ lookup("pipe", "touch /tmp/x") }}'
WORDS = ["web1", "web2", "web", "all", "ungrouped", "localhost", "web*", "web1,web2", "~web.*", "web1[0]", "../web1", "web1\n", "1_0",
         "True", TEMPLATE, "{% x %}", "{# x", "\ud800", "\u202e", "x" * 20_000, "", "firing", "resolved", "now"]  # fmt: skip
_words = st.sampled_from(WORDS)
_leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _words, st.text(max_size=5), st.sampled_from([10**400, 10**4000]))
_any = st.recursive(_leaf, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_words, inner, max_size=3)), max_leaves=8)
_place = st.sampled_from(
    [(), ("labels",), ("labels", "host"), ("labels", "service"), ("labels", "alertname"), ("labels", TEMPLATE), ("annotations",),
     ("annotations", "{{x}}"), ("startsAt",), ("fingerprint",), ("status",), ("meta",), ("meta", "uuid"), ("meta", "source")]
)  # fmt: skip


def sound() -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "SelfhealServiceDown", "host": "web1", "service": "web"},
        "annotations": {"summary": "web on web1 is down"},
        "startsAt": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "fingerprint": "5ef77f1f8a3ecb8d",
        "meta": {"uuid": "u-1"},
    }


def changed(event: Any, place: tuple[str, ...], value: Any) -> Any:
    """The event with something else at one place."""
    if not place:
        return value
    made = copy.deepcopy(event)
    inner = made
    for key in place[:-1]:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner[place[-1]] = value
    return made


def assert_safe(found: Any) -> None:
    """Dropped, or made of what the guard knows and of words that can do no harm; and it is JSON."""
    if found == []:
        return
    assert set(found) == {"status", "fingerprint", "starts_at", "labels", "heal", "meta"}
    assert set(found["labels"]) == {"alertname", "host", "service"} and found["status"] == "firing"
    host, service = found["labels"]["host"], found["labels"]["service"]
    assert host in HOSTS and service in HOSTS[host] and found["heal"]["names"] == [service]
    assert found["heal"]["alert"] == {
        "fingerprint": found["fingerprint"],
        "starts_at": found["starts_at"],
        "alertname": found["labels"]["alertname"],
    }
    for text in (found["fingerprint"], found["starts_at"], found["labels"]["alertname"], *found["meta"], *found["meta"].values()):
        assert re.fullmatch(r"[0-9A-Za-z:.+_-]{1,253}", text, re.ASCII), text
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.fixture(scope="module")
def guard(collection: pathlib.Path) -> dict[str, Any]:
    """As a rulebook loads it: the file alone."""
    return runpy.run_path(str(collection / "extensions/eda/plugins/event_filter/guard.py"))


def judged(guard: dict[str, Any], event: Any) -> Any:
    """As a rulebook would have it; what was handed on before does not count."""
    guard["_handed"].clear()
    return guard["main"](event, hosts=HOSTS)


@given(_any)
def test_anything_at_all_is_dropped(guard: dict[str, Any], event: Any) -> None:
    """No exception, which would fail the other alerts of its notification, too; and nothing passes by chance."""
    assert judged(guard, event) == []


@given(st.lists(st.tuples(_place, _any), min_size=1, max_size=4))
def test_a_sound_alert_with_anything_in_it_is_dropped_or_safe(guard: dict[str, Any], changes: list[tuple[tuple[str, ...], Any]]) -> None:
    """Wherever it was changed."""
    event: Any = sound()
    for place, value in changes:
        event = changed(event, place, value)
    assert_safe(judged(guard, event))


def nested(depth: int, mapping: bool = False) -> Any:
    value: Any = "x"
    for _each in range(depth):
        value = {"x": value} if mapping else [value]
    return value


BEYOND = [nested(900), nested(5000), nested(100_000, mapping=True), 10**4400, float("nan"), ["x"] * 20_000, [1] * 20_000, b"firing"]


@pytest.mark.parametrize("place", [("labels", "alertname"), ("labels", "host"), ("fingerprint",), ("status",), ("startsAt",), ("labels",)])
@pytest.mark.parametrize("value", BEYOND, ids=["deep", "deeper", "deepest", "digits", "nan", "texts", "numbers", "bytes"])
def test_what_cannot_even_be_written_out_is_dropped_and_said(
    guard: dict[str, Any], place: tuple[str, ...], value: Any, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the words about it are made without an exception, and it is on record."""
    event = sound()
    inner = event["labels"] if len(place) == 2 else event
    inner[place[-1]] = value
    assert guard["main"](event, hosts=HOSTS, timeline=str(tmp_path / "timeline")) == []
    assert "dropped" in caplog.text and "internal_error" not in caplog.text and "could not be recorded" not in caplog.text
    # Nothing here is longer than what a person reads.
    assert max(map(len, caplog.messages)) < 500


def test_what_no_text_should_have_is_on_record_all_the_same(guard: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """Half a sign of two, as JSON may have it, in everything that is written down."""
    guard["_said"].clear()
    event = changed(changed(sound(), ("labels", "alertname"), "\ud800"), ("fingerprint",), "\udfff")
    assert guard["main"](event, hosts=HOSTS, timeline=str(tmp_path / "timeline")) == []
    [line] = (tmp_path / "timeline" / "000001.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["data"]["reason"] == "malformed"
