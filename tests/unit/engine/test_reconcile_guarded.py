# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciling obeys holds and leases, and lives with what breaks meanwhile."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from reconciling import Site

from selfheal._actuators import links
from selfheal._core.contract import parse_services
from selfheal._core.deployment import Phase
from selfheal._engine import reconcile, survey
from selfheal._records.lease_batch import ManyLeases


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


SERVICE = {
    "name": "shop",
    "resource": {"unit": "shop.service"},
    "probes": [{"role": "liveness", "tcp": {"host": "127.0.0.1", "port": 1}}],
}


@pytest.mark.parametrize("what", ["host", "button", "service", "project"])
def test_holds_are_obeyed(site: Site, what: str) -> None:
    """Of the host, the red button, a service released from the project, or the project's own name; what is right is verified."""
    site.project("web", "1", active="1")
    site.project("fine", "1", active="1", current="deployments/1")
    services = parse_services([{**SERVICE, "release": {"root": str(site.root), "project": "web"}}])
    if what == "button":
        site.holds.press("ada", "migration")
    else:
        site.holds.set({"host": None, "service": "shop", "project": "web"}[what], "ada", "migration")
    for check in (True, False):
        found = site.run(check=check, services=services)
        assert found["summary"] == {"fixed": 0, "verified": 1, "errors": 0, "skipped": 1}
        assert (found["web"]["outcome"], found["web"]["reason"]) == ("blocked", "hold")
        assert "held by ada: migration" in found["web"]["detail"]
    assert not os.path.lexists(site.root / "web" / "current")
    assert site.events() == []


def test_a_hold_of_another_service_holds_nothing_here_unless_contracts_cannot_be_read(site: Site) -> None:
    """When in doubt whose project it is, it is held."""
    site.project("web", "1", active="1")
    site.holds.set("other", "ada", "migration")
    assert site.run(services=None)["web"]["reason"] == "hold"
    assert site.run()["web"]["outcome"] == "changed"


def test_a_lease_is_obeyed_and_a_dead_holders_is_taken_over(site: Site) -> None:
    """C51: who is at work is named and left alone; a process that was killed holds nothing for ever, and that is recorded."""
    site.project("web", "1", active="1")
    name = "project:%s" % (site.root / "web")
    with site.leases.acquire([name], "deployment", "deploying web", 60):
        for check in (True, False):
            found = site.run(check=check)["web"]
            assert (found["outcome"], found["reason"]) == ("blocked", "lease_held")
            assert "held by deployment" in found["detail"]
    script = (
        "import sys, types, os\n"
        "package = types.ModuleType('selfheal'); package.__path__ = [sys.argv[1]]; sys.modules['selfheal'] = package\n"
        "from selfheal._records.lease import LeaseSet\n"
        "LeaseSet(sys.argv[2]).acquire([sys.argv[3]], 'deployment', 'deploying web', 3600); os._exit(0)\n"
    )
    library = os.path.dirname(os.path.dirname(reconcile.__file__))
    subprocess.run([sys.executable, "-c", script, library, site.leases.directory, name], check=True)
    assert site.leases.holder(name) is not None
    assert site.run()["web"]["outcome"] == "changed"
    assert [event["type"] for event in site.events()] == ["lease_takeover", "symlink_repair"]
    assert site.leases.holder(name) is None


@pytest.mark.parametrize("who", ["deployment", "healer", "hold"])
def test_a_root_reached_through_a_link_is_the_same_project(site: Site, who: str) -> None:
    """Who deploys, heals or holds it under the one name keeps whoever comes by the other from it, in check mode as well."""
    site.project("web", "1", active="1")
    other = site.folder / "also"
    other.symlink_to("www")
    services = parse_services([{**SERVICE, "release": {"root": str(other), "project": "web"}}])
    if who == "hold":
        site.holds.set("shop", "ada", "migration")
    else:
        root = other if who == "healer" else site.root
        site.leases.acquire(["project:%s" % (root / "web")], who, "at work", 60)
    for root in (site.root, other, "%s//../also/" % other):
        for check in (True, False):
            found = site.run(root=str(root), check=check, services=services)["web"]
            assert (found["outcome"], found["reason"]) == ("blocked", "hold" if who == "hold" else "lease_held")
    assert not os.path.lexists(site.root / "web" / "current")


def test_a_persons_lease_is_never_taken(site: Site) -> None:
    """Even when the process that took it is long gone."""
    site.project("web", "1", active="1")
    site.leases.acquire(["project:%s" % (site.root / "web")], "ada", "looking into it", None, person=True)
    assert site.run()["web"]["reason"] == "lease_held"


def test_a_deployment_that_was_cut_off_is_left_to_resume(site: Site) -> None:
    """What it had made current is not taken away under it; a link that leads nowhere is repaired all the same."""
    site.project("web", "1", "2", active="1", current="deployments/2")
    site.journal("web", "2", 30, phase=Phase.HEALTH_CHECK, activated_at=None, standing=None)
    found = site.run()["web"]
    assert (found["outcome"], found["reason"]) == ("blocked", "interrupted")
    (site.root / "web" / "deployments" / "2").rmdir()
    assert site.run()["web"]["after"] == "deployments/1"


def test_a_link_whose_journal_was_set_aside_stays_where_it_is(site: Site) -> None:
    """It may have been a rollback, on purpose: a sound link waits for the next activation, one that leads nowhere does not."""
    place = site.project("web", "1", "2", active="2", current="deployments/1")
    (place / ".selfheal" / "deployments" / "back.json.bad-20261122T000000.000Z").write_text("{")
    found = site.run()["web"]
    assert (found["outcome"], found["reason"], site.current("web")) == ("unchanged", "not_newest", "deployments/1")
    (place / "current").unlink()
    assert site.run()["web"]["after"] == "deployments/2"
    (place / "current").unlink()
    (place / "current").symlink_to("deployments/1")
    site.journal("web", "2", 1, activated_at="2026-11-22T00:00:01.000Z")
    assert (site.run()["web"]["reason"], site.current("web")) == ("link_wrong", "deployments/2")


def test_a_newer_versions_journal_is_named_and_nothing_is_touched(site: Site) -> None:
    """Who comes with an older collection cannot tell which release is good, and does not send anybody to set it aside."""
    place = site.project("web", "1", active="1", current="gone")
    (place / ".selfheal" / "deployments" / "2.json").write_text(json.dumps({"id": "2", "schema": 2}))
    found = site.run()["web"]
    assert (found["outcome"], found["reason"], site.current("web")) == ("failed", "garbled", "gone")
    assert "2.json: a newer version wrote it" in found["detail"] and "sets it aside" not in found["detail"]


def test_what_changed_before_the_lease_was_taken_is_seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that ends between looking and taking the lease is not undone by what was seen before."""
    site.project("web", "1", "2", active="1", current="deployments/2")
    take = ManyLeases.take_each

    def deployed_meanwhile(*arguments: Any) -> Any:
        site.journal("web", "2", 59)
        return take(*arguments)

    monkeypatch.setattr(ManyLeases, "take_each", deployed_meanwhile)
    assert site.run()["web"]["outcome"] == "unchanged"
    assert site.current("web") == "deployments/2"
    assert site.events() == []


def test_an_old_journal_that_did_not_change_is_not_read_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory's time proves it, once that is old enough for a clock that goes in ticks."""
    site.project("web", "1", active="1", current="x")
    folder = site.root / "web" / ".selfheal" / "deployments"
    os.utime(folder, (1_700_000_000, 1_700_000_000))
    looks = []
    look = survey.Surveyor.look
    monkeypatch.setattr(survey.Surveyor, "look", lambda self, name: (looks.append(name), look(self, name))[1])
    site.run()
    assert looks == ["web"]
    (site.root / "web" / "current").unlink()
    folder.touch()
    site.run()
    assert looks == ["web"] * 3


def test_a_repair_that_fails_is_told_and_the_others_are_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the result, and as an event of its own behind the one that announced it; leases are given back."""
    site.project("a", "1", active="1")
    site.project("b", "1", active="1")
    swap = links.swap_at
    failures = []

    def swapped(*arguments: Any, **more: Any) -> Any:
        if not failures:
            failures.append(arguments)
            raise OSError(28, "No space left on device")
        return swap(*arguments, **more)

    monkeypatch.setattr(reconcile, "swap_at", swapped)
    found = site.run()
    assert found["summary"] == {"fixed": 1, "verified": 0, "errors": 1, "skipped": 0}
    assert found["a"]["reason"] == "action_failed" and "ENOSPC" in found["a"]["detail"] and found["a"]["after"] is None
    assert [(event["data"]["project"], event["data"].get("outcome")) for event in site.events()] == [
        ("a", None),
        ("b", None),
        ("a", "failed"),
    ]
    assert os.listdir(site.leases.directory) == [".changing"]


def test_a_timeline_that_cannot_be_written_stops_no_repair(site: Site) -> None:
    """A link that leads nowhere is worse; whoever asked is warned once."""
    site.project("web", "1", active="1")
    (site.folder / "state").mkdir()
    (site.folder / "state" / "timeline").write_text("in the way")
    assert site.run()["summary"]["fixed"] == 1
    (warning,) = site.warnings
    assert "not in the timeline" in warning


def test_without_a_place_for_leases_nothing_is_touched(site: Site) -> None:
    """Nobody could be kept from the project meanwhile."""
    site.project("web", "1", active="1")
    (site.folder / "run").mkdir()
    (site.folder / "run" / "leases").write_text("in the way")
    assert site.run()["web"]["reason"] == "records_unwritable"
    assert not os.path.lexists(site.root / "web" / "current")


@pytest.mark.parametrize("what", ["missing", "link", "open", "file"])
def test_a_webroot_that_cannot_be_worked_in_is_refused_before_anything(site: Site, what: str) -> None:
    """It is named, and no link was touched; a link is resolved once, as the root is."""
    site.project("web", "1", active="1", public=True)
    webroot = site.folder / "webroot"
    if what == "link":
        (site.folder / "real").mkdir()
        webroot.symlink_to("real")
        assert site.run(webroot=str(webroot))["summary"]["fixed"] == 1
        return
    if what == "open":
        webroot.mkdir()
        webroot.chmod(0o777)
    if what == "file":
        webroot.touch()
    with pytest.raises(links.LinkRefused, match=str(webroot)):
        site.run(webroot=str(webroot))
    assert not os.path.lexists(site.root / "web" / "current")


def test_hundreds_are_repaired_with_a_sync_of_the_file_system_each_batch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with one for each link; every event is there, and verifies."""
    monkeypatch.setattr(reconcile, "AT_ONCE", 100)
    for number in range(250):
        site.project("p%03d" % number, "1", active="1")
    batches = []
    sync = reconcile.sync_many
    monkeypatch.setattr(reconcile, "sync_many", lambda descriptors: (batches.append(len(descriptors)), sync(descriptors)))
    assert site.run()["summary"]["fixed"] == 250
    assert batches == [65, 65, 50], "few directories stay open one by one, of many one for each file system"
    assert len(site.events()) == 250
    assert {json.dumps(event["data"]["after"]) for event in site.events()} == {'"deployments/1"'}
