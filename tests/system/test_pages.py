# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages reach a person, from the real watchdog: also when it is killed, when nobody answers, and through a real Alertmanager."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, List

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from receivers import Alertmanager, Receiver, alertmanager_program, free_port

TOKEN = "a-token-nobody-may-see"
KEY = "a-key-nobody-may-see"
PATH = "/services/SECRETPATH"
SHORT = [{"rung": "restart", "attempts": 1, "timeout": 1}]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="session")
def program() -> Iterator[str]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-alertmanager-"))
    yield alertmanager_program(folder)
    place = pathlib.Path("/tmp/" + ("selfheal-%d-" % os.getpid()).ljust(29, "t"))
    if place.is_symlink():
        place.unlink()
    shutil.rmtree(folder)


@pytest.fixture
def alertmanager(program: str, bed: Any, receiver: Receiver) -> Iterator[Alertmanager]:
    made = Alertmanager(program, bed.folder, free_port(), receiver)
    bed.until(made.ready, 15, "Alertmanager is ready")
    yield made
    made.close()


def hook(bed: Any, receiver: Receiver) -> Dict[str, Any]:
    for name, secret in (("token", TOKEN), ("key", KEY)):
        (bed.etc / name).write_text(secret + "\n")
        (bed.etc / name).chmod(0o600)
    return {"webhook": {"url": receiver.url + PATH, "token_file": str(bed.etc / "token"), "hmac_file": str(bed.etc / "key")}}


def broken(bed: Any, *targets: Any, **more: Any) -> None:
    """A service that no restart heals, under a watchdog."""
    bed.contracts(bed.service(ladder=SHORT, notify=list(targets), **more))
    bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()


def spool(bed: Any) -> List[str]:
    return sorted(path.name for path in (bed.folder / "state" / "pages").glob("*.json"))


def gone(bed: Any) -> None:
    """The answer to the last message is noted: nothing is left to say."""
    bed.until(lambda: not spool(bed), 5, "the page is gone from the spool")


def noted(bed: Any) -> None:
    """The receivers' answers are noted; until then a kill would rightly repeat the message."""

    def told() -> bool:
        pages = [json.loads((bed.folder / "state" / "pages" / name).read_text()) for name in spool(bed)]
        return bool(pages) and all(each["delivered"] for page in pages for each in page["told"])

    bed.until(told, 5, "the delivery is noted")


def restarted(bed: Any) -> None:
    bed.daemons[-1].kill()
    bed.daemons[-1].wait(10)
    bed.watch()


def test_a_person_is_called_once_and_told_that_it_is_over(bed: Any, receiver: Receiver) -> None:
    """C20: a restart that helps calls nobody; an exhausted ladder calls once, and its end is told to who was called."""
    bed.contracts(bed.service(ladder=SHORT, notify=[hook(bed, receiver)]))
    bed.watch()
    bed.healthy()
    os.kill(bed.pid(), signal.SIGKILL)
    bed.event("recover")
    assert [] == receiver.got and [] == spool(bed), "what a start heals calls nobody"
    (bed.home("web") / "bad").touch()
    page = bed.event("page", within=20)
    bed.until(lambda: receiver.got, 5, "the page arrives")
    message = receiver.got[0]
    assert ("firing", "bed1", "web", page["incident"], page["seq"]) == (
        message["status"],
        message["host"],
        message["service"],
        message["incident"],
        message["timeline"]["seq"],
    )
    assert "Bearer " + TOKEN == receiver.headers[0]["authorization"] and page["data"]["failure_time"] == message["failure_time"]
    (bed.home("web") / "bad").unlink()
    recovered = bed.event("recover", count=2, within=20)
    bed.until(lambda: receiver.of("resolved"), 5, "the end arrives")
    assert recovered["data"]["recovery_time"] == receiver.of("resolved")[0]["recovery_time"]
    gone(bed)
    assert 2 == len(receiver.got)


def test_killed_between_the_page_and_its_delivery(bed: Any, receiver: Receiver) -> None:
    """C45: kill -9 of the watchdog while the receiver has not answered: delivered after the restart, once more and never again."""
    receiver.hanging = True
    broken(bed, hook(bed, receiver))
    bed.until(lambda: receiver.got, 20, "the page is under way")
    assert 1 == len(spool(bed))
    bed.daemons[-1].kill()
    bed.daemons[-1].wait(10)
    receiver.hanging = False
    bed.watch()
    bed.until(lambda: len(receiver.got) == 2, 10, "the page arrives again")
    noted(bed)
    restarted(bed)
    restarted(bed)
    (bed.home("web") / "bad").unlink()
    bed.until(lambda: receiver.of("resolved"), 30, "the end arrives")
    assert 2 == len(receiver.of("firing")) and 1 == len({message["incident"] for message in receiver.got})
    assert 1 == len(bed.events("page"))
    gone(bed)


def test_a_network_that_is_away_loses_nothing(bed: Any) -> None:
    """Nobody listens when the page is sent, nor after a restart; whoever listens later has it, once."""
    port = free_port()
    broken(bed, {"webhook": {"url": "http://127.0.0.1:%d/" % port}})
    assert "connection_refused" == bed.event("page_failed", within=20)["data"]["reason"]
    restarted(bed)
    late = Receiver(port)
    try:
        bed.until(lambda: late.got, 20, "the page arrives")
        note = bed.until(lambda: [each for each in bed.events("note") if "after all" in each["data"].get("text", "")], 5, "it is noted")
        assert "webhook 127.0.0.1:%d" % port == note[0]["data"]["notify"]
        assert 1 == len(bed.events("page_failed"))
    finally:
        late.close()


def test_a_receiver_that_hangs_delays_no_probe_and_no_healing(bed: Any, receiver: Receiver) -> None:
    """C58: while a webhook and a command hang, another service is probed in its rhythm, and started within moments of its death."""
    receiver.hanging = True
    other = bed.service("other")
    bed.contracts(other, bed.service(ladder=SHORT, notify=[hook(bed, receiver), {"command": {"argv": ["/bin/sleep", "60"]}}]))
    bed.watch()
    bed.healthy("web", "other")
    (bed.home("web") / "bad").touch()
    bed.until(lambda: receiver.got, 20, "the webhook hangs")

    def runs() -> int:
        line = 'selfheal_probes_total{service="other",probe="liveness",result="ok"} '
        return int(bed.get("/metrics")[1].partition(line)[2].partition("\n")[0])

    before, began = runs(), time.monotonic()
    bed.until(lambda: runs() >= before + 3, 4.5, "three more probes in three periods")
    assert time.monotonic() - began > 1.5
    os.kill(bed.pid("other"), signal.SIGKILL)
    started = bed.until(lambda: [each for each in bed.events("start") if each["service"] == "other"][1:], 5, "other is started")
    failure = [each for each in bed.events("failure") if each["service"] == "other"][0]
    assert failure["data"]["detected_after_ms"] < 500 and started[0]["data"]["attempt"] == 1
    assert "selfheal_pages_waiting 2" in bed.get("/metrics")[1]


def test_no_secret_leaves_the_files(bed: Any, receiver: Receiver) -> None:
    """Tokens, keys and a webhook's path are in no argument, no log, no timeline, no endpoint, and never in what is sent as a body."""
    receiver.status = 500
    seen = bed.folder / "argv"
    listing = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' > %s; cat > %s.stdin" % (seen, seen)
    broken(bed, hook(bed, receiver), {"command": {"argv": ["/bin/sh", "-c", listing]}})
    bed.event("page_failed", within=20)
    bed.until(lambda: seen.with_suffix(".stdin").exists() and seen.with_suffix(".stdin").read_text(), 10, "the command ran")
    everything = seen.read_text() + seen.with_suffix(".stdin").read_text() + bed.log() + json.dumps(bed.events()) + json.dumps(receiver.got)
    everything += "".join(bed.get(path)[1] for path in ("/metrics", "/", "/health", "/services", "/artifacts"))
    for secret in (TOKEN, KEY, "SECRETPATH", receiver.headers[0]["x-hub-signature-256"][7:]):
        assert secret not in everything
    assert "webhook 127.0.0.1:%d" % receiver.port in everything
    assert all(path.stat().st_mode & 0o077 == 0 for path in (bed.folder / "state" / "pages").iterdir())


def test_a_page_under_a_hold_says_so(bed: Any, receiver: Receiver) -> None:
    """Held: nothing is done, people are called all the same and read who holds; `notify` of the host serves who names nobody."""
    bed.configure(notify=[hook(bed, receiver)])
    contract = bed.service()
    bed.contracts(contract)
    bed.run("heal")  # with a ladder: on a slow machine the first probe may come before the service listens
    bed.contracts({**contract, "ladder": [{"rung": "page"}], "mode": "observe"})
    bed.watch()
    bed.healthy()
    bed.run("hold", "web", "--reason", "migration")
    (bed.home("web") / "bad").touch()
    bed.event("failure")
    page = bed.until(lambda: bed.events("page"), 10, "a page, or none under a hold")[0]
    bed.until(lambda: receiver.got, 5, "the page arrives")
    assert "migration" in page["data"]["held"] and page["data"]["held"] == receiver.got[0]["held"]


def test_acknowledged(bed: Any, receiver: Receiver) -> None:
    """`selfheal ack` by service and by incident: kept beside the page, noted in the timeline; the end is told all the same."""
    broken(bed, hook(bed, receiver))
    incident = bed.event("page", within=20)["incident"]
    bed.until(lambda: receiver.got, 5, "the page arrives")
    assert [incident] == bed.json("ack", "web", "--reason", "on it")["incidents"]
    assert "acknowledged" in bed.run("ack", incident).stdout
    assert (bed.folder / "state" / "pages" / (incident + ".ack")).exists()
    noted = [each for each in bed.events("note") if each["data"].get("text") == "acknowledged"]
    assert ["web", "web"] == [each["service"] for each in noted] and "on it" == noted[0]["data"]["reason"]
    bed.run("ack", "nobody", expect=2)
    (bed.home("web") / "bad").unlink()
    bed.until(lambda: receiver.of("resolved"), 20, "the end arrives")
    bed.until(lambda: not list((bed.folder / "state" / "pages").glob("*.ack")), 5, "its acknowledgement is gone with it")
    assert "nobody is being called" in bed.run("ack", "web").stdout


def test_a_heal_by_hand_calls_as_well(bed: Any, receiver: Receiver) -> None:
    """Without a watchdog `selfheal heal` delivers its page before it ends, and takes it back when a later one heals."""
    bed.contracts(bed.service(ladder=SHORT, notify=[hook(bed, receiver)]))
    bed.run("heal")
    (bed.home("web") / "bad").touch()
    bed.run("heal", expect=1)
    assert ["firing"] == [message["status"] for message in receiver.got] and 1 == len(spool(bed))
    assert "operator" == bed.events("page")[0]["source"]
    (bed.home("web") / "bad").unlink()
    bed.run("heal")
    assert ["firing", "resolved"] == [message["status"] for message in receiver.got] and [] == spool(bed)


def test_what_a_heal_by_hand_cannot_deliver_the_watchdog_does(bed: Any) -> None:
    """The run tries for ten seconds and ends; the page lies in the spool, and a watchdog started later delivers it once."""
    port = free_port()
    bed.contracts(bed.service(ladder=SHORT, notify=[{"webhook": {"url": "http://127.0.0.1:%d/" % port}}]))
    bed.run("heal")
    (bed.home("web") / "bad").touch()
    bed.run("heal", expect=1)
    assert 1 == len(spool(bed)) and 1 == len(bed.events("page_failed"))
    late = Receiver(port)
    try:
        bed.watch()
        bed.until(lambda: late.got, 10, "the watchdog delivers it")
        (bed.home("web") / "bad").unlink()
        bed.until(lambda: late.of("resolved"), 20, "the end arrives")
        assert 1 == len(late.of("firing"))
    finally:
        late.close()


def test_a_corrected_target_has_the_open_page_after_a_reload(bed: Any, receiver: Receiver) -> None:
    """SIGHUP with another `notify` of the host: no restart is asked for, and who is named now is called."""
    bed.configure(notify=[{"webhook": {"url": "http://127.0.0.1:%d/" % free_port()}}])
    bed.contracts(bed.service(ladder=SHORT))
    bed.watch()
    bed.healthy()
    (bed.home("web") / "bad").touch()
    bed.event("page_failed", within=20)
    bed.configure(notify=[hook(bed, receiver)])
    bed.daemons[-1].send_signal(signal.SIGHUP)
    bed.until(lambda: receiver.got, 10, "the page arrives")
    assert "needs_restart" not in bed.events("contract_loaded")[-1]["data"]


def test_a_storm_calls_once_and_is_taken_back(bed: Any, receiver: Receiver) -> None:
    """C19: all services failing at once are one page about the host; a watchdog killed in it does not page again; its end is told."""
    names = ["s%d" % number for number in range(3)]
    bed.configure(notify=[hook(bed, receiver)], storm={"services": 3, "percent": 50, "window": 60})
    bed.contracts(*[bed.service(name, ladder=SHORT) for name in names])
    bed.watch()
    bed.healthy(*names)
    for name in names:
        (bed.home(name) / "bad").touch()
    bed.until(lambda: receiver.got, 20, "the page arrives")
    assert (None, "storm") == (receiver.got[0]["service"], receiver.got[0]["reason"])
    assert receiver.got[0]["incident"].startswith("storm-") and set(names) == set(receiver.got[0]["services"])
    noted(bed)
    restarted(bed)
    assert [] == receiver.of("resolved"), "it goes on"
    for name in names:
        (bed.home(name) / "bad").unlink()
    bed.until(lambda: [each for each in receiver.of("resolved") if each["service"] is None], 30, "the end arrives")
    assert 1 == len([each for each in receiver.of("firing") if each["service"] is None])
    told = [(event["type"], event["incident"]) for event in bed.events("page", "page_resolved") if "service" not in event]
    assert [("page", receiver.got[0]["incident"]), ("page_resolved", receiver.got[0]["incident"])] == told


def test_an_alertmanager_is_told_and_told_that_it_is_over(bed: Any, receiver: Receiver, alertmanager: Alertmanager) -> None:
    """The real Alertmanager fires SelfhealEscalated with host, service and severity, and resolves it when the incident is closed."""
    broken(bed, {"alertmanager": {"url": alertmanager.url}})
    alert = bed.until(alertmanager.alerts, 20, "the alert fires")[0]
    assert {"alertname": "SelfhealEscalated", "host": "bed1", "service": "web", "severity": "critical"} == alert["labels"]
    assert bed.events("page")[0]["incident"] == alert["annotations"]["incident"]
    bed.until(lambda: receiver.of("firing"), 10, "it is handed on")
    restarted(bed)
    again = bed.until(lambda: [each for each in alertmanager.alerts() if each["endsAt"] > alert["endsAt"]], 10, "it is sent again at once")
    assert alert["fingerprint"] == again[0]["fingerprint"]
    (bed.home("web") / "bad").unlink()
    bed.until(lambda: receiver.of("resolved"), 30, "it is resolved")
    gone(bed)
    assert [] == alertmanager.alerts()
    assert 1 == len(receiver.of("firing")), "repeats are no new alert"


def test_an_alert_lives_by_its_repeats(bed: Any, receiver: Receiver, alertmanager: Alertmanager, pyz: str, monkeypatch: Any) -> None:
    """With the spans cut to seconds: repeats keep the alert firing past its endsAt, and when nobody repeats it Alertmanager resolves it."""
    monkeypatch.syspath_prepend(pyz)
    for name in [name for name in sys.modules if name.partition(".")[0] == "selfheal"]:
        monkeypatch.delitem(sys.modules, name)
    from selfheal._core import pages
    from selfheal._core.model import Notify, WatchdogConfig
    from selfheal._engine import post
    from selfheal._engine.local import Site
    from selfheal._probes.engine import LocalHost

    monkeypatch.setattr(pages, "LASTS", 3.0)
    monkeypatch.setattr(post, "REPEAT_EVERY", 1.0)
    target = Notify("alertmanager", {"url": alertmanager.url})
    config = WatchdogConfig("bed1", state_dir=str(bed.folder / "own"), run_dir=str(bed.folder / "run"), notify=(target,))
    with LocalHost() as host:
        site = Site(str(bed.etc), config, host)
        site.storm.incident = "storm-1"
        site.records.record("page", None, "storm-1", data={"reason": "storm"})

        def turn(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                site.pager.turn(time.monotonic())
                for handle in host.poll(min(end, site.pager.wake)):
                    site.pager.ended(handle)
                    site.pager.wake = -1.0

        turn(1.0)
        assert 1 == len(alertmanager.alerts())
        turn(6.0)
        assert 1 == len(alertmanager.alerts()) and 1 == len(receiver.of("firing")), "twice its life, kept by repeats"
        site.pager.stop()
        site.timeline.close()
    bed.until(lambda: receiver.of("resolved"), 15, "nobody repeats it: it is over by itself")
