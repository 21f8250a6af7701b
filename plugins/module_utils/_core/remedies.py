# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the schema that says what is done about a fault: the ladder, where traffic goes, who is told."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from . import formats
from .model import Command, Fallback, HttpCall, Notify, Rung
from .schema import Check, Given, ListOf, Problems, Record, anything, choice, integer, join, number, unique

# What a rung has if nothing else is written: attempts, and the window of each in seconds.
RUNGS = {"restart": (3, 10.0), "redeploy": (2, 120.0), "rollback": (1, 60.0)}
NEW_RELEASE = ("redeploy", "rollback")
PAGE = Rung("page", 1, 0.0)

url = formats.url("headers or a token_file")


def _options(kind: str, make: Any, need: Dict[str, Check], may: Optional[Mapping[str, Check]] = None) -> Record:
    """A mapping kept as such; the optional keys that are absent are None."""
    absent: Given = dict.fromkeys(may or ())
    return Record(lambda **given: make(kind, {**absent, **given}), need=need, may=may)


def only(one: Any) -> Any:
    return one


def _backup_differs(given: Given, _written: Given, path: str, problems: Problems) -> None:
    if "primary" in given and given["primary"] == given.get("backup"):
        problems.add(join(path, "backup"), "is the primary itself")


_haproxy = _options(
    "haproxy",
    Fallback,
    {"socket": formats.path_name, "backend": formats.proxy_name, "primary": formats.proxy_name, "backup": formats.proxy_name},
    {"state_file": formats.path_name},
)
_haproxy.after = _backup_differs

fallback = Record(
    only,
    one_as="one",
    one_of={
        "haproxy": _haproxy,
        "agent_check": _options("agent_check", Fallback, {"port": formats.port}),
        "command": _options("command", Fallback, {"argv_open": formats.argv, "argv_close": formats.argv}),
    },
)

notify = ListOf(
    Record(
        only,
        one_as="one",
        one_of={
            "webhook": _options("webhook", Notify, {"url": url}, {"token_file": formats.path_name, "hmac_file": formats.path_name}),
            "alertmanager": _options("alertmanager", Notify, {"url": url}),
            "command": _options("command", Notify, {"argv": formats.argv}),
        },
    ),
    most=20,
    of="notifications",
)


def _rung(rung: str, **given: Any) -> Rung:
    if rung == "page":
        return PAGE
    attempts, window = RUNGS[rung]
    window = given.get("timeout", window)
    made: Dict[str, Any] = {}
    for key, make in (("command", Command), ("http", HttpCall)):
        if key in given:
            # The next attempt must not begin while the command of this one runs, so the window is at least as long.
            limit = given[key].get("timeout", min(make.timeout, window))
            window = max(window, limit)
            made[key] = make(**{**given[key], "timeout": limit})
    return Rung(rung, given.get("attempts", attempts), window, **made)


def _rung_agrees(given: Given, written: Given, path: str, problems: Problems) -> None:
    rung = given.get("rung")
    before = [key for key in ("attempts", "timeout", "command", "http") if key in written]
    if rung == "page" and before:
        problems.add(join(path, before[0]), "a page takes no further keys: one is sent, and notify says to whom")
    if rung == "restart" and ("command" in written or "http" in written):
        key = "command" if "command" in written else "http"
        problems.add(join(path, key), "a restart is done through the resource itself; commands and calls belong to redeploy and rollback")
    if "command" in written and "http" in written:
        problems.add(path, "expected at most one of command or http; found both")


_http_call = Record(
    dict,
    need={"url": url},
    may={
        "method": choice("POST", "PUT", "PATCH", "DELETE", "GET"),
        "headers": formats.headers,
        "json": anything,
        "token_file": formats.path_name,
        "status": formats.status,
        "timeout": number(0.1, 3600),
    },
)
_ladder_entry = Record(
    _rung,
    need={"rung": choice(*RUNGS, "page")},
    may={
        "attempts": integer(1, 100),
        "timeout": number(0.1, 86400),
        "command": Record(dict, need={"argv": formats.argv}, may={"timeout": number(0.1, 86400), "user": formats.user}),
        "http": _http_call,
    },
    after=_rung_agrees,
)


def _rungs_in_order(entries: Sequence[Any], path: str, problems: Problems) -> None:
    rungs = [entry.get("rung") if isinstance(entry, dict) else None for entry in entries]
    if "page" in rungs[:-1]:
        problems.add("%s[%d].rung" % (path, rungs.index("page")), "nothing comes after the page; make it the last rung")
    unique("rung", "the rung")(entries, path, problems)


ladder = ListOf(_ladder_entry, most=10, of="rungs", after=_rungs_in_order)


def ending_with_page(rungs: Tuple[Rung, ...]) -> Tuple[Rung, ...]:
    """Whatever was written, a person comes last."""
    return rungs if rungs[-1:] == (PAGE,) else rungs + (PAGE,)


def default_ladder(with_release: bool) -> Tuple[Rung, ...]:
    """The ladder of a contract that writes none: redeploy and rollback only where there is a release to change."""
    names = [rung for rung in RUNGS if rung not in NEW_RELEASE or with_release]
    return tuple(Rung(rung, *RUNGS[rung]) for rung in names) + (PAGE,)


__all__ = ["NEW_RELEASE", "PAGE", "RUNGS", "default_ladder", "ending_with_page", "fallback", "ladder", "notify", "only", "url"]
