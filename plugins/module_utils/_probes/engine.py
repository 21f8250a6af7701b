# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real host: one thread, one epoll loop, any number of steps under way, each with a hard total deadline.

Waking up is what probing costs, so due steps are started together and served in one pass. Three things are kept exact:

- An answer that lies ready counts, even if this loop comes late; only then is the deadline looked at.
- Steps expire in the order of their deadlines.
- A deadline that this process could not keep (it was stopped, the machine was suspended, it was starved for more than
  `GAP` seconds) proves nothing about the target: the outcome is unknown with reason clock_gap.

A machine that changes its `fd` keeps the old descriptor open until it is called again or closed: an unchanged number would look
like an unchanged descriptor, and a closed one cannot be taken out of the epoll set while a child just forked holds a copy.
A descriptor is watched for one owner at a time.
"""

from __future__ import annotations

import errno
import heapq
import math
import select
import time
from typing import Any, Callable, Dict, List, Tuple, Union

from .._core.reasons import Reason
from .._host import Handle, Host, Machine, Outcome, Step

READ = 1
WRITE = 2
"""The bits of `Machine.events`: those of `selectors.EVENT_READ` and `EVENT_WRITE`."""

GAP = 2.0
LONGEST_DETAIL = 500

# What the kernel says when this process or host is out of something: no fault of the target.
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN, errno.ENOSPC))

_IN, _OUT, _BROKEN = 1, 4, 24  # EPOLLIN, EPOLLOUT, EPOLLERR | EPOLLHUP
_MASKS = (0, _IN, _OUT, _IN | _OUT)
_LONGEST_WAIT = 86400.0


class _Running(Handle):
    """A handle with what the loop keeps about it. `round` is the pass in which its descriptor was last registered."""

    __slots__ = ("fd", "events", "round")

    def __init__(self, step: Step, owner: Any, started: float, deadline: float) -> None:
        # Spelt out rather than passed up: this runs once per probe.
        self.step = step
        self.owner = owner
        self.started = started
        self.deadline = deadline
        self.ended = None
        self.outcome = None
        self.machine = None
        self.fd = -1
        self.events = 0
        self.round = 0


class _Watch:
    """A descriptor of somebody else's, and what to call when it is ready."""

    __slots__ = ("callback", "round")

    def __init__(self, callback: Callable[[int], None], served: int) -> None:
        self.callback = callback
        self.round = served


def failed_inside(what: str, error: BaseException) -> Outcome:
    """The outcome of a step that broke: unknown, since nothing was learnt about its target; the cause in `detail`."""
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return Outcome("unknown", Reason.RESOURCE_LIMIT, ("%s: %s" % (what, error.strerror))[:LONGEST_DETAIL])
    if isinstance(error, PermissionError):
        return Outcome("unknown", Reason.NO_PERMISSION, ("%s: %s" % (what, error))[:LONGEST_DETAIL])
    return Outcome("unknown", Reason.INTERNAL_ERROR, ("%s: %s: %s" % (what, type(error).__name__, error))[:LONGEST_DETAIL])


class LocalHost(Host):
    """Runs steps on this machine, from one thread. Use as a context manager, or `close` it.

    `errors` counts failures to release what a step held, and `last_error` says the newest: they change no outcome.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: Dict[int, Union[_Running, _Watch]] = {}
        self._heap: List[Tuple[float, int, _Running]] = []
        self._count = 0
        self._live = 0
        self._ended: List[Handle] = []
        self._round = 0
        self._gap_at = -math.inf
        self._awake = False
        self.errors = 0
        self.last_error = ""

    def __enter__(self) -> LocalHost:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel every step under way and release the loop's own descriptor."""
        for entry in list(self._watched.values()) + [item[2] for item in self._heap]:
            if isinstance(entry, _Running):
                self.cancel(entry)
        self._watched.clear()
        self._heap.clear()
        self._epoll.close()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def start(self, step: Step, deadline: float, owner: Any = None) -> Handle:
        now = time.monotonic()
        running = _Running(step, owner, now, deadline)
        try:
            machine = step.begin(now)
        except Exception as error:  # the loop outlives every step
            running.outcome = failed_inside("the step could not begin", error)
            running.ended = now
            self._ended.append(running)
            return running
        running.machine = machine
        self._live += 1
        if machine.outcome is not None:
            self._end(running, time.monotonic())
            return running
        if deadline != math.inf:
            self._count += 1
            heapq.heappush(self._heap, (deadline, self._count, running))
            if len(self._heap) > 2 * self._live + 64:
                self._heap = [item for item in self._heap if item[2].machine is not None]
                heapq.heapify(self._heap)
        if machine.fd is not None:
            self._sync(running, machine)
        return running

    def cancel(self, handle: Handle) -> None:
        if handle.machine is not None and isinstance(handle, _Running):
            self._release(handle, handle.machine)
        elif handle in self._ended:
            self._ended.remove(handle)

    def poll(self, until: float) -> List[Handle]:
        while True:
            served = self._serve(until)
            if self._heap:
                self._expire(served)
            if self._ended:
                ended, self._ended = self._ended, []
                return ended
            if self._awake or time.monotonic() >= until:
                self._awake = False
                return []

    # Descriptors of the driver's own: listening sockets, the signal wake-up, pipes.

    def register(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(ready)`` from inside `poll` whenever `fd` is ready for `events` (an error or hang-up counts as both).

        What a callback raises comes out of `poll`; nothing is lost by that, the next `poll` goes on.
        """
        if fd in self._watched:
            raise ValueError("descriptor %d is watched already" % fd)
        self._add(fd, _MASKS[events])
        self._watched[fd] = _Watch(callback, self._round)

    def modify(self, fd: int, events: int) -> None:
        """Watch a registered descriptor for other events."""
        self._epoll.modify(fd, _MASKS[events])

    def unregister(self, fd: int) -> None:
        """Stop watching; call it before closing the descriptor."""
        del self._watched[fd]
        self._epoll.unregister(fd)

    def wake(self) -> None:
        """Make the `poll` under way return, even with nothing ended; for callbacks."""
        self._awake = True

    def _serve(self, until: float) -> float:
        """Wait, and serve what is ready. Returns the time at which that was done: what answered until then is in time."""
        before = time.monotonic()
        if self._ended or self._awake:
            timeout: float = 0
        else:
            due = min(self._heap[0][0], until) if self._heap else until
            timeout = 0 if due <= before else min(due - before, _LONGEST_WAIT)
        asleep_since = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._round += 1
        events = self._epoll.poll(timeout)
        # The boot clock also counts a suspended machine, which the monotonic one does not.
        if time.clock_gettime(time.CLOCK_BOOTTIME) - asleep_since > timeout + GAP:
            self._gap_at = time.monotonic()
        now = before
        watched = self._watched
        for fd, mask in events:
            entry = watched.get(fd)
            if entry is None:
                self._forget(fd)  # its owner went without a word
            elif entry.round == self._round:
                continue  # registered during this pass: the event was its predecessor's, and a true one comes again
            elif entry.__class__ is _Running:
                now = time.monotonic()
                self._advance(entry, now)
            else:
                ready = (READ if mask & (_IN | _BROKEN) else 0) | (WRITE if mask & (_OUT | _BROKEN) else 0)
                entry.callback(ready)  # type: ignore[union-attr]
        return time.monotonic()

    def _advance(self, running: _Running, now: float) -> None:
        machine = running.machine
        if machine is None:
            return
        try:
            machine.advance(now)
        except Exception as error:  # the loop outlives every machine
            machine.outcome = failed_inside("the step broke", error)
        if machine.outcome is not None:
            self._end(running, now)
        elif machine.fd != running.fd or machine.events != running.events:
            self._sync(running, machine)

    def _expire(self, now: float) -> None:
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].machine is None):
            running = heapq.heappop(heap)[2]
            machine = running.machine
            if machine is None:
                continue
            try:
                machine.expire(now)
                if machine.outcome is None:
                    machine.outcome = Outcome("bad", Reason.TIMEOUT)
            except Exception as error:  # the loop outlives every machine
                machine.outcome = failed_inside("the step broke at its deadline", error)
            if now - running.deadline > GAP or running.started <= self._gap_at:
                self._excuse(machine)
            self._end(running, now)
            heap = self._heap

    @staticmethod
    def _excuse(machine: Machine) -> None:
        outcome = machine.outcome
        if outcome is not None and outcome.status == "bad" and outcome.reason is Reason.TIMEOUT:
            detail = "this process or machine stood still meanwhile, so this proves nothing: %s" % (outcome.detail or "the deadline passed")
            machine.outcome = Outcome("unknown", Reason.CLOCK_GAP, detail[:LONGEST_DETAIL], outcome.data)

    def _end(self, running: _Running, now: float) -> None:
        machine = running.machine
        if machine is None:
            return
        running.ended = now
        running.outcome = machine.outcome
        self._release(running, machine)
        self._ended.append(running)

    def _release(self, running: _Running, machine: Machine) -> None:
        running.machine = None
        self._live -= 1
        if running.fd >= 0:
            self._forget(running.fd)
            running.fd = -1
        try:
            machine.close()
        except Exception as error:  # what the step found stands; the leak is reported
            self.errors += 1
            self.last_error = "%s could not be released: %s: %s" % (type(machine).__name__, type(error).__name__, error)

    def _sync(self, running: _Running, machine: Machine) -> None:
        """Watch the descriptor the machine has now, for the events it wants now."""
        fd = machine.fd
        try:
            if fd == running.fd:
                self._epoll.modify(fd, _MASKS[machine.events])
            else:
                if running.fd >= 0:
                    self._forget(running.fd)
                    running.fd = -1
                if fd is not None:
                    if fd in self._watched:
                        raise ValueError("descriptor %d is watched for another step" % fd)
                    self._add(fd, _MASKS[machine.events])
                    running.fd = fd
                    running.round = self._round
                    self._watched[fd] = running
            running.events = machine.events
        except Exception as error:  # the loop outlives every machine
            machine.outcome = failed_inside("the step's descriptor could not be watched", error)
            self._end(running, time.monotonic())

    def _add(self, fd: int, mask: int) -> None:
        try:
            self._epoll.register(fd, mask)
        except FileExistsError:
            self._epoll.modify(fd, mask)

    def _forget(self, fd: int) -> None:
        self._watched.pop(fd, None)
        try:
            self._epoll.unregister(fd)
        except OSError as error:  # closed already: the kernel has forgotten it
            if error.errno not in (errno.ENOENT, errno.EBADF):
                raise


__all__ = ["GAP", "LocalHost", "READ", "WRITE", "failed_inside"]
