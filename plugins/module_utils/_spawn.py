# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that starts processes.

A child is forked here rather than by `subprocess`, for four things that one cannot do: nothing waits for the exec (a program on a dead
network mount must not stop the loop), the stage that failed is known, a service can put itself on record before it runs, and
every wait goes through one pollable descriptor. Between fork and exec only plain system calls are made.

Every child leads a session of its own and is reaped (`_proc`). One that does not die of KILL (uninterruptible sleep) is left to
a thread that waits for it, and counted: too many of them and no further one is started.

A group is killed, and whatever leaves it by a setsid of its own survives; only a transient unit (`_transient`) holds that too.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import select
import signal
import stat as modes
from dataclasses import dataclass
from typing import Callable, Dict, Mapping, Optional, Set, Tuple

from ._core.reasons import Reason
from ._environment import PATH, Account, CannotStart, account_for, base_environment, explain, reason_for
from ._host import Machine, Outcome, Step
from ._proc import bury, ending, exit_descriptor, signal_name, stuck

STUCK_PER_PROGRAM = 5
STUCK_IN_ALL = 20
REHEARSED = b"rehearsed"
_CHUNK = 65536


@dataclass(frozen=True)
class Plan:
    """All a child needs between fork and exec. `account` None: stay who we are. `before_exec` runs with our rights, and gets the pid."""

    argv: Tuple[str, ...]
    environment: Mapping[str, str]
    account: Optional[Account]
    cwd: str
    stdio: Tuple[int, int, int]
    errors: int
    before_exec: Optional[Callable[[int], None]] = None
    rehearse: bool = False


def fork(plan: Plan) -> int:
    """Start a child; its pid. Raises OSError when there can be none. What fails before its exec comes through ``plan.errors``."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited so, it would throw exit statuses away
    pid = os.fork()
    if pid == 0:
        try:
            _become(plan)
        finally:
            os._exit(127)
    return pid


def _become(plan: Plan) -> None:
    stage = "setup"
    try:
        gc.disable()
        os.setsid()
        for number in range(1, signal.NSIG):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        for target, descriptor in enumerate(plan.stdio):
            os.dup2(descriptor, target)
        stage = "record"
        if plan.before_exec is not None:
            plan.before_exec(os.getpid())
        stage = "setup"
        _close_all_but(plan.errors)
        stage = "user"
        if plan.account is not None:
            os.setgroups(plan.account.groups)
            os.setresgid(plan.account.gid, plan.account.gid, plan.account.gid)
            os.setresuid(plan.account.uid, plan.account.uid, plan.account.uid)
        stage = "cwd"
        os.chdir(plan.cwd)
        stage = "exec"
        program = _find(plan.argv[0], plan.environment.get("PATH", PATH))
        if plan.rehearse:
            os.write(plan.errors, REHEARSED)
            os._exit(0)
        os.execve(program, plan.argv, plan.environment)
    except BaseException as error:  # pylint: disable=broad-except  # whatever it is, it must reach the parent
        number = error.errno if isinstance(error, OSError) and error.errno else 0
        os.write(plan.errors, ("%s %d %s" % (stage, number, error)).encode("utf-8", "replace")[:400])


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in kept:
            try:
                os.close(descriptor)
            except OSError as error:
                if error.errno != errno.EBADF:  # the listing's own descriptor is gone by now
                    raise


def _find(program: str, path: str) -> str:
    """The file to execute. Raises the most telling OSError when there is none that may be executed."""
    if "/" in program:
        if not modes.S_ISREG(os.stat(program).st_mode) or not os.access(program, os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)
        return program
    refused: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    for folder in path.split(":"):
        candidate = os.path.join(folder or "/", program)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), candidate)
    raise refused


def pipe() -> Tuple[int, int]:
    """A pipe whose ends stay clear of 0 to 2, also when those are closed, so that no dup2 in a child overwrites another."""
    ends = []
    for end in os.pipe():
        if end < 3:
            ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3))
            os.close(end)
        else:
            ends.append(end)
    return ends[0], ends[1]


def refuse_if_stuck(program: str) -> None:
    """Raise CannotStart when too many earlier children cannot be killed: starting more would only pile them up."""
    late = stuck()
    alike = sum(1 for _pid, name in late if name == program)
    if alike >= STUCK_PER_PROGRAM or len(late) >= STUCK_IN_ALL:
        raise CannotStart(
            Reason.TOO_MANY_STUCK,
            "%d killed runs of %s (%d of all programs) do not die, often for a dead network or disk "
            "mount; none is started until they have" % (alike, program, len(late)),
        )


@dataclass(frozen=True)
class Run(Step):
    """Run a program to its end. It and its group are killed at the deadline, and whatever it leaves behind in its group when it ends.

    ok: exit status 0 · bad: another one, a signal, the deadline · unknown: it could not be started. data: ``exit_status`` or ``signal``,
    ``stdout`` and ``stderr`` (the last `output_limit` bytes of each, decoded), ``truncated``. `merge` sends stderr into stdout.
    """

    argv: Tuple[str, ...]
    user: Optional[str] = None
    cwd: Optional[str] = None
    environment: Tuple[Tuple[str, str], ...] = ()
    stdin: bytes = b""
    output_limit: int = 65536
    merge: bool = False

    def begin(self, now: float) -> Machine:
        return _Running(self)


class _Running(Machine):
    """One epoll descriptor stands for the child's pipes, its exit and the report of a failed exec."""

    events = select.EPOLLIN

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pid: Optional[int] = None
        self._poll: Optional[select.epoll] = None
        self._held: Set[int] = set()
        self._watched: Set[int] = set()
        self._errors = self._output = self._input = self._exit = -1
        self._outputs: Dict[int, bytearray] = {}
        self._kept: Tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._truncated = False
        self._stdin = memoryview(run.stdin)
        try:
            refuse_if_stuck(run.argv[0])
            self._start(account_for(run.user))
        except CannotStart as refusal:
            self.outcome = refusal.outcome
        except (OSError, ValueError) as error:
            number = (error.errno if isinstance(error, OSError) else None) or 0
            self.outcome = Outcome("unknown", reason_for(number), ("cannot start %s: %s" % (run.argv[0], error))[:500])

    def _start(self, account: Optional[Account]) -> None:
        run = self._run
        self._poll = select.epoll()
        self._errors, errors = self._pair()
        self._output, output = self._pair()
        self._outputs[self._output] = self._kept[0]
        error_output = output
        if not run.merge:
            error_reading, error_output = self._pair()
            self._outputs[error_reading] = self._kept[1]
        source, self._input = self._pair()
        self._pid = fork(
            Plan(
                run.argv, base_environment(account, dict(run.environment)), account, run.cwd or "/", (source, output, error_output), errors
            )
        )
        for descriptor in sorted({errors, output, error_output, source}):
            self._drop(descriptor)
        self._exit = exit_descriptor(self._pid)
        self._held.add(self._exit)
        for descriptor in (self._errors, self._exit, *self._outputs):
            self._watch(descriptor, select.EPOLLIN)
        if run.stdin:
            self._watch(self._input, select.EPOLLOUT)
        else:
            self._drop(self._input)
            self._input = -1
        self.fd = self._poll.fileno()

    def _pair(self) -> Tuple[int, int]:
        ends = pipe()
        self._held.update(ends)
        return ends

    def _watch(self, descriptor: int, events: int) -> None:
        os.set_blocking(descriptor, False)
        if self._poll is not None:
            self._poll.register(descriptor, events)
            self._watched.add(descriptor)

    def _drop(self, descriptor: int) -> None:
        # Closing alone does not end the watch while a child just forked still holds a copy.
        if descriptor in self._watched and self._poll is not None:
            self._watched.discard(descriptor)
            self._poll.unregister(descriptor)
        self._held.discard(descriptor)
        os.close(descriptor)

    def advance(self, now: float) -> None:
        if self._poll is None or self._pid is None:
            return
        ready = [descriptor for descriptor, _events in self._poll.poll(0)]
        if self._errors in ready and self._failed_to_start():
            return
        for descriptor in ready:
            if descriptor in self._outputs:
                self._read(descriptor)
            elif descriptor == self._input:
                self._feed()
        if self._exit in ready:
            self._finish()

    def _failed_to_start(self) -> bool:
        report = os.read(self._errors, 4096)
        self._drop(self._errors)
        self._errors = -1
        if report:
            self._bury()
            self.outcome = explain(self._run.argv, self._run.cwd, report.decode("utf-8", "replace"))
        return bool(report)

    def _read(self, descriptor: int) -> int:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            del self._outputs[descriptor]
            self._drop(descriptor)
            return 0
        kept = self._kept[0] if descriptor == self._output else self._kept[1]
        kept += data
        if len(kept) > self._run.output_limit:
            self._truncated = True
            del kept[: len(kept) - self._run.output_limit]
        return len(data)

    def _feed(self) -> None:
        try:
            self._stdin = self._stdin[os.write(self._input, self._stdin[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]  # the program does not want to read it all: its right
        if not self._stdin:
            self._drop(self._input)
            self._input = -1

    def _finish(self) -> None:
        code = self._bury()
        # What the program wrote lies in the pipes, at most their capacity. Whoever left the group may still write: not waited for.
        for descriptor in list(self._outputs):
            left = _CHUNK
            while left > 0 and descriptor in self._outputs:
                got = self._read(descriptor)
                left = left - got if got else 0
        data = self._data()
        if code is None:
            detail = "somebody else reaped %s; its exit status is lost" % self._run.argv[0]
            self.outcome = Outcome("unknown", Reason.CANCELLED, detail, data)
        elif code < 0:
            data["signal"] = signal_name(-code)
            self.outcome = Outcome("bad", Reason.KILLED_BY_SIGNAL, last_line("killed by %s" % ending(code), data), data)
        else:
            data["exit_status"] = code
            verdict: Tuple[str, Optional[Reason]] = ("ok", None) if code == 0 else ("bad", Reason.EXIT_STATUS)
            self.outcome = Outcome(verdict[0], verdict[1], last_line(ending(code), data), data)

    def _data(self) -> Dict[str, object]:
        stdout, stderr = (bytes(kept).decode("utf-8", "replace") for kept in self._kept)
        return {"stdout": stdout, "stderr": stderr, "truncated": self._truncated}

    def expire(self, now: float) -> None:
        self._bury()
        detail = "%s did not end in time and was killed with its group" % self._run.argv[0]
        self.outcome = Outcome("bad", Reason.TIMEOUT, detail[:500], self._data())

    def _bury(self) -> Optional[int]:
        pid, self._pid = self._pid, None
        return None if pid is None else bury(pid, self._run.argv[0])

    def close(self) -> None:
        self._bury()
        for descriptor in list(self._held):
            self._drop(descriptor)
        self._outputs.clear()
        if self._poll is not None:
            self._poll.close()
        self.fd = None


def detach(work: Callable[[int, int], None]) -> Tuple[int, int]:
    """Run `work` in a process that goes on when this one ends, without a program of its own: whatever it imports must be imported.

    It gets a descriptor to read from us and one to answer; ours to read and to write are returned. It has a session of its own and nothing
    else that was open. Raises OSError."""
    from_it, its_answers = pipe()
    its_orders, to_it = pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _alone(work, its_orders, its_answers)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    for theirs in (its_answers, its_orders):
        os.close(theirs)
    return from_it, to_it


def _alone(work: Callable[[int, int], None], orders: int, answers: int) -> None:
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP) and callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    os.chdir("/")
    for target in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), target)
    _close_all_but(orders, answers)
    work(orders, answers)


def last_line(what: str, data: Mapping[str, object]) -> str:
    """`what`, and the last line the program wrote: on stderr, or else on stdout; safe on any terminal."""
    for stream in ("stderr", "stdout"):
        lines = [line.strip() for line in str(data[stream]).splitlines() if line.strip()]
        if lines:
            shown = "".join(c if c.isprintable() else " " if c == "\t" else repr(c)[1:-1] for c in lines[-1][:500])
            return ("%s: %s" % (what, shown))[:500]
    return what


__all__ = ["Plan", "REHEARSED", "Run", "detach", "fork", "last_line", "pipe", "refuse_if_stuck"]
