# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes as the kernel shows them: who belongs to a session or group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from selfheal import _proc

# The leader of a session, with one child in its group and one in a group of its own; it says their pids and waits.
LEADER = """
import os, signal, sys
def child(apart):
    pid = os.fork()
    if pid == 0:
        if apart:
            os.setpgid(0, 0)
        os.write(1, b"%d\\n" % os.getpid())
        signal.pause()
    return pid
child(False)
child(True)
signal.pause()
"""


@pytest.fixture
def family():
    """(leader, its children)."""
    leader = subprocess.Popen([sys.executable, "-c", LEADER], stdout=subprocess.PIPE, start_new_session=True)
    children = sorted(int(leader.stdout.readline()) for _child in range(2))
    try:
        yield leader, children
    finally:
        for pid in [*children, leader.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # a test has killed it
        leader.wait(10)
        leader.stdout.close()


def test_who_belongs_to_a_session(family):
    """All of a session are found, also those in groups of their own, and nobody else."""
    leader, children = family
    assert sorted([leader.pid, *children]) == sorted(found.pid for found in _proc.led_by(leader.pid))


def test_who_is_left_of_a_session(family):
    """The session outlives its leader: who is left of it is found by the leader's number."""
    leader, children = family
    leader.kill()
    leader.wait(10)
    assert children == sorted(found.pid for found in _proc.led_by(leader.pid))


def test_what_is_concealed_is_looked_at(family, monkeypatch):
    """A security module may refuse to say whose session it is; the process's stat decides then."""
    leader, children = family

    def refused(_pid):
        raise PermissionError

    monkeypatch.setattr(os, "getsid", refused)
    assert sorted([leader.pid, *children]) == sorted(found.pid for found in _proc.led_by(leader.pid))


def test_nobody_bears_the_number():
    """A session that is over has nobody."""
    gone = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    gone.wait(10)
    assert [] == list(_proc.led_by(gone.pid))
