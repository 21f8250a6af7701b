# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes in, the parsers answer with data or a ContractError, in bounded time."""

from __future__ import annotations

import copy
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal._core import contract, scenario
from selfheal._core.errors import ContractError

SOUND = {
    "name": "web",
    "resource": {"process": {"argv": ["/bin/web"], "stop_signal": "TERM"}},
    "mode": "auto",
    "probes": [{"role": "liveness", "http": {"url": "http://x/", "headers": {"A": "b"}, "status": [200], "json": {"a": 1}}}],
    "slow": {"after": 1},
    "ladder": [{"rung": "restart"}, {"rung": "redeploy", "command": {"argv": ["/bin/x"], "timeout": 5}}, {"rung": "page"}],
    "fallback": {"haproxy": {"socket": "/s", "backend": "b", "primary": "p", "backup": "q"}},
    "release": {"root": "/srv", "project": "web"},
    "dependencies": [{"name": "db", "probe": {"tcp": {"host": "db", "port": 5432}}}],
    "keep_warm": {"http": {"url": "http://x/"}},
    "guard": {"peers": ["http://y/"], "min_available": 1},
    "notify": [{"webhook": {"url": "http://x/"}}],
}
SCRIPT = [
    {"at": 1, "probe": "web/liveness", "result": "bad"},
    {"at": 1, "action": "web/restart", "outcome": "ok", "takes": 1, "heals": True},
    {"at": 0, "operator": "hold", "service": "web", "for": 3},
]
ODD_TEXTS = ["\ud800", "\0", "http://[", "http://x:99999999/", "200-", "@.service", "١", "a" * 70000, "(" * 900]
TEXTS = st.text(max_size=20) | st.sampled_from(ODD_TEXTS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS | st.sampled_from(sorted(SOUND)), inner, max_size=5),
    max_leaves=15,
)


def places(value: object, path: tuple = ()) -> list:
    """Every path into a nested value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, content in inner for place in places(content, (*path, key))]


def put(document: object, path: tuple, value: object) -> object:
    """A copy of the document with another value at that path."""
    if not path:
        return value
    changed = copy.copy(document)
    changed[path[0]] = put(document[path[0]], path[1:], value)
    return changed


def check_refused_or_read(parse: object, *arguments: object) -> None:
    """Anything but a result or a ContractError propagates and fails the test."""
    try:
        parse(*arguments)
    except ContractError as error:
        assert error.problems
        str(error).encode("utf-8")  # every message can be written to a log
        assert all(len(str(problem)) < 2000 for problem in error.problems)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_is_refused_or_read(data: object) -> None:
    """Arbitrary nested data never gets past ContractError, at any entrance."""
    check_refused_or_read(contract.parse_services, data)
    check_refused_or_read(contract.parse_services, [data])
    check_refused_or_read(contract.parse_targets, data)
    check_refused_or_read(contract.parse_watchdog, data)
    check_refused_or_read(scenario.parse_scenario, data, contract.parse_services([SOUND]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(SOUND)), JSON)
def test_any_value_at_any_place_is_refused_or_read(path: tuple, value: object) -> None:
    """A sound contract with one thing replaced by anything is refused or read."""
    check_refused_or_read(contract.parse_services, [put(SOUND, path, value)])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(places(SCRIPT)), JSON)
def test_any_value_in_a_script_is_refused_or_read(path: tuple, value: object) -> None:
    """The same for a scenario."""
    check_refused_or_read(scenario.parse_scenario, {"until": 9, "script": put(SCRIPT, path, value)}, contract.parse_services([SOUND]))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200) | JSON.map(json.dumps))
def test_any_text_is_refused_or_decoded(source: object) -> None:
    """Bytes and text of any kind are decoded or refused."""
    check_refused_or_read(contract.load_json, source, "contracts.json")


def test_sound_data_survives_a_trip_through_json() -> None:
    """load_json gives back what was written."""
    text = json.dumps({"services": [SOUND]})
    assert contract.load_json(text, "x") == contract.load_json(text.encode(), "x") == {"services": [SOUND]}
    assert contract.load_json('"\\\\\\"[[["', "x") == '\\"[[['


BOMBS = {
    "larger than 1 MB": (b" " * 1000001, "is 1000001 bytes long; at most 1000000 are read"),
    "1 MB of multi-byte characters": ("é" * 600000, "is 1200000 bytes long; at most 1000000 are read"),
    "deep lists": (b"[" * 900000, "nests deeper than 32 levels"),
    "deep mappings": (b'{"a":' * 190000, "nests deeper than 32 levels"),
    "a long number": (b"9" * 900000, "a number of 900000 digits"),
    "a key twice": (b'{"a": 1, "a": 2}', "the key 'a' is written twice in one mapping"),
    "NaN": (b"[NaN]", "NaN is no JSON number"),
    "Infinity": (b"-Infinity", "-Infinity is no JSON number"),
    "not UTF-8": (b'"\xff"', "is not UTF-8: invalid start byte at byte 1"),
    "half a character": ('"\ud800"', "is not UTF-8: invalid continuation byte at byte 1"),
    "cut off": (b'{"services": [', "is not JSON: Expecting value at line 1 column 15"),
    "nothing": (b"", "is not JSON: Expecting value at line 1 column 1"),
}


@pytest.mark.parametrize(("source", "expected"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_in_bounded_time(source: object, expected: str) -> None:
    """Size, depth and numbers made to exhaust the reader are refused before they can."""
    begun = time.process_time()
    with pytest.raises(ContractError) as refused:
        contract.load_json(source, "contracts.json")
    assert time.process_time() - begun < 1
    assert [str(problem) for problem in refused.value.problems] == [expected]


def test_shared_structure_is_no_bomb() -> None:
    """Data that contains itself, or a list of lists of the same list, is refused in bounded time."""
    circle: list = []
    circle.append(circle)
    wide: object = "x"
    for _level in range(30):
        wide = [wide, wide]
    begun = time.process_time()
    for bomb in (circle, wide):
        with pytest.raises(ContractError, match="at most 32 levels and 10000 values"):
            contract.parse_services([put(SOUND, ("probes", 0, "http", "json", "a"), bomb)])
    assert time.process_time() - begun < 1


def test_many_faults_cost_little() -> None:
    """A megabyte of unknown keys is refused in bounded time."""
    many = {"%06d" % index: 1 for index in range(100000)}
    begun = time.process_time()
    with pytest.raises(ContractError, match="and 99903 more"):
        contract.parse_services([many])
    assert time.process_time() - begun < 2
