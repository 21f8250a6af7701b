# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal incidents``: one line an incident, read from the timeline."""

from __future__ import annotations

import argparse
import os
from typing import Any, Dict, List

from .. import exits, output
from ..config import Etc, load_watchdog
from ..stories import Stories


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="?", help="only this service")
    help = "from when on: a time such as 2026-11-21T21:00:00Z, or a span before now such as 24h"
    parser.add_argument("--since", metavar="TIME", help=help)
    parser.add_argument("--json", action="store_true", help="print the incidents as JSON")


def run(args: argparse.Namespace) -> int:
    from ..._records.read import read

    config = load_watchdog(Etc(args.etc))
    events = read(os.path.join(config.state_dir, "timeline"), service=args.service, since=since(args.since))
    found = gather(events)
    if args.json:
        output.emit({"host": config.host, "incidents": found})
        return exits.FINE
    rows = []
    for each in found:
        words = [each["incident"], each["service"] or "-", each["failure_time"], each["reason"], each["outcome"]]
        rows.append(words + [_helped(each), _took(each), each["paged"] or "", _probably(each)])
    output.table(["incident", "service", "failed", "reason", "outcome", "last step", "took", "paged", "probable cause"], rows)
    return exits.FINE


def since(text: Any) -> Any:
    """Seconds since the epoch from what was written, or None. Raises ContractError."""
    import time

    from ..._core.errors import ContractError, Problem
    from ..._core.times import parse_since

    if text is None:
        return None
    try:
        return parse_since(text, time.time())
    except ValueError as error:
        raise ContractError("--since", [Problem("", str(error))]) from error


def gather(events: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """What `Stories.newest` gives, of all these events."""
    told = Stories()
    for event in events:
        told.take(event)
    return told.newest()


def _helped(incident: Dict[str, Any]) -> str:
    steps = incident["steps"]
    return "%s %s" % (steps[-1]["type"], steps[-1]["attempt"]) if steps else ""


def _probably(incident: Dict[str, Any]) -> str:
    cause = incident["probable_cause"]
    return "" if cause is None else "%s: %s" % (cause.replace("_", " "), incident["probable_detail"] or "")


def _took(incident: Dict[str, Any]) -> str:
    took = incident["recovery_duration_ms"]
    return "" if took is None else "%.3f s" % (took / 1000.0)


__all__ = ["configure", "gather", "run", "since"]
