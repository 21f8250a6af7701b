# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds hold when in doubt; approvals are given once, and not when in doubt."""

from __future__ import annotations

import json
import os

import pytest

from selfheal._core.errors import RecordError
from selfheal._records.approvals import Approvals
from selfheal._records.holds import Holds


@pytest.fixture
def monotonic(clock):
    return type(clock)(5000.0)


@pytest.fixture
def holds(tmp_path, clock, monotonic) -> Holds:
    (tmp_path / "etc").mkdir()
    return Holds(str(tmp_path / "var"), str(tmp_path / "etc"), clock, monotonic)


@pytest.fixture
def approvals(tmp_path, clock, monotonic) -> Approvals:
    return Approvals(str(tmp_path / "var"), clock, monotonic)


def test_nothing_holds_where_nothing_was_said(holds):
    """No directory, no hold."""
    assert (holds.active("web"), holds.active(None), holds.list()) == (None, None, [])


def test_a_service_is_held_until_lifted(holds):
    """A hold names its owner and reason and touches no other service."""
    holds.set("web", "ada", "debugging")
    found = holds.active("web")
    assert (found.scope, found.owner, found.reason, found.expires) == ("web", "ada", "debugging", None)
    assert holds.active("db") is None
    assert (holds.clear("web"), holds.clear("web"), holds.active("web")) == (True, False, None)


def test_the_host_is_held_and_no_service_name_can_collide_with_that(holds):
    """A service called host or all is only itself."""
    holds.set("host", "ada")
    holds.set("all", "ada")
    assert (holds.active("web"), holds.active("host").scope) == (None, "host")
    holds.set(None, "bob", "patching")
    assert (holds.active("web").owner, holds.active("web").scope) == ("bob", "all")
    assert [hold.scope for hold in holds.list()] == ["all", "all", "host"]


def test_a_hold_ends_by_itself(holds, clock, monotonic):
    """After its span a hold is over, without anybody removing the file."""
    holds.set("web", "ada", seconds=60)
    for passed, held in ((59.9, True), (0.2, False)):
        clock.now += passed
        monotonic.now += passed
        assert (holds.active("web") is not None) is held


@pytest.mark.parametrize("jump", [-86400, 86400, 3e8])
def test_setting_the_clock_neither_ends_a_hold_nor_makes_it_last(holds, clock, monotonic, jump):
    """On the same boot the monotonic clock measures a hold's span."""
    holds.set("web", "ada", seconds=60)
    clock.now += jump
    monotonic.now += 59
    assert holds.active("web") is not None
    monotonic.now += 2
    assert holds.active("web") is None


def test_after_a_reboot_the_wall_clock_decides(holds, clock, monotonic, tmp_path):
    """Holds survive a reboot and end at the time they named."""
    holds.set("web", "ada", seconds=600)
    path = tmp_path / "var" / "holds" / "web.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another"}))
    monotonic.now = 3.0
    assert holds.active("web") is not None
    assert holds.active("web", now=clock.now + 601) is None


@pytest.mark.parametrize("kind", ["empty", "garbled", "list", "directory", "dangling", "link", "pipe", "written"])
def test_the_red_button_holds_by_its_mere_presence(holds, tmp_path, kind):
    """Whatever stands at <etc>/hold holds everything, and release removes it."""
    button = tmp_path / "etc" / "hold"
    {
        "empty": button.touch,
        "garbled": lambda: button.write_bytes(b"\xff{"),
        "list": lambda: button.write_text("[1]"),
        "directory": button.mkdir,
        "dangling": lambda: button.symlink_to("/nowhere"),
        "link": lambda: button.symlink_to("/etc/hostname"),
        "pipe": lambda: os.mkfifo(button),
        "written": lambda: holds.press("ada", "fire"),
    }[kind]()
    found = holds.active("web")
    assert (found.scope, found.red_button, found.expires) == ("all", True, None)
    if kind == "written":
        assert (found.owner, found.reason) == ("ada", "fire")
    assert holds.active(None) == holds.list()[0] == found
    assert (holds.release(), holds.release(), holds.active("web")) == (True, False, None)


def test_pressing_a_pressed_button_changes_nothing(holds):
    """The first who pressed stays the one to ask."""
    holds.press("ada", "fire")
    assert holds.press("bob", "again").owner == "ada"


def test_a_button_that_cannot_be_looked_at_is_pressed(tmp_path):
    """Doubt holds: here a file stands where the directory should be."""
    (tmp_path / "etc").write_text("")
    assert Holds(str(tmp_path / "var"), str(tmp_path / "etc")).active("web").red_button is True


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"owner":"ada","reason":""}',
        b"\xff",
        b"[" * 60000,
        b"x" * 100000,
        b'{"owner":"ada","reason":"","since":"today","expires":null,"boot_id":"","monotonic":0}',
        b'{"owner":"ada","reason":"","since":"2026-11-21T00:00:00.000Z","expires":1,"boot_id":"","monotonic":0}',
        b'{"owner":"ada","reason":"","since":"2026-11-21T00:00:00.000Z","expires":"2026-11-21T00:00:00.000Z","boot_id":""}',
    ],
)
@pytest.mark.parametrize("service", ["web", None])
def test_a_broken_hold_holds_and_says_so(holds, tmp_path, content, service):
    """A hold that cannot be understood is kept in force, names its file, and can be lifted."""
    holds.set(service, "ada")
    path = tmp_path / "var" / "holds" / ("web.json" if service else "@host.json")
    path.write_bytes(content)
    found = holds.active("web")
    if content.startswith(b'{"owner"') and found.owner == "ada":
        pytest.fail("a broken hold was believed")
    assert (found.owner, str(path) in found.reason, "held to be safe" in found.reason) == ("unknown", True, True)
    assert holds.clear(service) is True


@pytest.mark.parametrize("arguments", [("web", ""), ("web", "  "), ("../x", "ada"), ("web", "ada", "", 0), ("web", "ada", "", -5)])
def test_senseless_holds_are_refused(holds, arguments):
    """No owner, no service's name, no span: no hold."""
    with pytest.raises(RecordError):
        holds.set(*arguments)


def test_an_approval_is_used_once(approvals):
    """One approval is one action."""
    approvals.approve("web", "ada")
    assert approvals.peek("web").owner == "ada"
    assert approvals.consume("web").owner == "ada"
    assert (approvals.consume("web"), approvals.peek("web")) == (None, None)


def test_two_approvals_do_not_add_up(approvals):
    """A second approval before the first was used replaces it."""
    approvals.approve("web", "ada")
    approvals.approve("web", "bob")
    assert (approvals.consume("web").owner, approvals.consume("web")) == ("bob", None)


@pytest.mark.parametrize("wall, passed", [(3601, 3601), (0, 3601), (3601, 0), (-7200, 0), (-7200, 3601)])
def test_an_approval_expires_on_either_clock(approvals, clock, monotonic, wall, passed):
    """A clock that was set, either way, never lengthens an approval."""
    approvals.approve("web", "ada")
    clock.now += wall
    monotonic.now += passed
    assert (approvals.peek("web"), approvals.consume("web")) == (None, None)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 60000, b'{"owner":"ada","expires":null}'])
def test_a_broken_approval_approves_nothing(approvals, tmp_path, content):
    """In doubt nobody has said yes; asking uses the file up."""
    approvals.approve("web", "ada")
    (tmp_path / "var" / "approvals" / "web.json").write_bytes(content)
    assert (approvals.peek("web"), approvals.consume("web")) == (None, None)
    assert os.listdir(tmp_path / "var" / "approvals") == []


CONSUMER = """
from selfheal._records.approvals import Approvals
approvals = Approvals(sys.argv[1])
os.write(1, b"ready\\n")
sys.stdin.readline()
while not os.path.exists(sys.argv[2]):
    if approvals.consume("web"):
        os.write(1, b"won\\n")
"""


def test_of_many_who_ask_exactly_one_gets_the_approval(tmp_path, spawn):
    """4 processes race for each of 200 approvals: 200 are used, none twice."""
    import subprocess
    import time

    approvals = Approvals(str(tmp_path))
    stop = tmp_path / "stop"
    children = [spawn(CONSUMER, str(tmp_path), str(stop), stdin=subprocess.PIPE) for _turn in range(4)]
    for child in children:
        assert child.stdout.readline() == b"ready\n"
        child.stdin.close()
    for _turn in range(200):
        approvals.approve("web", "ada")
        until = time.monotonic() + 10
        while approvals.peek("web") is not None and time.monotonic() < until:
            pass
    stop.touch()
    assert sum(child.stdout.read().count(b"won") for child in children) == 200
