# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rungs that a contract gives as a command or as a call to a platform's API, around whatever actuator the resource has."""

from __future__ import annotations

import json
from typing import Dict, Optional

from .._core.model import Command, HttpCall, HttpTarget, Rung, Service
from .._core.reasons import Reason
from .._host import Outcome
from .._records.files import cause, read_file
from .._transient import OperatorCommand
from .base import Actuator, Around, Timed, Work

GRACE = 5.0
"""Seconds beyond a command's own limit until its step is given up."""
_TOKEN_LIMIT = 65536


class Commanded(Around):
    """`inner` with the redeploy and rollback of the contract."""

    def __init__(self, service: Service, inner: Actuator) -> None:
        super().__init__(inner)
        self._rungs: Dict[str, Rung] = {rung.rung: rung for rung in service.ladder if rung.command is not None or rung.http is not None}

    def cannot(self, rung: str) -> Optional[Reason]:
        return None if rung in self._rungs else self._inner.cannot(rung)

    def window(self, rung: str) -> float:
        return 0.0 if rung in self._rungs else self._inner.window(rung)

    def proven(self, rung: str) -> Optional[Work[Outcome]]:
        return None if rung in self._rungs else self._inner.proven(rung)

    def redeploy(self) -> Work[Outcome]:
        return self._by_contract("redeploy") or self._inner.redeploy()

    def rollback(self) -> Work[Outcome]:
        return self._by_contract("rollback") or self._inner.rollback()

    def _by_contract(self, rung: str) -> Optional[Work[Outcome]]:
        found = self._rungs.get(rung)
        if found is None:
            return None
        return _command(found.command) if found.command is not None else _call(found.http)


def _command(command: Command) -> Work[Outcome]:
    outcome = yield Timed(OperatorCommand(command.argv, command.timeout, command.user), command.timeout + GRACE)
    return outcome


def _call(call: Optional[HttpCall]) -> Work[Outcome]:
    from .._probes.http import HttpProbe

    if call is None:
        return Outcome("unknown", Reason.UNSUPPORTED, "neither a command nor a call is given")
    headers = call.headers
    if call.token_file is not None:
        try:
            token = read_file(call.token_file, _TOKEN_LIMIT).decode("ascii").strip()
        except (OSError, ValueError) as error:
            why = cause(error) if isinstance(error, OSError) else "it is no ASCII text"
            return Outcome("unknown", Reason.NO_PERMISSION, "reading the token file %s: %s" % (call.token_file, why))
        headers += (("Authorization", "Bearer %s" % token),)
    body = None
    if call.json is not None:
        body = json.dumps(call.json)
        headers += (("Content-Type", "application/json"),)
    target = HttpTarget(call.url, call.method, headers, call.status, body, redirects=0)
    outcome = yield Timed(HttpProbe(target), call.timeout)
    return outcome


__all__ = ["Commanded"]
