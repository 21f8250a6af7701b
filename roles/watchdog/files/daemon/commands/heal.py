# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal heal``: the engine once, on a person's word, beside a running watchdog or without one.

Mode, cooldown and backoff do not bind it; holds, leases and budgets do, unless a person lifts one by name.
"""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Optional

from ..._core.guards import GUARDS
from ..._core.reasons import Reason
from ..._engine.once import LONGEST, Ending, Once, Step, Tape
from ..._engine.person import owner
from ..._engine.ports import Records
from ..._host import Host
from .. import exits, output
from ..config import Etc, chosen, load_services, load_watchdog


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="*", help="only these services (default: all)")
    parser.add_argument("--contracts", metavar="FILE", help="heal what these contracts name (default: contracts.json of --etc)")
    wait = "give up waiting after so many seconds (default: %g)" % LONGEST
    parser.add_argument("--wait", type=_seconds, default=LONGEST, metavar="S", help=wait)
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        choices=[reason.value for reason, _guard in GUARDS],
        metavar="REASON",
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
        raise argparse.ArgumentTypeError("%r is no number of seconds above 0 and up to 86400" % text)
    return value


def run(args: argparse.Namespace) -> int:
    from ..._engine.local import Site
    from ..._probes.engine import LocalHost

    etc = Etc(args.etc)
    config = load_watchdog(etc)
    path = args.contracts or etc.contracts
    services = chosen(load_services(path), args.service, path)
    override = frozenset(Reason(name) for name in args.override)
    with LocalHost() as host:
        heard = Heard(host, sorted(args.override), shown=not args.json)
        site = Site(etc.path, config, host, source="operator", wrap=heard.listen)
        try:
            endings = Once(site, heard.tape, services, override).run(args.wait)
        finally:
            site.timeline.close()
    found = [_shown(ending) for ending in endings]
    if args.json:
        output.emit({"incidents": heard.steps, "results": found, "summary": _summary(found)})
    else:
        rows = [[each["name"], each["outcome"], each["reason"] or "-", each["detail"]] for each in found]
        output.table(["service", "outcome", "reason", "what"], rows)
    return _status(found)


class Heard:
    """What was done, shown as it is done. `tape` is there once the site is."""

    tape: Tape

    def __init__(self, host: Host, override: List[str], shown: bool) -> None:
        self.steps: List[Dict[str, Any]] = []
        self._host = host
        self._override: Optional[Dict[str, Any]] = {"owner": owner(), "reasons": override} if override else None
        self._shown = shown

    def listen(self, records: Records) -> Records:
        self.tape = Tape(records, self._host, self._override, self._told)
        return self.tape

    def _told(self, step: Step) -> None:
        self.steps.append({"timestamp": step.at, "service": step.service, "type": step.type, "data": dict(step.data)})
        if self._shown:
            output.say(output.printable("  ".join([step.at, step.service or "-", step.type] + output.pairs(step.data))))


def _shown(ending: Ending) -> Dict[str, Any]:
    return {
        "name": ending.name,
        "outcome": ending.outcome,
        "state": ending.state,
        "reason": ending.reason,
        "detail": ending.detail,
    }


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
