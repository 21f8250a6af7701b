# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's runtime socket: what is told to it, what is read back, and what becomes of an HAProxy that is away, mute, hung or lying."""

from __future__ import annotations

import os
import pathlib
import socket
import sys
import time
from typing import Any, Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from actuator_helpers import drive
from haproxy_double import STATES, Double

from selfheal._actuators.haproxy import Backend, Server, read_servers
from selfheal._actuators.haproxy_socket import SHORT, Ask
from selfheal._core.reasons import Reason


@pytest.fixture
def proxy(tmp_path: pathlib.Path) -> Iterator[Double]:
    made = Double(str(tmp_path / "admin.sock"))
    yield made
    made.close()


@pytest.fixture
def backend(proxy: Double, tmp_path: pathlib.Path) -> Backend:
    return Backend(proxy.path, "web", str(tmp_path / "server-state"))


def set_commands(proxy: Double) -> list[str]:
    return [command for command in proxy.told if command.startswith("set ")]


# -- moves ---------------------------------------------------------------------------------------------------------------------------


def test_to_the_backup_and_back_is_read_back_and_saved(host: Any, proxy: Double, backend: Backend, tmp_path: pathlib.Path) -> None:
    """One command a move; the states of all servers lie in the file afterwards."""
    there = drive(host, backend.to_backup("a", "b"))
    assert ("ok", None) == (there.status, there.data["unsaved"]), there
    assert ("UP", "MAINT") == (there.data["before"]["a"]["status"], there.data["after"]["a"]["status"])
    assert (tmp_path / "server-state").read_text().startswith(STATES)
    assert 0o644 == os.stat(tmp_path / "server-state").st_mode & 0o777
    back = drive(host, backend.to_primary("a"))
    assert ("ok", "UP") == (back.status, proxy.servers["a"])
    assert ["set server web/a state maint", "set server web/a state ready"] == set_commands(proxy)


def test_a_move_done_again_says_nothing_to_haproxy(host: Any, proxy: Double, backend: Backend) -> None:
    """Idempotent: what stands already is read, and saved, but not set."""
    for _again in range(2):
        assert "ok" == drive(host, backend.to_backup("a", "b")).status
    for _again in range(2):
        assert "ok" == drive(host, backend.to_primary("a")).status
    assert 2 == len(set_commands(proxy))


@pytest.mark.parametrize("status", ["DOWN", "DOWN 1/2", "MAINT", "MAINT (via web/c)", "DRAIN", "DRAIN (agent)", "NOLB", "no check"])
def test_no_backup_read_back_as_up_no_move(host: Any, proxy: Double, backend: Backend, status: str) -> None:
    """C56 a backup that is not proven up gets nothing, and the primary keeps what it has."""
    proxy.servers["b"] = status
    outcome = drive(host, backend.to_backup("a", "b"))
    assert ("bad", Reason.NO_BACKUP) == (outcome.status, outcome.reason)
    assert "b is %s" % status in outcome.detail
    assert set_commands(proxy) == []
    assert Reason.NO_BACKUP == drive(host, backend.able("a", "b")).reason


def test_a_backup_with_weight_nought_serves_nobody(host: Any, proxy: Double, backend: Backend) -> None:
    """C56 `set server X weight 50%` of a weight of 1 rounds to 0: such a server is up and takes no request."""
    proxy.weights["b"] = 0
    assert Reason.NO_BACKUP == drive(host, backend.to_backup("a", "b")).reason


def test_a_server_that_is_being_watched_closely_is_still_up(host: Any, proxy: Double, backend: Backend) -> None:
    """UP 1/2 is what a server shows right after it has been made ready."""
    proxy.servers["b"] = "UP 1/2"
    assert "ok" == drive(host, backend.to_backup("a", "b")).status


def test_what_haproxy_did_not_do_is_no_move(host: Any, proxy: Double, backend: Backend) -> None:
    """C56 the answer to a command proves nothing; the state that is read back does."""
    proxy.stuck.append("a")
    outcome = drive(host, backend.to_backup("a", "b"))
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason)
    assert "a is UP" in outcome.detail


def test_a_socket_without_the_level_admin_says_so(host: Any, proxy: Double, backend: Backend) -> None:
    """What HAProxy says reaches whoever has to mend it."""
    proxy.denies = True
    outcome = drive(host, backend.to_backup("a", "b"))
    assert "bad" == outcome.status and "Permission denied" in outcome.detail


def test_names_that_are_not_there_are_answered_with_those_that_are(host: Any, proxy: Double, tmp_path: pathlib.Path) -> None:
    """A misspelt server or backend is told with what there is."""
    outcome = drive(host, Backend(proxy.path, "web").to_backup("a", "nosuch"))
    assert "bad" == outcome.status and "no server nosuch; known: a, b" in outcome.detail
    outcome = drive(host, Backend(proxy.path, "wbe").to_backup("a", "b"))
    assert "bad" == outcome.status and "is there a backend wbe" in outcome.detail


def test_ready_that_stays_away_is_told(host: Any, proxy: Double, backend: Backend) -> None:
    """A server in maintenance for another reason (no address, tracking) is not given back by a command."""
    proxy.servers["a"] = "MAINT (resolution)"
    proxy.stuck.append("a")
    outcome = drive(host, backend.to_primary("a"))
    assert "bad" == outcome.status and "MAINT (resolution)" in outcome.detail


def test_drain_and_weight(host: Any, proxy: Double, backend: Backend) -> None:
    """Drained is not away, and not up; a share of the weight is given before traffic is."""
    assert "ok" == drive(host, backend.drain("a")).status
    assert "DRAIN" == proxy.servers["a"]
    assert "ok" == drive(host, backend.to_primary("a", weight=25)).status
    assert ["set server web/a weight 25%", "set server web/a state ready"] == set_commands(proxy)[1:]
    assert ("UP", 25) == (proxy.servers["a"], proxy.weights["a"])


def test_waiting_for_the_last_session(host: Any, proxy: Double, backend: Backend) -> None:
    """It ends with the last session, or at its limit with how many are left."""
    proxy.sessions["a"] = 3
    late = drive(host, backend.awaited("a", 0.3, lambda one: one.sessions == 0, "without sessions"))
    assert ("bad", Reason.TIMEOUT) == (late.status, late.reason) and "3 sessions" in late.detail
    proxy.sessions["a"] = 0
    assert "ok" == drive(host, backend.awaited("a", 5, lambda one: one.sessions == 0, "without sessions")).status


@pytest.mark.parametrize("where", ["nosuch/server-state", "taken"])
def test_states_that_cannot_be_saved_do_not_undo_the_move(host: Any, proxy: Double, tmp_path: pathlib.Path, where: str) -> None:
    """The move stands, and why a restart of HAProxy would forget it is told."""
    (tmp_path / "taken").mkdir()
    outcome = drive(host, Backend(proxy.path, "web", str(tmp_path / where)).to_backup("a", "b"))
    assert ("ok", "MAINT") == (outcome.status, proxy.servers["a"])
    assert where.split("/")[0] in str(outcome.data["unsaved"])


# -- an HAProxy that is no help ---------------------------------------------------------------------------------------------------------


def test_no_socket_no_haproxy(host: Any, tmp_path: pathlib.Path) -> None:
    """Nothing there, and nobody behind it, are told apart."""
    path = str(tmp_path / "s.sock")
    outcome = drive(host, Backend(path, "web").to_backup("a", "b"))
    assert ("bad", Reason.UNREACHABLE) == (outcome.status, outcome.reason) and path in outcome.detail
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    outcome = drive(host, Backend(path, "web").to_backup("a", "b"))
    dead.close()
    assert ("bad", Reason.CONNECTION_REFUSED) == (outcome.status, outcome.reason)


def test_a_path_longer_than_a_socket_may_have(host: Any) -> None:
    """Told, not raised."""
    outcome = drive(host, Backend("/" + "x" * 200, "web").able("a", "b"))
    assert "bad" == outcome.status and "too long" in outcome.detail


def test_a_hung_haproxy_costs_its_second_and_no_more(host: Any, proxy: Double, backend: Backend) -> None:
    """C58 whoever waits for it waits one second, and others not at all."""
    proxy.hangs = True
    began = time.monotonic()
    outcome = drive(host, backend.to_backup("a", "b"))
    assert ("bad", Reason.TIMEOUT) == (outcome.status, outcome.reason)
    assert 0.9 < time.monotonic() - began < 1.5


def test_a_full_queue_is_no_reason_to_wait(host: Any, tmp_path: pathlib.Path) -> None:
    """C58 a stopped HAProxy whose queue is full refuses at once."""
    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(0)
    waiting = [socket.socket(socket.AF_UNIX) for _each in range(3)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(path)
    outcome = drive(host, Backend(path, "web").able("a", "b"))
    for each in [listener, *waiting]:
        each.close()
    assert ("bad", Reason.TIMEOUT) == (outcome.status, outcome.reason)


def test_an_answer_without_end_is_cut_off(host: Any, proxy: Double, backend: Backend) -> None:
    """No peer may fill the watchdog's memory."""
    proxy.floods = 2 * SHORT // 65536
    outcome = drive(host, backend.able("a", "b"))
    assert ("bad", Reason.BODY_TOO_LARGE) == (outcome.status, outcome.reason)


def test_hanging_up_without_a_word(host: Any, proxy: Double, backend: Backend) -> None:
    """An empty answer to a question is none."""
    proxy.mute = True
    assert Reason.EMPTY_REPLY == drive(host, backend.able("a", "b")).reason


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe\x00",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"# pxname,svname,\nweb,a",
        b"# pxname,svname,status,weight,scur,\nweb,a,UP,x,0\n",
    ],
    ids=["bytes", "http", "cut", "no number"],
)
def test_whatever_answers_there_is_not_believed(host: Any, proxy: Double, backend: Backend, garbage: bytes) -> None:
    """Garbage is bad, tells what was read, and moves nothing."""
    proxy.garbage = garbage
    outcome = drive(host, backend.to_backup("a", "b"))
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason)
    assert set_commands(proxy) == []


@pytest.mark.parametrize("name", ["web;quit", "web\nshutdown sessions server web/a", "web/a state", "", "web <<", "wéb", "web\\"])
def test_no_name_becomes_a_second_command(name: str) -> None:
    """A hostile name never reaches the socket."""
    with pytest.raises(ValueError, match="name"):
        Backend("/run/haproxy/admin.sock", name)
    with pytest.raises(ValueError, match="command"):
        Ask("/run/haproxy/admin.sock", "show stat %s;" % name)


@pytest.mark.parametrize("name", ["b;quit", "b\nquit"])
def test_no_server_name_becomes_a_second_command(host: Any, proxy: Double, backend: Backend, name: str) -> None:
    """Names from elsewhere than a contract are refused as well."""
    proxy.servers[name] = "UP"
    with pytest.raises(ValueError, match="name|command"):
        drive(host, backend._changed({}, name, "state maint", lambda now: False))
    assert proxy.told == []


# -- what HAProxy shows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status,weight,up,away,drained",
    [
        ("UP", 100, True, False, False),
        ("UP 1/3", 100, True, False, False),
        ("UP", 0, False, False, False),
        ("DOWN", 100, False, False, False),
        ("DOWN (agent)", 100, False, False, False),
        ("MAINT", 100, False, True, False),
        ("MAINT (via web/c)", 100, False, True, False),
        ("DRAIN", 100, False, False, True),
        ("DRAIN (agent)", 100, False, False, True),
        ("no check", 100, False, False, False),
        ("NOLB", 100, False, False, False),
    ],
)
def test_every_status_that_haproxy_has(status: str, weight: int, up: bool, away: bool, drained: bool) -> None:
    """What each of them means for traffic."""
    server = Server("a", status, weight, 0)
    assert (up, away, drained) == (server.up, server.away, server.drained)


@pytest.mark.parametrize("version", ["2.6", "3.0"])
def test_statistics_as_recorded(version: str) -> None:
    """The real thing's own words: a in maintenance, b up with sessions, totals left out."""
    text = (pathlib.Path(__file__).parent / "recorded" / ("haproxy%s.txt" % version)).read_text()
    found = read_servers(text, "web")
    assert not isinstance(found, str), found
    assert [("a", "MAINT", 100, False), ("b", "UP", 100, True)] == [(s.name, s.status, s.weight, s.backup) for s in found.values()]
