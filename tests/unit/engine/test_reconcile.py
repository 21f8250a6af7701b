# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciling links on a real file system: what is found, repaired, left alone, recorded, and who is not disturbed."""

from __future__ import annotations

import os
import pathlib
from typing import Optional

import pytest
from reconciling import Site

from selfheal._core.deployment import Standing
from selfheal._engine import survey


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


def test_what_is_in_the_way_is_named_in_words(site: Site) -> None:
    """A pipe where the link belongs, and a directory where it is begun: who reads it knows what to move away, and nothing was touched."""
    os.mkfifo(site.project("pipe", "1", active="1") / "current")
    place = site.project("begun", "1", active="1", current="gone")
    (place / ".current.swap.tmp").mkdir()
    found = site.run()
    assert found["pipe"]["detail"].startswith("something else stands at %s" % (site.root / "pipe" / "current"))
    assert (found["begun"]["reason"], found["begun"]["after"]) == ("obstructed", "gone")
    assert ".current.swap.tmp is in the way" in found["begun"]["detail"]
    found = site.run(on_obstruction="backup")
    assert found["pipe"]["detail"].startswith("something else stood at") and site.current("pipe") == "deployments/1"
