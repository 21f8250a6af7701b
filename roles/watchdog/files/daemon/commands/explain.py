# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal explain``: when what would be done if the service hung now and never healed, and why what happens now happens."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List

from ..._core.model import Service, WatchdogConfig
from .. import exits, output
from ..client import NoAnswer, ask
from ..config import Etc, capped, chosen, load_services, load_watchdog


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="*", help="only these services")
    parser.add_argument("--contracts", metavar="FILE", help="explain these contracts, without asking the watchdog")
    parser.add_argument("--json", action="store_true", help="print worst_case and now as JSON")
    parser.epilog = (
        "The worst case: the service hangs just after all its probes were answered, every action works within a second,\n"
        "and none helps. A service that starts more slowly takes longer."
    )


def run(args: argparse.Namespace) -> int:
    from ..._engine.explain import windows, worst_case

    etc = Etc(args.etc)
    path = args.contracts or etc.contracts
    services = chosen(load_services(path), args.service, path)
    config = None if args.contracts else load_watchdog(etc)
    if config is not None:
        services = capped(services, config)
    found = [{"service": each.name, "worst_case": worst_case(each, windows(each)), **_seen(each, config)} for each in services]
    if not args.json:
        for each in found:
            _show(each)
    elif len(args.service) == 1:
        output.emit(found[0])
    else:
        output.emit({"services": found})
    return exits.FINE


def _seen(service: Service, config: Any) -> Dict[str, Any]:
    """``{now: {state, rung, reason, sentence}, longest_start_seconds}``, as the watchdog tells."""
    if not isinstance(config, WatchdogConfig):
        return _unseen("the watchdog was not asked")
    try:
        answer = ask(config, "/services/%s" % service.name)
    except NoAnswer as problem:
        return _unseen("nobody watches it: %s" % problem)
    if answer is None:
        return _unseen("the watchdog does not know it; reload it")
    now = {key: answer[key] for key in ("state", "rung", "reason", "sentence")}
    return {"now": now, "longest_start_seconds": answer["longest_start_seconds"]}


def _unseen(sentence: str) -> Dict[str, Any]:
    return {"now": {"state": "unknown", "rung": None, "reason": None, "sentence": sentence}, "longest_start_seconds": None}


def _show(each: Dict[str, Any]) -> None:
    output.say("%s" % each["now"]["sentence"])
    rows: List[List[Any]] = [["%.1f s" % step["at"], step["rung"], step["attempt"]] for step in each["worst_case"]]
    if rows:
        output.say("if %s hung now and nothing helped, counted from the fault:" % each["service"])
        output.table(["at the latest", "step", "attempt"], rows)
        seen = each["longest_start_seconds"]
        if seen:
            output.say("its longest start took %.1f s, so that every attempt is given at least %.1f s" % (seen, 2 * seen))
    else:
        output.say("if %s failed, nothing would be done: its contract has no probe or mode that leads to a step" % each["service"])
    output.say()


__all__ = ["configure", "run"]
