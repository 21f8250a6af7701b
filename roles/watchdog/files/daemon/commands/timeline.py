# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal timeline tail | verify | stats``."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any, Dict, List

from ..._core.errors import ContractError, Problem
from ..._core.model import WatchdogConfig
from .. import exits, output
from ..config import Etc, load_watchdog
from .incidents import since

POLL = 0.2
"""Seconds between looks at the file while somebody follows it on a terminal."""


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--dir", metavar="DIR", help="a timeline's directory, such as a copy's (default: that in the configured state_dir)")
    verbs = parser.add_subparsers(dest="what", metavar="tail|verify|stats", required=True)
    tail = verbs.add_parser("tail", help="print the newest events", description="Print the newest events, the newest last.")
    tail.add_argument("-n", type=_count, default=20, metavar="N", help="how many (default: 20)")
    tail.add_argument("--follow", "-f", action="store_true", help="go on with what comes, until Ctrl-C")
    tail.add_argument("--service", metavar="NAME", help="only events of this service")
    tail.add_argument("--type", type=_type, metavar="TYPE", help="only events of this type")
    tail.add_argument("--json", action="store_true", help="one JSON object a line, with the event's hash")
    wanted = "Check that the timeline is what was written. Exit status 1 if it is not."
    check = verbs.add_parser("verify", help="check the chain", description=wanted)
    check.add_argument("--anchor", metavar="SEQ:HASH", type=_anchor, help="a head noted earlier: today's log must be an extension of it")
    check.add_argument("--json", action="store_true", help="print the result as JSON")
    stats = verbs.add_parser("stats", help="sum up", description="How often, how quickly noticed, how quickly recovered, by what.")
    stats.add_argument("--since", metavar="TIME", help="from when on: a time, or a span before now such as 7d")
    stats.add_argument("--service", metavar="NAME", help="only this service")
    stats.add_argument("--json", action="store_true", help="print the statistics as JSON")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) > 1000000:
        raise argparse.ArgumentTypeError("%r is no number from 0 to 1000000" % text)
    return int(text)


def _type(text: str) -> str:
    from ..._core.schema import did_you_mean
    from ..._records.events import TYPES

    if text not in TYPES:
        raise argparse.ArgumentTypeError("%r is no type of event%s" % (text, did_you_mean(text, list(TYPES))))
    return text


def _anchor(text: str) -> Dict[str, Any]:
    seq, colon, value = text.partition(":")
    if not colon or not seq.isdigit() or len(value) != 64:
        raise argparse.ArgumentTypeError("%r is no anchor; expected SEQ:HASH with 64 hex digits, as a head was given earlier" % text)
    return {"seq": int(seq), "hash": value}


def run(args: argparse.Namespace) -> int:
    if args.dir is not None:
        if not os.path.isdir(args.dir):
            raise ContractError("--dir", [Problem("", "%s is no directory" % args.dir)])
        return _WHAT[args.what](args, args.dir)
    config: WatchdogConfig = load_watchdog(Etc(args.etc))
    return _WHAT[args.what](args, os.path.join(config.state_dir, "timeline"))


def _tail(args: argparse.Namespace, directory: str) -> int:
    from ..._records.read import Cursor, read

    cursor = Cursor(directory) if args.follow else None
    for event in read(directory, service=args.service, type=args.type, limit=args.n):
        if cursor is None or event["seq"] <= cursor.seq:
            _print(event, args.json)
    while cursor is not None and not output.gone():
        for event in cursor.new():
            if args.service in (None, event.get("service")) and args.type in (None, event["type"]):
                _print(event, args.json)
        time.sleep(POLL)
    return exits.FINE


def _print(event: Dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.emit_line(event)
        return
    data = event.get("data", {})
    words = [event["timestamp"], "%6d" % event["seq"], event.get("service") or "-", event["type"]]
    words += output.pairs(data)
    words.append("[%s]" % event["source"])
    output.say(output.printable("  ".join(words)))


def _verify(args: argparse.Namespace, directory: str) -> int:
    from ..._records.verify import verify

    found = verify(directory, args.anchor)
    if args.json:
        output.emit(found.as_data())
    elif found.valid:
        output.say("valid: %d events, head %d:%s" % (found.events, found.head.seq, found.head.hash))
    elif found.first_bad is not None:
        bad = found.first_bad
        output.say("NOT valid: %s line %s (seq %s): %s" % (bad["path"], bad["line"], bad["seq"], bad["problem"]))
        output.say("%d events before it are good; the head of these is %d:%s" % (found.events, found.head.seq, found.head.hash))
    else:
        output.say("NOT proven: %s" % found.detail)
    if found.valid and found.detail:
        output.say(found.detail)
    return exits.FINE if found.valid else exits.UNHEALTHY


def _stats(args: argparse.Namespace, directory: str) -> int:
    from ..._records.read import read
    from ..._records.statistics import statistics

    found = statistics(read(directory, service=args.service, since=since(args.since)))
    if args.json:
        output.emit(found)
        return exits.FINE
    output.say("%d events from %s to %s" % (found["events"], found["from"], found["to"]) if found["events"] else "no events")
    rows: List[List[Any]] = []
    for name, each in found["services"].items():
        share = "" if each["availability"] is None else "%.3f %%" % (each["availability"] * 100)
        actions = ", ".join("%s %d" % (rung, counts["total"]) for rung, counts in each["actions"].items())
        spans = [_spread(each["mttd_ms"]), _spread(each["mttr_ms"])]
        rows.append([name, each["incidents"], each["open"]] + spans + [actions, each["pages"], share])
    output.table(["service", "incidents", "open", "detected ms", "recovered ms", "actions", "pages", "availability"], rows)
    return exits.FINE


def _spread(values: Any) -> str:
    return "" if values is None else "%d (p95 %d)" % (values["median"], values["p95"])


_WHAT = {"tail": _tail, "verify": _verify, "stats": _stats}


__all__ = ["configure", "run"]
