# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal status``: how the services are, from the watchdog; from its state files where it does not run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from typing import Any, Dict, List, Tuple

from ..._core.errors import ContractError, Problem
from ..._core.model import Service, WatchdogConfig
from ..._core.times import format_time
from .. import exits, output
from ..client import NoAnswer, ask
from ..config import Etc, capped, chosen, load_services, load_watchdog
from ..lock import holder
from ..view import unwatched

AGAIN = 1.0
"""Seconds between two looks with --watch."""


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("service", nargs="?", help="only this service, in detail")
    parser.add_argument("--watch", action="store_true", help="go on looking, once a second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = "Exit status 1 when a service is not well: unhealthy, not ready or unknown. Stopped on purpose is well."


def run(args: argparse.Namespace) -> int:
    etc = Etc(args.etc)
    config = load_watchdog(etc)
    if not args.watch:
        return _once(args, etc, config)
    return _on_and_on(args, etc, config)


def _on_and_on(args: argparse.Namespace, etc: Etc, config: WatchdogConfig) -> int:
    """Look once a second until whoever reads goes away, or Ctrl-C: then with the status of the last look, and the screen in order."""
    status, due = exits.FINE, time.monotonic()
    first = True
    try:
        with contextlib.nullcontext() if args.json else output.screen():
            while not output.gone():
                with contextlib.nullcontext() if args.json else output.turn(first):
                    status = _once(args, etc, config)
                first = False
                # From deadline to deadline: a slow answer makes no second longer, and a late one is not caught up with.
                due = max(due + AGAIN, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        return status
    return status


def _once(args: argparse.Namespace, etc: Etc, config: WatchdogConfig) -> int:
    services, note = _look(args, etc, config)
    if args.json:
        data = {"host": config.host, "watchdog": not note, "note": note or None, "services": services}
        (output.emit_line if args.watch else output.emit)(data)
    else:
        if args.watch:
            output.say("%s  %s" % (config.host, format_time(time.time())))
        _show(services, note, detailed=args.service is not None, held=args.watch)
    return exits.UNHEALTHY if any(each["state"] in ("unhealthy", "not_ready", "unknown") for each in services) else exits.FINE


def _look(args: argparse.Namespace, etc: Etc, config: WatchdogConfig) -> Tuple[List[Dict[str, Any]], str]:
    try:
        answer = ask(config, "/services")
    except NoAnswer as problem:
        services = capped(chosen(load_services(etc.contracts), [args.service] if args.service else [], etc.contracts), config)
        pid = holder(config.run_dir)
        who = "the watchdog (pid %s) runs but does not answer" % pid if pid else "no watchdog runs here"
        note = "%s, so this is what was last written down (%s)" % (who, problem)
        return [_remembered(each, config, etc) for each in services], note
    found: List[Dict[str, Any]] = [] if answer is None else answer["services"]
    if args.service is None:
        return found, ""
    one = [each for each in found if each["name"] == args.service]
    if not one:
        names = ", ".join(each["name"] for each in found) or "none"
        raise ContractError("status", [Problem("", "the watchdog knows no service %s; known: %s" % (args.service, names))])
    return one, ""


def _remembered(service: Service, config: WatchdogConfig, etc: Etc) -> Dict[str, Any]:
    """What the state file says, and who holds it; nobody has looked since."""
    state = _state_file(os.path.join(config.state_dir, "state", "%s.json" % service.name))
    from ..._records.holds import Holds
    from ..._records.state import incident_in

    incident = incident_in(state)
    kept = incident.get("attempt")
    attempt = kept if isinstance(kept, dict) else {}
    words = "incident %s was open (%s)" % (incident.get("id"), incident.get("phase")) if incident else "no incident was open"
    sentence = "%s is not watched now; %s when it last was" % (service.name, words) if state else "%s was never watched" % service.name
    found = unwatched(service, str(incident.get("cause") or "no_watchdog"), sentence)
    hold = Holds(config.state_dir, etc.path).active(service.name)
    if hold is not None:
        found["held"] = "held by %s: %s" % (hold.owner, hold.reason or "no reason given")
    if incident:
        found.update(rung=attempt.get("rung"), incident={key: incident.get(key) for key in ("id", "phase", "paged")})
    return found


def _state_file(path: str) -> Dict[str, Any]:
    """What the file holds; nothing where there is none, or none that can be understood: whoever only looks sets nothing aside."""
    from ..._records.files import read_file

    try:
        state = json.loads(read_file(path, 1 << 20))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        output.complain("%s cannot be read: %s" % (path, error))
        return {}
    return state if isinstance(state, dict) else {}


def _show(services: List[Dict[str, Any]], note: str, detailed: bool, held: bool = False) -> None:
    if note:
        (output.say if held else output.complain)(note)
    rows = []
    for each in services:
        checks = each["checks"]
        rows.append(
            [
                each["name"],
                each["state"],
                each["rung"] or "-",
                "-" if each["uptime_percent"] is None else "%.2f %%" % each["uptime_percent"],
                "-" if each["response_time_ms"] is None else "%.1f ms" % each["response_time_ms"],
                "%d/%d" % (checks["ok"], checks["all"]),
                each["last_success"] or "-",
                _words(each),
            ]
        )
    output.table(["service", "state", "rung", "uptime", "response", "checks", "last success", "what, or why nothing"], rows)
    if detailed:
        for each in services:
            _detail(each)


def _words(each: Dict[str, Any]) -> str:
    return "%s (held: %s)" % (each["sentence"], each["held"]) if each["held"] else str(each["sentence"])


def _detail(each: Dict[str, Any]) -> None:
    output.say()
    rows = []
    for probe in each["probes"]:
        latency = "-" if probe["latency_ms"] is None else "%.1f ms" % probe["latency_ms"]
        said = " ".join(word for word in (probe["reason"] or "", probe["detail"]) if word)
        rows.append([probe["name"], probe["role"], probe["kind"], probe["status"], latency, probe["last"] or "-", said])
    output.table(["probe", "role", "kind", "status", "latency", "last", "said"], rows)
    if each.get("breaker"):
        output.say("breaker of %s: %s" % (each["name"], each["breaker"].replace("_", " ")))
    for dependency in each.get("dependencies", []):
        output.say("dependency %s: breaker %s" % (dependency["name"], dependency["breaker"].replace("_", " ")))


__all__ = ["configure", "run"]
