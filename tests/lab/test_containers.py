# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that die, hang and loop on a real engine, Docker or Podman, with the watchdog beside it."""

from __future__ import annotations

from typing import Callable

import pytest
from dock import SERVE, DockBed

EVERYWHERE = pytest.mark.over("debian12", "debian13", "podman")


def test_killed_and_nothing_else_restarts_it(docked: DockBed, measured: Callable[[str], None]) -> None:
    """kill -9 of the main process, policy no: seen at once, started once, proven, timed."""
    docked.watch(docked.container("web"))
    before = docked.told("web")
    docked.kill_main("web")
    recovered = docked.event("recover")
    failure, started = docked.events("failure")[0], docked.events("start")
    after = docked.told("web")
    assert "gone" == failure["data"]["reason"]
    assert 1 == len(started) and not docked.events("restart")
    assert recovered["incident"] == failure["incident"]
    assert after["Id"] == before["Id"] and after["State"]["StartedAt"] > before["State"]["StartedAt"]
    measured("died → serving %d ms" % recovered["data"]["recovery_duration_ms"])
    docked.selfheal("timeline", "verify")
    # It is shown as a unit is.
    assert "web" in docked.selfheal("status") and "restart" in docked.selfheal("explain", "web")
    metrics = docked.sh("curl -s --max-time 5 http://127.0.0.1:9877/metrics")
    for name in ("selfheal_service_state", "selfheal_actions_total", "selfheal_recovery_seconds_count", "selfheal_probe_duration_seconds"):
        assert '%s{service="web"' % name in metrics, name


@pytest.mark.over("podman")
def test_podman_does_not_tell_a_kill_from_a_stop(docked: DockBed) -> None:
    """C01 Podman 4.3 tells of no stop: what ended as a stop does is left alone, in doubt; a crash is healed, and a policy heals its own."""
    crash = "rm -f /tmp/end; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 3"
    docked.watch(
        docked.container("killed"),
        docked.container("stopped", "--stop-timeout", "1"),
        docked.container("crashed", command=crash, probe="process"),
        docked.container("kept", "--restart", "always"),
    )
    docked.kill_main("killed", "kept")
    docked.docker("stop", "stopped")
    docked.docker("exec", "crashed", "touch", "/tmp/end")
    docked.event("recover", within=40, service="crashed")
    docked.event("recover", within=40, service="kept")
    for name in ("killed", "stopped"):
        docked.in_state(name, "stopped")
    assert ["crashed"] == [event["service"] for event in docked.events("start", "restart")]


@EVERYWHERE
def test_its_own_health_check_calls_it_unhealthy(docked: DockBed, measured: Callable[[str], None]) -> None:
    """C06 Docker never acts on unhealthy: restarted once, and its recovery is proven by its own health check."""
    check = ("--health-cmd", "test ! -e /tmp/bad", "--health-interval", "1s", "--health-retries", "2")
    web = docked.container("web", *check, "--stop-timeout", "1", command="rm -f /tmp/bad; " + SERVE, probe="process")
    docked.watch(web)
    docked.docker("exec", "web", "touch", "/tmp/bad")
    recovered = docked.event("recover", within=40)
    failure, restarts = docked.events("failure")[0], docked.events("restart")
    assert "liveness_failed" == failure["data"]["reason"] and "unhealthy" in failure["data"]["detail"]
    assert 1 == len(restarts) and not docked.events("page")
    assert "healthy" == docked.told("web")["State"]["Health"]["Status"]
    measured("unhealthy → serving %d ms" % recovered["data"]["recovery_duration_ms"])


@EVERYWHERE
def test_a_slow_starter_is_not_restarted_again(docked: DockBed) -> None:
    """C02 while its own health check is still starting no second restart comes, however short the attempt's window."""
    check = ("--health-cmd", "test -e /tmp/up", "--health-interval", "1s", "--health-retries", "12")
    # It ends when it is told to: Podman tells a kill -9 from a stop no more.
    command = "rm -f /tmp/up /tmp/end; sleep 6; touch /tmp/up; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 3"
    web = docked.container("web", *check, "--stop-timeout", "1", command=command, probe="process")
    web["ladder"] = [{"rung": "restart", "attempts": 3, "timeout": 2}]
    docked.watch(web)
    docked.docker("exec", "web", "touch", "/tmp/end")
    docked.event("recover", within=40)
    assert 1 == len(docked.events("start", "restart"))


@EVERYWHERE
def test_hangs(docked: DockBed) -> None:
    """SIGSTOP: running to the engine, silent to its probe; restarted once, within its own stop timeout, and the old process is gone."""
    docked.watch(docked.container("web", "--stop-timeout", "1"))
    pid = docked.told("web")["State"]["Pid"]
    docked.sh("kill -STOP %d" % pid)
    docked.event("recover", within=30)
    assert ["liveness_failed"] == [event["data"]["reason"] for event in docked.events("restart")]
    assert docked.told("web")["State"]["Pid"] != pid and not docked.lines("/proc/%d/comm" % pid)


def test_runs_out_of_memory(docked: DockBed) -> None:
    """The kernel kills it for want of memory: the incident says so, and it is started again."""
    command = "rm -f /tmp/oom.done; while [ ! -e /tmp/oom ]; do sleep 0.1; done; rm /tmp/oom; exec tail /dev/zero"
    docked.watch(docked.container("web", "-m", "16m", command=command, probe="process"))
    docked.docker("exec", "web", "touch", "/tmp/oom")
    docked.event("recover", within=40)
    assert "want of memory" in docked.events("failure")[0]["data"]["detail"]
    assert docked.running("web")


def test_crash_loop(docked: DockBed) -> None:
    """C05 C07 the policy's own restarts come first; once its pauses have grown, every attempt is one restart; then a person is told."""
    web = docked.container("web", "--restart", "always", command="[ -e /tmp/crash ] && exit 3; exec sleep 1000", probe="process")
    web["ladder"] = [{"rung": "restart", "attempts": 2, "timeout": 5}]
    docked.watch(web)
    docked.docker("exec", "web", "touch", "/tmp/crash")
    docked.kill_main("web")
    page = docked.event("page", within=150)
    assert page["data"]["reason"] in ("ladder_exhausted", "flapping")
    attempts = [event["data"]["attempt"] for event in docked.events("start", "restart")]
    assert attempts in ([1], [1, 2])
    assert 1 == len(docked.events("failure")), docked.story()
    assert docked.told("web")["RestartCount"] >= 1


@pytest.mark.over("podman")
def test_crash_loop_without_pauses(docked: DockBed) -> None:
    """C05 C07 Podman's policy restarts at once and for ever, so it never ends by itself: a person is told that it never answered."""
    web = docked.container("web", "--restart", "always", command="[ -e /tmp/crash ] && exit 3; exec sleep 1000", probe="process")
    docked.watch({**web, "retry_every": 10})
    docked.docker("exec", "web", "touch", "/tmp/crash")
    docked.kill_main("web")
    page = docked.event("page", within=60)
    assert page["data"]["reason"] in ("unproven", "flapping")
    assert 1 == len(docked.events("failure")), docked.story()
