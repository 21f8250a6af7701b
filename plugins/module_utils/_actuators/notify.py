# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells one target one message: the step that does it, and what may be said of how it went."""

from __future__ import annotations

import json
from typing import Any, List, Mapping, Tuple

from .._core import pages
from .._core.errors import SelfhealError
from .._core.model import HttpTarget, Notify
from .._core.reasons import Reason
from .._core.redact import redact_text
from .._host import Outcome, Step
from .._records.files import cause, read_file
from .._transient import OperatorCommand

HTTP_SECONDS = 10.0
COMMAND_SECONDS = 30.0
_LIMIT = 65536


class CannotTell(SelfhealError):
    """What a message needs is not there: a token, a key. `outcome` says it as a failed attempt."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.outcome = Outcome("unknown", reason, detail)


def telling(notify: Notify, message: Mapping[str, Any], opened: float, now: float) -> Tuple[Step, float]:
    """The step that delivers `message`, and its time limit in seconds. opened, now: wall seconds. Raises CannotTell."""
    if notify.kind == "command":
        body = json.dumps(message, sort_keys=True) + "\n"
        return OperatorCommand(tuple(notify.options["argv"]), COMMAND_SECONDS, stdin=body.encode("ascii")), COMMAND_SECONDS
    from .._probes.http import HttpProbe

    url, headers = notify.options["url"], [("Content-Type", "application/json")]
    if notify.kind == "alertmanager":
        url = _below(url, "/api/v2/alerts")
        body = json.dumps(pages.alerts(message, opened, now), sort_keys=True)
    else:
        body = json.dumps(message, sort_keys=True)
        headers += _proofs(notify.options, body.encode("ascii"))
    try:
        return HttpProbe(HttpTarget(url, "POST", tuple(headers), body=body, redirects=0)), HTTP_SECONDS
    except ValueError as error:
        raise CannotTell(Reason.UNSUPPORTED, "%s cannot be asked: %s" % (pages.name_of(notify), error)) from error


def _below(url: str, path: str) -> str:
    place, mark, query = url.partition("?")
    return place.rstrip("/") + path + mark + query


def _proofs(options: Mapping[str, Any], body: bytes) -> List[Tuple[str, str]]:
    """The headers by which a receiver knows that it is us. The files are read each time: a changed secret counts at once."""
    found = []
    if options.get("token_file") is not None:
        try:
            token = _secret(options["token_file"]).decode("ascii")
        except UnicodeDecodeError as error:
            raise CannotTell(Reason.NO_PERMISSION, "the token in %s is no ASCII text" % options["token_file"]) from error
        if not token.isprintable():
            raise CannotTell(Reason.NO_PERMISSION, "the token in %s is no single line" % options["token_file"])
        found.append(("Authorization", "Bearer %s" % token))
    if options.get("hmac_file") is not None:
        import hashlib
        import hmac

        signature = hmac.new(_secret(options["hmac_file"]), body, hashlib.sha256).hexdigest()
        found.append(("X-Hub-Signature-256", "sha256=%s" % signature))
    return found


def _secret(path: str) -> bytes:
    """The content of a file without the white space around it. Raises CannotTell."""
    try:
        secret = read_file(path, _LIMIT).strip()
    except (OSError, ValueError) as error:
        why = cause(error) if isinstance(error, OSError) else str(error)
        raise CannotTell(Reason.NO_PERMISSION, "cannot read %s (%s)" % (path, why)) from error
    if not secret:
        raise CannotTell(Reason.NO_PERMISSION, "%s is empty; expected a secret" % path)
    return secret


def told(notify: Notify, outcome: Outcome) -> str:
    """How it went, for the timeline: a webhook's path and parameters are often its password, so they are left out."""
    detail = outcome.detail
    if notify.kind != "command":
        path = "/" + notify.options["url"].partition("://")[2].partition("/")[2]
        for secret in sorted({path, redact_text(path), *path.partition("?")[::2]}, key=len, reverse=True):
            if len(secret) > 1:
                detail = detail.replace(secret, "/***")
    return redact_text(detail)[:500]


__all__ = ["COMMAND_SECONDS", "CannotTell", "HTTP_SECONDS", "telling", "told"]
