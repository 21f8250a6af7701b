# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many targets at once, kinds, units, percentiles: what `health_probe` is made of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal._core.latency import percentile, slow_after, summary_ms
from selfheal._core.model import ExecTarget, HttpTarget, ProcessTarget, TcpTarget, UnitTarget
from selfheal._core.reasons import Reason
from selfheal._host import Outcome
from selfheal._probes import unit
from selfheal._probes.kinds import STEPS, step_for
from selfheal._probes.sweep import PAUSE, Ask, Found, judge, summarise, sweep

WEB = HttpTarget(url="http://127.0.0.1/")


@pytest.mark.parametrize(
    ("outcome", "seconds", "status", "reason"),
    [
        (Outcome("ok"), 0.1, "healthy", None),
        (Outcome("ok"), 2.9, "healthy", None),
        (Outcome("ok"), 3.1, "degraded", "slow"),
        (Outcome("bad", Reason.TIMEOUT), 4.0, "unhealthy", "timeout"),
        (Outcome("unknown", Reason.NAME_LOOKUP_FAILED), 0.1, "unknown", "name_lookup_failed"),
        (Outcome("unknown", Reason.CLOCK_GAP), 9.0, "unknown", "clock_gap"),
    ],
)
def test_status_of_one_try(outcome, seconds, status, reason):
    """A try is healthy, degraded from three quarters of its timeout on, unhealthy or unknown."""
    found = judge(Ask("web", WEB, 4.0), outcome, seconds)
    assert (found.status, found.reason, found.kind) == (status, reason, "http")


@pytest.mark.parametrize(("timeout", "after"), [(4, 3), (2, 1.5), (60, 3), (0.1, 0.075)])
def test_slow_after(timeout, after):
    """Slow begins at three quarters of the timeout, at most at 3 s."""
    assert slow_after(timeout) == pytest.approx(after)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([5], 50, 5), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), (list(range(1, 101)), 95, 95), (list(range(1, 21)), 95, 19), ([1, 2], 100, 2)],
)
def test_percentile(values, percent, expected):
    """Nearest rank."""
    assert percentile(values, percent) == expected


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_summary_is_ordered_and_measured(values):
    """p50 ≤ p95 ≤ max, and each is a value that was measured."""
    summary = summary_ms(values)
    assert summary["p50"] <= summary["p95"] <= summary["max"]
    assert set(summary.values()) <= {round(value * 1000, 3) for value in values}


def test_nothing_measured():
    """Without an answer there are no percentiles, and counts are still there."""
    assert summarise([Found("a", "http", "unknown", 1.0, "", "timeout")]) == {
        "healthy": 0,
        "degraded": 0,
        "unhealthy": 0,
        "unknown": 1,
        "latency_ms": {"p50": None, "p95": None, "max": None},
    }


def test_results_in_order_with_one_bad(serve, host, answer, replies):
    """One bad target stops no other, and results come in the order of the targets."""
    server = serve(replies(answer(body=b"ok")))
    asks = [Ask("t%d" % index, HttpTarget(url=server.url()), 2.0) for index in range(30)]
    asks[7] = Ask("t7", TcpTarget("127.0.0.1", 1), 2.0)
    found = sweep(host, asks, concurrency=4)
    assert [one.name for one in found] == [ask.name for ask in asks]
    assert [one.status for one in found].count("healthy") == 29
    assert (found[7].status, found[7].reason) == ("unhealthy", "connection_refused")


def test_concurrency_is_a_limit(serve, host):
    """No more than `concurrency` tries are under way at once."""
    import threading

    lock, now, most = threading.Lock(), [0], [0]

    def handler(peer):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        peer.request()
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = serve(handler)
    found = sweep(host, [Ask(str(index), HttpTarget(url=server.url()), 5.0) for index in range(20)], concurrency=3)
    assert {one.status for one in found} == {"healthy"}
    assert most[0] <= 3


def flaky(failures):
    """A handler that answers 503 the first `failures` times."""
    count = [0]

    def handler(peer):
        peer.request()
        count[0] += 1
        status = b"503 Starting" if count[0] <= failures else b"200 OK"
        peer.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    return handler


@pytest.mark.parametrize(
    ("failures", "retries", "status"), [(0, 0, "healthy"), (1, 0, "unhealthy"), (1, 1, "healthy"), (2, 1, "unhealthy")]
)
def test_retries(serve, host, failures, retries, status):
    """C57: `retries` further tries before a target counts as unhealthy."""
    server = serve(flaky(failures))
    found = sweep(host, [Ask("web", HttpTarget(url=server.url()), 1.0)], retries=retries)[0]
    assert found.status == status
    server.close()
    assert len(server.seen) == min(failures, retries) + 1
    if failures and status == "healthy":
        assert "after 1 try that failed" in found.detail
        assert "503 Starting" in found.detail


def test_wait_for(serve, host):
    """With `wait_for` a target is asked until it is healthy, and the wait ends then."""
    server = serve(flaky(2))
    began = time.monotonic()
    found = sweep(host, [Ask("web", HttpTarget(url=server.url()), 1.0)], wait_for=30)[0]
    assert found.status == "healthy"
    assert 2 * PAUSE <= time.monotonic() - began < 3


def test_wait_for_ends(host):
    """What does not become healthy is unhealthy when the time is over."""
    began = time.monotonic()
    found = sweep(host, [Ask("web", TcpTarget("127.0.0.1", 1), 1.0)], wait_for=0.6)[0]
    assert found.status == "unhealthy"
    assert 0.4 <= time.monotonic() - began < 1.0
    assert "2 tries before" in found.detail


def test_hundred_targets_at_once(serve, host, answer, replies):
    """A hundred targets, five of which hang, take one timeout, not five."""
    good, bad = serve(replies(answer(body=b"ok"))), serve(lambda peer: peer.silence())
    asks = [Ask(str(index), HttpTarget(url=(good if index % 20 else bad).url()), 0.5) for index in range(100)]
    began = time.monotonic()
    found = sweep(host, asks)
    assert time.monotonic() - began <= 0.7
    summary = summarise(found)
    assert (summary["healthy"] + summary["degraded"], summary["unhealthy"]) == (95, 5)


# Kinds.


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (WEB, "HttpProbe"),
        (TcpTarget("127.0.0.1", 1), "TcpProbe"),
        (ExecTarget(("/bin/true",)), "ExecProbe"),
        (UnitTarget("a.service"), "UnitProbe"),
        (ProcessTarget("/run/a.pid"), "ProcessProbe"),
    ],
)
def test_kinds(target, name):
    """Every kind a contract can name has its step."""
    assert type(step_for(target)).__name__ == name
    assert target.kind in STEPS


# Units: recorded from systemd 252.

ACTIVE = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nExecMainStatus=0\n"


@pytest.mark.parametrize(
    ("printed", "status", "reason", "told"),
    [
        (ACTIVE, "ok", None, "active (running)"),
        (ACTIVE.replace("=active", "=reloading").replace("running", "reload"), "ok", None, "reloading (reload)"),
        ("LoadState=loaded\nActiveState=activating\nSubState=start-pre\nResult=success\n", "unknown", Reason.NOT_ACTIVE, "starting"),
        (
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nExecMainStatus=3\n",
            "bad",
            Reason.NOT_ACTIVE,
            "activating (auto-restart), result exit-code, exit status 3",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=1\n",
            "bad",
            Reason.NOT_ACTIVE,
            "failed (failed), result exit-code, exit status 1",
        ),
        ("LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainStatus=0\n", "bad", Reason.NOT_ACTIVE, "inactive"),
        ("LoadState=loaded\nActiveState=deactivating\nSubState=stop-sigterm\nResult=success\n", "bad", Reason.NOT_ACTIVE, "stop-sigterm"),
        ("LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\n", "bad", Reason.NOT_ACTIVE, "not-found"),
        ("LoadState=masked\nActiveState=inactive\nSubState=dead\nResult=success\n", "bad", Reason.NOT_ACTIVE, "masked"),
        ("ActiveState=melting\n", "unknown", Reason.NOT_ACTIVE, "melting"),
        ("", "unknown", Reason.NOT_ACTIVE, "no state"),
    ],
)
def test_unit_states(printed, status, reason, told):
    """What systemd says of a unit, as a probe's outcome."""
    outcome = unit.judge("web.service", Outcome("ok", None, "", {"exit_status": 0, "stdout": printed, "stderr": ""}))
    assert (outcome.status, outcome.reason) == (status, reason)
    assert "web.service" in outcome.detail
    assert told in outcome.detail


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (Outcome("bad", Reason.EXIT_STATUS, "exit status 1", {"stderr": "Failed to connect to bus\n"}), Reason.EXIT_STATUS),
        (Outcome("unknown", Reason.NO_SUCH_PROGRAM, "gone"), Reason.NO_SUCH_PROGRAM),
    ],
)
def test_systemctl_that_fails_is_unknown(shown, reason):
    """When systemd cannot be asked, nothing is known about the unit."""
    outcome = unit.judge("web.service", shown)
    assert (outcome.status, outcome.reason) == ("unknown", reason)


def systemctl(tmp_path, monkeypatch, script):
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setattr(unit, "PLACES", (str(program),))
    monkeypatch.setattr(unit, "BOOTED", str(tmp_path))


def test_unit_by_a_real_process(tmp_path, monkeypatch, run):
    """The unit's name and properties are asked for in one call, whose output is read to its end."""
    asked = 'test "$1" = show && test "$3" = -- && test "$4" = web.service'
    systemctl(tmp_path, monkeypatch, '%s && printf "%s"' % (asked, ACTIVE.replace("\n", "\\n")))
    outcome = run(step_for(UnitTarget("web.service")), 5).outcome
    assert (outcome.status, outcome.detail) == ("ok", "web.service is active (running)"), outcome


def test_systemctl_that_hangs_is_unknown(tmp_path, monkeypatch, run):
    """C28: a systemd that does not answer says nothing about the unit, and its client is gone at the deadline."""
    systemctl(tmp_path, monkeypatch, "exec sleep 60")
    outcome = run(step_for(UnitTarget("web.service")), 0.3).outcome
    assert (outcome.status, outcome.reason) == ("unknown", Reason.TIMEOUT)


def test_no_systemd_here(tmp_path, monkeypatch, run):
    """Without systemctl, or with another init system, the outcome is unknown and says so."""
    monkeypatch.setattr(unit, "PLACES", (str(tmp_path / "none"),))
    assert run(step_for(UnitTarget("web.service"))).outcome.reason is Reason.NO_SUCH_PROGRAM
    systemctl(tmp_path, monkeypatch, "true")
    monkeypatch.setattr(unit, "BOOTED", str(tmp_path / "none"))
    assert "systemd does not run" in run(step_for(UnitTarget("web.service"))).outcome.detail
