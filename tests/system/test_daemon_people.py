# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do beside a running watchdog: hold, unhold, approve, ack, heal, look, follow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any


def test_a_hold_is_seen_within_a_second_and_lifting_it_too(bed: Any) -> None:
    """A held service that dies stays dead, with the reason shown everywhere; a second after the hold is lifted it is started."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    bed.run("hold", "web", "--reason", "moving disks", "--for", "1h")
    os.kill(bed.pid(), signal.SIGKILL)
    blocked = bed.event("blocked")
    assert "hold" == blocked["data"]["reason"] and "moving disks" in blocked["data"]["detail"]
    assert "moving disks" in bed.json("status", "web", expect=1)["services"][0]["held"]
    assert 'selfheal_held{service="web"} 1' in bed.get("/metrics")[1]
    time.sleep(1.5)
    assert 1 == bed.starts()
    lifted = time.monotonic()
    bed.run("unhold", "web")
    bed.event("start", count=2)
    assert time.monotonic() - lifted < 2.5
    hold = bed.events("hold")[0]
    assert ("operator", "moving disks") == (hold["source"], hold["data"]["reason"]) and hold["data"]["owner"]


def test_the_red_button_works_with_everything_else_broken(bed: Any) -> None:
    """`hold --all` needs no contract, no configuration, no timeline: the file is there, and a running watchdog keeps its hands off."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    good = (bed.etc / "watchdog.json").read_text()
    (bed.etc / "contracts.json").write_text("{broken")
    (bed.etc / "watchdog.json").write_text("broken too")
    done = bed.run("hold", "--all", "--reason", "fire")
    assert (bed.etc / "hold").exists() and "not recorded" in done.stderr
    os.kill(bed.pid(), signal.SIGKILL)
    assert "fire" in bed.event("blocked")["data"]["detail"]
    time.sleep(1.2)
    assert 1 == bed.starts()
    (bed.etc / "watchdog.json").write_text(good)
    bed.run("unhold", "--all")
    bed.event("recover")
    assert bed.events("unhold")[0]["data"]["scope"] == "all"


def test_one_approval_is_one_action(bed: Any) -> None:
    """In mode approve a dead service waits for a person, who is paged at once; one approval starts it once."""
    bed.contracts(bed.service())
    bed.run("heal")
    bed.contracts({**bed.service(), "mode": "approve"})
    contract = json.loads((bed.etc / "contracts.json").read_text())
    bed.watch()
    bed.until(lambda: bed.get("/services/web")[0] == 200, 5, "it is watched")
    assert contract["services"][0]["mode"] == "approve"
    os.kill(bed.pid(), signal.SIGKILL)
    assert "awaiting_approval" == bed.event("page")["data"]["reason"]
    assert 1 == bed.starts()
    bed.run("approve", "web")
    bed.event("start", count=2)
    assert bed.events("approve")[0]["data"]["owner"]
    assert not list((bed.folder / "state" / "approvals").glob("*.json")), "it is used up"


def test_heal_without_a_watchdog_starts_and_heals_once(bed: Any) -> None:
    """`heal` starts what was never started, leaves alone what is well, and starts again what was killed; 0 each time."""
    bed.contracts(bed.service())
    assert {"recovered": 1} == _found(bed.json("heal"))
    assert {"untouched": 1} == _found(bed.json("heal"))
    os.kill(bed.pid(), signal.SIGKILL)
    told = bed.json("heal")
    assert {"recovered": 1} == _found(told)
    assert ["failure", "start", "recover"] == [step["type"] for step in told["incidents"]]
    assert {"operator"} == {event["source"] for event in bed.events("start", "recover")}


def test_heal_obeys_a_hold_unless_it_is_lifted_by_name(bed: Any) -> None:
    """A hold blocks `heal` with exit status 3; `--override hold` lifts it, which is recorded with the person's name."""
    bed.contracts(bed.service())
    bed.run("heal")
    bed.run("hold", "web", "--reason", "hands off")
    os.kill(bed.pid(), signal.SIGKILL)
    assert {"blocked": 1} == _found(bed.json("heal", expect=3))
    assert {"recovered": 1} == _found(bed.json("heal", "--override", "hold"))
    override = bed.events("override")[0]["data"]
    assert ["hold"] == override["reasons"] and override["owner"]


def test_heal_gives_up_at_the_ladders_end(bed: Any) -> None:
    """A service that no rung heals is escalated: exit 1, after every attempt of the ladder, and one page."""
    bed.contracts(bed.service(ladder=[{"rung": "restart", "attempts": 1, "timeout": 1}]))
    bed.run("heal")
    (bed.home("web") / "bad").touch()
    assert {"escalated": 1} == _found(bed.json("heal", expect=1))
    assert 1 == len(bed.events("page")) and 1 == len(bed.events("restart"))


def test_looking_changes_nothing_and_says_what_is(bed: Any) -> None:
    """probe, status, explain, incidents and timeline answer with and without a watchdog, for people and for machines."""
    bed.contracts(bed.service())
    assert "was never watched" in bed.run("status", expect=1).stdout
    assert 1 == bed.run("probe", expect=1).returncode
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover")
    assert "healthy" == bed.json("status")["services"][0]["state"]
    assert ["healthy"] == [each["status"] for each in bed.json("probe")["results"]]
    explained = bed.json("explain", "web")
    assert ["restart", "restart", "restart", "page"] == [step["rung"] for step in explained["worst_case"]]
    assert {"state", "rung", "reason", "sentence"} == set(explained["now"]) and "healthy" == explained["now"]["state"]
    incident = bed.json("incidents")["incidents"][0]
    assert ("recovered", "gone", "start") == (incident["outcome"], incident["reason"], incident["steps"][0]["type"])
    head = bed.json("timeline", "verify")["head"]
    anchor = "%d:%s" % (head["seq"], head["hash"])
    bed.run("ack", "web", "--reason", "seen")
    bed.run("timeline", "verify", "--anchor", anchor)
    assert 1 == bed.json("timeline", "stats")["services"]["web"]["recovered"]
    assert "text=acknowledged" in bed.run("timeline", "tail", "-n", "1").stdout


def test_a_tampered_timeline_is_told(bed: Any) -> None:
    """`timeline verify` exits with 1 and names the place when one byte was changed."""
    bed.contracts(bed.service())
    bed.run("heal")
    bed.run("ack", "web", "--reason", "first")
    segment = bed.folder / "state" / "timeline" / "000001.jsonl"
    segment.write_text(segment.read_text().replace("first_start", "first_stast"))
    done = bed.run("timeline", "verify", expect=1)
    assert "NOT valid" in done.stdout and "000001.jsonl" in done.stdout


def test_following_shows_events_as_they_come_and_ends_with_its_reader(bed: Any) -> None:
    """`timeline tail --follow` prints a new event within a second, and ends when nobody reads it any more."""
    bed.contracts(bed.service())
    bed.run("ack", "web", "--reason", "before")
    tail = subprocess.Popen(bed.command("timeline", "tail", "--follow", "--json"), stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    try:
        assert "before" == json.loads(tail.stdout.readline())["data"]["reason"]
        bed.run("ack", "web", "--reason", "after")
        assert "after" == json.loads(tail.stdout.readline())["data"]["reason"]
        tail.stdout.close()
        bed.run("ack", "web", "--reason", "nobody reads this")
        assert 0 == tail.wait(5)
    finally:
        tail.kill()
        tail.wait(5)


def _found(answer: Any) -> Any:
    return {word: count for word, count in answer["summary"].items() if count}


def test_heal_beside_a_watchdog_that_waits(bed: Any) -> None:
    """A person heals what the watchdog may not (held): one start, and the watchdog sees the new instance and closes its incident."""
    bed.contracts(bed.service())
    bed.watch()
    bed.healthy()
    bed.run("hold", "web", "--reason", "hands off")
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("blocked")
    assert {"recovered": 1} == _found(bed.json("heal", "--override", "hold"))
    bed.healthy()
    assert 2 == bed.starts()
    assert ["watchdog", "operator"] == [event["source"] for event in bed.events("start")]
    bed.until(lambda: not json.loads(bed.get("/services/web")[1])["incident"], 10, "the watchdog's own view is whole again")
    bed.run("timeline", "verify")
