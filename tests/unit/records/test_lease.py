# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One healer at a time: leases are held by exactly one, outlive nobody, and are never taken from the living (C46, C51)."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core.errors import LeaseHeld, RecordError
from selfheal._records.files import Owner, boot_id, process_start_time
from selfheal._records.lease import LeaseSet
from selfheal._records.names import escape, unescape


@pytest.fixture
def leases(tmp_path, clock) -> LeaseSet:
    return LeaseSet(str(tmp_path / "leases"), clock)


HOLDER = """
from selfheal._records.lease import LeaseSet
held = LeaseSet(sys.argv[1]).acquire(sys.argv[2:], "other", "deploying", 3600)
os.write(1, b"held\\n")
sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path, spawn):
    """Another process that holds leases until it is killed."""

    def start(*names: str):
        child = spawn(HOLDER, str(tmp_path / "leases"), *names, stdin=subprocess.PIPE)
        assert child.stdout.readline() == b"held\n"
        return child

    return start


def forge(leases: LeaseSet, name: str, **changes) -> None:
    path = leases._path(name)
    data = json.loads(pathlib.Path(path).read_text())
    with open(path, "w") as file:
        json.dump({**data, **changes}, file)


def test_a_lease_tells_who_holds_it_since_when_and_why(leases, clock):
    """The file is whole and names owner, holder, purpose, since and expires."""
    with leases.acquire(["unit:web.service"], "watchdog", "restart of web", 120) as held:
        data = json.loads(pathlib.Path(leases._path("unit:web.service")).read_text())
        assert data["owner"] == {"pid": os.getpid(), "start_time": process_start_time(os.getpid()), "boot_id": boot_id()}
        assert (data["holder"], data["purpose"]) == ("watchdog", "restart of web")
        assert leases.holder("unit:web.service").expires - leases.holder("unit:web.service").since == 120
        assert (held.names, held.takeovers) == (("unit:web.service",), ())
    assert (leases.holder("unit:web.service"), os.listdir(leases.directory)) == (None, [".changing"])


def test_what_another_process_holds_is_refused_and_named(leases, hold):
    """The refusal says who, which pid, since when and what for."""
    child = hold("web")
    with pytest.raises(LeaseHeld, match=r"web is held by other \(pid %d\) since .* until .* for deploying" % child.pid):
        leases.acquire(["web"], "watchdog", "restart", 60)


def test_all_or_nothing(leases, hold):
    """If one of several is held, none stays taken."""
    hold("m")
    with pytest.raises(LeaseHeld, match="^m is held"):
        leases.acquire(["a", "m", "z"], "watchdog", "restart", 60)
    assert [info.name for info in leases.list()] == ["m"]


def test_the_same_holder_in_the_same_process_may_enter_again(leases):
    """Re-entered leases stay until the outermost gives them back; another holder in this process is another."""
    outer = leases.acquire(["a"], "watchdog", "heal", 60)
    inner = leases.acquire(["a", "b"], "watchdog", "heal", 60)
    with pytest.raises(LeaseHeld):
        leases.acquire(["a"], "module", "heal", 60)
    inner.release()
    assert [info.name for info in leases.list()] == ["a"]
    outer.release()
    outer.release()
    assert leases.list() == []


def test_a_killed_holder_is_taken_over_and_named_C46_C51(leases, hold):
    """kill -9 of the holder: the next who asks gets the lease, and hears from whom."""
    child = hold("a", "b")
    child.kill()
    child.wait()
    with leases.acquire(["a", "b"], "watchdog", "restart", 60) as held:
        taken = [(info.name, info.holder, info.owner.pid) for info in held.takeovers]
        assert taken == [("a", "other", child.pid), ("b", "other", child.pid)]
        assert held.takeovers[0].as_data()["lease"] == "a"


def test_a_zombie_holder_is_dead(leases, hold):
    """A holder whose parent does not reap it holds nothing any more."""
    child = hold("a")
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert len(leases.acquire(["a"], "watchdog", "restart", 60).takeovers) == 1


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another"}])
def test_a_pid_that_is_somebody_else_now_is_dead(leases, change):
    """A pid alone proves nothing: another start time or another boot is another process."""
    leases.acquire(["a"], "other", "x", 60)
    forge(leases, "a", owner={**Owner.current().as_data(), **change})
    assert len(leases.acquire(["a"], "watchdog", "restart", 60).takeovers) == 1


def test_a_live_holder_past_its_end_is_not_robbed(leases, hold, clock):
    """Only a provably dead holder is taken over, however late it is."""
    hold("a")
    clock.now = time.time() + 1e6
    with pytest.raises(LeaseHeld):
        leases.acquire(["a"], "watchdog", "restart", 60)


def test_a_persons_lease_is_never_taken_while_it_lasts(leases, clock):
    """The command that took it has long ended; the hold stands until released or until its own end."""
    leases.acquire(["a"], "ada", "hands off", None, person=True)
    leases.acquire(["b"], "ada", "hands off", 600, person=True)
    for name in ("a", "b"):
        forge(leases, name, owner={"pid": 999999999, "start_time": 1, "boot_id": "another"})
        with pytest.raises(LeaseHeld, match="held by ada since"):
            leases.acquire([name], "watchdog", "restart", 60)
    clock.now += 601
    with pytest.raises(LeaseHeld):
        leases.acquire(["a"], "watchdog", "restart", 60)
    assert len(leases.acquire(["b"], "watchdog", "restart", 60).takeovers) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}", b"[" * 60000, b"x" * 100000])
def test_a_garbled_lease_holds_for_a_while_and_is_then_set_aside(leases, clock, content):
    """Doubt holds, but not for weeks."""
    leases.acquire(["a"], "other", "x", 60)
    path = leases._path("a")
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (clock.now - 590, clock.now - 590))
    with pytest.raises(LeaseHeld, match="cannot be understood"):
        leases.acquire(["a"], "watchdog", "restart", 60)
    clock.now += 20
    with leases.acquire(["a"], "watchdog", "restart", 60):
        assert leases.holder("a").holder == "watchdog"
    assert [name for name in os.listdir(leases.directory) if ".bad-" in name] != []


def test_giving_back_removes_no_successors_lease(leases):
    """Who was taken over and comes back to life removes nothing."""
    held = leases.acquire(["a"], "watchdog", "one", 60)
    os.unlink(leases._path("a"))
    leases.acquire(["a"], "watchdog", "two", 60)
    held.release()
    assert leases.holder("a").purpose == "two"


def test_a_forked_child_gives_nothing_back_C51(leases):
    """A child that survives its parent neither holds nor releases the parent's leases."""
    held = leases.acquire(["a"], "watchdog", "one", 60)
    child = os.fork()
    if not child:
        try:
            held.release()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert leases.holder("a") is not None


def test_nothing_is_open_while_a_lease_is_held_C51(leases):
    """No descriptor can be inherited, because there is none."""
    with leases.acquire(["a"], "watchdog", "one", 60):
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink("/proc/self/fd/" + descriptor)
            except FileNotFoundError:
                continue
            assert not target.startswith(leases.directory)


def test_a_lease_can_be_extended_while_it_is_ours(leases, clock):
    """extend moves the end; what was lost cannot be extended."""
    held = leases.acquire(["a"], "watchdog", "one", 60)
    clock.now += 50
    held.extend(60)
    assert leases.holder("a").expires == pytest.approx(clock.now + 60, abs=0.001)
    held.release()
    held = leases.acquire(["a"], "watchdog", "one", 60)
    os.unlink(leases._path("a"))
    with pytest.raises(LeaseHeld, match="no longer ours"):
        held.extend(60)


CONTENDER = """
import random, time
from selfheal._core.errors import LeaseHeld
from selfheal._records.lease import LeaseSet
leases = LeaseSet(sys.argv[1])
witness = sys.argv[2]
until = time.monotonic() + float(sys.argv[3])
rng = random.Random(os.getpid())
while time.monotonic() < until:
    try:
        held = leases.acquire(["a", "b"], "c%d" % os.getpid(), "race", 60)
    except LeaseHeld:
        continue
    # Two inside at once would meet here.
    descriptor = os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(descriptor)
    os.write(1, b"t" * len(held.takeovers) + b".")
    os.unlink(witness)
    if rng.random() < 0.5:
        os.write(1, b"k")
        os.kill(os.getpid(), 9)
    held.release()
"""


def test_many_takers_of_dead_holders_never_hold_at_once(tmp_path, spawn):
    """6 processes at a time, half of the successful killed while holding: never two inside, every death taken over once."""
    folder, witness = str(tmp_path / "leases"), str(tmp_path / "witness")
    until = time.monotonic() + 6
    running: list = []
    output = b""
    while time.monotonic() < until or running:
        while time.monotonic() < until and len(running) < 6:
            running.append(spawn(CONTENDER, folder, witness, "1.5", stderr=subprocess.PIPE))
        child = running.pop(0)
        out, errors = child.communicate(timeout=60)
        output += out
        assert child.returncode in (0, -signal.SIGKILL), errors.decode()
        assert b"FileExistsError" not in errors
    leases = LeaseSet(folder)
    left = leases.acquire(["a", "b"], "last", "count", 60)
    deaths = output.count(b"k")
    assert deaths >= 5
    # Each death while holding both leaves two leases, each taken over exactly once.
    assert output.count(b"t") + len(left.takeovers) == 2 * deaths


@given(st.text(min_size=1, max_size=60))
def test_escaping_is_reversible_and_stays_in_its_directory(name):
    """Any name becomes one plain file name and back."""
    text = escape(name)
    if "%~" not in text:
        assert unescape(text) == name
    assert ("/" not in text, text.isascii(), text[0] != ".", len(text) <= 210) == (True, True, True, True)


@pytest.mark.parametrize(
    "name, text",
    [
        ("unit:web@1.service", "unit%3Aweb%401.service"),
        ("/srv/www/web", "%2Fsrv%2Fwww%2Fweb"),
        ("..", "%2E."),
        ("a b\nc%d", "a%20b%0Ac%25d"),
    ],
)
def test_escaped_names_are_as_documented(name, text):
    """Everything but letters, digits, _, - and inner dots is %XX."""
    assert (escape(name), unescape(text)) == (text, name)


def test_very_long_names_stay_apart(leases):
    """A path of thousands of characters still has a lease of its own, which is listed by its name."""
    names = ["/srv/" + "x" * 3000 + end for end in "ab"]
    leases.acquire(names, "watchdog", "one", 60)
    assert sorted(info.name for info in leases.list()) == names


def test_an_empty_name_is_refused(leases):
    """There is no lease on nothing."""
    with pytest.raises(RecordError, match="empty name"):
        leases.acquire([""], "watchdog", "one", 60)


def test_a_process_is_known_by_more_than_its_pid():
    """Alive, dead, zombie and replaced processes are told apart."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(child.pid, process_start_time(child.pid), boot_id())
    assert (owner.alive(), Owner.current().alive()) == (True, True)
    assert Owner(owner.pid, owner.start_time + 1, owner.boot_id).alive() is False
    assert Owner(owner.pid, owner.start_time, "another").alive() is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.alive() is False
    child.wait()
    child.stdin.close()
    assert owner.alive() is False
    assert Owner.from_data(owner.as_data()) == owner
