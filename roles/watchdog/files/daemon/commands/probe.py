# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal probe``: every probe of the contracts once, now, all at the same time."""

from __future__ import annotations

import argparse
from typing import Any, List

from .. import exits, output
from ..config import Etc, chosen, load_services


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="*", help="only these services")
    parser.add_argument("--contracts", metavar="FILE", help="probe what these contracts name (default: contracts.json of --etc)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.epilog = "Exit status 1 when a probe found something unhealthy, 4 when none did but one could not run."


def run(args: argparse.Namespace) -> int:
    from ..._probes.engine import LocalHost
    from ..._probes.sweep import Ask, summarise, sweep

    path = args.contracts or Etc(args.etc).contracts
    services = chosen(load_services(path), args.service, path)
    asks = [Ask("%s/%s" % (service.name, probe.name), probe.target, probe.timeout) for service in services for probe in service.probes]
    with LocalHost() as host:
        found = sweep(host, asks)
    summary = summarise(found)
    if args.json:
        output.emit({"results": [each.as_result() for each in found], "summary": summary})
    else:
        rows: List[List[Any]] = []
        for each in found:
            said = " ".join(filter(None, (each.reason, each.detail)))
            rows.append([each.name, each.kind, each.status, "%.1f ms" % (each.seconds * 1000), said])
        output.table(["probe", "kind", "status", "latency", "said"], rows)
    if summary["unhealthy"]:
        return exits.UNHEALTHY
    return exits.CANNOT if summary["unknown"] else exits.FINE


__all__ = ["configure", "run"]
