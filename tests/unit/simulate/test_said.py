# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a scenario for what people say of breakers, for what is used instead of a dependency, and for keeping a service warm."""

from __future__ import annotations

from typing import Any, Mapping

import pytest
from story import Story, check, play, service

from selfheal._core.errors import ContractError
from selfheal._core.scenario import parse_scenario

TRAFFIC = {"fallback": {"agent_check": {"port": 9878}}}
INSTEAD = {"fallback": {"command": {"argv_open": ["/bin/away"], "argv_close": ["/bin/back"]}}}
PAYMENTS = {"dependencies": [{"name": "payments", "probe": {"http": {"url": "https://pay.example/ready"}}, **INSTEAD}]}
WARM = {"keep_warm": {"http": {"url": "http://127.0.0.1/"}, "period": 30}}

STORIES = [
    Story(
        "a dependency's breaker that is held open keeps restarts back and its traffic away, until it is left to itself",
        """
        50  breaker web/payments open
        100 web/liveness bad
        130 breaker web/payments auto
        """,
        """
        50    breaker_forced
        50    failover forced_open
        100.5 failure liveness_failed since 100
        105   blocked dependency_down
        130   breaker_forced
        130   failback lifted
        130   restart 1 liveness_failed
        """,
        contract=PAYMENTS,
        until=135,
    ),
    Story(
        "a disabled one holds nothing back, however the dependency is",
        """
        50  dependency payments bad
        60  breaker web/payments disable
        100 web/liveness bad
        """,
        """
        60    breaker_forced
        100.5 failure liveness_failed since 100
        105   restart 1 liveness_failed
        """,
        contract=PAYMENTS,
        until=110,
    ),
    Story(
        "a service whose own breaker is held open has no traffic, though it is well",
        """
        50  breaker web open
        120 breaker web auto
        """,
        """
        50  breaker_forced
        50  failover forced
        120 breaker_forced
        120 failback healed
        """,
        contract=TRAFFIC,
        state="healthy",
    ),
    Story(
        "a service whose own breaker is disabled keeps its traffic, though it is not well",
        """
        50  breaker web disable
        100 web/liveness bad
        """,
        """
        50    breaker_forced
        100.5 failure liveness_failed since 100
        """,
        contract=TRAFFIC,
        until=103,
    ),
    Story(
        "what was said of a breaker outlives the watchdog that was told",
        """
        50 breaker web open
        60 crash
        """,
        """
        50 breaker_forced
        50 failover forced
        61 watchdog_start
        """,
        contract=TRAFFIC,
        until=300,
        state="healthy",
    ),
    Story(
        "nothing is there to be used instead: said, and the breaker goes its own way",
        """
        0  detour web/payments failed
        50 dependency payments bad
        """,
        """
        90  breaker_trip
        91  blocked no_backup
        150 breaker_half_open
        150 breaker_trip
        """,
        contract=PAYMENTS,
        until=200,
        state="healthy",
    ),
    Story(
        "a service that does not answer what keeps it warm gets its traffic back all the same, after three times three seconds",
        """
        0   warm web hang
        100 web/liveness bad
        102 web/liveness ok
        """,
        """
        100.5 failure liveness_failed since 100
        100.5 failover liveness_failed
        112   recover at 102 took 2
        121   failback healed
        """,
        contract={**TRAFFIC, **WARM},
        until=150,
        state="healthy",
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=[story.holds for story in STORIES])
def test_story(story: Story) -> None:
    """What happens on the left is told on the right, to the second and in this order, with nothing besides."""
    check(story)


def test_a_warm_service_is_asked_at_its_period_and_only_where_a_scenario_answers() -> None:
    """Requests are counted beside the probes; without a word about them none are made."""
    assert {"web/liveness": 61, "web/keep_warm": 20} == play("0 warm web ok", 600, **WARM).probes
    assert {"web/liveness": 61} == play("", 600, **WARM).probes


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"breaker": "web/paiments", "to": "open"}, "script[0].breaker: unknown dependency 'paiments'; did you mean payments"),
        ({"breaker": "wep", "to": "open"}, "script[0].breaker: unknown service 'wep'; did you mean web"),
        ({"breaker": "web", "to": "opened"}, "script[0].to: "),
        ({"breaker": "web", "to": "close"}, "script[0].to: the breaker of a service itself follows its incident"),
        ({"breaker": "web"}, "script[0].to: is required"),
        ({"fallback": "stock", "outcome": "ok"}, "script[0].fallback: 'stock' has no fallback in its contract"),
        ({"fallback": "payments", "outcome": "maybe"}, "script[0].outcome: "),
        ({"warm": "web", "result": "slow"}, "script[0].result: "),
        ({"warm": "web", "result": "ok"}, "script[0].warm: 'web' has no keep_warm in its contract"),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_its_place(entry: Mapping[str, Any], told: str) -> None:
    """A scenario that names what no contract has would show nothing, and be believed."""
    stock = {"name": "stock", "probe": {"http": {"url": "https://stock.example/ready"}}}
    web = service(dependencies=[*PAYMENTS["dependencies"], stock])
    with pytest.raises(ContractError) as refused:
        parse_scenario({"until": 10, "script": [{"at": 0, **entry}]}, [web])
    assert told in str(refused.value)
