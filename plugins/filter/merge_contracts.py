# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts put together from several variables of an inventory. The documentation stands in merge_contracts.yml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

HOST = "selfheal_services_host"
"""The part that has the last word."""
KINDS = frozenset(("http", "tcp", "exec", "unit", "process"))
"""A probe has exactly one of these keys."""
ONE_KIND = ("resource", "fallback")
"""Their keys exclude each other, too."""
NAMED = ("probes", "dependencies")
"""Lists whose entries are merged by name; every other list is replaced."""


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _name(entry: Any, where: str) -> str:
    if not isinstance(entry, Mapping):
        raise AnsibleFilterError("merge_contracts: %s: expected a mapping; found %s" % (where, type(entry).__name__))
    # A probe without a name is called like its role.
    name = entry.get("name") or entry.get("role")
    if not isinstance(name, str):
        raise AnsibleFilterError("merge_contracts: %s: it has no name, so nobody can tell what it changes" % where)
    return str(name)


def _join(lists: Iterable[tuple[str, Any]], merge: Any) -> list[Any]:
    """Entries of all lists by name, in the order in which names first stand there, without those that a later one calls absent."""
    found: dict[str, Any] = {}
    for where, entries in lists:
        if not _is_list(entries):
            raise AnsibleFilterError("merge_contracts: %s: expected a list; found %s" % (where, type(entries).__name__))
        seen: set[str] = set()
        for place, entry in enumerate(entries):
            at = "%s[%d]" % (where, place)
            name = _name(entry, at)
            if name in seen:
                raise AnsibleFilterError("merge_contracts: %s: %s stands in this list before" % (at, name))
            seen.add(name)
            if entry.get("absent") is True:
                found.pop(name, None)
                continue
            new = {key: value for key, value in entry.items() if key != "absent"}
            found[name] = merge(found.get(name, {}), new, at)
    return list(found.values())


def _deep(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: _deep(old.get(key), value) for key, value in new.items()}}
    return new


def _probe(old: Mapping[str, Any], new: Mapping[str, Any], _where: str) -> Any:
    kinds = KINDS.intersection(new)
    kept = {key: value for key, value in old.items() if not kinds or key not in KINDS or key in kinds}
    return _deep(kept, new)


def _service(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Any:
    merged = dict(old)
    for key, value in new.items():
        before = old.get(key)
        if key in NAMED and value is not None:
            rule = _probe if key == "probes" else lambda one, other, _at: _deep(one, other)
            merged[key] = _join([(key, [] if before is None else before), ("%s.%s" % (where, key), value)], rule)
        elif key in ONE_KIND and isinstance(before, Mapping) and isinstance(value, Mapping) and not set(before) & set(value):
            merged[key] = value
        else:
            merged[key] = _deep(before, value)
    return merged


def merge_contracts(services: Any, parts: Any = ()) -> Any:
    """`services` with what each of `parts` adds and changes; see the documentation for the rules. Raises AnsibleFilterError."""
    if isinstance(parts, Mapping):
        names = sorted(parts, key=lambda name: (name == HOST, name))
        others = [(str(name), parts[name]) for name in names]
    elif _is_list(parts):
        others = [("parts[%d]" % place, part) for place, part in enumerate(parts)]
    else:
        raise AnsibleFilterError("merge_contracts: expected lists of contracts, or a mapping to them; found %s" % type(parts).__name__)
    if not others:
        return services
    return _join([("selfheal_services", services), *others], _service)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"merge_contracts": merge_contracts}
