# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog heals real processes: killed, hung, never healing; and goes on where it was killed itself."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def test_a_killed_service_is_started_again(bed: Any) -> None:
    """kill -9 of a process is seen at once, recorded, and answered with a start; the recovery is proven and timed."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    old, killed = bed.pid(), time.time()
    os.kill(old, signal.SIGKILL)
    recovered = bed.event("recover")
    failure, started = bed.events("failure")[0], bed.events("start")[-1]
    assert "gone" == failure["data"]["reason"] and failure["data"]["detected_after_ms"] < 500
    assert "start" == started["type"] and 1 == started["data"]["attempt"]
    assert recovered["incident"] == failure["incident"] == started["incident"]
    assert recovered["data"]["recovery_duration_ms"] < 5000 and time.time() - killed < 10
    assert bed.pid() != old and bed.alive(bed.pid()) and bed.starts() == 2


def test_a_hung_service_is_restarted_and_the_old_process_is_gone(bed: Any) -> None:
    """SIGSTOP: probes fail without a break for `failing_for`, then one restart, and nothing of the old process is left."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    old = bed.pid()
    os.kill(old, signal.SIGSTOP)
    bed.event("recover", within=20)
    restart = bed.events("restart")
    assert 1 == len(restart) and "liveness_failed" == restart[0]["data"]["reason"]
    assert not bed.alive(old) and bed.alive(bed.pid())


def test_it_is_killed_in_the_middle_and_goes_on(bed: Any) -> None:
    """C11 C37: kill -9 of the watchdog in an incident: the service lives on; the next one makes the next attempt, same failure_time."""
    bed.contracts(bed.service(ladder=[{"rung": "restart", "attempts": 3, "timeout": 3}]))
    watchdog = bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    first = bed.event("restart")
    bed.until(lambda: bed.starts() == 2, 10, "the restarted service runs")
    watchdog.kill()
    watchdog.wait(10)
    service = bed.pid()
    before = bed.get("/health")
    assert (0, "") == before and bed.alive(service)
    bed.watch()
    second = bed.event("restart", count=2, within=20)
    assert 1 == len(bed.events("failure")), "the same incident goes on"
    assert (first["incident"], 1) == (second["incident"], first["data"]["attempt"])
    assert 2 == second["data"]["attempt"]
    (bed.home("web") / "bad").unlink()
    recovered = bed.event("recover", within=20)
    failure = bed.events("failure")[0]
    assert failure["incident"] == recovered["incident"]
    assert failure["data"]["failure_time"] == recovered["data"]["failure_time"]


def test_nothing_that_never_heals_is_restarted_for_ever(bed: Any) -> None:
    """The ladder ends with one page, and then only the patient retry is left."""
    bed.contracts(bed.service(ladder=[{"rung": "restart", "attempts": 2, "timeout": 1}]))
    bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    page = bed.event("page", within=30)
    assert [1, 2] == [event["data"]["attempt"] for event in bed.events("restart")]
    assert "ladder_exhausted" == page["data"]["reason"]
    assert "unhealthy" == bed.json("status", "web", expect=1)["services"][0]["state"]


def test_as_an_ordinary_user_without_systemd(users_bed: Any) -> None:
    """Everything works for a user who is nobody in particular."""
    bed = users_bed
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    killed = bed.pid()
    os.kill(killed, signal.SIGKILL)
    recovered = bed.event("recover")
    assert killed != bed.pid() and "healthy" == bed.json("status", "web")["services"][0]["state"]
    assert [recovered["incident"]] == [event["incident"] for event in bed.events("start") if "incident" in event]
    assert bed.run("timeline", "verify").stdout.startswith("valid: ")


def test_mode_ceiling_keeps_a_host_harmless(bed: Any) -> None:
    """With mode_ceiling observe a killed service is recorded and paged about, and nothing is started."""
    bed.contracts(bed.service())
    bed.run("heal")
    bed.configure(mode_ceiling="observe")
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    assert "observe" == bed.event("page")["data"]["reason"]
    assert 1 == bed.starts() and 1 == len(bed.events("start"))


def test_a_kind_nobody_can_act_on_is_refused_by_name_and_the_others_are_watched(bed: Any) -> None:
    """A contract for a unit is refused where nothing can act on units; the service beside it is healed."""
    other = {**bed.service("other"), "resource": {"unit": "selfheal-nobody.service"}}
    bed.contracts(other, bed.service())
    bed.watch()
    bed.healthy()
    refused = bed.events("contract_refused")
    assert ["other"] == [event["service"] for event in refused] and "unit" in refused[0]["data"]["problem"]
    assert 503 == bed.get("/services/other/ready")[0]
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover")
