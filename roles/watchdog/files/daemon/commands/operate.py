# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal hold | unhold | approve | ack | breaker``: what a person says, as a file the watchdog sees within a second, and as an event.

The red button needs nothing but its file: ``hold --all`` works with broken contracts, a broken timeline and no watchdog.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..._core.errors import ContractError, Problem, RecordError
from ..._core.model import WatchdogConfig
from .. import exits, output
from ..config import Etc, Unreadable, chosen, load_services, load_watchdog
from ..person import owner

if TYPE_CHECKING:
    from ..._records.pages import Pages

_SPAN = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.epilog = _EPILOGS[verb]
    if verb in ("hold", "unhold"):
        parser.add_argument("service", nargs="?", help="the service; see --all")
        parser.add_argument("--all", action="store_true", help="every service of this host: the red button")
    elif verb == "breaker":
        parser.add_argument(
            "service", nargs="?", metavar="SERVICE[/DEPENDENCY]", help="whose breaker; without it, what is forced is listed"
        )
        parser.add_argument("to", nargs="?", choices=sorted(_FORCE), help="what it is to be")
    else:
        parser.add_argument("service", help="the service" if verb == "approve" else "the service, or the incident of a page")
    if verb in ("hold", "breaker"):
        parser.add_argument("--reason", default="", metavar="TEXT", help="why; others will read it")
    if verb == "hold":
        help = "how long, such as 90s, 30m, 2h or 1d; without it until unhold"
        parser.add_argument("--for", dest="span", type=_span, metavar="SPAN", help=help)
    if verb == "ack":
        parser.add_argument("--reason", default="", metavar="TEXT", help="what is being done about it; others will read it")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def _span(text: str) -> float:
    match = _SPAN.fullmatch(text)
    if match is None or int(match.group(1)) == 0:
        raise argparse.ArgumentTypeError("%r is no span; expected such as 90s, 30m, 2h or 1d" % text)
    return float(int(match.group(1)) * _SECONDS[match.group(2)])


def run(args: argparse.Namespace) -> int:
    etc = Etc(args.etc)
    if args.verb in ("hold", "unhold") and args.all is bool(args.service):
        raise ContractError("selfheal %s" % args.verb, [Problem("", "name one service, or give --all")])
    if getattr(args, "all", False):
        return _all(args, etc)
    config = load_watchdog(etc)
    if args.verb == "breaker":
        return _breaker(args, etc, config)
    if args.verb != "ack" or all(args.service != page.incident for page in _spool(config).others(())):
        _known(etc, args.service, lifting=args.verb == "unhold")
    return _ONE[args.verb](args, config)


def _known(etc: Etc, service: str, lifting: bool) -> None:
    """A name nobody has would hold nothing, silently. With contracts that cannot be read the name is believed."""
    try:
        services = load_services(etc.contracts)
    except (ContractError, Unreadable) as error:
        output.complain("the contracts cannot be read, so the name is taken as it is: %s" % str(error).splitlines()[0])
        return
    if not lifting:
        chosen(services, [service], etc.contracts)


def _all(args: argparse.Namespace, etc: Etc) -> int:
    from ..._records.holds import ALL, Holds

    config, problem = _config_if_possible(etc)
    state_dir = config.state_dir if config is not None else WatchdogConfig("").state_dir
    holds = Holds(state_dir, etc.path)
    if args.verb == "hold":
        if args.span is None:
            data = holds.press(owner(), args.reason).as_data()
        elif config is None:
            raise RecordError(
                "a hold of all with an end is kept in the state directory, which only the configuration names: %s. "
                "Without --for the red button %s is pressed at once." % (problem, etc.hold)
            )
        else:
            data = holds.set(None, owner(), args.reason, args.span).as_data()
        return _done(args, config, "hold", None, data, "everything on this host is held%s" % _until(data))
    lifted = holds.release()
    if config is not None:
        lifted = holds.clear(None) or lifted
    elif problem:
        output.complain("the hold of all with an end, if there is one, stays: %s" % problem)
    data = {"scope": ALL, "owner": owner()}
    if not lifted:
        return _nothing(args, data, "nothing held all of this host")
    return _done(args, config, "unhold", None, data, "this host is no longer held; holds of single services stay")


def _config_if_possible(etc: Etc) -> Any:
    try:
        return load_watchdog(etc), ""
    except (ContractError, Unreadable) as error:
        return None, " ".join(str(error).split())


def _hold(args: argparse.Namespace, config: WatchdogConfig) -> int:
    from ..._records.holds import Holds

    data = Holds(config.state_dir, args.etc).set(args.service, owner(), args.reason, args.span).as_data()
    return _done(args, config, "hold", args.service, data, "%s is held%s" % (args.service, _until(data)))


def _unhold(args: argparse.Namespace, config: WatchdogConfig) -> int:
    from ..._records.holds import Holds

    holds = Holds(config.state_dir, args.etc)
    data = {"scope": args.service, "owner": owner()}
    if not holds.clear(args.service):
        return _nothing(args, data, "%s was not held" % args.service)
    wider = holds.active(None)
    still = "; but all of this host is held by %s" % wider.owner if wider is not None else ""
    return _done(args, config, "unhold", args.service, data, "%s is no longer held%s" % (args.service, still))


def _approve(args: argparse.Namespace, config: WatchdogConfig) -> int:
    from ..._records.approvals import Approvals

    data = Approvals(config.state_dir).approve(args.service, owner()).as_data()
    return _done(args, config, "approve", args.service, data, "one action of %s may go until %s" % (args.service, data["expires"]))


def _ack(args: argparse.Namespace, config: WatchdogConfig) -> int:
    who = owner()
    spool = _spool(config)
    pages = [page for page in spool.others(()) if page.closed is None and args.service in (page.service, page.incident)]
    for page in pages:
        spool.acknowledge(page.incident, who, args.reason)
    service = pages[0].service if pages else args.service
    data = {"owner": who, "text": "acknowledged", "reason": args.reason, "incidents": [page.incident for page in pages]}
    told = "its page is acknowledged, nobody is reminded" if pages else "nobody is being called about it; it is noted all the same"
    words = "%s: noted that %s looks after it; %s" % (args.service, who, told)
    return _done(args, config, "note", service, {key: value for key, value in data.items() if value}, words, in_force=bool(pages))


def _breaker(args: argparse.Namespace, etc: Etc, config: WatchdogConfig) -> int:
    from ..._records.breakers import Breakers

    breakers = Breakers(config.state_dir, lambda path, aside, problem: output.complain("%s: %s; set aside as %s" % (path, problem, aside)))
    if args.to is None:
        if args.service is not None:
            raise ContractError("selfheal breaker", [Problem("", "say what it is to be: %s" % ", ".join(sorted(_FORCE)))])
        return _forced(args, breakers)
    service, slash, dependency = args.service.partition("/")
    if slash and not dependency:
        raise ContractError("selfheal breaker", [Problem("", "%s names no dependency; the service's own has no /" % args.service)])
    if args.to == "close" and not dependency:
        text = (
            "the breaker of a service itself follows its incident; to give it traffic whatever it answers, say disable, to stop that, auto"
        )
        raise ContractError("selfheal breaker", [Problem("", text)])
    if args.to != "auto":
        _has(etc, service, dependency)
    data: Dict[str, Any] = {"breaker": args.service, "to": args.to, "owner": owner()}
    if args.to == "auto" and not breakers.lift(service, dependency or None):
        return _nothing(args, data, "the breaker of %s was not forced" % args.service)
    if args.to != "auto":
        data = breakers.force(service, dependency or None, _FORCE[args.to], owner(), args.reason).as_data()
    if dependency:
        data["dependency"] = dependency
    return _done(args, config, "breaker_forced", service, data, "the breaker of %s %s" % (args.service, _SAID[args.to]))


def _has(etc: Etc, service: str, dependency: str) -> None:
    """A breaker nobody has would be forced silently. With contracts that cannot be read the names are believed."""
    _known(etc, service, lifting=False)
    try:
        found = chosen(load_services(etc.contracts), [service], etc.contracts)[0]
    except (ContractError, Unreadable):
        return  # said by `_known`
    known = [each.name for each in found.dependencies]
    if dependency and dependency not in known:
        text = "%s has no dependency %s; it has: %s" % (service, dependency, ", ".join(known) or "none")
        raise ContractError("selfheal breaker", [Problem("", text)])


def _forced(args: argparse.Namespace, breakers: Any) -> int:
    found = [each.as_data() for each in breakers.list()]
    if args.json:
        output.emit({"forced": found})
    elif found:
        output.table(
            ["breaker", "forced", "by", "since", "why"],
            [[e["breaker"], e["to"], e["owner"], e["since"], e.get("reason", "")] for e in found],
        )
    else:
        output.say("no breaker is forced")
    return exits.FINE


def _spool(config: WatchdogConfig) -> Pages:
    from ..._records.pages import Pages

    return Pages(config.state_dir, lambda path, aside, problem: output.complain("%s: %s; set aside as %s" % (path, problem, aside)))


def _until(data: Dict[str, Any]) -> str:
    return " until %s" % data["expires"] if data.get("expires") else " until somebody lifts it"


def _done(
    args: argparse.Namespace,
    config: Optional[WatchdogConfig],
    type: str,
    service: Optional[str],
    data: Dict[str, Any],
    words: str,
    in_force: bool = True,
) -> int:
    """What was said is in force; now it is recorded. A timeline that cannot be written does not take it back, but what would
    have been a record and nothing else (not `in_force`) was not done at all then."""
    problem = _record(config, type, service, {key: value for key, value in data.items() if value not in (None, "")})
    if problem is not None:
        output.complain("%s: %s" % ("it is in force, but was not recorded" if in_force else "it was not recorded", problem))
    done = in_force or problem is None
    if args.json:
        output.emit({"done": done, "service": service, **data, "recorded": problem is None})
    elif done:
        output.say(words)
    return exits.FINE if done else exits.CANNOT


def _nothing(args: argparse.Namespace, data: Dict[str, Any], words: str) -> int:
    if args.json:
        output.emit({"done": False, **data})
    else:
        output.say(words)
    return exits.FINE


def _record(config: Optional[WatchdogConfig], type: str, service: Optional[str], data: Dict[str, Any]) -> Optional[str]:
    """Into the timeline; or why not."""
    import os

    from ..._records.timeline import Timeline

    if config is None:
        return "without a configuration nobody knows where the timeline is"
    try:
        timeline = Timeline(os.path.join(config.state_dir, "timeline"), config.host, retention=config.retention)
        timeline.append(type, service=service, source="operator", data=data)
        timeline.close()
    except RecordError as error:
        return str(error)
    return None


_ONE = {"hold": _hold, "unhold": _unhold, "approve": _approve, "ack": _ack}
_FORCE = {"open": "open", "disable": "disabled", "close": "closed", "auto": ""}
_SAID = {
    "open": "is forced open until somebody says auto",
    "disable": "is disabled until somebody says auto",
    "close": "is closed, and goes on by itself",
    "auto": "is left to itself again",
}
_EPILOGS = {
    "breaker": "open: of a service, its traffic goes to the fallback and stays there; of a dependency, restarts wait as if it were down.\n"
    "disable: of a service, its traffic stays with it whatever it answers; of a dependency, whether it answers binds nobody.\n"
    "close: of a dependency, once: closed with fresh counters. auto: left to itself again.\n"
    "A hold, the mode observe and the last available instance keep traffic where it is also then.",
    "hold": "While held, nothing is done to a service: no rung, no traffic. Probes, timeline and pages go on. --all writes the file\n"
    "`hold` in the configuration's directory; that works with broken contracts and state, too.",
    "unhold": "--all lifts what held the whole host; holds of single services stay.",
    "approve": "One approval is one action, and is over after an hour.",
    "ack": "Whoever is called about it is not reminded again; the healing goes on. To keep the watchdog's hands off, see `selfheal hold`.",
}


__all__ = ["configure", "run"]
