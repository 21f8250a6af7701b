# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: finds the verb, runs it, and turns every error into one message and an exit status.

Each verb has a file in ``commands/`` with ``configure(parser)`` and ``run(args) -> status``; only the one that is used is imported,
so that the daemon does not carry the others.
"""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Any, List, NamedTuple, Optional

from .._core.errors import ContractError, LeaseHeld, SelfhealError
from .._version import VERSION
from . import exits, output
from .config import DEFAULT_ETC, ENVIRONMENT


class Verb(NamedTuple):
    name: str
    module: str
    help: str


VERBS = (
    Verb("watch", "watch", "watch over the services of this host and heal them (the daemon)"),
    Verb("check", "check", "check the contracts and the watchdog's configuration"),
    Verb("status", "status", "show how the services are"),
    Verb("probe", "probe", "run the probes once, now"),
    Verb("heal", "heal", "heal services once, now"),
    Verb("explain", "explain", "say when what would be done, and why what happens now happens"),
    Verb("hold", "operate", "hands off: nothing is done to a service, or to any (the red button)"),
    Verb("unhold", "operate", "lift a hold"),
    Verb("approve", "operate", "let one action of a service in mode approve go"),
    Verb("ack", "operate", "tell that somebody looks after a service"),
    Verb("breaker", "operate", "force the breaker of a service or a dependency open, disable it, or leave it to itself"),
    Verb("incidents", "incidents", "list incidents: when it failed, what helped, how long it took"),
    Verb("deployment", "deployment", "list, begin, resume and roll back deployments"),
    Verb("timeline", "timeline", "read, follow, verify and sum up the timeline"),
    Verb("simulate", "simulate", "play a scenario against contracts on a virtual clock"),
)
BY_NAME = {verb.name: verb for verb in VERBS}

EPILOG = """\
verbs:
%s

exit status:
  0 fine   1 unhealthy or failed   2 usage or contract   3 blocked   4 could not run

`selfheal VERB --help` tells the options of a verb.
""" % "\n".join("  %-10s %s" % (verb.name, verb.help) for verb in VERBS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="selfheal",
        description="Keeps the services of this host alive, as their contracts say.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version="selfheal %s" % VERSION)
    _etc(parser, os.environ.get(ENVIRONMENT) or DEFAULT_ETC)
    parser.add_argument("verb", metavar="VERB", choices=list(BY_NAME), help="what to do; one of those below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="the verb's own options")
    return parser


def _etc(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--etc",
        metavar="DIR",
        default=default,
        help="directory of watchdog.json, contracts.json and the red button (default: %s, or what %s says)" % (DEFAULT_ETC, ENVIRONMENT),
    )


def _run(argv: Optional[List[str]]) -> int:
    first = _parser().parse_args(argv)
    verb = BY_NAME[first.verb]
    command: Any = importlib.import_module("." + verb.module, __package__ + ".commands")
    parser = argparse.ArgumentParser(
        prog="selfheal %s" % verb.name,
        description=verb.help[0].upper() + verb.help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _etc(parser, first.etc)
    command.configure(parser, verb.name)
    args = parser.parse_args(first.rest)
    args.verb = verb.name
    status: int = command.run(args)
    return status


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status = _run(argv)
    except ContractError as error:
        output.complain(str(error))
        status = exits.USAGE
    except LeaseHeld as error:
        output.complain(str(error))
        status = exits.BLOCKED
    except SelfhealError as error:
        output.complain(str(error))
        status = exits.CANNOT
    except KeyboardInterrupt:
        status = exits.INTERRUPTED
    except OSError as error:
        output.complain("the system refused: %s" % error)
        status = exits.CANNOT
    except Exception as error:  # the user is owed a message, not a traceback; the traceback is one variable away
        if os.environ.get("SELFHEAL_TRACEBACK"):
            raise
        words = "a fault of selfheal itself, please report it: %s: %s%s (SELFHEAL_TRACEBACK=1 shows more)"
        output.complain(words % (type(error).__name__, error, _place(error)))
        status = exits.CANNOT
    output.flush()
    return status


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return " in %s line %d" % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace is not None else ""


__all__ = ["VERBS", "Verb", "main"]
