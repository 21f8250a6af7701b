# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a long-lived process that owes nothing to the one that started it.

It leads a session of its own, with stdin from /dev/null, its output in a log file, a clean environment, default signals, umask 022
and no other descriptor; killing the starter does not touch it.
"""

from __future__ import annotations

import os
import select
import stat as modes
from dataclasses import dataclass
from typing import Callable, Optional, Set, Tuple

from .._core.errors import RecordError
from .._core.reasons import Reason
from .._environment import CannotStart, account_for, base_environment, explain, read_environment_file
from .._host import Machine, Outcome, Step
from .._proc import bury, keep_service
from .._records.files import make_directory
from .._spawn import REHEARSED, Plan, fork, pipe

LOG_LIMIT = 8 << 20


@dataclass(frozen=True)
class Launch(Step):
    """ok: the program was executed; data ``pid`` · unknown: it was not, with the stage and cause.

    `before_exec` is called in the child, with our rights, and gets its pid. `log`: a file to append to, kept as ``.1`` when it has reached
    8 MiB at a start; None, or a file that cannot be written: /dev/null. `rehearse`: do everything up to the exec, and then end: what
    would fail is known before anything is stopped for it. `background`: the program may put itself into the background and be
    watched there, so that its first process is nobody's to reap.
    """

    argv: Tuple[str, ...]
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment_file: Optional[str] = None
    environment: Tuple[Tuple[str, str], ...] = ()
    log: Optional[str] = None
    before_exec: Optional[Callable[[int], None]] = None
    rehearse: bool = False
    background: bool = False

    def begin(self, now: float) -> Machine:
        return _Launching(self)


class _Launching(Machine):
    """Waits for the error pipe: closed by the exec, or carrying what failed."""

    events = select.EPOLLIN

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._pid = -1
        try:
            self._start()
        except CannotStart as refusal:
            self.outcome = refusal.outcome
        except OSError as error:
            detail = "cannot start %s: %s" % (launch.argv[0], error)
            self.outcome = Outcome("unknown", Reason.RESOURCE_LIMIT, detail[:500])

    def _start(self) -> None:
        launch = self._launch
        account = account_for(launch.user)
        given = dict(launch.environment)
        if launch.environment_file is not None:
            given.update(read_environment_file(launch.environment_file))
        held: Set[int] = set()
        try:
            source = _hold(held, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            output = source if launch.log is None or launch.rehearse else _hold(held, open_log(launch.log))
            reading, writing = pipe()
            held.add(writing)
            try:
                self._pid = fork(
                    Plan(
                        launch.argv,
                        base_environment(account, given),
                        account,
                        launch.cwd or "/",
                        (source, output, output),
                        writing,
                        launch.before_exec,
                        launch.rehearse,
                    )
                )
            except BaseException:
                held.add(reading)
                raise
        finally:
            for descriptor in held:
                os.close(descriptor)
        os.set_blocking(reading, False)
        self.fd = reading

    def advance(self, now: float) -> None:
        if self.fd is None:
            return
        try:
            report = os.read(self.fd, 4096)
        except BlockingIOError:
            return
        if report == REHEARSED:
            bury(self._pid, self._launch.argv[0])
            self.outcome = Outcome("ok", None, "%s can be started" % self._launch.argv[0])
        elif report:
            bury(self._pid, self._launch.argv[0])
            self.outcome = explain(self._launch.argv, self._launch.cwd, report.decode("utf-8", "replace"))
        elif self._launch.rehearse:
            bury(self._pid, self._launch.argv[0])
            self.outcome = Outcome("unknown", Reason.CANCELLED, "the rehearsal of %s was killed" % self._launch.argv[0])
        else:
            keep_service(self._pid, self._launch.background)
            self.outcome = Outcome("ok", None, "pid %d started" % self._pid, {"pid": self._pid})

    def expire(self, now: float) -> None:
        bury(self._pid, self._launch.argv[0])
        detail = "%s did not get as far as its exec in time; does its file or working directory lie on a dead mount?" % self._launch.argv[0]
        self.outcome = Outcome("unknown", Reason.TIMEOUT, detail[:500])

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
            if self.outcome is None:
                self._let_go()

    def _let_go(self) -> None:
        """Cancelled: a rehearsal ends, a service that is on record already goes on and is reaped when it ends."""
        if self._launch.rehearse:
            bury(self._pid, self._launch.argv[0])
        else:
            keep_service(self._pid, self._launch.background)


def _hold(held: Set[int], descriptor: int) -> int:
    held.add(descriptor)
    return descriptor


def open_log(path: str) -> int:
    """The log file opened for appending, or /dev/null where none can be written: a service is not kept down by its log."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        make_directory(os.path.dirname(path))
        if os.path.isfile(path) and os.path.getsize(path) >= LOG_LIMIT:
            os.replace(path, path + ".1")
        descriptor = os.open(path, flags, 0o600)
    except (OSError, RecordError):
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


__all__ = ["LOG_LIMIT", "Launch", "open_log"]
