# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a service: its published state, and how its changes count."""

from __future__ import annotations

import pytest
from deciding import (
    FAILED,
    FRESH,
    UNREADY,
    WELL,
    acting,
    attempt,
    facts,
    failing,
    incident,
)

from selfheal._core.apply import noticed, published
from selfheal._core.guards import Facts
from selfheal._core.health import State
from selfheal._core.incident import Phase
from selfheal._core.memory import NOTHING, Memory

PUBLISHED = [
    (NOTHING, facts(WELL), State.HEALTHY),
    (NOTHING, facts(FRESH, dead=True), State.UNHEALTHY),
    (NOTHING, facts(FRESH, never=True), State.UNKNOWN),
    (NOTHING, facts(FAILED, stopped=True), State.STOPPED),
    (failing(), facts(FAILED, stopped=True), State.STOPPED),
    (failing(), facts(FRESH), State.UNHEALTHY),
    (acting(attempt(3.0)), facts(FRESH), State.UNHEALTHY),
    (Memory(incident=incident(Phase.OBSERVING)), facts(WELL), State.HEALTHY),
    (Memory(incident=incident(Phase.OBSERVING)), facts(UNREADY), State.NOT_READY),
    (failing(cause="readiness_failed"), facts(UNREADY), State.NOT_READY),
    (failing(cause="readiness_failed"), facts(FAILED), State.UNHEALTHY),
    (Memory(incident=incident(Phase.ESCALATED)), facts(FRESH), State.UNHEALTHY),
]


@pytest.mark.parametrize("memory,known,state", PUBLISHED)
def test_what_is_published(memory: Memory, known: Facts, state: State) -> None:
    """C34 during an incident the reset at a restart is no health."""
    assert published(memory, known) is state


def test_changes_of_state_are_counted_as_they_are_shown() -> None:
    """Well, not ready and unhealthy differ; degraded is well; the first thing ever shown and the unknown are no change."""
    memory = NOTHING
    for at, state in enumerate(
        [State.HEALTHY, State.DEGRADED, State.UNKNOWN, State.NOT_READY, State.UNHEALTHY, State.STOPPED, State.HEALTHY]
    ):
        memory = noticed(memory, state, float(at))
    assert memory.changes == (3.0, 4.0, 6.0)
