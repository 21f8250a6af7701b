# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal check``: is everything the watchdog reads as it must be? All problems at once, and what it would not act on."""

from __future__ import annotations

import argparse
from typing import Dict, List, Optional, Tuple

from ..._core.errors import ContractError, SelfhealError
from ..._core.model import ContainerResource, Service, UnitResource, WatchdogConfig
from .. import exits, output
from ..config import Etc, Unreadable, load_configuration, load_services, loopback


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--contracts", metavar="FILE", help="check these contracts only, and not the watchdog's configuration")
    parser.add_argument("--configuration", metavar="FILE", help="check this configuration only, and not the contracts")
    parser.add_argument("--json", action="store_true", help="print problems and notes as JSON")
    parser.epilog = "Exit status 2 when there is a problem. Notes are no problems: they say what this version does not act on."


def run(args: argparse.Namespace) -> int:
    etc = Etc(args.etc)
    problems: List[str] = []
    config = None if args.contracts and not args.configuration else _config(args.configuration or etc.watchdog, problems)
    services = () if args.configuration and not args.contracts else _services(args.contracts or etc.contracts, problems)
    unknown = {} if args.contracts else _wrong_here(services, problems)
    notes = _notes(services, config)
    for name, why in unknown.items():
        notes.setdefault(name, []).append("resource: it cannot be told whether it exists: %s" % why)
    if args.json:
        data = {"valid": not problems, "services": [each.name for each in services], "problems": problems, "notes": notes}
        output.emit(data)
    else:
        for problem in problems:
            output.complain(problem)
        for name, lines in notes.items():
            for line in lines:
                output.say("note: %s: %s" % (name, line))
        if not problems:
            ceiling = "" if config is None or config.mode_ceiling == "auto" else ", none in a freer mode than %s" % config.mode_ceiling
            output.say("fine: %d service%s%s" % (len(services), "" if len(services) == 1 else "s", ceiling))
    return exits.USAGE if problems else exits.FINE


def _config(path: str, problems: List[str]) -> Optional[WatchdogConfig]:
    try:
        config = load_configuration(path)
        if config.token_file is not None and not loopback(config.listen[0]):
            from ..endpoints import read_token

            read_token(config.token_file)
        return config
    except SelfhealError as error:
        problems.extend(_lines(error))
        return None


def _services(path: str, problems: List[str]) -> Tuple[Service, ...]:
    try:
        return load_services(path)
    except (ContractError, Unreadable) as error:
        problems.extend(_lines(error))
        return ()


def _lines(error: SelfhealError) -> List[str]:
    if isinstance(error, ContractError):
        return ["%s: %s" % (error.what, problem) for problem in error.problems]
    return [str(error)]


def _wrong_here(services: Tuple[Service, ...], problems: List[str]) -> Dict[str, str]:
    """What no look at the contracts alone can find: units and containers that this host does not have. Gives, by service, what nobody can
    tell, as the container engine does not answer."""
    if not any(isinstance(each.resource, (ContainerResource, UnitResource)) for each in services):
        return {}
    from ..._engine.resources import wrong_here
    from ..._probes.engine import LocalHost

    try:
        with LocalHost() as host:
            found = wrong_here(services, host)
    except SelfhealError as error:
        problems.append("DOCKER_HOST: %s" % error)
        return {}
    for at, each in enumerate(services):
        if each.name in found.wrong:
            problems.append("services[%d].resource.%s: %s" % (at, each.resource.kind, found.wrong[each.name]))
    return found.unknown


def _notes(services: Tuple[Service, ...], config: Optional[WatchdogConfig]) -> Dict[str, List[str]]:
    """By service: what its contract asks for beyond what is done about it, and whether nobody would hear of it."""
    from ..._engine.resources import not_acted_on, unsupported

    found: Dict[str, List[str]] = {}
    for service in services:
        problem = unsupported(service)
        lines = ([] if problem is None else ["not watched: %s" % problem]) + not_acted_on(service)
        if config is not None and not (config.notify if service.notify is None else service.notify):
            lines.append("notify: nobody is told; a page stands in the timeline and the journal only")
        if lines:
            found[service.name] = lines
    return found


__all__ = ["configure", "run"]
