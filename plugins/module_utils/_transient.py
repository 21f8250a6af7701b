# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and services as transient systemd units: a control group, a user and a time limit of their own, outside ours.

Where systemd does not run, or we are not root, commands are plain children (`Run`). Builders and interpretation are pure.
Needs systemd 240 or newer (Type=exec). Stands beside `_spawn` in the order of imports.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional, Sequence, Tuple

from ._core.model import ProcessResource
from ._core.reasons import Reason
from ._host import Machine, Outcome, Step
from ._spawn import Run, last_line

_STARTED = "Running as unit: "
_REPORT = re.compile(
    r"(Running as unit|Finished with result|Main processes terminated with|Service runtime|CPU time consumed|Memory peak|"
    r"Memory swap peak|IP traffic (received|sent)|IO bytes (read|written)): "
)
# Spelt ``code=killed, status=9/KILL`` or ``code=killed/status=KILL``, by release.
_ENDING = re.compile(r"^Main processes terminated with: code=(?:killed|dumped)[,/] ?status=(?:\d+/)?([A-Z0-9+]+)", re.MULTILINE)
_TIMED_OUT = re.compile(r"^Finished with result: timeout$", re.MULTILINE)
# What systemd itself exits with when the program never ran: EXIT_CHDIR, EXIT_EXEC, EXIT_GROUP, EXIT_USER of systemd.exec(5).
_NEVER_RAN = {200: Reason.NO_PERMISSION, 203: Reason.NO_SUCH_PROGRAM, 216: Reason.NO_PERMISSION, 217: Reason.NO_PERMISSION}


def systemd_runs() -> bool:
    """Whether units of our own can be started: systemd is PID 1 (sd_booted(3)) and we are root."""
    return os.geteuid() == 0 and os.path.isdir("/run/systemd/system")


def _literal(argv: Sequence[str]) -> Tuple[str, ...]:
    """Keep systemd from expanding ``$NAME`` in arguments; the program's own name is not expanded."""
    return (argv[0],) + tuple(argument.replace("$", "$$") for argument in argv[1:])


def command_argv(
    argv: Sequence[str], user: Optional[str], cwd: Optional[str], environment: Sequence[Tuple[str, str]], limit: float
) -> Tuple[str, ...]:
    """``systemd-run`` for a command that is waited for; the unit is killed after `limit` seconds even when nobody waits any more.

    The environment is visible to local users (systemctl show): it is no place for secrets.
    """
    made = ["systemd-run", "--wait", "--pipe", "--collect", "--property=RuntimeMaxSec=%.3f" % limit, "--property=KillSignal=SIGKILL"]
    if user is not None:
        made.append("--property=User=%s" % user)
    made.append("--property=WorkingDirectory=%s" % (cwd or "/"))
    made.extend("--setenv=%s=%s" % pair for pair in environment)
    return tuple(made) + ("--",) + _literal(argv)


def unit_name(service: str) -> str:
    """The unit that a `process` resource runs as."""
    return "selfheal-%s.service" % service


def service_argv(service: str, resource: ProcessResource) -> Tuple[str, ...]:
    """``systemd-run`` for a service of its own: no Restart=, as restarting is the ladder's; its output goes to the journal."""
    made = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=%s" % unit_name(service),
        "--service-type=exec",
        "--property=KillMode=control-group",
        "--property=KillSignal=SIG%s" % resource.stop_signal,
        "--property=TimeoutStopSec=%.3f" % resource.stop_timeout,
        "--property=WorkingDirectory=%s" % (resource.cwd or "/"),
        "--setenv=SELFHEAL_SERVICE=%s" % service,
    ]
    if resource.user is not None:
        made.append("--property=User=%s" % resource.user)
    if resource.environment_file is not None:
        made.append("--property=EnvironmentFile=%s" % resource.environment_file)
    if resource.pidfile is not None:
        # It may put itself into the background: what its first process leaves must not be killed with it.
        made.append("--property=RemainAfterExit=yes")
    return tuple(made) + ("--",) + _literal(resource.argv)


def show_argv(service: str) -> Tuple[str, ...]:
    """``systemctl show`` for the unit of a service."""
    return ("systemctl", "show", "--property=ActiveState,MainPID", unit_name(service))


def stop_argv(service: str) -> Tuple[str, ...]:
    """``systemctl stop``: the whole control group, by the unit's own signal and time."""
    return ("systemctl", "stop", unit_name(service))


def parse_show(text: str) -> Tuple[str, int]:
    """ActiveState and MainPID (0: none). Raises ValueError for anything that is no answer of systemctl."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if "ActiveState" not in found:
        raise ValueError("systemctl show answered without ActiveState: %r" % text[:100])
    return found["ActiveState"], int(found.get("MainPID") or 0)


def interpret(outcome: Outcome) -> Outcome:
    """What the command did, from what ``systemd-run --wait`` said on stderr; a unit that never started is unknown, never bad."""
    if outcome.status == "unknown" or "exit_status" not in outcome.data:
        return outcome
    report = str(outcome.data["stderr"])
    own = "".join(line for line in report.splitlines(keepends=True) if not _REPORT.match(line))
    data: Dict[str, Any] = dict(outcome.data, stderr=own)
    code = data["exit_status"]
    if not any(line.startswith(_STARTED) for line in report.splitlines()):
        missing = "executable" in own.lower() and ("find" in own.lower() or "no such file" in own.lower())
        return Outcome("unknown", Reason.NO_SUCH_PROGRAM if missing else Reason.RESOURCE_LIMIT, last_line("no transient unit", data), data)
    if _TIMED_OUT.search(report):
        return Outcome("bad", Reason.TIMEOUT, last_line("killed at its time limit", data), data)
    killed = _ENDING.search(report)
    if killed:
        del data["exit_status"]
        data["signal"] = "SIG%s" % killed.group(1)
        return Outcome("bad", Reason.KILLED_BY_SIGNAL, last_line("killed by %s" % data["signal"], data), data)
    if code in _NEVER_RAN:
        return Outcome("unknown", _NEVER_RAN[code], last_line("systemd could not run it (status %d)" % code, data), data)
    return Outcome(outcome.status, outcome.reason, last_line("exit status %d" % code, data), data)


@dataclass(frozen=True)
class OperatorCommand(Step):
    """A command an operator supplied (exec probe, command rung, build): in a transient unit where systemd runs, else a plain child.

    Outcomes as of `Run`. `limit` is the deadline it is started with, in seconds: the unit's own end should we die meanwhile.
    """

    argv: Tuple[str, ...]
    limit: float
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment: Tuple[Tuple[str, str], ...] = ()
    output_limit: int = 65536
    stdin: bytes = b""

    def begin(self, now: float) -> Machine:
        plain = Run(self.argv, user=self.user, cwd=self.cwd, environment=self.environment, stdin=self.stdin, output_limit=self.output_limit)
        if not systemd_runs():
            return plain.begin(now)
        argv = command_argv(self.argv, self.user, self.cwd, self.environment, self.limit)
        return _InUnit(replace(plain, argv=argv, user=None, cwd=None, environment=()).begin(now))


class _InUnit(Machine):
    """A run of systemd-run, told as the run of what it ran."""

    def __init__(self, inner: Machine) -> None:
        self._inner = inner
        self._follow()

    def _follow(self) -> None:
        self.fd, self.events = self._inner.fd, self._inner.events
        if self._inner.outcome is not None:
            self.outcome = interpret(self._inner.outcome)

    def advance(self, now: float) -> None:
        self._inner.advance(now)
        self._follow()

    def expire(self, now: float) -> None:
        self._inner.expire(now)
        self._follow()

    def close(self) -> None:
        self._inner.close()


__all__ = [
    "OperatorCommand",
    "command_argv",
    "interpret",
    "parse_show",
    "service_argv",
    "show_argv",
    "stop_argv",
    "systemd_runs",
    "unit_name",
]
