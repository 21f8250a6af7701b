# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a fault to its heal by the real programs: watchdog, Prometheus, Alertmanager, ansible-rulebook and the runbook heal."""

from __future__ import annotations

import datetime
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

from alert_chain import Chain, Rulebook, collections
from conftest import Bed, until

PATIENT = 120.0
SERVICES = ("web", "orphan", "late", "cut")


class World:
    """web1 has a watchdog that only looks on; web2 has one that acts, until it is killed."""

    def __init__(self, pyz: str, folder: pathlib.Path) -> None:
        self.beds: Dict[str, Bed] = {}
        for name in ("web1", "web2"):
            (folder / name).mkdir()
            bed = Bed(pyz, folder / name)
            bed.configure(host=name, **({"mode_ceiling": "observe"} if name == "web1" else {}))
            self.beds[name] = bed
        one, two = self.beds["web1"], self.beds["web2"]
        one.contracts(*(one.service(name) for name in SERVICES))
        two.contracts(two.service("web"))
        # A watchdog that only looks on starts nothing, so a person does.
        one.run("heal", *SERVICES)
        one.watch()
        two.watch()
        one.healthy(*SERVICES)
        two.healthy()
        inventory = folder / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": {name: self.host(bed) for name, bed in self.beds.items()}}}))
        settings = {"hosts": {"web1": list(SERVICES), "web2": ["web"]}, "repeat_after": 5, "throttle": 5}
        (folder / "rulebook").mkdir()
        self.rulebook = Rulebook(folder / "rulebook", inventory, settings, collections(folder / "collections"))
        self.chain = Chain(
            folder / "chain",
            self.rulebook,
            {name: bed.port for name, bed in self.beds.items()},
            monitoring_interval="1s",
            monitoring_heal_for="0s",
            monitoring_unwatched_for="0s",
            monitoring_group_interval="10s",
            monitoring_repeat_interval="20s",
        )

    @staticmethod
    def host(bed: Bed) -> Dict[str, Any]:
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": getattr(sys, "_base_executable", None) or sys.executable,
            "ansible_remote_tmp": str(bed.folder / "remote"),
            "selfheal_become": False,
            "selfheal_etc": str(bed.etc),
            "selfheal_state_dir": str(bed.folder / "state"),
            "selfheal_controller_dir": str(bed.folder / "controller"),
        }

    def close(self) -> None:
        self.rulebook.kill(heals=True)
        self.chain.close()
        for bed in self.beds.values():
            bed.close()


@pytest.fixture(scope="module")
def world(pyz: str) -> Iterator[World]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-alerts-"))
    made = World(pyz, folder)
    try:
        made.rulebook.start()
        made.chain.start()
        until(lambda: len(made.chain.query('up{job="selfheal"} == 1')) == 2, 30, "both watchdogs are read")
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def seconds(text: str) -> float:
    """A point in time as seconds."""
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def recovered(bed: Bed, name: str, since: float, rulebook: Rulebook) -> Dict[str, Any]:
    """Wait for the event of a recovery of this service after that time."""

    def found() -> List[Dict[str, Any]]:
        return [event for event in bed.events("recover", service=name) if seconds(event["timestamp"]) > since]

    try:
        return until(found, PATIENT, "%s recovers" % name)[0]
    except AssertionError:
        raise AssertionError("%s\n%s" % (bed.events(service=name), rulebook.log()[-6000:])) from None


def test_a_service_that_its_host_only_looks_at_is_healed_by_its_alert(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """C43 Fault, scrape, rule, Alertmanager, webhook, runbook, recovery: each leg is there, in its order, and its time is shown."""
    bed, chain = world.beds["web1"], world.chain
    starts = bed.starts("web")
    before = time.time()
    os.kill(bed.pid("web"), signal.SIGKILL)
    query = 'selfheal_service_state{host="web1",service="web",state="unhealthy"} == 1'
    until(lambda: chain.query(query), PATIENT, "Prometheus sees it")
    seen = time.time()
    alert = until(lambda: chain.firing(alertname="SelfhealObservedServiceDown", service="web"), PATIENT, "Alertmanager has it")[0]
    handed = until(lambda: world.rulebook.handed().get("web1/web"), PATIENT, "the guard hands it on")
    event = recovered(bed, "web", before, world.rulebook)
    acted = next(each for each in bed.events(service="web") if seconds(each["timestamp"]) > before and each["type"] in ("start", "restart"))
    legs = [
        ("fault to seen by Prometheus", seen - before),
        ("fault to alert", seconds(alert["startsAt"]) - before),
        ("alert to handed on by the guard", handed - seconds(alert["startsAt"])),
        ("handed on to action on the host", seconds(acted["timestamp"]) - handed),
        ("action to healthy", seconds(event["data"]["recovery_time"]) - seconds(acted["timestamp"])),
        ("fault to healthy", seconds(event["data"]["recovery_time"]) - before),
    ]
    with capsys.disabled():
        print("\n" + "\n".join("    %-34s %6.2f s" % leg for leg in legs))
    assert bed.starts("web") == starts + 1 and acted["source"] != "watchdog"
    assert alert["labels"]["selfheal"] == "heal" and alert["labels"]["host"] == "web1"
    assert [sender["name"] for sender in alert["receivers"]] == ["selfheal-heal"]
    until(lambda: not chain.firing(service="web", selfheal="heal"), PATIENT, "the alert ends")


def test_a_service_whose_watchdog_died_is_healed_by_its_alert(world: World) -> None:
    """C44 Nobody is left on the host to heal; what Prometheus remembers of its services brings somebody."""
    bed = world.beds["web2"]
    starts, before = bed.starts("web"), time.time()
    bed.daemons[-1].kill()
    bed.daemons[-1].wait(10)
    os.kill(bed.pid("web"), signal.SIGKILL)
    recovered(bed, "web", before, world.rulebook)
    assert bed.starts("web") == starts + 1 and bed.alive(bed.pid("web"))


def test_a_heal_goes_on_when_its_rulebook_ends(world: World) -> None:
    """C11 What has begun is brought to its end without the rulebook, and a rulebook started beside it does not begin it anew."""
    bed, rulebook = world.beds["web1"], world.rulebook
    until(lambda: not rulebook.runs(), PATIENT, "no other heal goes on")
    starts, before = bed.starts("orphan"), time.time()
    os.kill(bed.pid("orphan"), signal.SIGKILL)
    until(lambda: "web1/orphan" in rulebook.handed(), PATIENT, "the guard hands it on")
    until(lambda: len(rulebook.runs()) > 1, PATIENT, "the runbook runs, in a session of its own")
    rulebook.kill()
    assert rulebook.runs() and bed.starts("orphan") == starts
    recovered(bed, "orphan", before, rulebook)
    until(lambda: not rulebook.runs(), PATIENT, "the runbook ends")
    assert bed.starts("orphan") == starts + 1
    rulebook.start()


def test_an_alert_while_the_rulebook_is_down_is_healed_when_it_is_back(world: World) -> None:
    """C45 Alertmanager keeps it and tries again; what was handed on before is not begun anew."""
    bed, rulebook = world.beds["web1"], world.rulebook
    rulebook.kill()
    until(lambda: not rulebook.runs(), PATIENT, "no heal goes on")
    starts, before = bed.starts("late"), time.time()
    others = bed.starts("web")
    os.kill(bed.pid("late"), signal.SIGKILL)
    until(lambda: world.chain.firing(service="late", selfheal="heal"), PATIENT, "Alertmanager has it")
    assert bed.starts("late") == starts
    rulebook.start()
    recovered(bed, "late", before, rulebook)
    assert bed.starts("late") == starts + 1 and bed.starts("web") == others


def test_a_heal_that_is_killed_in_the_middle_is_done_again(world: World) -> None:
    """C46 Rulebook, runbook and module are killed in the middle; the lease of the dead is taken over, and it is healed, once."""
    bed, rulebook = world.beds["web1"], world.rulebook
    until(lambda: not rulebook.runs(), PATIENT, "no other heal goes on")
    starts, before = bed.starts("cut"), time.time()
    os.kill(bed.pid("cut"), signal.SIGKILL)
    until(lambda: "web1/cut" in rulebook.handed(), PATIENT, "the guard hands it on")
    until(rulebook.runs, PATIENT, "the runbook runs")
    rulebook.kill(heals=True)
    began = bed.starts("cut")
    rulebook.start()
    recovered(bed, "cut", before, rulebook)
    assert began <= bed.starts("cut") <= starts + 2 and bed.alive(bed.pid("cut"))


# -- many, twice and hostile: a runbook that notes what it was given ----------------------------------------------------------------------

NOTES = """
- hosts: "{{ selfheal_hosts }}"
  gather_facts: false
  tasks:
    - ansible.builtin.raw: |
        echo "$(date +%%s.%%N)" begin {{ note | quote }} >> %(notes)s
        while [ -e %(notes)s.wait ]; do sleep 0.2; done
        echo "$(date +%%s.%%N)" end {{ note | quote }} >> %(notes)s
      vars:
        note: "{{ inventory_hostname }} {{ selfheal_names | join(',') }} {{ selfheal_alert.fingerprint }} {{ given | length }}"
        given: "{{ ansible_eda | to_json }}"
"""


class Noted:
    """A rulebook whose runbook notes its host, service and alert, and when it begins and ends."""

    def __init__(self, folder: pathlib.Path, hosts: List[str]) -> None:
        self.notes = folder / "notes"
        self.hosts = hosts
        python = getattr(sys, "_base_executable", None) or sys.executable
        local = {"ansible_connection": "local", "ansible_python_interpreter": python, "ansible_remote_tmp": str(folder / "remote")}
        inventory = folder / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": dict.fromkeys(hosts), "vars": local}}))
        (folder / "rulebook").mkdir()
        settings = {"hosts": dict.fromkeys(hosts, ["web", "db"]), "repeat_after": 600, "throttle": 0}
        where = collections(folder / "collections", NOTES % {"notes": self.notes})
        self.rulebook = Rulebook(folder / "rulebook", inventory, settings, where)

    def ran(self) -> List[List[str]]:
        """[time, begin or end, host, service, fingerprint, length of all that the runbook was given]."""
        return [line.split() for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def ended(self, number: int, within: float) -> List[List[str]]:
        until(lambda: len([each for each in self.ran() if each[1] == "end"]) >= number, within, "%d runs end" % number)
        until(lambda: not self.rulebook.runs(), within, "no run goes on")
        return [each for each in self.ran() if each[1] == "begin"]


@pytest.fixture
def noted() -> Iterator[Noted]:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-noted-"))
    made = Noted(folder, ["web%d" % number for number in range(1, 31)])
    try:
        made.rulebook.start()
        yield made
    finally:
        made.rulebook.kill(heals=True)
        shutil.rmtree(folder)


def alert(host: Any = "web1", service: Any = "web", fingerprint: str = "5ef77f1f8a3ecb8d", **more: Any) -> Dict[str, Any]:
    labels = {"alertname": "SelfhealObservedServiceDown", "selfheal": "heal", "host": host, "service": service}
    return {
        "status": "firing",
        "labels": {**labels, **more.pop("labels", {})},
        "annotations": {},
        "startsAt": datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
        **more,
    }


def test_sixty_alerts_at_once_are_sixty_heals(noted: Noted, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """C43 C45 Through Alertmanager: none is lost, none runs twice though what waited is sent again, no host has two at once."""
    chain = Chain(tmp_path / "chain", noted.rulebook, {}, monitoring_group_interval="10s", monitoring_repeat_interval="10m")
    try:
        chain.start()
        began = time.time()
        wanted = {(host, service) for host in noted.hosts for service in ("web", "db")}
        chain.fire([{"labels": alert(host, service)["labels"]} for host, service in sorted(wanted)])
        runs = noted.ended(60, 500)
        took = time.time() - began
    finally:
        chain.close()
    with capsys.disabled():
        print("\n    60 alerts at once, 4 heals at a time  %6.1f s" % took)
    assert sorted((each[2], each[3]) for each in runs) == sorted(wanted)
    for host in noted.hosts:
        marks = [each[1] for each in sorted(noted.ran()) if each[2] == host]
        assert marks == ["begin", "end", "begin", "end"], host
    assert {each["reason"] for each in noted.rulebook.dropped()} <= {"duplicate"}


def test_one_alert_sent_many_times_is_one_heal(noted: Noted) -> None:
    """C45 By one sender or several, together or one after the other, before and after the rulebook was killed."""
    same = alert()
    for _again in range(3):
        assert noted.rulebook.post({"alerts": [same, same]}) == 200
    noted.ended(1, PATIENT)
    noted.rulebook.kill()
    noted.rulebook.start()
    assert noted.rulebook.post({"alerts": [same, alert("web2", fingerprint="aa11bb22")]}) == 200
    runs = noted.ended(2, PATIENT)
    assert [each[2] for each in runs] == ["web1", "web2"]
    assert {each["reason"] for each in noted.rulebook.dropped()} == {"duplicate"}


def test_with_persistence_a_run_that_was_killed_is_begun_again(noted: Noted) -> None:
    """C45 Nobody sends the alert again: the rulebook itself remembers what it had not brought to its end. At least once, and then never."""
    options = noted.rulebook.persist()
    noted.rulebook.kill()
    noted.rulebook.start(*options)
    wait = noted.notes.with_name(noted.notes.name + ".wait")
    wait.touch()
    same = alert()
    assert noted.rulebook.post({"alerts": [same]}) == 200
    until(noted.ran, PATIENT, "the run has begun")
    noted.rulebook.kill(heals=True)
    wait.unlink()
    noted.rulebook.start(*options)
    # What the first one had begun on its host goes on there, and ends as well.
    assert ["web1", "web1"] == [each[2] for each in noted.ended(2, PATIENT)]
    assert noted.rulebook.post({"alerts": [same, alert("web2", fingerprint="aa11bb22")]}) == 200
    assert ["web1", "web1", "web2"] == [each[2] for each in noted.ended(3, PATIENT)]


def test_hostile_alerts_do_nothing_and_harm_no_other(noted: Noted) -> None:
    """C43 Templates, all, lists, patterns, paths, newlines and things that are no alerts: dropped, recorded, nothing executed."""
    canary = noted.notes.with_name("canary")
    run = '{{ lookup("pipe", "touch %s") }}' % canary
    hostile = [
        alert(service=run, fingerprint="01"),
        alert(host=run, fingerprint="02"),
        alert(annotations={"summary": run}, fingerprint="03"),
        alert(labels={run: "x"}, fingerprint="04"),
        alert(fingerprint=run),
        alert(labels={"alertname": run}, fingerprint="06"),
        alert(more=[{"deep": [run]}], fingerprint="07"),
        alert(annotations={"a": "{%% set x = lookup('pipe', 'touch %s') %%}" % canary}, fingerprint="08"),
        alert("all", fingerprint="09"),
        alert("web1,web2", fingerprint="10"),
        alert("web*", fingerprint="11"),
        alert("~web.*", fingerprint="12"),
        alert("!web1", fingerprint="13"),
        alert(["web1", "web2"], fingerprint="14"),
        alert({"web1": 1}, fingerprint="15"),
        alert("../../etc/passwd", fingerprint="16"),
        alert("-e@/etc/passwd", fingerprint="17"),
        alert("web1\nweb2", fingerprint="18"),
        alert("", fingerprint="19"),
        alert(None, fingerprint="20"),
        alert("db1", fingerprint="21"),
        alert(service="web\n--become", fingerprint="22"),
        alert(service=["web"], fingerprint="23"),
        alert(service="other", fingerprint="24"),
        alert(labels={"alertname": "SomethingElse"}, fingerprint="25"),
        alert(status="resolved", fingerprint="26"),
        alert(startsAt="2020-01-01T00:00:00Z", fingerprint="27"),
        alert(startsAt="yesterday", fingerprint="28"),
        "text",
        7,
        None,
        ["list"],
        {"labels": 7, "status": "firing"},
    ]
    assert (
        noted.rulebook.post({"alerts": [alert(host="web3", fingerprint="aa01"), *hostile, alert(host="web4", fingerprint="aa02")]}) == 200
    )
    for strange in ({"alerts": {}}, {"alerts": "x"}, {"alerts": 7}, {"no": "alerts"}, {}, [1], 7, {"alerts": [[[[]]]]}):
        noted.rulebook.post(strange)
    assert noted.rulebook.post({"alerts": [alert(host="web5")]}, token="wrong") == 401
    assert noted.rulebook.post({"alerts": [alert(host="web6", fingerprint="aa03")]}) == 200
    runs = noted.ended(3, PATIENT)
    assert sorted((each[2], each[3]) for each in runs) == [("web3", "web"), ("web4", "web"), ("web6", "web")]
    assert not canary.exists() and noted.rulebook.process is not None and noted.rulebook.process.poll() is None
    reasons = {each["fingerprint"]: each["reason"] for each in noted.rulebook.dropped()}
    for event in hostile:
        if isinstance(event, dict) and "fingerprint" in event:
            assert event["fingerprint"][:128] in reasons, event
    assert {reasons["%02d" % number] for number in (9, 10, 11, 12, 13, 14, 16, 18, 20)} == {"no_host"}
    assert {reasons["%02d" % number] for number in (1, 2, 3, 4, 6, 7, 8)} == {"template"}
    assert reasons["21"] == "foreign_host" and reasons["24"] == "unknown_service" and reasons["25"] == "unknown_alert"
