# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``selfheal deployment``: what the modules do, on a person's word or on an errand of the ladder.

list, show · start (a request as JSON) · resume · rollback · redeploy. With ``--under -`` a healer sends an order on standard input, and its
leases are acted under.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Callable, Dict, List

from ..._core.deployment_request import check_place, check_release
from ..._core.errors import SelfhealError
from ..._engine.deploy_report import OUTCOMES, journal, new_id, refused, result, warnings_of
from ..._engine.deploy_site import DeploySite
from ..._engine.deployer import Deployer, Told, projects_of
from ..._records.journal import shown
from .. import exits, output
from ..config import Etc, load_watchdog, read_json

ACTIONS = ("list", "show", "start", "resume", "rollback", "redeploy", "proven")


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help="one of %s" % ", ".join(ACTIONS[:-1]))
    parser.add_argument("id", nargs="?", help="show: the deployment; rollback: the release to go to (default: the newest good one)")
    parser.add_argument("--root", required=True, metavar="DIR", help="the directory of all projects")
    parser.add_argument("--project", metavar="NAME", help="the project (list and resume: default all)")
    parser.add_argument(
        "--request", metavar="FILE", help="start: what to deploy, as JSON with the options of deployment_start; - reads it here"
    )
    parser.add_argument(
        "--stuck-after", type=float, default=300.0, metavar="S", help="resume: seconds after which it is stuck (default: 300)"
    )
    parser.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait so long for whoever else acts on it (default: 0)")
    parser.add_argument("--override", action="append", default=[], choices=["hold"], help="lift a hold; recorded with your name")
    parser.add_argument("--dry-run", action="store_true", help="look, and change nothing")
    parser.add_argument("--under", choices=["-"], help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    parser.epilog = "Exit status 0 when it is done or nothing was to be done, 1 when it failed, 3 when somebody else holds it."


def run(args: argparse.Namespace) -> int:
    if args.under is not None:
        return _errand()
    check_place(args.root, args.project or "any", "arguments")
    if args.id is not None:
        check_release(args.id, "id", "arguments")
    if args.project is None and args.action not in ("list", "resume"):
        output.complain("selfheal deployment %s: name the project with --project" % args.action)
        return exits.USAGE

    from ..._probes.engine import LocalHost

    with LocalHost() as host:
        site = DeploySite(args.etc, load_watchdog(Etc(args.etc)), host, "operator")
        try:
            return _ACTIONS[args.action](args, site)
        finally:
            site.close()


def _errand() -> int:
    """An order of a healer. The answer is one line; its words are the healer's to judge, so the exit status only says that there is one."""
    import json

    from ..._engine.rungs import answer, obey

    output.say(answer(obey(json.loads(sys.stdin.buffer.read(1 << 20)))))
    return exits.FINE


def _deployer(args: argparse.Namespace, site: DeploySite, project: str) -> Deployer:
    return Deployer(site, args.root, project, args.wait, tuple(args.override), check=args.dry_run)


def _list(args: argparse.Namespace, site: DeploySite) -> int:
    found = []
    for project in [args.project] if args.project else projects_of(args.root):
        deployer = Deployer(site, args.root, project, check=True)
        deployer.project.check()
        current = deployer.project.current()
        entries = deployer.journal.all()
        for warning in deployer.warnings:
            output.complain(warning)
        found += [(entry, entry.release == current) for entry in entries]
    if args.json:
        output.emit({"deployments": [{**shown(entry), "current": serves} for entry, serves in found]})
        return exits.FINE
    rows = []
    for entry, serves in found:
        word = entry.standing.word if entry.standing is not None else entry.failure.reason if entry.failure is not None else "-"
        rows.append([entry.project, entry.id, entry.kind, str(entry.phase), word, entry.activated_at or "-", "current" if serves else ""])
    output.table(["project", "deployment", "kind", "phase", "standing", "active since", ""], rows)
    return exits.FINE


def _show(args: argparse.Namespace, site: DeploySite) -> int:
    entry = Deployer(site, args.root, args.project, check=True).journal.load(args.id) if args.id else None
    if entry is None:
        output.complain("%s has no deployment %s; selfheal deployment list tells them" % (args.project, args.id or "without an id"))
        return exits.USAGE
    output.emit(shown(entry))
    return exits.FINE


def _start(args: argparse.Namespace, site: DeploySite) -> int:
    if args.request is None:
        output.complain("selfheal deployment start: say what to deploy with --request FILE")
        return exits.USAGE
    wanted = read_json("/dev/stdin" if args.request == "-" else args.request)
    if not isinstance(wanted, dict):
        output.complain("%s: expected a mapping with the options of deployment_start" % args.request)
        return exits.USAGE
    wanted = {"id": new_id(site.host.wall()), **wanted, "root": args.root, "project": args.project}
    return _one(args, site, lambda deployer: deployer.start(wanted))


def _rollback(args: argparse.Namespace, site: DeploySite) -> int:
    return _one(args, site, lambda deployer: deployer.rollback(args.id))


def _redeploy(args: argparse.Namespace, site: DeploySite) -> int:
    return _one(args, site, lambda deployer: deployer.redeploy())


def _proven(args: argparse.Namespace, site: DeploySite) -> int:
    left = _deployer(args, site, args.project).proven()
    output.say("%s is bad" % left if left else "no rollback of the ladder is in force")
    return exits.FINE


def _one(args: argparse.Namespace, site: DeploySite, act: Callable[[Deployer], Told]) -> int:
    from ..._core.errors import ContractError

    try:
        told = act(_deployer(args, site, args.project))
    except ContractError:
        raise
    except SelfhealError as error:
        told = refused(error)
    return _tell(args, site, [(args.project, told)])


def _resume(args: argparse.Namespace, site: DeploySite) -> int:
    found = []
    for project in [args.project] if args.project else projects_of(args.root):
        try:
            found += [(project, told) for told in _deployer(args, site, project).resume(args.stuck_after)]
        except SelfhealError as error:
            found.append((project, refused(error)))
    return _tell(args, site, found)


def _tell(args: argparse.Namespace, site: DeploySite, found: List[Any]) -> int:
    results: List[Dict[str, Any]] = []
    for project, told in found:
        each = result(project, args.action, told)
        each["deployment"] = journal(told)
        results.append(each)
    for warning in warnings_of([told for _project, told in found], site):
        output.complain(warning)
    if args.json:
        summary = {word: sum(1 for each in results if each["outcome"] == word) for word in OUTCOMES}
        output.emit({"results": results, "summary": summary})
    else:
        output.table(
            ["project", "outcome", "reason", "what"], [[e["name"], e["outcome"], e["reason"] or "-", e["detail"]] for e in results]
        )
    outcomes = {each["outcome"] for each in results}
    if "failed" in outcomes:
        return exits.UNHEALTHY
    stuck = args.action != "resume" and "blocked" in outcomes
    return exits.BLOCKED if stuck else exits.FINE


_ACTIONS: Dict[str, Callable[[argparse.Namespace, DeploySite], int]] = {
    "list": _list,
    "show": _show,
    "start": _start,
    "resume": _resume,
    "rollback": _rollback,
    "redeploy": _redeploy,
    "proven": _proven,
}


__all__ = ["configure", "run"]
