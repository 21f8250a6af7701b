# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's copy of a host's timeline: it takes in what is new, and finds out a host that changes its story."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.faultline.selfheal.plugins.module_utils._core.errors import RecordError
from ansible_collections.faultline.selfheal.plugins.module_utils._records.extract import extract
from ansible_collections.faultline.selfheal.plugins.module_utils._records.segments import Head
from ansible_collections.faultline.selfheal.plugins.module_utils._records.timeline import Timeline
from ansible_collections.faultline.selfheal.plugins.module_utils._records.verify import verify
from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Fetched, Mirror, Told, folder_name

NOW = 1795294218.0


class Host:
    """A host's timeline, and looks at it as the module makes them."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.looks = 0
        self.limit = 1 << 22

    def write(self, number: int, text: str = "") -> None:
        timeline = Timeline(str(self.path), "web1")
        for each in range(number):
            timeline.append("note", "web", data={"text": text or "event %d" % each})

    def ask(self, after: Head) -> Told:
        self.looks += 1
        assert self.looks < 1000, "it never ends"
        return Told(*extract(str(self.path), after, self.limit))

    @property
    def file(self) -> pathlib.Path:
        return self.path / "000001.jsonl"

    def change(self, edit: Callable[[list[bytes]], list[bytes]]) -> None:
        self.file.write_bytes(b"".join(edit(self.file.read_bytes().splitlines(keepends=True))))


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path / "host")


def fetch(root: pathlib.Path, host: Host) -> Fetched:
    with Mirror(str(root / "mirror"), "web1", lambda: NOW) as mirror:
        return mirror.fetch(host.ask)


def kept(root: pathlib.Path, generation: int = 1) -> list[int]:
    text = (root / "mirror" / "web1" / str(generation) / "000001.jsonl").read_text()
    return [json.loads(line)["seq"] for line in text.splitlines()]


def test_only_what_is_new_is_fetched(tmp_path: pathlib.Path, host: Host) -> None:
    """The copy is the host's own bytes, verifies like them, and a second run adds what was recorded meanwhile."""
    host.write(5)
    assert fetch(tmp_path, host)[::2] == (5, [])
    assert fetch(tmp_path, host).new == 0
    host.write(3)
    found = fetch(tmp_path, host)
    assert (found.new, found.head.seq, found.faults) == (3, 8, [])
    copy = tmp_path / "mirror" / "web1" / "1"
    assert (copy / "000001.jsonl").read_bytes() == host.file.read_bytes()
    assert verify(str(copy)).valid is True


def test_many_looks_make_one_copy(tmp_path: pathlib.Path, host: Host) -> None:
    """One look is bounded; however small, the next goes on after it."""
    host.write(20)
    host.limit = 1
    assert (fetch(tmp_path, host).new, kept(tmp_path)) == (20, list(range(1, 21)))


def test_a_copy_cut_off_in_the_middle_of_a_line_goes_on(tmp_path: pathlib.Path, host: Host) -> None:
    """The controller died while it wrote: half a line is dropped and asked for again."""
    host.write(4)
    fetch(tmp_path, host)
    copy = tmp_path / "mirror" / "web1" / "1" / "000001.jsonl"
    copy.write_bytes(copy.read_bytes()[:-30])
    found = fetch(tmp_path, host)
    assert (found.new, found.faults, copy.read_bytes()) == (1, [], host.file.read_bytes())


def rewritten(host: Host) -> None:
    host.file.unlink()
    host.write(6, "another story")


def cut(host: Host) -> None:
    host.change(lambda lines: lines[:3])


def dropped(host: Host) -> None:
    host.write(4)
    host.change(lambda lines: lines[:6] + lines[7:])


def garbage(host: Host) -> None:
    host.write(4)
    host.change(lambda lines: lines[:6] + [b"no event\n"] + lines[6:])


@pytest.mark.parametrize(
    "tamper, kind, before, after",
    [
        (rewritten, "rewritten", [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]),
        (cut, "cut", [1, 2, 3, 4, 5], [1, 2, 3]),
        (dropped, "broken", [1, 2, 3, 4, 5, 6], [8, 9]),
        (garbage, "broken", [1, 2, 3, 4, 5, 6], [7, 8, 9]),
    ],
)
def test_a_changed_story_is_found_out_and_both_are_kept(
    tmp_path: pathlib.Path, host: Host, tamper: Callable[[Host], None], kind: str, before: list[int], after: list[int]
) -> None:
    """What the host said first stays beside what it says now, and the fault is on record with its time."""
    host.write(5)
    fetch(tmp_path, host)
    tamper(host)
    found = fetch(tmp_path, host)
    assert [each["kind"] for each in found.faults] == [kind]
    assert (kept(tmp_path, 1), kept(tmp_path, 2)) == (before, after)
    mirror = Mirror(str(tmp_path / "mirror"), "web1", lambda: NOW)
    assert [(each["kind"], each["at"]) for each in mirror.faults()] == [(kind, "2026-11-21T20:50:18.000Z")]
    assert [event["seq"] for event in mirror.events()] == before + after


def test_a_fault_is_told_every_time_and_noted_once(tmp_path: pathlib.Path, host: Host) -> None:
    """A log that ends in garbage is bad at each look; its history does not grow by that, nor does the copy."""
    host.write(3)
    host.change(lambda lines: lines + [b"no event\n"])
    for _run in range(3):
        assert [each["kind"] for each in fetch(tmp_path, host).faults] == ["broken"]
    mirror = Mirror(str(tmp_path / "mirror"), "web1", lambda: NOW)
    assert (len(mirror.faults()), kept(tmp_path)) == (1, [1, 2, 3])


def test_events_lost_to_retention_are_a_gap_and_no_tampering(tmp_path: pathlib.Path, host: Host) -> None:
    """The host removed old events before anybody fetched them: said, and fetched on from where it begins."""
    host.write(3)
    fetch(tmp_path, host)
    host.write(5)
    host.change(lambda lines: lines[5:])
    found = fetch(tmp_path, host)
    assert ([each["kind"] for each in found.faults], kept(tmp_path, 2)) == (["gap"], [6, 7, 8])


def test_a_host_that_was_never_asked_begins_where_its_log_begins(tmp_path: pathlib.Path, host: Host) -> None:
    """A first look after retention is no fault."""
    host.write(5)
    host.change(lambda lines: lines[2:])
    assert fetch(tmp_path, host)[::2] == (3, [])


def test_a_disk_that_is_full_keeps_what_was_kept(tmp_path: pathlib.Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails: an error that names host and place, and the next run takes up where the copy ends."""
    host.write(3)
    fetch(tmp_path, host)
    host.write(2)

    def full(descriptor: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(RecordError, match=r"web1/1: .*No space left"):
            fetch(tmp_path, host)
    assert (fetch(tmp_path, host).new, kept(tmp_path)) == (2, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "name, folder",
    [
        ("web1.example", "web1.example"),
        ("../../etc", "..%2F..%2Fetc"),
        ("..", "%2E%2E"),
        ("", "%"),
        ("a b\n", "a%20b%0A"),
        ("ü", "%C3%BC"),
        ("a%2Fb", "a%252Fb"),
    ],
)
def test_no_host_leaves_the_mirror(name: str, folder: str) -> None:
    """An inventory name becomes one file name, and no two names the same."""
    assert folder_name(name) == folder
