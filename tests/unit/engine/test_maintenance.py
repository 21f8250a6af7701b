# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the host is booting, about to stop, or having its packages changed; against real files and real locks of real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import pytest

from selfheal._engine.maintenance import ANSWER_HOLDS, NOLOGIN_HOLDS, PACKAGE_LOCKS, HostState

HOLDER = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, getattr(fcntl, sys.argv[2])); print(flush=True); sys.stdin.read()"


class Holder:
    """Another process that holds a lock on a file."""

    def __init__(self, path, kind):
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdout.readline()

    def __enter__(self):
        return self.process.pid

    def __exit__(self, *_error):
        self.process.communicate("", timeout=10)


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "lock-frontend"
    path.touch()
    return path


def state(tmp_path, lock, kind=fcntl.F_WRLCK):
    return HostState(str(tmp_path / "nologin"), ((str(tmp_path / "absent"), kind, "dpkg"), (str(lock), kind, "apt")))


def test_nothing_goes_on(tmp_path, lock):
    """A lock file that nobody holds, one that is absent, and no nologin: nothing."""
    assert state(tmp_path, lock).why(0.0) is None


def test_packages_are_being_changed(tmp_path, lock):
    """Whoever holds the package manager's lock is named, and nothing of the lock is touched."""
    with Holder(lock, "LOCK_EX") as pid:
        assert "packages are being changed: apt holds %s (pid %d)" % (lock, pid) == state(tmp_path, lock).why(0.0)
    assert state(tmp_path, lock).why(0.0) is None


def test_an_answer_holds_for_a_second_and_no_longer_than_wanted(tmp_path, lock):
    """Answers are kept for a second; whoever is about to act asks anew."""
    asked = state(tmp_path, lock)
    assert asked.why(0.0) is None
    with Holder(lock, "LOCK_EX"):
        assert asked.why(ANSWER_HOLDS / 2) is None
        asked.forget()
        assert asked.why(ANSWER_HOLDS / 2) is not None


@pytest.mark.parametrize("held, busy", [("LOCK_SH", False), ("LOCK_EX", True)])
def test_reading_the_package_database_changes_nothing(tmp_path, lock, held, busy):
    """rpm -q takes a reader's lock, a transaction a writer's: only that counts."""
    with Holder(lock, held):
        assert busy is (state(tmp_path, lock, fcntl.F_RDLCK).why(0.0) is not None)


@pytest.mark.parametrize("age, busy", [(0, True), (NOLOGIN_HOLDS - 60, True), (NOLOGIN_HOLDS + 60, False), (-NOLOGIN_HOLDS - 60, False)])
def test_nologin(tmp_path, lock, age, busy):
    """The host is booting or about to stop while systemd's nologin is there; one that was left there does not stop healing for ever."""
    path = tmp_path / "nologin"
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    why = state(tmp_path, lock).why(0.0)
    assert busy is (why is not None) and (not busy or str(path) in why)


def test_asked_once_a_second(tmp_path, lock):
    """It is asked with every decision and answered from memory for a second."""
    asked = state(tmp_path, lock)
    assert asked.why(10.0) is None
    (tmp_path / "nologin").touch()
    assert asked.why(10.0 + ANSWER_HOLDS / 2) is None
    assert asked.why(10.0 + ANSWER_HOLDS) is not None


def test_the_locks_of_the_package_managers():
    """Debian's and RedHat's package managers are both known."""
    assert {"apt", "dpkg", "rpm"} == {whose for _path, _kind, whose in PACKAGE_LOCKS}
