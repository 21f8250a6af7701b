# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fallback kind is driven by what."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Tuple

from .._actuators.base import Timed, Work
from .._core.errors import RecordError
from .._core.model import Fallback as Rules
from .._core.reasons import Reason
from .._host import Outcome
from .._proc import Pause
from .._transient import OperatorCommand
from .agent import DRAIN, UP, AgentWord
from .traffic import Fallback, Unsupported

COMMAND_LIMIT = 30.0
FETCHED_WITHIN = 5.0
"""Seconds in which a balancer is expected to ask: HAProxy does so every 2 s unless agent-inter says otherwise."""
LOOK_EVERY = 0.1


class CommandFallback(Fallback):
    """Traffic moved by the operator's own commands: exit status 0 means moved, and read back."""

    def __init__(self, argv_open: Tuple[str, ...], argv_close: Tuple[str, ...]) -> None:
        self._open = argv_open
        self._close = argv_close

    def open(self) -> Work[Outcome]:
        return self._run(self._open)

    def close(self) -> Work[Outcome]:
        return self._run(self._close)

    def _run(self, argv: Tuple[str, ...]) -> Work[Outcome]:
        outcome = yield Timed(OperatorCommand(argv, COMMAND_LIMIT), COMMAND_LIMIT + 5.0)
        return outcome


class HaproxyFallback(Fallback):
    """A server of an HAProxy on this host and the one that serves in its place."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        # Most hosts have no HAProxy, and their watchdog no need for what reads its tables.
        from .._actuators.haproxy import Backend

        self._backend = Backend(options["socket"], options["backend"], options.get("state_file"))
        self._primary = str(options["primary"])
        self._backup = str(options["backup"])
        self.backend = "%s/%s" % (options["backend"], options["primary"])

    def able(self) -> Work[Outcome]:
        return self._backend.able(self._primary, self._backup)

    def open(self) -> Work[Outcome]:
        return _noting(self._backend.to_backup(self._primary, self._backup))

    def close(self) -> Work[Outcome]:
        return _noting(self._backend.to_primary(self._primary))

    def stands(self) -> Optional[Work[Outcome]]:
        return self._standing()

    def _standing(self) -> Work[Outcome]:
        found = yield from self._backend.named(self._primary, self._backup)
        if isinstance(found, Outcome):
            # HAProxy is away or is being started: nothing is known, and it is asked again.
            return Outcome("unknown", found.reason, found.detail)
        words = "%s, %s" % (found[self._primary], found[self._backup])
        if not found[self._primary].away:
            return Outcome("bad", Reason.TRAFFIC_RETURNED, words)
        return Outcome("ok", None, words) if found[self._backup].up else Outcome("bad", Reason.NO_BACKUP, words)


class AgentFallback(Fallback):
    """The host asks a distant load balancer to leave it alone, through what the watchdog answers to its agent checks."""

    def __init__(self, word: AgentWord) -> None:
        self._word = word

    def able(self) -> Work[Outcome]:
        yield from ()
        if self._word.told() is None:
            detail = "nobody answers agent checks on port %d here; is the watchdog running, and the port free?" % self._word.port
            return Outcome("bad", Reason.ACTION_FAILED, detail)
        return Outcome("ok")

    def open(self) -> Work[Outcome]:
        refused = self._set(DRAIN)
        if refused is not None:
            return refused
        for _look in range(int(FETCHED_WITHIN / LOOK_EVERY)):
            told = self._word.told()
            if told is None:
                return (yield from self.able())
            if told.word == DRAIN:
                return Outcome("ok", None, "a load balancer was told to drain this host")
            yield Timed(Pause(), LOOK_EVERY)
        note = "no load balancer has asked port %d within %g s; each that asks is told to drain this host" % (
            self._word.port,
            FETCHED_WITHIN,
        )
        return Outcome("ok", None, note, {"note": note})

    def close(self) -> Work[Outcome]:
        yield from ()
        return self._set(UP) or Outcome("ok", None, "load balancers are told that this host is ready")

    def stands(self) -> Optional[Work[Outcome]]:
        return self._standing()

    def _standing(self) -> Work[Outcome]:
        yield from ()
        if self._word.get() != DRAIN:
            return Outcome("bad", Reason.TRAFFIC_RETURNED, "%s does not say drain" % self._word.path)
        return Outcome("ok")

    def _set(self, word: str) -> Optional[Outcome]:
        try:
            self._word.set(word)
        except RecordError as error:
            return Outcome("bad", Reason.ACTION_FAILED, str(error))
        return None


def _noting(work: Work[Outcome]) -> Work[Outcome]:
    """What could not be saved is worth a note: a restart of HAProxy would forget the move, until it is looked at again."""
    outcome = yield from work
    unsaved = outcome.data.get("unsaved")
    if unsaved is None:
        return outcome
    note = "a restart of HAProxy would forget this move, as its state could not be saved: %s" % unsaved
    return Outcome(outcome.status, outcome.reason, outcome.detail, {**outcome.data, "note": note})


def fallback_for(rules: Optional[Rules], state_dir: str, run_dir: str) -> Optional[Fallback]:
    """What drives a contract's fallback; one that says so for a kind that nothing here can drive."""
    if rules is None:
        return None
    if rules.kind == "command":
        return CommandFallback(tuple(rules.options["argv_open"]), tuple(rules.options["argv_close"]))
    if rules.kind == "haproxy":
        return HaproxyFallback(rules.options)
    if rules.kind == "agent_check":
        return AgentFallback(AgentWord(state_dir, run_dir, rules.options["port"]))
    return Unsupported(rules.kind)


__all__ = ["AgentFallback", "CommandFallback", "HaproxyFallback", "fallback_for"]
