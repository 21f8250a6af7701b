# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal heal``: the engine once, on a person's word, beside a running watchdog or without one.

Mode, cooldown and backoff do not bind it; holds, leases and budgets do, unless a person lifts one by name.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from ..._core.decide import Do
from ..._core.guards import GUARDS
from ..._core.health import State
from ..._core.incident import Phase
from ..._core.model import Service
from ..._core.reasons import Reason
from ..._core.times import format_time
from ..._engine import explain
from ..._engine.engine import Engine
from ..._engine.healer import Healer
from ..._engine.ports import Records
from .. import exits, output
from ..config import Etc, chosen, load_services, load_watchdog
from ..ledger import Ledger
from ..person import owner

LONGEST = 600.0
LOOK_EVERY = 0.25
"""Seconds between two looks at whether everything is settled; the engine itself waits for nothing."""
PASSING = frozenset((
    Reason.LEASE_HELD, Reason.NOT_STARTED, Reason.MAINTENANCE, Reason.DEPENDENCY_DOWN, Reason.STORM, Reason.COOLDOWN, Reason.BACKOFF,
))
"""Blocks that pass by themselves: they are waited for. The others need a person."""


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="*", help="only these services (default: all)")
    parser.add_argument("--contracts", metavar="FILE", help="heal what these contracts name (default: contracts.json of --etc)")
    wait = "give up waiting after so many seconds (default: %g)" % LONGEST
    parser.add_argument("--wait", type=_seconds, default=LONGEST, metavar="S", help=wait)
    parser.add_argument(
        "--override", action="append", default=[], choices=[reason.value for reason, _guard in GUARDS], metavar="REASON",
        help="lift one guard by its reason, such as hold or budget_spent; recorded with your name; may be given more than once",
    )
    parser.add_argument("--json", action="store_true", help="print incidents, steps and summary as JSON")
    parser.epilog = (
        "Exit status 0 when everything is well, 1 when something escalated or did not recover in time, 3 when something was blocked,\n"
        "4 when probes could not tell."
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError("%r is no number of seconds from 0 to 86400" % text)
    return value


def run(args: argparse.Namespace) -> int:
    from ..._engine.local import Site
    from ..._probes.engine import LocalHost

    etc = Etc(args.etc)
    config = load_watchdog(etc)
    path = args.contracts or etc.contracts
    services = chosen(load_services(path), args.service, path)
    override = frozenset(Reason(name) for name in args.override)
    tale = Tale(shown=not args.json)
    with LocalHost() as host:
        site = Site(etc.path, config, host, source="operator", wrap=tale.listen)
        try:
            healing = Healing(site, services, override, tale)
            outcomes = healing.run(args.wait)
        finally:
            site.timeline.close()
    if args.json:
        output.emit({"incidents": tale.steps, "results": outcomes, "summary": _summary(outcomes)})
    else:
        rows = [[each["name"], each["outcome"], each["reason"] or "-", each["detail"]] for each in outcomes]
        output.table(["service", "outcome", "reason", "what"], rows)
    return _status(outcomes)


class Tale:
    """What was done, as it is done."""

    def __init__(self, shown: bool) -> None:
        self.steps: List[Dict[str, Any]] = []
        self._shown = shown

    def listen(self, records: Records) -> Records:
        return Ledger(records, self._told)

    def _told(self, type: str, service: Optional[str], data: Dict[str, Any]) -> None:
        at = format_time(time.time())
        self.steps.append({"timestamp": at, "service": service, "type": type, "data": data})
        if self._shown:
            output.say(output.printable("  ".join([at, service or "-", type] + output.pairs(data))))

    def of(self, service: str, *types: str) -> bool:
        return any(step["service"] == service and step["type"] in types for step in self.steps)


class Healing:
    """The healers of one run, until each is settled."""

    def __init__(self, site: Any, services: Tuple[Service, ...], override: FrozenSet[Reason], tale: Tale) -> None:
        self._host = site.host
        self._tale = tale
        self._had_incident = set()
        self._refused: Dict[str, str] = {}
        if override:
            site.records.record("override", None, None, "operator", {"owner": owner(), "reasons": sorted(each.value for each in override)})
        healers: List[Healer] = []
        for service in services:
            problem = _unsupported(service)
            if problem is not None:
                self._refused[service.name] = problem
            else:
                healers.append(site.healer(service, operated=True, override=override))
        self._engine = Engine(self._host, healers)
        for healer in healers:
            if healer.memory.incident is not None:
                self._had_incident.add(healer.name)

    def run(self, wait: float) -> List[Dict[str, Any]]:
        """Turn the engine until every service is settled, or `wait` seconds are over. Leases are given back in any case."""
        end = self._host.monotonic() + wait
        try:
            while self._host.monotonic() < end and any(self._outcome(healer) is None for healer in self._engine.healers):
                self._engine.spin(min(end, self._host.monotonic() + LOOK_EVERY))
            found = [self._result(healer) for healer in self._engine.healers]
        finally:
            for healer in list(self._engine.healers):
                self._engine.remove(healer)
        for name, problem in self._refused.items():
            found.append({"name": name, "outcome": "blocked", "state": "unknown", "reason": "unsupported", "detail": problem})
        return found

    def _outcome(self, healer: Healer) -> Optional[str]:
        """How it ended; None while it goes on."""
        incident, decision = healer.memory.incident, healer.decision
        if decision.do is Do.BLOCK and decision.reason not in PASSING:
            return "blocked"
        if incident is not None:
            self._had_incident.add(healer.name)
            if decision.reason is Reason.READINESS_FAILED:
                return "untouched"
            return "escalated" if incident.phase is Phase.ESCALATED else None
        state = healer.state
        if healer.name in self._had_incident:
            return "recovered"
        if state is State.STOPPED:
            return "untouched"
        if state in (State.HEALTHY, State.DEGRADED) and self._answered(healer):
            return "recovered" if self._tale.of(healer.name, "start") else "untouched"
        asked = all(tally.runs > 0 for tally in healer.watch.tally.values())
        return "unknown" if asked and not healer.watch.observed and not healer.acting else None

    @staticmethod
    def _answered(healer: Healer) -> bool:
        """Has every probe that is asked now answered well? A first good one beside one not yet asked proves little."""
        return all(tally.good > 0 for name, tally in healer.watch.tally.items() if _role(healer, name) != "startup")

    def _result(self, healer: Healer) -> Dict[str, Any]:
        answer = explain.now(healer)
        outcome = self._outcome(healer) or "unfinished"
        return {"name": healer.name, "outcome": outcome, "state": answer["state"], "reason": answer["reason"], "detail": answer["sentence"]}


def _role(healer: Healer, name: str) -> str:
    probe = healer.service.probe(name)
    return probe.role if probe is not None else ""


def _unsupported(service: Service) -> Optional[str]:
    from ..._engine.resources import unsupported

    return unsupported(service)


def _summary(outcomes: List[Dict[str, Any]]) -> Dict[str, int]:
    words = ("recovered", "escalated", "blocked", "untouched", "unfinished", "unknown")
    return {word: sum(1 for each in outcomes if each["outcome"] == word) for word in words}


def _status(outcomes: List[Dict[str, Any]]) -> int:
    found = {each["outcome"] for each in outcomes}
    if found & {"escalated", "unfinished"} or any(each["state"] == "not_ready" for each in outcomes):
        return exits.UNHEALTHY
    if "blocked" in found:
        return exits.BLOCKED
    return exits.CANNOT if "unknown" in found else exits.FINE


__all__ = ["configure", "run"]
