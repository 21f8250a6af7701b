# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios: what an entry means, in which order entries stand, and what is refused."""

from __future__ import annotations

import pytest

from selfheal._core import contract
from selfheal._core.errors import ContractError
from selfheal._core.scenario import Entry, Scenario, parse_scenario

TCP = {"tcp": {"host": "127.0.0.1", "port": 1}}
PAYMENTS = {"name": "payments", "probe": TCP}
SERVICES = contract.parse_services(
    [
        {
            "name": "web",
            "resource": {"unit": "web.service"},
            "probes": [
                {"role": "liveness", **TCP},
                {"role": "readiness", "name": "front", **TCP},
                {"role": "readiness", "name": "back", **TCP},
            ],
            "dependencies": [PAYMENTS],
            "release": {"root": "/srv", "project": "shop"},
            "guard": {"peers": ["http://peer/"]},
        },
        {
            "name": "api",
            "resource": {"unit": "api.service"},
            "probes": [{"role": "liveness", "name": "l", **TCP}],
            "dependencies": [PAYMENTS],
        },
    ]
)


def script(*entries: object) -> tuple:
    return parse_scenario({"until": 600, "script": list(entries)}, SERVICES).entries


MEANINGS = {
    "maintenance, in words": (
        {"at": 5, "maintenance": "apt runs", "for": 60},
        [Entry(5.0, "maintenance", "apt runs", lasts=60.0)],
    ),
    "the host's own network": ({"at": 5, "network": "hang"}, [Entry(5.0, "network", "hang")]),
    "a full disk": ({"at": 5, "records": "unwritable"}, [Entry(5.0, "records", "unwritable")]),
    "probe by role": (
        {"at": 0, "probe": "web/liveness", "result": "bad"},
        [Entry(0.0, "probe", "liveness", "web", "bad")],
    ),
    "probe by the role of one with a name": (
        {"at": 0, "probe": "api/liveness", "result": "hang"},
        [Entry(0.0, "probe", "l", "api", "hang")],
    ),
    "probe by name": (
        {"at": 0, "probe": "web/back", "result": "slow"},
        [Entry(0.0, "probe", "back", "web", "slow")],
    ),
    "a role stands for all of its probes": (
        {"at": 0, "probe": "web/readiness", "result": "unknown"},
        [Entry(0.0, "probe", "front", "web", "unknown"), Entry(0.0, "probe", "back", "web", "unknown")],
    ),
    "action": (
        {"at": 1.5, "action": "web/restart", "outcome": "ok", "takes": 2, "heals": True},
        [Entry(1.5, "action", "restart", "web", "ok", takes=2.0, heals=True)],
    ),
    "action with its defaults": (
        {"at": 0, "action": "web/failover"},
        [Entry(0.0, "action", "failover", "web", "ok", takes=1.0, heals=False)],
    ),
    "action that fails": ({"at": 0, "action": "web/redeploy", "outcome": "fail"}, [Entry(0.0, "action", "redeploy", "web", "failed")]),
    "action that cannot be tried": (
        {"at": 0, "action": "web/rollback", "outcome": "cannot"},
        [Entry(0.0, "action", "rollback", "web", "cannot")],
    ),
    "dependency of whoever has it": (
        {"at": 0, "dependency": "payments", "result": "bad"},
        [Entry(0.0, "dependency", "payments", "web", "bad"), Entry(0.0, "dependency", "payments", "api", "bad")],
    ),
    "dependency of one service": (
        {"at": 0, "dependency": "api/payments", "result": "hang"},
        [Entry(0.0, "dependency", "payments", "api", "hang")],
    ),
    "gone": ({"at": 0, "gone": "web"}, [Entry(0.0, "gone", "gone", "web")]),
    "instance": ({"at": 0, "instance": "web"}, [Entry(0.0, "instance", "instance", "web")]),
    "hold": (
        {"at": 0, "operator": "hold", "service": "web", "for": 60, "reason": "patching"},
        [Entry(0.0, "operator", "hold", "web", lasts=60.0, reason="patching")],
    ),
    "hold everything": ({"at": 0, "operator": "hold"}, [Entry(0.0, "operator", "hold", None)]),
    "approve": ({"at": 0, "operator": "approve", "service": "web"}, [Entry(0.0, "operator", "approve", "web")]),
    "crash": ({"at": 0, "crash": "watchdog"}, [Entry(0.0, "crash", "watchdog")]),
    "peer": ({"at": 0, "peer": "http://peer/", "result": "bad"}, [Entry(0.0, "peer", "http://peer/", None, "bad")]),
    "lease on a service": (
        {"at": 0, "lease": "web", "holder": "deploy", "for": 5},
        [Entry(0.0, "lease", "web", "web", lasts=5.0, holder="deploy")],
    ),
    "lease on a release project": ({"at": 0, "lease": "shop"}, [Entry(0.0, "lease", "shop")]),
}


@pytest.mark.parametrize(("written", "expected"), MEANINGS.values(), ids=MEANINGS)
def test_what_an_entry_means(written: dict, expected: list) -> None:
    """Each kind of entry is resolved to exactly the things it happens to."""
    assert script(written) == tuple(expected)


def test_entries_are_sorted_by_time_and_keep_their_order_within_it() -> None:
    """Later entries of the same instant win, so their order is part of what is said."""
    read = script(
        {"at": 9, "gone": "web"},
        {"at": 0, "probe": "web/liveness", "result": "bad"},
        {"at": 0, "probe": "web/liveness", "result": "ok"},
        {"at": 0.5, "gone": "api"},
    )
    assert [(entry.at, entry.kind, entry.result) for entry in read] == [
        (0.0, "probe", "bad"),
        (0.0, "probe", "ok"),
        (0.5, "gone", "ok"),
        (9.0, "gone", "ok"),
    ]


def test_nothing_scripted() -> None:
    """Without a script everything is ok until the end."""
    assert parse_scenario({"until": 3600000}, SERVICES) == Scenario(3600000.0, ())


KINDS = "probe, action, dependency, gone, instance, operator, crash, peer, lease, maintenance, network, records, breaker, fallback or warm"
BAD = [
    ({"at": 0, "probe": "wbe/liveness", "result": "ok"}, "script[0].probe: unknown service 'wbe'; did you mean web?"),
    ({"at": 0, "probe": "web/livenes", "result": "ok"}, "script[0].probe: unknown probe of web 'livenes'; did you mean liveness?"),
    (
        {"at": 0, "probe": "web/startup", "result": "ok"},
        "script[0].probe: unknown probe of web 'startup'; known here: liveness, front, back",
    ),
    ({"at": 0, "probe": "web", "result": "ok"}, "script[0].probe: expected a service and a name such as web/liveness, found 'web'"),
    ({"at": 0, "probe": "web/liveness"}, "script[0].result: is required"),
    ({"at": 0, "probe": "web/liveness", "result": "fail"}, "script[0].result: expected ok, bad, hang, slow or unknown, found 'fail'"),
    ({"probe": "web/liveness", "result": "ok"}, "script[0].at: is required"),
    ({"at": -1, "gone": "web"}, "script[0].at: expected a number of seconds from 0 to 1e+08, found -1"),
    (
        {"at": 0, "action": "web/reboot"},
        "script[0].action: unknown action 'reboot'; known here: restart, redeploy, rollback, start, failover, failback",
    ),
    (
        {"at": 0, "action": "web/restart", "outcome": "meh"},
        "script[0].outcome: expected ok, failed, fail, bad, cannot, cannot_help or unsupported, found 'meh'",
    ),
    ({"at": 0, "action": "web/restart", "takes": -1}, "script[0].takes: expected a number of seconds from 0 to 1e+08, found -1"),
    ({"at": 0, "action": "web/restart", "heals": 1}, "script[0].heals: expected true or false, found 1"),
    ({"at": 0, "dependency": "paymnts", "result": "ok"}, "script[0].dependency: unknown dependency 'paymnts'; did you mean payments?"),
    ({"at": 0, "dependency": "payments", "result": "slow"}, "script[0].result: expected ok, bad, hang or unknown, found 'slow'"),
    ({"at": 0, "gone": "db"}, "script[0].gone: unknown service 'db'; known here: web, api"),
    ({"at": 0, "operator": "approve"}, "script[0].service: is required: only hold and unhold can be meant for all services"),
    ({"at": 0, "operator": "ack", "service": "web", "for": 3}, "script[0].for: only a hold has a duration"),
    ({"at": 0, "operator": "reboot"}, "script[0].operator: expected hold, unhold, approve, ack, stop or start, found 'reboot'"),
    ({"at": 0, "crash": "web"}, "script[0].crash: expected watchdog, found 'web'"),
    ({"at": 0, "peer": "http://pear/", "result": "ok"}, "script[0].peer: unknown peer 'http://pear/'; did you mean http://peer/?"),
    ({"at": 0, "lease": "shp"}, "script[0].lease: unknown service or release project 'shp'; did you mean shop?"),
    ({"at": 0, "gone": "web", "resul": "ok"}, "script[0]: unknown key 'resul'; known here: at, gone"),
    (
        {"at": 0, "prob": "web/liveness", "result": "bad"},
        "script[0]: expected a mapping with exactly one of " + KINDS + "; found a mapping; did you mean probe?",
    ),
    ({"at": 0, "network": "away"}, "script[0].network: expected ok, bad, hang or unknown, found 'away'"),
    ({"at": 0, "records": "full"}, "script[0].records: expected ok or unwritable, found 'full'"),
    ({"at": 0, "maintenance": ["apt"]}, "script[0].maintenance: expected a string, found a list"),
    ({"at": 0}, "script[0]: expected a mapping with exactly one of " + KINDS + "; found a mapping"),
    (
        {"at": 0, "gone": "web", "instance": "web"},
        "script[0]: expected a mapping with exactly one of " + KINDS + "; found gone and instance",
    ),
    ("gone", "script[0]: expected a mapping with exactly one of " + KINDS + "; found 'gone'"),
]


@pytest.mark.parametrize(("entry", "expected"), BAD, ids=[expected[:60] for _entry, expected in BAD])
def test_a_faulty_entry_is_named(entry: object, expected: str) -> None:
    """A name that no contract has, or a word that means nothing, is refused with its place and the nearest known one."""
    with pytest.raises(ContractError) as refused:
        script(entry)
    assert [str(problem) for problem in refused.value.problems] == [expected]


def test_all_faults_of_a_scenario_are_named_at_once() -> None:
    """The document's own faults and those of every entry come together."""
    with pytest.raises(ContractError) as refused:
        parse_scenario({"untl": 5, "script": [{"at": 0, "gone": "db"}, {"at": 0, "crash": "x"}]}, SERVICES)
    assert [str(problem).partition(":")[0] for problem in refused.value.problems] == [
        "unknown key 'untl'; did you mean until?",
        "until",
        "script[0].gone",
        "script[1].crash",
    ]
