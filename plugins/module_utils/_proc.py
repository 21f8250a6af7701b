# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes as the kernel shows them: which one it is, when it started, when it ends; and burying our own children.

A pid alone names nobody, as the kernel gives it out again. Pid and start time (clock ticks since boot, proc(5) field 22) name one
process of this boot; with the boot id, one for ever. Starts no process; that is `_spawn`. Stands beside it in the order of imports.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
import time
from dataclasses import dataclass
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ._core.reasons import Reason
from ._host import Machine, Outcome, Step

TICKS = os.sysconf("SC_CLK_TCK")
STUCK_AFTER = 1.0
# Death after KILL takes some 0.2 ms; waiting so long for it spares a thread. Only after a timeout or an early end.
_REAP_AT_ONCE_MS = 5


class Stat(NamedTuple):
    """What /proc/<pid>/stat says; `state` is its letter, `start_time` in clock ticks since boot."""

    pid: int
    state: str
    group: int
    session: int
    threads: int
    start_time: int

    @property
    def dead(self) -> bool:
        """A zombie runs on while it has other threads."""
        return self.state in "ZXx" and self.threads <= 1


def stat(pid: int) -> Optional[Stat]:
    """None when there is no such process (or hidepid conceals it). Raises other OSErrors."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(pid, fields[0].decode("ascii"), int(fields[2]), int(fields[3]), int(fields[17]), int(fields[19]))


def led_by(number: int) -> Iterator[Stat]:
    """Processes of the session or of the group of that number. Asking the kernel for both takes a twentieth of reading every stat."""
    for name in os.listdir("/proc"):
        if name.isdigit() and _may_be_led(int(name), number):
            found = stat(int(name))
            if found is not None and number in (found.session, found.group):
                yield found


def _may_be_led(pid: int, number: int) -> bool:
    try:
        return number in (os.getsid(pid), os.getpgid(pid))
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a security module conceals it; its stat may be readable all the same


def alive(pid: int, start_time: int) -> bool:
    """Whether that very process runs; a zombie does not."""
    found = stat(pid)
    return found is not None and found.start_time == start_time and not found.dead


def owner_of(pid: int) -> Optional[int]:
    """The process's real uid, None when it is gone."""
    try:
        with open("/proc/%d/status" % pid, "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None


def since(start_time: int) -> float:
    """A start time in monotonic seconds. It counts from boot, suspended time included; the monotonic clock leaves that out."""
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - start_time / TICKS)


def started_wall(start_time: int) -> float:
    """A start time in seconds since the epoch, by today's clock."""
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - start_time / TICKS)


def instance_id(boot_id: str, pid: int, start_time: int) -> str:
    """Names one process for ever: ``<boot id>:<pid>:<start time>``."""
    return "%s:%d:%d" % (boot_id, pid, start_time)


def parse_instance(identity: str) -> Tuple[int, int]:
    """Pid and start time of an `instance_id`. Raises ValueError."""
    _boot, pid, start = identity.rsplit(":", 2)
    return int(pid), int(start)


# ---- waiting for the end of any process


def open_process(pid: int, start_time: int) -> Optional[int]:
    """A pidfd of that very process, None when it is gone. Raises OSError (ENOSYS where kernel or Python have none)."""
    if not hasattr(os, "pidfd_open"):
        raise OSError(errno.ENOSYS, "this Python has no pidfd_open")
    try:
        descriptor = os.pidfd_open(pid, 0)
    except ProcessLookupError:
        return None
    # Only now: had the pid been given to another before, the start time would tell; it cannot be given away any more.
    if alive(pid, start_time):
        return descriptor
    os.close(descriptor)
    return None


def can_wait() -> bool:
    """Whether kernel and Python have pidfds (Linux 5.3, Python 3.9)."""
    try:
        os.close(os.pidfd_open(os.getpid(), 0))
    except AttributeError:
        return False
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True


def send(pid: int, start_time: int, number: int) -> bool:
    """Send a signal to that very process and no other; False when it is gone. Raises PermissionError."""
    try:
        descriptor = open_process(pid, start_time)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        descriptor = -1 if alive(pid, start_time) else None
    if descriptor is None:
        return False
    try:
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


@dataclass(frozen=True)
class Gone(Step):
    """Ends when that very process does: ok, with data ``exit_status`` or ``signal`` if it was our child (which is reaped).

    At the deadline: bad, timeout. unknown where the kernel cannot tell (no pidfd).
    """

    pid: int
    start_time: int

    def begin(self, now: float) -> Machine:
        return _Waiting(self)


class _Waiting(Machine):
    events = select.EPOLLIN

    def __init__(self, step: Gone) -> None:
        self._step = step
        try:
            self.fd = open_process(step.pid, step.start_time)
        except OSError as error:
            reason = Reason.UNSUPPORTED if error.errno == errno.ENOSYS else Reason.RESOURCE_LIMIT
            self.outcome = Outcome("unknown", reason, "cannot wait for the end of pid %d: %s" % (step.pid, error.strerror))
            return
        if self.fd is None:
            self.outcome = self._gone()

    def advance(self, now: float) -> None:
        # Asked again: a loop may report a descriptor for a predecessor of the same number.
        if not alive(self._step.pid, self._step.start_time):
            self.outcome = self._gone()

    def _gone(self) -> Outcome:
        code = reap(self._step.pid)
        if code is None:
            return Outcome("ok", None, "pid %d is gone" % self._step.pid)
        data = {"signal": signal_name(-code)} if code < 0 else {"exit_status": code}
        return Outcome("ok", None, "pid %d ended with %s" % (self._step.pid, ending(code)), data)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


@dataclass(frozen=True)
class Pause(Step):
    """Nothing, until the deadline: then ok."""

    def begin(self, now: float) -> Machine:
        return _Pausing()


class _Pausing(Machine):
    def advance(self, now: float) -> None:
        """Never called: there is no descriptor."""

    def expire(self, now: float) -> None:
        self.outcome = Outcome("ok")


# ---- our own children

_stuck: Dict[int, Tuple[str, float]] = {}
_services: Dict[int, Optional[int]] = {}
_SERVICES_KEPT = 256


def stuck() -> List[Tuple[int, str]]:
    """(pid, program) of every child that was killed and has not died within a second."""
    late = time.monotonic() - STUCK_AFTER
    return [(pid, program) for pid, (program, killed) in list(_stuck.items()) if killed <= late]


def exit_descriptor(pid: int) -> int:
    """A descriptor that becomes readable when our child `pid` ends: a pidfd, or a pipe fed by a waiting thread where the kernel (< 5.3)
    or this Python has none. Raises OSError."""
    try:
        return os.pidfd_open(pid, 0)
    except AttributeError:
        return _exit_pipe(pid)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # EPERM: a container's system call filter
            raise
        return _exit_pipe(pid)


def _exit_pipe(pid: int) -> int:
    reading, writing = os.pipe()
    threading.Thread(target=_close_at_exit, args=(pid, writing), name="selfheal-exit-%d" % pid, daemon=True).start()
    return reading


def _close_at_exit(pid: int, writing: int) -> None:
    try:
        ended(pid, wait=True)
    finally:
        os.close(writing)


def ended(pid: int, wait: bool = False) -> bool:
    """Whether our child has ended; it stays unreaped, so that its pid cannot be given to another."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)) is not None
    except ChildProcessError:
        return True


def kill_group(pid: int) -> None:
    """KILL our unreaped child and its group. The child itself is named too: it may not have come to its setsid yet."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # nobody left there: what was wanted
        except PermissionError:
            continue  # it became another user by a set-uid program: it stays in `stuck` and is counted there


def reap(pid: int) -> Optional[int]:
    """The exit code (negative: the signal) of our child if it has ended, once; None while it lives or when it is no child of ours."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    if found == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    if pid in _services:
        _services[pid] = code
    return code


def keep_service(pid: int, unwatched: bool = False) -> None:
    """A child that goes on after its step. Whoever watches it reaps it; `unwatched`, a thread does. `service_code` tells how it ended."""
    if len(_services) >= _SERVICES_KEPT:
        for known in [known for known, code in _services.items() if code is not None]:
            del _services[known]
    _services[pid] = None
    if unwatched:
        threading.Thread(target=_reap_service, args=(pid,), name="selfheal-reap-%d" % pid, daemon=True).start()


def _reap_service(pid: int) -> None:
    ended(pid, wait=True)
    reap(pid)


def reap_services() -> None:
    """Reap services of ours that have ended, watched or not."""
    for pid in [pid for pid, code in _services.items() if code is None]:
        reap(pid)


def service_code(pid: int) -> Optional[int]:
    """How a service that we started ended; None when it lives or was started by another process."""
    return _services.get(pid)


def bury(pid: int, program: str) -> Optional[int]:
    """Kill our child's group and reap the child: its exit code, or None when it has not died at once (it is `stuck` until it does)."""
    kill_group(pid)
    if not ended(pid):
        _await_briefly(pid)
    if ended(pid):
        return reap(pid)
    _stuck[pid] = (program, time.monotonic())
    threading.Thread(target=_reap_at_exit, args=(pid,), name="selfheal-reap-%d" % pid, daemon=True).start()
    return None


def _await_briefly(pid: int) -> None:
    try:
        descriptor = exit_descriptor(pid)
    except OSError:
        return  # out of descriptors: the thread that `bury` starts reaps it
    try:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll(_REAP_AT_ONCE_MS)
    finally:
        os.close(descriptor)


def _reap_at_exit(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # reaped by somebody else in this process
    finally:
        _stuck.pop(pid, None)


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; ``signal 40`` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def ending(code: int) -> str:
    """An exit code in words: ``exit status 3``, ``SIGKILL``."""
    return signal_name(-code) if code < 0 else "exit status %d" % code


__all__ = [
    "Gone",
    "Pause",
    "Stat",
    "alive",
    "bury",
    "can_wait",
    "ended",
    "ending",
    "exit_descriptor",
    "instance_id",
    "keep_service",
    "kill_group",
    "led_by",
    "open_process",
    "owner_of",
    "parse_instance",
    "reap",
    "reap_services",
    "send",
    "service_code",
    "signal_name",
    "since",
    "started_wall",
    "stat",
    "stuck",
]
