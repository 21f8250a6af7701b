# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The language of the scenarios in this directory: what happens, one line each, and what the timeline then says, one line each.

What happens::

    100   web/liveness bad                    a probe answers so from now on: ok, bad, hang, slow, unknown
    0     does web/restart ok takes 2 heals   what an action does: ok, failed, cannot
    250   gone web                            the main process died
    400   instance web                        somebody else started a new one
    300   hold web for 60                     an operator: hold, unhold, approve, ack, stop, start
    90    lease web for 40                    somebody else acts on it
    50    dependency payments bad             what it depends on answers so from now on
    50    peer http://two/ready bad           another instance answers so from now on
    50    breaker web/payments open           somebody says what a breaker is to be: open, close, disable, auto
    50    detour web/payments failed takes 2  how moves to what is used instead of a dependency go from now on
    50    warm web hang                       what keeps it warm is answered so from now on
    90    maintenance apt for 40              packages are being changed
    90    network bad                         the network reference answers so from now on
    90    records unwritable                  the disk is full; ok: it is not any more
    450   crash                               the watchdog dies and is back a second later

What the timeline says (seconds, event, and what matters of its data)::

    18.5  failure liveness_failed since 10
    18.5  restart 1 liveness_failed
    28.5  restart 2 liveness_failed after not_healed/window_over
    60    recover at 50 took 40
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from selfheal._core import contract, model
from selfheal._core.scenario import parse_scenario
from selfheal._core.times import parse_time
from selfheal._engine.simulation import simulate
from selfheal._engine.world import EPOCH

LIVENESS = {"role": "liveness", "http": {"url": "http://127.0.0.1:8080/live"}}
READINESS = {"role": "readiness", "http": {"url": "http://127.0.0.1:8080/ready"}}
STARTUP = {"role": "startup", "http": {"url": "http://127.0.0.1:8080/up"}, "failure_threshold": 6}
WEB: dict[str, Any] = {
    "name": "web",
    "resource": {"unit": "web.service"},
    "probes": [LIVENESS],
    "release": {"root": "/var/www", "project": "web"},
}
OPERATOR = ("hold", "unhold", "approve", "ack", "stop", "start")
RUNGS = ("start", "restart", "redeploy", "rollback")


class Told(NamedTuple):
    """What a simulation answered; `lines` is its timeline in the language above, without the watchdog's own start at 0."""

    lines: list[str]
    events: list[dict[str, Any]]
    state: str
    states: dict[str, str]
    probes: dict[str, int]

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] in types]

    def times(self, *types: str) -> list[float]:
        return [event["at"] for event in self.of(*types)]


class Story(NamedTuple):
    """`happens` and `told` are in the language above; `told` is the whole timeline, `state` what is published at the end."""

    holds: str
    happens: str
    told: str
    until: float = 1000
    contract: Mapping[str, Any] = {}
    state: str = "unhealthy"


def check(story: Story) -> None:
    """To the second, in this order, and with nothing besides."""
    told = play(story.happens, story.until, **story.contract)
    assert told.lines == lines(story.told)
    assert told.state == story.state


def service(**changes: Any) -> model.Service:
    """The contract of `web` with some keys changed."""
    return contract.parse_services([{**WEB, **changes}])[0]


def play(script: str, until: float, *more: dict[str, Any], **changes: Any) -> Told:
    """Play `script` against `web` (its contract changed by `changes`) and `more` services."""
    services = contract.parse_services([{**WEB, **changes}, *more])
    return tell(services, {"until": until, "script": [entry(line) for line in lines(script)]})


def tell(services: tuple[model.Service, ...], scenario: dict[str, Any]) -> Told:
    result = simulate(services, parse_scenario(scenario, services))
    written = [written_out(event) for event in result["events"][1:]]
    return Told(written, result["events"], result["states"].get("web", "-"), result["states"], result["probes"])


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines() if line.strip()]


def entry(line: str) -> dict[str, Any]:
    """One line of a script as the scenario format has it."""
    at, *words = line.split()
    made: dict[str, Any] = {"at": float(at)}
    if words[0] in OPERATOR:
        made.update(operator=words[0], **({"service": words[1]} if len(words) > 1 else {}))
    elif words[0] == "crash":
        made.update(crash="watchdog")
    elif words[0] in ("maintenance", "network", "records"):
        made[words[0]] = words[1]
    elif words[0] in ("dependency", "peer"):
        made.update({words[0]: words[1], "result": words[2]})
    elif words[0] == "warm":
        made.update(warm=words[1], result=words[2])
    elif words[0] == "breaker":
        made.update(breaker=words[1], to=words[2])
    elif words[0] == "detour":
        made.update(fallback=words[1], outcome=words[2], takes=float(words[4]) if "takes" in words else 1)
    elif words[0] in ("gone", "instance", "lease"):
        made[words[0]] = words[1]
    elif words[0] == "does":
        made.update(action=words[1], outcome=words[2], heals="heals" in words)
        if "takes" in words:
            made["takes"] = float(words[words.index("takes") + 1])
    else:
        made.update(probe=words[0], result=words[1])
    if "for" in words:
        made["for"] = float(words[words.index("for") + 1])
    return made


def written_out(event: dict[str, Any]) -> str:
    """One event as a line."""
    data = event["data"]
    words = ["%g" % event["at"], event["type"]]
    if event["type"] in RUNGS:
        words.append("%d" % data["attempt"])
    if event["type"] == "recover":
        words += ["at", _seconds(data["recovery_time"]), "took", "%g" % (data["recovery_duration_ms"] / 1000)]
    elif event["type"] in (*RUNGS, "failure", "page", "blocked", "page_resolved", "failover", "failback"):
        words.append(data["reason"])
    if event["type"] == "failure":
        words += ["since", _seconds(data["failure_time"])]
    words += [word for word in ("retry", "continues") if data.get(word) and event["type"] != "recover"]
    words += ["held"] if "held" in data else []
    if "previous" in data:
        words += ["after", "%s/%s" % (data["previous"]["outcome"], data["previous"]["reason"])]
    return " ".join(words)


def _seconds(text: str) -> str:
    return "%g" % round(parse_time(text) - EPOCH, 3)
