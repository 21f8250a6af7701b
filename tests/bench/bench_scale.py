# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What 10,000 hosts do when many fail at once: actions, moves of traffic and pages a minute, out of the real engine on a virtual clock.

Run alone: ``python tests/bench/bench_scale.py [--quick] [--hosts N]``; prints rows of a Markdown table, the same on every machine.

Watchdogs do not talk to each other, so hosts of one contract differ only by where in its period a probe was when the fault came. The
engine is run for so many of these phases, evenly spread, and each stands for its share of the hosts. docs/scale.md reads the numbers.
"""

from __future__ import annotations

import collections
import itertools
import os
import pathlib
import sys
import types
from typing import Any, Counter, Dict, Iterator, List, NamedTuple, Tuple

from table import Row, show

ROOT = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or pathlib.Path(__file__).resolve().parents[2])
HOSTS = 10000
PHASES, QUICK_PHASES = 50, 5
PERIOD = 10.0
FAULT, LASTS, UNTIL = 100.0, 600.0, 1300.0
ACTIONS = frozenset(("start", "restart", "redeploy", "rollback"))
MOVES = frozenset(("failover", "failback"))
# A watchdog tells Alertmanager again that a page stands, so often (_engine/post.py).
REPEAT_EVERY = 60.0


class Case(NamedTuple):
    """`share` of the hosts have it. `services` on each host; `script`: (seconds after the fault, entry) pairs."""

    what: str
    share: float
    services: List[Dict[str, Any]]
    script: List[Tuple[float, Dict[str, Any]]]


def service(name: str = "web", port: int = 9878, **more: Any) -> Dict[str, Any]:
    ask = {"http": {"url": "http://127.0.0.1:8080/live"}}
    return {
        "name": name,
        "resource": {"unit": name + ".service"},
        "probes": [{"role": "liveness", **ask}, {"role": "readiness", **ask}],
        "release": {"root": "/var/www", "project": name},
        "fallback": {"agent_check": {"port": port}},
        **more,
    }


def told(kind: str, *names: str) -> List[Tuple[float, Dict[str, Any]]]:
    """All of them bad from the fault, and well when it is over."""
    return [(at, {kind: name, "result": result}) for at, result in ((0.0, "bad"), (LASTS, "ok")) for name in names]


PAYMENTS = {"dependencies": [{"name": "db", "probe": {"tcp": {"host": "db.example", "port": 5432}}}]}
PEER = "http://other.example:9877/services/web/ready"
MANY = ["s%d" % number for number in range(8)]
CASES = [
    Case("a database that liveness asks, away for 10 min, in no contract", 1.0, [service()], told("probe", "web/liveness")),
    Case("… budget of 3 actions an hour", 1.0, [service(guard={"actions": 3, "per": 3600})], told("probe", "web/liveness")),
    Case("… named as a dependency", 1.0, [service(**PAYMENTS)], told("probe", "web/liveness") + told("dependency", "db")),
    Case(
        "… in no contract, but each host asks a peer",
        1.0,
        [service(guard={"peers": [PEER]})],
        told("probe", "web/liveness") + told("peer", PEER),
    ),
    Case("… asked by readiness instead", 1.0, [service()], told("probe", "web/readiness")),
    Case(
        "… 8 services on each host",
        1.0,
        [service(name, 9878 + number) for number, name in enumerate(MANY)],
        told("probe", *("%s/liveness" % name for name in MANY)),
    ),
    Case(
        "a rack of 40 hosts loses its switch for 10 min, with the reference set",
        0.004,
        [service(**PAYMENTS)],
        [(-FAULT, {"network": "ok"}), *told("network_", "db")],
    ),
    Case("a bad release everywhere: hangs until it is rolled back", 1.0, [service()], [(0.0, {"probe": "web/liveness", "result": "hang"})]),
    Case("one host in 1,000 hangs, controller and AWX away", 0.001, [service()], [(0.0, {"probe": "web/liveness", "result": "hang"})]),
]
HEALS = {"bad release": "web/rollback", "one host in": "web/restart"}


class Load(NamedTuple):
    """Of the fleet, by minute since the fault."""

    actions: Counter[int]
    moves: Counter[int]
    pages: Counter[int]
    blocked: Counter[str]
    first: float
    standing: float


def play(case: Case, hosts: int, phases: int) -> Load:
    from selfheal._core.contract import parse_services
    from selfheal._core.scenario import parse_scenario
    from selfheal._engine.simulation import simulate

    services = parse_services(case.services)
    weight = hosts * case.share / phases
    load = Load(collections.Counter(), collections.Counter(), collections.Counter(), collections.Counter(), 1e9, 0.0)
    heals = next((action for key, action in HEALS.items() if key in case.what), None)
    for phase in range(phases):
        fault = FAULT + PERIOD * (phase + 0.5) / phases
        script: List[Dict[str, Any]] = [{"at": max(0.0, fault + at), **_entry(entry)} for at, entry in case.script]
        if heals is not None:
            script.append({"at": 0, "action": heals, "outcome": "ok", "takes": 2, "heals": True})
        for event in simulate(services, parse_scenario({"until": UNTIL, "script": script}, services))["events"]:
            load = _counted(load, event, fault, weight)
    return load


def _entry(entry: Dict[str, Any]) -> Dict[str, Any]:
    """A rack's hosts lose the reference with everything else."""
    return {"network": entry["result"]} if "network_" in entry else entry


def _counted(load: Load, event: Dict[str, Any], fault: float, weight: float) -> Load:
    minute, kind = int((event["at"] - fault) // 60), event["type"]
    if kind in ACTIONS:
        load.actions[minute] += weight  # type: ignore[assignment]
        return load._replace(first=min(load.first, event["at"] - fault))
    if kind in MOVES:
        load.moves[minute] += weight  # type: ignore[assignment]
    elif kind == "page":
        load.pages[minute] += weight  # type: ignore[assignment]
        return load._replace(standing=load.standing + weight)
    elif kind == "blocked":
        load.blocked[event["data"]["reason"]] += weight  # type: ignore[assignment]
    return load


def rows(hosts: int = HOSTS, quick: bool = False) -> Iterator[Row]:
    """One row for each case. What must hold: no more actions than the budget allows, and at most one page a host."""
    if "selfheal" not in sys.modules:
        package = types.ModuleType("selfheal")
        package.__path__ = [str(ROOT / "plugins" / "module_utils")]
        sys.modules["selfheal"] = package
    for case in CASES:
        load = play(case, hosts, QUICK_PHASES if quick else PHASES)
        affected = hosts * case.share
        first = "-" if load.first > UNTIL else "%.0f s" % load.first
        ours = "%s actions (first after %s, peak %s/min), %s moves (peak %s/min), %s pages (peak %s/min, then %.1f posts/s)" % (
            _n(sum(load.actions.values())),
            first,
            _n(max(load.actions.values(), default=0)),
            _n(sum(load.moves.values())),
            _n(max(load.moves.values(), default=0)),
            _n(sum(load.pages.values())),
            _n(max(load.pages.values(), default=0)),
            load.standing / REPEAT_EVERY,
        )
        blocked = ", ".join("%s %s" % (_n(count), reason) for reason, count in load.blocked.most_common(2)) or "-"
        budget = case.services[0].get("guard", {}).get("actions", 10) * len(case.services)
        holds = sum(load.pages.values()) <= affected * 1.001 and sum(load.actions.values()) <= affected * budget * 1.001
        yield Row("%s hosts: %s" % (_n(affected), case.what), ours, "not done: " + blocked, "-", "≤ 1 page a host, ≤ budget", holds)


def _n(number: float) -> str:
    return format(round(number), ",")


if __name__ == "__main__":
    words = dict(itertools.pairwise(sys.argv[1:]))
    sys.exit(show(rows(int(words.get("--hosts", HOSTS)), "--quick" in sys.argv[1:])))
