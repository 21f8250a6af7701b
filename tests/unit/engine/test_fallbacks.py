# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of fallback over the real host: what it does, what it reads back, and what it says when that cannot be."""

from __future__ import annotations

import pathlib
import sys
import threading
import time
from typing import Any, Callable, Iterator, List, Optional

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from haproxy_double import Double

from selfheal._core import contract
from selfheal._core.model import Fallback as Rules
from selfheal._core.reasons import Reason
from selfheal._engine import fallbacks
from selfheal._engine.agent import DRAIN, UP, AgentWord
from selfheal._engine.fallbacks import AgentFallback, CommandFallback, HaproxyFallback, fallback_for
from selfheal._engine.job import Job
from selfheal._engine.resources import not_acted_on
from selfheal._host import Outcome
from selfheal._probes.engine import LocalHost


def done(work: Any) -> Outcome:
    """The outcome of a work, driven as the engine drives it."""
    ended: List[Outcome] = []
    with LocalHost() as host:
        job: Job[Outcome] = Job(host, work, None, ended.append, lambda error: pytest.fail(repr(error)))
        job.begin()
        while not ended:
            for handle in host.poll(host.monotonic() + 1):
                job.ended(handle)
    return ended[0]


@pytest.fixture
def proxy(tmp_path: pathlib.Path) -> Iterator[Double]:
    made = Double(str(tmp_path / "admin.sock"))
    yield made
    made.close()


@pytest.fixture
def fallback(proxy: Double, tmp_path: pathlib.Path) -> HaproxyFallback:
    options = {"socket": proxy.path, "backend": "web", "primary": "a", "backup": "b", "state_file": str(tmp_path / "states")}
    made = fallback_for(Rules("haproxy", options), "/nowhere", "/nowhere")
    assert isinstance(made, HaproxyFallback)
    return made


@pytest.fixture
def word(tmp_path: pathlib.Path) -> AgentWord:
    return AgentWord(str(tmp_path / "state"), str(tmp_path / "run"), 9878)


# -- haproxy ----------------------------------------------------------------------------------------------------------------------------


def test_haproxy_opens_stands_and_closes(proxy: Double, fallback: HaproxyFallback) -> None:
    """The whole round, each step read back."""
    assert "ok" == done(fallback.able()).status
    assert ("bad", Reason.TRAFFIC_RETURNED) == (done(fallback.stands()).status, done(fallback.stands()).reason)
    assert "ok" == done(fallback.open()).status
    assert "ok" == done(fallback.stands()).status
    assert "MAINT" == proxy.servers["a"]
    assert "ok" == done(fallback.close()).status
    assert "UP" == proxy.servers["a"]


def test_haproxy_whose_backup_died_is_told_apart(proxy: Double, fallback: HaproxyFallback) -> None:
    """C56 away with nobody behind is another thing than having come back."""
    done(fallback.open())
    proxy.servers["b"] = "DOWN"
    assert Reason.NO_BACKUP == done(fallback.stands()).reason
    assert Reason.NO_BACKUP == done(fallback.able()).reason


def test_haproxy_that_is_away_proves_nothing(tmp_path: pathlib.Path, proxy: Double, fallback: HaproxyFallback) -> None:
    """C04 while it is restarted nothing is known of its traffic."""
    proxy.mute = True
    assert "unknown" == done(fallback.stands()).status


def test_haproxy_says_what_a_restart_would_forget(proxy: Double, tmp_path: pathlib.Path) -> None:
    """A move that could not be saved stands, with a note."""
    options = {"socket": proxy.path, "backend": "web", "primary": "a", "backup": "b", "state_file": str(tmp_path / "none" / "states")}
    outcome = done(HaproxyFallback(options).open())
    assert "ok" == outcome.status and "restart of HAProxy" in outcome.data["note"]


# -- agent_check ------------------------------------------------------------------------------------------------------------------------


def test_agent_check_without_a_listener_is_no_move(word: AgentWord) -> None:
    """Where no watchdog answers, nobody is drained, and nothing is pretended."""
    outcome = done(AgentFallback(word).able())
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason) and "9878" in outcome.detail


def test_agent_check_is_moved_when_a_balancer_has_heard_it(word: AgentWord) -> None:
    """The proof is that the new word was fetched, by whoever asks."""
    word.tell(UP)
    listener = threading.Thread(target=lambda: (until(lambda: word.get() == DRAIN), word.tell(DRAIN)))
    listener.start()
    outcome = done(AgentFallback(word).open())
    listener.join()
    assert ("ok", None) == (outcome.status, outcome.data.get("note"))
    assert "ok" == done(AgentFallback(word).stands()).status


def test_agent_check_that_nobody_asks_is_moved_with_a_note(word: AgentWord, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks from now on is told; that nobody has is said."""
    monkeypatch.setattr(fallbacks, "FETCHED_WITHIN", 0.3)
    word.tell(UP)
    outcome = done(AgentFallback(word).open())
    assert "ok" == outcome.status and "no load balancer has asked" in outcome.data["note"]
    assert DRAIN == word.get()


def test_agent_check_whose_word_was_changed_is_said_again(word: AgentWord) -> None:
    """Somebody removed the file: noticed as traffic that came back."""
    word.tell(DRAIN)
    word.set(DRAIN)
    pathlib.Path(word.path).unlink()
    assert Reason.TRAFFIC_RETURNED == done(AgentFallback(word).stands()).reason


def test_agent_check_closes_without_waiting_for_anybody(word: AgentWord) -> None:
    """Giving traffic back needs no proof: balancers have health checks of their own."""
    word.set(DRAIN)
    began = time.monotonic()
    assert "ok" == done(AgentFallback(word).close()).status
    assert UP == word.get() and time.monotonic() - began < 1


def test_agent_check_whose_word_cannot_be_written(tmp_path: pathlib.Path) -> None:
    """A full or broken disk is told."""
    (tmp_path / "state").write_text("in the way")
    outcome = done(AgentFallback(AgentWord(str(tmp_path / "state"), str(tmp_path), 1)).open())
    assert ("bad", Reason.ACTION_FAILED) == (outcome.status, outcome.reason)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- all --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules,kind",
    [
        (None, type(None)),
        (Rules("agent_check", {"port": 9878}), AgentFallback),
        (Rules("command", {"argv_open": ("/a",), "argv_close": ("/b",)}), CommandFallback),
    ],
)
def test_each_kind_of_a_contract_is_driven(rules: Optional[Rules], kind: type, tmp_path: pathlib.Path) -> None:
    """No kind that the contract knows is left to a person."""
    assert isinstance(fallback_for(rules, str(tmp_path), str(tmp_path)), kind)


def test_a_contract_with_a_fallback_promises_nothing_that_is_not_done() -> None:
    """`selfheal check` has nothing to say about any kind."""
    probe = {"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 1}}
    for fallback in (
        {"agent_check": {"port": 1}},
        {"haproxy": {"socket": "/s", "backend": "b", "primary": "p", "backup": "q"}},
        {"command": {"argv_open": ["/a"], "argv_close": ["/b"]}},
    ):
        raw = {"name": "web", "resource": {"process": {"argv": ["/bin/true"]}}, "probes": [probe], "fallback": fallback}
        assert [] == not_acted_on(contract.parse_services([raw])[0])
