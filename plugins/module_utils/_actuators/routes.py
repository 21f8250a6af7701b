# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files outside the project that a deployment writes: replaced atomically, validated, reloaded, and put back if either says no.

What stood there before is kept durably before the first file is touched, so that it can be put back after a crash, too.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .._core.deployment_request import Route
from .._core.errors import SelfhealError
from .._host import Outcome
from .._records.files import cause, process_start_time, read_file, remove, replace_file, sync_directory, temporary_name, write_new
from .._transient import OperatorCommand
from .base import Timed, Work

_LIMIT = 4 << 20
GRACE = 5.0


class RouteFailed(SelfhealError):
    """A route was not put in place; names the file and what said no."""


def digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def look(path: str) -> Optional[Dict[str, Any]]:
    """What stands there: text, mode and owner; None when nothing does. Raises RouteFailed."""
    try:
        content = read_file(path, _LIMIT)
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = cause(error) if isinstance(error, OSError) else str(error)
        raise RouteFailed("Reading the route %s: %s. Name the file itself; it must be a regular file." % (path, why)) from error
    return {
        "content": content.decode("utf-8", "surrogateescape"),
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def remember(place: str, wanted: Sequence[Route]) -> List[str]:
    """Keep what stands at every route in the file `place`, unless that was done before. Returns the paths that will change."""
    before = recall(place)
    if before is None:
        before = {route.path: look(route.path) for route in wanted}
        replace_file(place, json.dumps({"schema": 1, "before": before}).encode("ascii"))
    return [route.path for route in wanted if _content(before.get(route.path)) != route.content.encode("utf-8")]


def recall(place: str) -> Optional[Dict[str, Any]]:
    """What was kept, by path; None when nothing was. Raises RouteFailed."""
    try:
        data = json.loads(read_file(place, 256 << 20))
        found: Dict[str, Any] = data["before"]
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RouteFailed("What stood at the routes before cannot be read from %s: %s" % (place, error)) from error


def put(wanted: Sequence[Route]) -> Work[List[Dict[str, Any]]]:
    """Write, validate and reload. Returns what proves it. Raises RouteFailed; whoever called puts back what was there."""
    sweep(wanted)
    proof = []
    changed = []
    for route in wanted:
        data = route.content.encode("utf-8")
        before = look(route.path)
        if any("%s" in argument for argument in route.validate):
            yield from _validate_beside(route, data)
        if _content(before) != data:
            _write(route.path, data, before)
            changed.append(route.path)
        proof.append({"path": route.path, "sha256": digest(data), "changed": route.path in changed})
    for route in wanted:
        if route.validate and not any("%s" in argument for argument in route.validate):
            yield from _command(route.validate, route, "validating")
    for route in _reloads(wanted):
        yield from _command(route.reload, route, "reloading after")
    return proof


def put_back(place: str, wanted: Sequence[Route]) -> Work[List[str]]:
    """Let every route be as it was, and reload. Returns which reloads failed, in words.

    Raises RouteFailed when a file could not be put back; all the others were.
    """
    before = recall(place)
    problems: List[str] = []
    touched: List[Route] = []
    for route in wanted if before is not None else ():
        try:
            if _restore(route.path, (before or {}).get(route.path)):
                touched.append(route)
        except (SelfhealError, OSError) as error:
            problems.append("putting back %s: %s" % (route.path, error))
    failed = list(problems)
    for route in _reloads(touched):
        outcome: Outcome = yield Timed(OperatorCommand(route.reload, route.timeout), route.timeout + GRACE)
        if outcome.status != "ok":
            problems.append("reloading after %s was put back: %s" % (route.path, outcome.detail))
    if failed:
        raise RouteFailed("; ".join(problems))
    if before is not None:
        sweep(wanted)
    return problems


def _restore(path: str, kept: Optional[Dict[str, Any]]) -> bool:
    """Let one file be as it was; was anything to be done? Raises RouteFailed, OSError."""
    if _content(look(path)) == _content(kept):
        return False
    if kept is None:
        remove(path)
        sync_directory(os.path.dirname(path))
    else:
        _write(path, _content(kept) or b"", kept)
    return True


def _reloads(routes: Sequence[Route]) -> List[Route]:
    """One route for each way of reloading: what two routes reload alike is reloaded once, when both are in place."""
    return list({route.reload: route for route in routes if route.reload}.values())


def sweep(wanted: Sequence[Route]) -> None:
    """Remove the unfinished files of those who died while they wrote one of these routes. Raises RouteFailed."""
    for route in wanted:
        folder, name = os.path.split(route.path)
        mark = ".%s." % name[:120]
        try:
            for found in os.listdir(folder):
                parts = found[len(mark) : -4].split("-")
                ours = found.startswith(mark) and found.endswith(".tmp") and len(parts) == 3 and all(part.isdigit() for part in parts)
                if ours and process_start_time(int(parts[0])) != int(parts[1]):
                    remove(os.path.join(folder, found))
        except OSError as error:
            raise RouteFailed("Clearing up beside the route %s: %s" % (route.path, cause(error))) from error


def _content(kept: Optional[Dict[str, Any]]) -> Optional[bytes]:
    return None if kept is None else str(kept["content"]).encode("utf-8", "surrogateescape")


def _write(path: str, data: bytes, like: Optional[Dict[str, Any]]) -> None:
    """Replace the file atomically, with the mode and owner it had."""
    temporary = temporary_name(path)
    try:
        write_new(temporary, data, 0o600)
        try:
            if like is not None and os.geteuid() == 0:
                os.chown(temporary, like["uid"], like["gid"])
            os.chmod(temporary, like["mode"] if like is not None else 0o644)
            os.rename(temporary, path)
        except BaseException:
            remove(temporary)
            raise
        sync_directory(os.path.dirname(path))
    except OSError as error:
        raise RouteFailed("Writing the route %s: %s. It was left as it was." % (path, cause(error))) from error


def _validate_beside(route: Route, data: bytes) -> Work[None]:
    temporary = temporary_name(route.path)
    try:
        try:
            write_new(temporary, data, 0o644)
        except OSError as error:
            raise RouteFailed("Writing the route %s: %s. It was left as it was." % (route.path, cause(error))) from error
        argv = tuple(argument.replace("%s", temporary) for argument in route.validate)
        yield from _command(argv, route, "validating")
    finally:
        remove(temporary)


def _command(argv: Tuple[str, ...], route: Route, doing: str) -> Work[None]:
    outcome: Outcome = yield Timed(OperatorCommand(argv, route.timeout), route.timeout + GRACE)
    if outcome.status != "ok":
        written = (str(outcome.data.get("stderr", "")) + str(outcome.data.get("stdout", ""))).strip()
        raise RouteFailed(("%s the route %s with %s: %s. %s" % (doing, route.path, argv[0], outcome.detail, written[-300:])).strip())


__all__ = ["RouteFailed", "digest", "look", "put", "put_back", "recall", "remember", "sweep"]
