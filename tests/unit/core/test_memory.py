# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered survives being written down, a reboot keeps what it must, and what is damaged is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal._core.errors import RecordError
from selfheal._core.incident import Attempt, Incident, Phase, Previous
from selfheal._core.ladder import Position
from selfheal._core.memory import NOTHING, Memory, after_reboot, from_data, to_data

FULL = Memory(
    incident=Incident(
        id="web-20260101T000010.000Z",
        cause="liveness_failed",
        failure_time=1767225610.0,
        failed_at=10.0,
        opened=18.5,
        entered=28.5,
        phase=Phase.ACTING,
        continues="web-20260101T000000.000Z",
        attempt=Attempt("restart", 2, 28.5, 10.0, 29.5, "ok", None),
        previous=Previous("not_healed", "window_over"),
        paged="budget_spent",
    ),
    position=Position(0, 2),
    last_incident="web-20260101T000000.000Z",
    healthy_since=3.0,
    actions=(18.5, 28.5),
    streak=2,
    last_action=29.5,
    last_change="unhealthy",
    changes=(18.5,),
    longest_start=4.5,
    traffic="backup",
    flap_paged=True,
    instance="boot-12-3400",
    blocked="hold",
)
span = st.floats(min_value=0, max_value=1e9)
text = st.text(max_size=20)
attempts = st.builds(
    Attempt,
    st.sampled_from(["restart", "redeploy", "rollback"]),
    st.integers(1, 99),
    span,
    span,
    st.none() | span,
    st.sampled_from([None, "ok", "failed", "cannot_help", "interrupted"]),
    st.sampled_from([None, "action_failed", "release_settled"]),
)
incidents = st.builds(
    Incident,
    text,
    text,
    span,
    span,
    span,
    span,
    st.sampled_from(Phase),
    st.none() | text,
    st.none() | attempts,
    st.none() | st.builds(Previous, text, text),
    st.none() | text,
)
memories = st.builds(
    Memory,
    incident=st.none() | incidents,
    position=st.builds(Position, st.integers(0, 9), st.integers(0, 99)),
    last_incident=st.none() | text,
    healthy_since=st.none() | span,
    actions=st.lists(span, max_size=12).map(tuple),
    streak=st.integers(0, 1000),
    last_action=st.none() | span,
    last_change=st.sampled_from(["", "well", "not_ready", "unhealthy"]),
    changes=st.lists(span, max_size=8).map(tuple),
    longest_start=span,
    flap_paged=st.booleans(),
    instance=st.none() | text,
    blocked=st.none() | text,
)


def written(memory: Memory, now: float = 100.0, wall: float = 5000.0) -> Any:
    """As it comes back from a state file."""
    return json.loads(json.dumps(to_data(memory, now, wall)))


@pytest.mark.parametrize("memory", [NOTHING, FULL], ids=["nothing", "everything"])
def test_what_is_written_down_is_read_back(memory: Memory) -> None:
    """Every field, with its type."""
    assert from_data(written(memory)) == memory


@settings(max_examples=100, deadline=None)
@given(memories)
def test_any_memory_is_read_back(memory: Memory) -> None:
    """No value is lost or changed on its way through the state file."""
    assert from_data(written(memory, now=1e9)) == memory


def test_another_boot_keeps_the_budget_and_closes_the_incident() -> None:
    """C37 actions age on by the wall clock; position, streak and the open incident are of the old boot."""
    kept, closed = after_reboot(written(FULL, now=100.0, wall=5000.0), now=20.0, wall=5600.0)
    # 600 s have passed: what was begun 81.5 s before the saving was begun 681.5 s ago, which is 661.5 s before this boot.
    assert kept == Memory(actions=(-661.5, -651.5), longest_start=4.5, traffic="backup")
    assert closed == FULL.incident


@pytest.mark.parametrize("wall", [5000.0, 4000.0, 0.0])
def test_a_wall_clock_that_went_back_gives_no_new_budget(wall: float) -> None:
    """Ages never shrink below what they were at the saving, and no action lies in the future."""
    kept, _closed = after_reboot(written(FULL, now=100.0, wall=5000.0), now=1.0, wall=wall)
    assert kept.actions == (1.0 - 81.5, 1.0 - 71.5)
    assert all(at <= 1.0 for at in kept.actions)


DAMAGED = [
    ({}, "no memory"),
    ({"memory": None}, "no memory"),
    ({"memory": {"nonsense": 1}}, "unknown keys nonsense"),
    ({"memory": {"actions": ["soon"]}}, "actions is .*soon"),
    ({"memory": {"actions": 7}}, "actions is 7"),
    ({"memory": {"position": {"floor": 1}}}, "unknown keys floor"),
    ({"memory": {"incident": {"phase": "asleep"}}}, "asleep"),
    ({"memory": {"incident": {"phase": "failing"}}}, "missing"),
    ({"memory": {"incident": 7}}, "its incident is 7"),
    ({"memory": {"streak": True}}, "streak is True, expected int"),
    ({"memory": {"longest_start": float("nan")}}, "longest_start is nan"),
    ({"memory": {"traffic": "elsewhere"}}, "elsewhere"),
    ({"memory": {"last_action": 7.0}, "saved": {"monotonic": 1.0, "wall": 1.0}}, "after it was saved"),
]


@pytest.mark.parametrize("data,words", DAMAGED)
def test_damaged_state_is_refused_by_name(data: Any, words: str) -> None:
    """The caller sets it aside and says so; nothing is guessed, and no other exception escapes."""
    with pytest.raises(RecordError, match=words):
        after_reboot(data, 1.0, 1.0)


@pytest.mark.parametrize("saved", [None, {}, {"monotonic": 1.0}, {"monotonic": "x", "wall": 1.0}])
def test_a_state_without_its_time_is_refused_after_a_reboot(saved: Any) -> None:
    """Without the moment of the saving no age can be reckoned."""
    with pytest.raises(RecordError, match="when it was saved"):
        after_reboot({"memory": {}, "saved": saved}, 1.0, 1.0)


def test_a_state_of_an_older_release_takes_the_defaults_for_what_it_lacks() -> None:
    """An upgrade does not forget an open incident because a field is new."""
    assert from_data({"memory": {"streak": 3}}) == Memory(streak=3)


@pytest.mark.parametrize("changes,flapping", [((), False), ((1.0,) * 5, False), ((1.0,) * 6, True), ((0.0,) + (1.0,) * 5, False)])
def test_flapping_counts_changes_of_the_last_300_seconds(changes: tuple[float, ...], flapping: bool) -> None:
    """C18 six, not five; the one of exactly 300 s ago no longer counts."""
    assert Memory(changes=changes).flapping(300.0) is flapping
