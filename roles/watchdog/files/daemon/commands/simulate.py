# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal simulate``: the real engine on a virtual clock, with scripted probes, actions, operators and crashes."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List

from .. import exits, output
from ..config import load_services, read_json


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--contracts", required=True, metavar="FILE", help='the contracts: {"services": [contract, ...]}')
    parser.add_argument("--scenario", required=True, metavar="FILE", help='what happens and when: {"until": seconds, "script": [...]}')
    parser.add_argument("--json", action="store_true", help="print events, states and probe runs as JSON")


def run(args: argparse.Namespace) -> int:
    from ..._core.scenario import MOST_BYTES, parse_scenario
    from ..._engine.simulation import simulate

    services = load_services(args.contracts)
    scenario = parse_scenario(read_json(args.scenario, MOST_BYTES), services, args.scenario)
    result = simulate(services, scenario)
    if args.json:
        output.emit(result)
    else:
        _show(result)
    return exits.FINE


def _show(result: Dict[str, Any]) -> None:
    rows: List[List[Any]] = []
    for event in result["events"]:
        data = event.get("data", {})
        rows.append(["%.3f" % event["at"], event.get("service", "-"), event["type"], data.get("reason", ""), _details(data)])
    output.table(["at", "service", "event", "reason", "details"], rows)
    output.say()
    counts = result["probes"]
    lines = [[name, state, ", ".join(_runs(name, counts))] for name, state in result["states"].items()]
    output.table(["service", "state at the end", "probe runs"], lines)


def _runs(service: str, counts: Dict[str, int]) -> List[str]:
    return ["%s %d" % (name.partition("/")[2], runs) for name, runs in counts.items() if name.partition("/")[0] == service]


def _details(data: Dict[str, Any]) -> str:
    shown = {key: value for key, value in data.items() if key not in ("reason", "failure_time") and not isinstance(value, dict)}
    return " ".join("%s=%s" % pair for pair in shown.items())


__all__ = ["configure", "run"]
