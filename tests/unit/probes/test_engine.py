# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop: deadlines, order, steps that break, clock gaps, descriptors of the driver's own."""

from __future__ import annotations

import math
import os
import signal
import socket
import time

import pytest
from machines import Quiet, Scripted, quiet

from selfheal._core.reasons import Reason
from selfheal._host import Outcome
from selfheal._probes.engine import READ, WRITE, LocalHost


def test_expiry_in_the_order_of_deadlines(host):
    """Steps expire in the order of their deadlines, whatever the order in which they were begun, never early, each released once."""
    now = host.monotonic()
    steps = [quiet() for _each in range(20)]
    order = [7, 3, 15, 0, 11, 19, 1, 5, 9, 13, 17, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    for place in order:
        host.start(steps[place], now + 0.02 + place * 0.002, owner=place)
    ended = []
    while len(ended) < 20:
        ended += host.poll(now + 5)
    assert [handle.owner for handle in ended] == list(range(20))
    assert all(handle.ended >= handle.deadline for handle in ended)
    assert all(handle.ended - handle.deadline < 0.2 for handle in ended)
    assert {handle.outcome.reason for handle in ended} == {Reason.TIMEOUT}
    assert [step.closed for step in steps] == [1] * 20


def test_outcome_at_once(host):
    """A step that is over as soon as it begins is returned by the next poll, without waiting, and released."""
    step = quiet(outcome=Outcome("ok"))
    handle = host.start(step, host.monotonic() + 100)
    before = time.monotonic()
    assert host.poll(before + 100) == [handle]
    assert time.monotonic() - before < 1
    assert (handle.outcome.status, step.closed) == ("ok", 1)


def test_poll_waits_until_and_no_longer(host):
    """With nothing ended, poll returns nothing at `until`."""
    host.start(quiet(), host.monotonic() + 100)
    before = host.monotonic()
    assert host.poll(before + 0.05) == []
    assert 0.05 <= host.monotonic() - before < 0.25


def test_poll_in_the_past_still_serves(host):
    """A driver that is late still sees what is ready."""
    read, write = os.pipe()
    handle = host.start(quiet(fd=read), host.monotonic() + 100)
    os.write(write, b"x")
    assert host.poll(host.monotonic() - 1) == [handle]
    os.close(read)
    os.close(write)


def test_ready_answer_counts_even_if_late(host):
    """An answer that lies ready when the loop comes late is an answer, not a timeout."""
    read, write = os.pipe()
    handle = host.start(quiet(fd=read), host.monotonic() + 0.01)
    os.write(write, b"x")
    while host.monotonic() < handle.deadline:
        signal.sigtimedwait((), 0.005)
    assert host.poll(host.monotonic() + 1) == [handle]
    assert handle.outcome.status == "ok"
    os.close(read)
    os.close(write)


def broken(part):
    class Broken(Quiet):
        def __init__(self, step):
            Quiet.__init__(self, step, fd=step.fd)
            if part == "begin":
                raise RuntimeError("broke in begin")

        def advance(self, now):
            raise RuntimeError("broke in advance")

        def expire(self, now):
            raise RuntimeError("broke in expire")

    return Broken


@pytest.mark.parametrize("part", ["begin", "advance", "expire"])
def test_step_that_raises_is_unknown(host, part):
    """C21: a step that breaks becomes unknown with its message, and the loop and its other steps go on."""
    read, write = os.pipe()
    os.write(write, b"x")
    step = Scripted(broken(part))
    step.fd = read if part == "advance" else None
    handle = host.start(step, host.monotonic() + 0.02)
    other = host.start(quiet(), host.monotonic() + 0.04)
    ended = []
    while len(ended) < 2:
        ended += host.poll(host.monotonic() + 1)
    assert ended == [handle, other]
    assert (handle.outcome.status, handle.outcome.reason) == ("unknown", Reason.INTERNAL_ERROR)
    assert "RuntimeError: broke in " + part in handle.outcome.detail
    assert other.outcome.reason is Reason.TIMEOUT
    os.close(read)
    os.close(write)


def test_failed_release_is_reported():
    """A step that cannot be released keeps its outcome, and the leak is counted."""

    class Sticky(Quiet):
        def close(self):
            raise OSError("stuck")

    with LocalHost() as local:
        handle = local.start(Scripted(lambda step: Sticky(step, outcome=Outcome("ok"))), math.inf)
        assert local.poll(0) == [handle]
        assert handle.outcome.status == "ok"
        assert local.errors == 1
        assert "Sticky could not be released: OSError: stuck" in local.last_error


def test_cancelled_step_is_released_and_never_returned(host):
    """A cancelled step releases what it holds at once; cancelling it again, or one that has ended, does no harm."""
    running, over = quiet(), quiet(outcome=Outcome("ok"))
    first = host.start(running, host.monotonic() + 0.01)
    second = host.start(over, host.monotonic() + 0.01)
    for handle in (first, first, second, second):
        host.cancel(handle)
    assert (running.closed, over.closed) == (1, 1)
    assert host.poll(host.monotonic() + 0.05) == []


def test_close_releases_everything():
    """Closing the host cancels what is under way, with or without a deadline or a descriptor."""
    read, write = os.pipe()
    steps = [quiet(), quiet(fd=read), quiet(fd=write, events=0)]
    with LocalHost() as local:
        for step, deadline in zip(steps, (time.monotonic() + 100, math.inf, time.monotonic() + 100)):
            local.start(step, deadline)
    assert [step.closed for step in steps] == [1, 1, 1]
    os.close(read)
    os.close(write)


def test_two_steps_on_one_descriptor_are_refused(host):
    """A descriptor belongs to one step: the second is unknown instead of hanging, the first is not disturbed."""
    read, write = os.pipe()
    first = host.start(quiet(fd=read), host.monotonic() + 5)
    second = host.start(quiet(fd=read), host.monotonic() + 5)
    assert host.poll(host.monotonic() + 1) == [second]
    assert (second.outcome.status, second.outcome.reason) == ("unknown", Reason.INTERNAL_ERROR)
    os.write(write, b"x")
    assert host.poll(host.monotonic() + 1) == [first]
    os.close(read)
    os.close(write)


def test_descriptor_that_stays_open_is_forgotten(host):
    """After a step has ended its descriptor, still open and readable, keeps nobody busy and can be watched anew."""
    read, write = os.pipe()
    os.write(write, b"x")
    handle = host.start(quiet(fd=read), math.inf)
    assert host.poll(host.monotonic() + 1) == [handle]
    before = time.process_time()
    assert host.poll(host.monotonic() + 0.1) == []
    assert time.process_time() - before < 0.05
    handle = host.start(quiet(fd=read), math.inf)
    assert host.poll(host.monotonic() + 1) == [handle]
    os.close(read)
    os.close(write)


def test_machine_that_changes_its_descriptor(host):
    """A machine may go on with another descriptor, other events, or none."""
    pipes = [os.pipe(), os.pipe()]

    class Changing(Quiet):
        def advance(self, now):
            self.advanced += 1
            if self.advanced == 1:
                self.fd = pipes[1][0]
            elif self.advanced == 2:
                self.fd, self.events = pipes[1][1], WRITE
            else:
                self.fd = None

    machines = []
    step = Scripted(lambda made: machines.append(Changing(made, fd=pipes[0][0])) or machines[0])
    handle = host.start(step, host.monotonic() + 0.2)
    for _read, write in pipes:
        os.write(write, b"x")
    assert host.poll(host.monotonic() + 2) == [handle]
    assert machines[0].advanced == 3
    assert handle.outcome.reason is Reason.TIMEOUT
    for pair in pipes:
        for end in pair:
            os.close(end)


def test_registered_descriptor(host):
    """The driver's own descriptors are served inside poll; `wake` makes it return; `modify` and `unregister` are honoured."""
    ours, theirs = socket.socketpair()
    ready = []

    def called(events):
        ready.append(events)
        host.wake()

    host.register(ours.fileno(), READ, called)
    assert host.poll(host.monotonic() + 0.01) == []
    theirs.send(b"x")
    assert host.poll(host.monotonic() + 60) == []
    host.modify(ours.fileno(), WRITE)
    assert host.poll(host.monotonic() + 60) == []
    theirs.close()
    assert host.poll(host.monotonic() + 60) == []
    assert ready == [READ, WRITE, READ | WRITE]
    host.unregister(ours.fileno())
    assert host.poll(host.monotonic() + 0.01) == []
    ours.close()


def test_callback_may_start_and_cancel(host):
    """A callback may begin and cancel steps, also one whose event is in the same batch and whose descriptor number is taken again."""
    doorbell, ring = os.pipe()
    read, write = os.pipe()

    class Owner(Quiet):
        def close(self):
            Quiet.close(self)
            os.close(self.fd)

    victim = host.start(Scripted(lambda step: Owner(step, fd=read)), math.inf)
    fresh = []

    def called(_events):
        os.read(doorbell, 1)
        host.cancel(victim)
        again, other = os.pipe()
        assert again == read
        step = Scripted(lambda made: Owner(made, fd=again))
        fresh.append((host.start(step, host.monotonic() + 0.05), other))

    host.register(doorbell, READ, called)
    os.write(ring, b"x")
    os.write(write, b"x")
    ended = host.poll(host.monotonic() + 5)
    assert ended == [fresh[0][0]]
    assert ended[0].outcome.reason is Reason.TIMEOUT, "it was given its predecessor's event"
    host.unregister(doorbell)
    for end in (doorbell, ring, write, fresh[0][1]):
        os.close(end)


def test_what_a_callback_raises_comes_out(host):
    """The driver's own bugs are its own; nothing that has ended is lost by them."""
    read, write = os.pipe()

    def called(_events):
        os.read(read, 1)
        raise RuntimeError("the driver's bug")

    host.register(read, READ, called)
    over = host.start(quiet(outcome=Outcome("ok")), math.inf)
    os.write(write, b"x")
    with pytest.raises(RuntimeError, match="driver's bug"):
        host.poll(host.monotonic() + 1)
    assert host.poll(host.monotonic() + 1) == [over]
    host.unregister(read)
    os.close(read)
    os.close(write)
