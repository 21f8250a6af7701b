# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciling links on a real file system: what is found, repaired, left alone, recorded, and who is not disturbed."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any, Optional

import pytest

from selfheal._actuators import links
from selfheal._core.contract import parse_services
from selfheal._core.deployment import Deployment, Phase, Standing
from selfheal._engine import reconcile, survey
from selfheal._engine.reconcile import Reconciler, Surroundings, summarise
from selfheal._engine.survey import Policy
from selfheal._records import journal
from selfheal._records.holds import Holds
from selfheal._records.lease_batch import ManyLeases
from selfheal._records.read import scan
from selfheal._records.timeline import Timeline


class Site:
    """A root with projects, and a host's records beside it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.root = folder / "www"
        self.root.mkdir()
        self.holds = Holds(str(folder / "state"), str(folder / "etc"))
        self.leases = ManyLeases(str(folder / "run" / "leases"))
        self.warnings: list[str] = []

    def project(
        self, name: str, *releases: str, active: Optional[str] = None, current: Optional[str] = None, public: bool = False
    ) -> pathlib.Path:
        """`active`: the release the journal says; None: there is no journal. `current`: the link's text."""
        place = self.root / name
        place.mkdir()
        for release in releases:
            (place / "deployments" / release).mkdir(parents=True)
            if public:
                (place / "deployments" / release / "public").mkdir()
        if active is not None:
            for number, release in enumerate(sorted(releases, key=lambda release: release == active)):
                self.journal(name, release, number)
        if current is not None:
            (place / "current").symlink_to(current)
        return place

    def journal(self, project: str, release: str, minute: int, **more: Any) -> None:
        folder = self.root / project / ".selfheal" / "deployments"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        at = "2026-11-21T21:%02d:00.000Z" % minute
        fields: dict[str, Any] = {"phase": Phase.ACTIVE, "activated_at": at, "standing": Standing("good", "active", at), **more}
        entry = Deployment(release, project, "deploy", fields.pop("release", release), at, at, **fields)
        (folder / ("%s.json" % release)).write_bytes(journal.dump(entry))

    def run(self, check: bool = False, services: Any = (), **options: Any) -> dict[str, dict[str, Any]]:
        """The results by project, and `summary`."""
        timeline = Timeline(str(self.folder / "state" / "timeline"), "web1")
        surroundings = Surroundings(self.holds, self.leases, timeline, services, check=check)
        reconciler = Reconciler(Policy(str(self.root), **options), surroundings)
        results = reconciler.run()
        self.warnings = reconciler.warnings
        found = {result.look.project: result.as_data(check, options.get("webroot") is not None) for result in results}
        found["summary"] = summarise(results)
        return found

    def current(self, project: str) -> str:
        return os.readlink(self.root / project / "current")

    def events(self) -> list[dict[str, Any]]:
        return list(scan(str(self.folder / "state" / "timeline"))) if (self.folder / "state" / "timeline").exists() else []


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    return Site(tmp_path)


def test_the_journal_decides_not_the_name(site: Site) -> None:
    """C50: the release activated last is current, whatever its name; the link is relative, the repair recorded before it is done."""
    site.project("web", "20261121", "20261120", active="20261120", current="deployments/20261121")
    found = site.run()
    assert found["web"] == {
        "name": "web",
        "action": "repair",
        "outcome": "changed",
        "reason": "link_wrong",
        "detail": "current leads to deployments/20261121",
        "before": "deployments/20261121",
        "after": "deployments/20261120",
    }
    assert site.current("web") == "deployments/20261120"
    (event,) = site.events()
    assert (event["type"], event["source"]) == ("symlink_repair", "module")
    assert event["data"] == {
        "project": "web",
        "link": str(site.root / "web" / "current"),
        "before": "deployments/20261121",
        "after": "deployments/20261120",
        "reason": "link_wrong",
    }
    assert site.run()["summary"] == {"fixed": 0, "verified": 1, "errors": 0, "skipped": 0}
    assert len(site.events()) == 1
    assert os.listdir(site.leases.directory) == [".changing"]


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (None, "link_missing"),
        ("deployments/gone", "link_broken"),
        ("current", "link_broken"),
        ("deployments/1", "link_wrong"),
        ("{root}/web/deployments/2", "link_absolute"),
        ("./deployments/2/", "link_indirect"),
        ("/etc", "link_outside"),
        ("..", "link_outside"),
        ("deployments", "link_outside"),
        ("deployments/2/..", "link_outside"),
    ],
)
def test_check_mode_foresees_every_repair(site: Site, current: Optional[str], reason: str) -> None:
    """The same path, the same results, nothing written: no link, no lease, no event."""
    site.project("web", "1", "2", active="2", current=current and current.format(root=site.root))
    before = sorted(os.listdir(site.folder))
    foreseen = site.run(check=True)["web"]
    assert sorted(os.listdir(site.folder)) == before
    assert foreseen["outcome"] == "planned" and foreseen["reason"] == reason
    done = site.run()["web"]
    assert {**done, "outcome": "planned"} == foreseen
    assert site.current("web") == done["after"] == "deployments/2"


def test_a_tree_without_a_journal_is_left_alone_where_it_is_sound(site: Site) -> None:
    """Somebody may have rolled back on purpose; broken links lead to the newest name again; `newest` moves sound ones, too."""
    for name, current in (("old", "{root}/old/releases/1"), ("broken", "releases/gone"), ("none", None)):
        place = site.project(name)
        for release in ("1", "9", "10", ".hidden"):
            (place / "releases" / release).mkdir(parents=True)
        (place / "releases" / "99").write_text("a file is no release")
        (place / "releases" / "98").symlink_to("1")
        if current:
            (place / "current").symlink_to(current.format(root=site.root))
    found = site.run(deployments_dir="releases")
    assert found["summary"] == {"fixed": 2, "verified": 1, "errors": 0, "skipped": 0}
    assert (found["old"]["outcome"], found["old"]["reason"]) == ("unchanged", "not_newest")
    assert site.current("broken") == site.current("none") == "releases/10"
    assert site.run(deployments_dir="releases", enforce="newest")["old"]["reason"] == "link_wrong"
    assert site.current("old") == "releases/10"


def test_markers_tell_which_release_was_active_last(site: Site) -> None:
    """The one marked last; releases without a marker are none that may be current."""
    place = site.project("web", "1", "2", "3", current="deployments/gone")
    for release, when in (("1", 2000), ("2", 1000)):
        marker = place / "deployments" / release / survey.MARKER
        marker.touch()
        os.utime(marker, (when, when))
    assert site.run(active_by="marker")["web"]["after"] == "deployments/1"


def test_a_release_that_is_gone_or_not_good_is_passed_over(site: Site) -> None:
    """The newest good one that is there; with none left it is an error that names the project, and nothing is linked."""
    place = site.project("web", "1", "2", "3", active="3", current="deployments/3")
    site.journal("web", "2", 30, standing=Standing("bad", "unhealthy", "2026-11-21T21:30:00.000Z"))
    (place / "deployments" / "3").rmdir()
    assert site.run()["web"]["after"] == "deployments/1"
    (place / "deployments" / "1").rmdir()
    found = site.run()
    assert found["summary"]["errors"] == 1
    assert found["web"]["reason"] == "no_good_release"
    assert site.current("web") == "deployments/1"


def test_one_bad_project_never_stops_the_others(site: Site) -> None:
    """Everything a project can be, in one run: each has its own outcome and reason."""
    site.project("a-fine", "1", active="1", current="deployments/1")
    site.project("b-broken", "1", active="1", current="nowhere")
    (site.project("c-blocked", "1", active="1") / "current").mkdir()
    (site.project("d-file", "1", active="1") / "current").write_text("file")
    site.project("e-empty")
    (site.root / "f-alias").symlink_to("a-fine")
    (site.root / "g-file").write_text("no project")
    site.project("h-garbled", "1", active="1", current="nowhere")
    (site.root / "h-garbled" / ".selfheal" / "deployments" / "1.json").write_text("{")
    site.project("i-open", "1", active="1").chmod(0o777)
    linked = site.project("j-linked", current="deployments/1")
    (linked / "elsewhere" / "1").mkdir(parents=True)
    (linked / "deployments").symlink_to("elsewhere")
    site.project("k-last", "1", active="1")
    (site.root / ".hidden").mkdir()
    found = site.run()
    assert {name: (one["outcome"], one["reason"]) for name, one in found.items() if name != "summary"} == {
        "a-fine": ("unchanged", None),
        "b-broken": ("changed", "link_broken"),
        "c-blocked": ("failed", "obstructed"),
        "d-file": ("failed", "obstructed"),
        "e-empty": ("unchanged", "no_release"),
        "f-alias": ("unchanged", "project_is_link"),
        "h-garbled": ("failed", "garbled"),
        "i-open": ("failed", "unsafe_directory"),
        "j-linked": ("failed", "obstructed"),
        "k-last": ("changed", "link_missing"),
    }
    assert found["summary"] == {"fixed": 2, "verified": 1, "errors": 5, "skipped": 2}
    assert site.current("k-last") == "deployments/1"


@pytest.mark.parametrize("name", ["with space", "new\nline", "ümläut", "-rf", "a'b\"c$(id)", os.fsdecode(b"\xff"), "d" * 255])
def test_any_name_of_a_directory_is_a_project(site: Site, name: str) -> None:
    """Also in leases, in the timeline, and in the webroot."""
    (site.folder / "webroot").mkdir()
    site.project(name, "1", active="1", current="x", public=True)
    assert site.run(webroot=str(site.folder / "webroot"))["summary"]["fixed"] == 1
    assert site.current(name) == "deployments/1"
    assert os.path.isdir(site.folder / "webroot" / name)
    assert len(site.events()) == 2


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "nobody", "/etc", "nul\0"])
def test_what_is_no_project_is_an_error_and_nothing_else(site: Site, name: str) -> None:
    """A name never reaches out of the root; what does not exist is a typing error that is told."""
    site.project("web", "1", active="1")
    found = site.run(projects=[name, "web", name])
    assert found["summary"] == {"fixed": 1, "verified": 0, "errors": 1, "skipped": 0}
    assert found[name]["reason"] == "no_such_project"


def test_no_projects_named_means_none(site: Site) -> None:
    """An empty selection selects nothing."""
    site.project("web", "1", active="1")
    assert site.run(projects=[]) == {"summary": {"fixed": 0, "verified": 0, "errors": 0, "skipped": 0}}


def test_the_webroot_follows(site: Site) -> None:
    """Its link is made, moved, left alone, or reported; current is repaired also where the webroot cannot be; itself it is no project."""
    webroot = site.root / "webroot"
    webroot.mkdir()
    right = str(site.root / "right" / "current" / "public")
    site.project("right", "1", active="1", current="deployments/1", public=True)
    (webroot / "right").symlink_to("../right/current/public")
    site.project("wrong", "1", active="1", current="deployments/1", public=True)
    (webroot / "wrong").symlink_to(right)
    site.project("missing", "1", active="1", public=True)
    site.project("private", "1", active="1", current="deployments/1")
    site.project("blocked", "1", active="1", public=True)
    (webroot / "blocked").mkdir()
    found = site.run(webroot=str(webroot))
    assert found["summary"] == {"fixed": 2, "verified": 2, "errors": 1, "skipped": 0}
    assert found["wrong"]["webroot_before"] == right
    assert os.readlink(webroot / "right") == "../right/current/public"
    assert os.readlink(webroot / "wrong") == str(site.root / "wrong" / "current" / "public")
    assert os.path.isdir(webroot / "missing")
    assert not os.path.lexists(webroot / "private")
    assert found["blocked"]["reason"] == "obstructed" and found["blocked"]["outcome"] == "failed"
    assert site.current("blocked") == "deployments/1"
    again = site.run(webroot=str(webroot))
    assert again["summary"] == {"fixed": 0, "verified": 4, "errors": 1, "skipped": 0}


def test_what_stands_in_the_way_is_kept(site: Site) -> None:
    """With backup: beside the link, under a name that says when, told in the result."""
    place = site.project("web", "1", active="1")
    (place / "current").mkdir()
    (place / "current" / "data").write_text("precious")
    found = site.run(on_obstruction="backup")
    (kept,) = [name for name in os.listdir(place) if name.startswith("current.backup-")]
    assert (place / kept / "data").read_text() == "precious"
    assert kept in found["web"]["detail"] and found["web"]["before"] == "(directory)"
    assert site.current("web") == "deployments/1"


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
