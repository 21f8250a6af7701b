# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts and configurations as they may be shown: what changed, without what is secret.

Note that this is a private utility of this collection; other collections must not import it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.faultline.selfheal.plugins.module_utils._core.redact import redact_text, secret_flag, secret_key

HIDDEN = "[hidden]"
CHANGED = "[hidden, changed]"
# Their values may hold a secret whatever the keys are called: Authorization, X-Api-Key, a login form, a database's password.
_VALUES_OF = frozenset(["headers", "environment"])
_WHOLE = frozenset(["body"])
_MISSING = object()


def difference(before: str, after: str) -> tuple[str, str]:
    """Both texts for a diff. A secret that changed says so on the newer side; a text that is no JSON is not shown at all."""
    old, new = _load(before), _load(after)
    return _text(_cover(old, old)), _text(_cover(new, old))


def _load(text: str) -> Any:
    if not text.strip():
        return _MISSING
    try:
        return json.loads(text)
    except ValueError:
        return HIDDEN


def _text(value: Any) -> str:
    return "" if value is _MISSING else json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _mark(value: Any, was: Any) -> str:
    return HIDDEN if value == was else CHANGED


def _cover(value: Any, was: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        known: dict[str, Any] = was if isinstance(was, dict) else {}
        made = {}
        for name, item in value.items():
            before = known.get(name, _MISSING)
            if key in _VALUES_OF or name in _WHOLE or (secret_key(name) and item is not None):
                made[name] = _mark(item, before)
            elif key == "webhook" and name == "url" and isinstance(item, str):
                # Chat systems put the secret into the path.
                made[name] = "%s://%s/%s" % (urlsplit(item).scheme, urlsplit(item).hostname, _mark(item, before))
            else:
                made[name] = _cover(item, before, name)
        return made
    if isinstance(value, list):
        old = was if isinstance(was, list) else []
        return [
            _mark(item, _counterpart(item, place, old))
            if place and secret_flag(value[place - 1])
            else _cover(item, _counterpart(item, place, old), key)
            for place, item in enumerate(value)
        ]
    if isinstance(value, str):
        shown = redact_text(value)
        return shown if shown == value or value == was else "%s %s" % (shown, CHANGED)
    return value


def _counterpart(item: Any, place: int, old: list[Any]) -> Any:
    """The earlier entry of that name; of that place where entries have no names."""
    name = item.get("name") if isinstance(item, dict) else None
    if name is not None:
        return next((each for each in old if isinstance(each, dict) and each.get("name") == name), _MISSING)
    return old[place] if place < len(old) else _MISSING


__all__ = ["CHANGED", "HIDDEN", "difference"]
