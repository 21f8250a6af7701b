# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random weeks: contracts of several services, and everything that may happen to them. The same seed is the same week.

A week is made of episodes (a fault and, mostly, its end), so that what follows one fault meets the next. Most weeks are squeezed into
minutes; their times are drawn from few numbers, so that they meet at the same instant more often than chance would have it.
"""

from __future__ import annotations

import random
from typing import Any, Dict, List, NamedTuple

from story import LIVENESS, READINESS, STARTUP

ORDER = ("restart", "redeploy", "rollback")
SHARED = ("payments", "database")
"""Dependencies that several services may have."""


class Week(NamedTuple):
    """As the contracts file and the scenario have it."""

    contracts: List[Dict[str, Any]]
    scenario: Dict[str, Any]


class Kind(NamedTuple):
    """How long a week is, how many services and episodes it has, and how fast its probes are."""

    until: float
    services: int
    episodes: int
    periods: tuple[float, ...]
    grain: float
    retries: tuple[float, ...] = (10, 60, 300)
    lasting: float = 0.2
    """How many faults do not end by themselves."""


ALONE = Kind(420.0, 1, 14, (2, 5, 10), 0.5)
FEW = Kind(600.0, 4, 24, (5, 10, 20), 0.5)
STORMY = Kind(400.0, 8, 24, (10, 20), 1.0)
WHOLE = Kind(604800.0, 2, 300, (60,), 0.5, (3600,), 0.01)
"""Seven days."""


def week(seed: int, kind: Kind) -> Week:
    dice = random.Random("%d %r" % (seed, kind))
    count = dice.randint(max(1, kind.services // 2), kind.services)
    contracts = [_contract(dice, "s%d" % number, kind) for number in range(count)]
    script: List[Dict[str, Any]] = []
    for _number in range(dice.randint(kind.episodes // 8 + 1, kind.episodes)):
        at = _moment(dice, kind)
        dice.choices([each[0] for each in _EPISODES], [each[1] for each in _EPISODES])[0](dice, contracts, at, kind, script)
    for each in contracts:
        if dice.random() < 0.5:
            script.append(_action(dice, each["name"], 0.0))
    dice.shuffle(script)  # those of one instant stand in no order of ours
    return Week(contracts, {"until": kind.until, "script": script})


# -- contracts


def _contract(dice: random.Random, name: str, kind: Kind) -> Dict[str, Any]:
    made: Dict[str, Any] = {
        "name": name,
        "resource": {"unit": name + ".service"},
        "probes": [_probe(dice, role, kind) for role in (LIVENESS, *dice.choice(((), (), (READINESS,), (STARTUP,), (READINESS, STARTUP))))],
        "release": {"root": "/srv", "project": name},
        "mode": dice.choice(("auto",) * 6 + ("approve", "observe")),
        "desired": dice.choice(("by_admin", "by_admin", "always")),
        "confirm_period": dice.choice((0.5, 3)),
        "failing_for": dice.choice((0, 1, 5, 5, 20)),
        "recovered_after": dice.choice((0, 1, 10, 10)),
        "ladder_reset_after": dice.choice((0, 20, 600)),
        "retry_every": dice.choice(kind.retries),
        "guard": {
            "actions": dice.choice((1, 2, 10)),
            "per": dice.choice((30, 120, 3600)),
            "cooldown": dice.choice((0, 0, 7)),
            "backoff_cap": dice.choice((0, 4, 300)),
        },
    }
    ladder = [
        {"rung": rung, "attempts": dice.randint(1, 3), "timeout": dice.choice((1, 5, 10, 30))} for rung in ORDER if dice.random() < 0.7
    ]
    if dice.random() < 0.7:
        made["ladder"] = [*ladder, {"rung": "page"}]
    if dice.random() < 0.5:
        made["fallback"] = {"agent_check": {"port": 9900 + int(name[1:])}}
    if dice.random() < 0.35:
        made["guard"]["peers"] = ["http://%s-%d/ready" % (name, number) for number in range(dice.randint(1, 3))]
        made["guard"]["min_available"] = dice.randint(1, len(made["guard"]["peers"]))
    if dice.random() < 0.35:
        made["dependencies"] = [_dependency(dice, each) for each in dice.sample(SHARED, dice.randint(1, 2))]
    return made


def _probe(dice: random.Random, role: Dict[str, Any], kind: Kind) -> Dict[str, Any]:
    how = {"http": role["http"]} if dice.random() < 0.8 else {"exec": {"argv": ["/bin/check"]}}
    return {
        "role": role["role"],
        **how,
        "period": dice.choice(kind.periods),
        "timeout": dice.choice((1, 4)),
        "failure_threshold": dice.randint(1, 4),
        "success_threshold": dice.randint(1, 3) if role is not STARTUP else 1,
        "initial_delay": dice.choice((0, 0, 0, 3)),
    }


def _dependency(dice: random.Random, name: str) -> Dict[str, Any]:
    return {
        "name": name,
        "probe": {"http": {"url": "https://%s/ready" % name}, "period": dice.choice((10, 30)), "timeout": dice.choice((1, 4))},
        "failure_threshold": dice.randint(1, 5),
        "reset_timeout": dice.choice((5, 60)),
        "success_threshold": dice.randint(1, 3),
        "half_open_limit": dice.choice((10, 60)),
    }


# -- what happens


def _moment(dice: random.Random, kind: Kind) -> float:
    return dice.randrange(int(kind.until / kind.grain)) * kind.grain


def _span(dice: random.Random) -> float:
    return dice.choice((0.5, 3, 10, 18.5, 30, 60, 150, 400))


def _action(dice: random.Random, name: str, at: float) -> Dict[str, Any]:
    return {
        "at": at,
        "action": "%s/%s" % (name, dice.choice(ORDER)),
        "outcome": dice.choice(("ok", "ok", "ok", "failed", "cannot")),
        "takes": dice.choice((0, 1, 2.5, 40)),
        "heals": dice.random() < 0.5,
    }


def _sick(dice: random.Random, contract: Dict[str, Any], at: float, span: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    """A probe fails for a while; sometimes for good, sometimes until an action heals it."""
    name = "%s/%s" % (contract["name"], dice.choice(contract["probes"])["role"])
    script.append({"at": at, "probe": name, "result": dice.choice(("bad", "bad", "bad", "hang", "hang", "slow", "unknown"))})
    if dice.random() >= kind.lasting:
        script.append({"at": at + span, "probe": name, "result": "ok"})


def _fault(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    _sick(dice, dice.choice(contracts), at, _span(dice), kind, script)


def _flap(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    name = "%s/liveness" % dice.choice(contracts)["name"]
    for turn in range(dice.randint(2, 10)):
        at += dice.choice((1, 12, 25))
        script.append({"at": at, "probe": name, "result": ("bad", "ok")[turn % 2]})


def _death(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    name = dice.choice(contracts)["name"]
    for _again in range(dice.choice((1, 1, 2, 5))):
        script.append({"at": at, "gone": name})
        at += dice.choice((0, 0.5, 1, 15))
    if dice.random() < 0.2:
        script.append({"at": at + dice.choice((0, 1, 30)), "instance": name})


def _doing(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    script.append(_action(dice, dice.choice(contracts)["name"], at))


def _person(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    name = dice.choice(contracts)["name"]
    verb = dice.choice(("hold", "hold", "unhold", "approve", "approve", "ack", "stop", "start", "instance"))
    if verb == "instance":
        script.append({"at": at, "instance": name})
        return
    said: Dict[str, Any] = {"at": at, "operator": verb, "service": name}
    if verb in ("hold", "unhold") and dice.random() < 0.2:
        del said["service"]
    if verb == "hold" and dice.random() < 0.7:
        said["for"] = _span(dice)
    script.append(said)
    if verb == "stop" and dice.random() >= kind.lasting:
        script.append({"at": at + _span(dice), "operator": "start", "service": name})
    if verb == "hold" and "for" not in said and dice.random() >= kind.lasting:
        script.append({**said, "at": at + _span(dice), "operator": "unhold"})


def _crash(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    for _again in range(dice.choice((1, 1, 1, 3))):
        script.append({"at": at, "crash": "watchdog"})
        at += dice.choice((0, 0.5, 1, 2, 20))


def _lease(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    script.append({"at": at, "lease": dice.choice(contracts)["name"], "for": dice.choice((0, 5, 30, 90)), "holder": "deploy"})


def _outage(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    known = sorted({each["name"] for contract in contracts for each in contract.get("dependencies", ())})
    if not known:
        return _fault(dice, contracts, at, kind, script)
    name = dice.choice(known)
    script.append({"at": at, "dependency": name, "result": dice.choice(("bad", "hang", "unknown"))})
    script.append({"at": at + _span(dice), "dependency": name, "result": "ok"})
    if dice.random() < 0.5:
        for contract in contracts:
            if any(each["name"] == name for each in contract.get("dependencies", ())):
                _sick(dice, contract, at + dice.choice((0, 2)), _span(dice), kind, script)


def _peers(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    known = [contract for contract in contracts if contract["guard"].get("peers")]
    if not known:
        return _fault(dice, contracts, at, kind, script)
    contract = dice.choice(known)
    for peer in contract["guard"]["peers"]:
        if dice.random() < 0.7:
            script.append({"at": at, "peer": peer, "result": dice.choice(("bad", "hang", "unknown"))})
            script.append({"at": at + _span(dice), "peer": peer, "result": "ok"})
    _sick(dice, contract, at + dice.choice((-5, 0, 0.5, 4)) if at > 5 else at, _span(dice), kind, script)


def _storm(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    span = _span(dice)
    for contract in contracts:
        if dice.random() < 0.8:
            began = at + dice.choice((0, 0, 1, 20))
            if dice.random() < 0.15:
                script.append({"at": began, "gone": contract["name"]})
            else:
                _sick(dice, contract, began, span + dice.choice((0, 0, 30)), kind, script)


def _upkeep(dice: random.Random, contracts: List[Dict[str, Any]], at: float, kind: Kind, script: List[Dict[str, Any]]) -> None:
    """Something happens to the host itself, and a service fails meanwhile."""
    what = dice.choice(("maintenance", "records"))
    if what == "maintenance":
        script.append({"at": at, "maintenance": "apt runs", "for": dice.choice((0, 5, 30, 90))})
    else:
        script.append({"at": at, "records": "unwritable"})
        script.append({"at": at + _span(dice), "records": "ok"})
    _sick(dice, dice.choice(contracts), at + dice.choice((0, 1, 10)), _span(dice), kind, script)


_EPISODES = (
    (_fault, 6),
    (_flap, 2),
    (_death, 3),
    (_doing, 2),
    (_person, 5),
    (_crash, 3),
    (_lease, 1),
    (_outage, 2),
    (_peers, 2),
    (_storm, 2),
    (_upkeep, 1),
)

__all__ = ["ALONE", "FEW", "Kind", "ORDER", "STORMY", "WHOLE", "Week", "week"]
