# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps secrets out of whatever is recorded or shown. When in doubt a value is taken for a secret: a lost detail costs less."""

from __future__ import annotations

import re
from typing import Any, Dict

REDACTED = "[redacted]"

_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "encryptionkey",
    "signingkey",
    "hmackey",
    "sshkey",
    "sessionid",
    "bearer",
)
_WHOLE = frozenset(("auth", "pass", "pwd", "pw", "psk", "jwt", "otp", "pin"))
# Names of files that hold a secret are needed to find a fault and are none themselves.
_NOT_SECRET = ("_file", "_path", "-file", "-path")
_KEYS: Dict[str, bool] = {}

_NAMED = r"(?:password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|credentials?|session[-_]?id|pwd)"
_TAIL = r"(?:[-_](?!file|path)\w{1,32}|(?![-_\w]))"
_VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^\s&;,"'}\]]+)"""
_HINTS = ("pass", "secret", "token", "key", "credential", "session", "pwd", "bearer", "authorization", "cookie")
# Parts of all words above: the fewer, the quicker the look.
_JSON_HINTS = ("pass", "secret", "token", "key", "cred", "sess", "pw", "bearer", "auth", "cookie", '"psk"', '"jwt"', '"otp"', '"pin"')
_URL = re.compile(r"://[^/\s?#\"'<>]*@")
_RULES = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"((?:set-)?cookie[\"']?\s{0,3}[:=]\s{0,3})[^\r\n]+", re.IGNORECASE), r"\1" + REDACTED),
    (re.compile(r"(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\r\n\"',]+", re.IGNORECASE), r"\1" + REDACTED),
    (re.compile(r"\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1" + REDACTED),
    (re.compile("(" + _NAMED + _TAIL + r"[\"']?\s{0,3}[=:]\s{0,3})(?!/[\w/.-]*(?:\s|$))" + _VALUE, re.IGNORECASE), r"\1" + REDACTED),
    (re.compile(r"(--?(?:\w{1,32}-)?" + _NAMED + _TAIL + r"\s{1,3})" + _VALUE, re.IGNORECASE), r"\1" + REDACTED),
)
_FLAG = re.compile(r"--?(?:\w{1,32}-)?" + _NAMED + _TAIL, re.IGNORECASE)


def secret_key(name: str) -> bool:
    """Does a key of that name hold a secret? ``db_password`` and ``API-Key`` do; ``token_file`` does not."""
    known = _KEYS.get(name)
    if known is None:
        lower = name.lower()
        plain = "".join(character for character in lower if character.isalnum())
        known = not lower.endswith(_NOT_SECRET) and (plain in _WHOLE or any(word in plain for word in _WORDS))
        if len(_KEYS) < 1000:
            _KEYS[name] = known
    return known


def redact_text(text: str) -> str:
    """`text` without credentials in URLs, secret query values, authorization headers, cookies, private keys and secret arguments."""
    # Nearly every text has nothing to hide; finding that out must cost next to nothing.
    if "@" in text and "://" in text:
        text = _URL.sub("://", text)
    lower = text.lower()
    for hint in _HINTS:
        if hint in lower:
            break
    else:
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def suspicious(text: str) -> bool:
    """May there be a secret, or a character that needs care, anywhere in this JSON? Quick, and wrong only towards yes."""
    if "@" in text or "\\ud" in text:
        return True
    lower = text.lower()
    for hint in _JSON_HINTS:
        if hint in lower:
            return True
    return False


def secret_flag(item: Any) -> bool:
    """Is this item of an argument list a flag such as ``--password`` whose value is the next item?"""
    return isinstance(item, str) and item.startswith("-") and _FLAG.fullmatch(item) is not None


def redact(value: Any) -> Any:
    """A copy of plain data (dicts, lists, scalars) without secrets; what is neither is left as it stands."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {key: REDACTED if isinstance(key, str) and secret_key(key) else redact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [REDACTED if place and secret_flag(value[place - 1]) else redact(item) for place, item in enumerate(value)]
    return value


__all__ = ["REDACTED", "redact", "redact_text", "secret_flag", "secret_key", "suspicious"]
