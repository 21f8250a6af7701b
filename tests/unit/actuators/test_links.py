# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: swapped by one rename, through a directory that cannot be exchanged, and only where nothing else stands."""

from __future__ import annotations

import os
import pathlib
import threading
from typing import Any

import pytest

from selfheal._actuators import libc, links


def release(project: pathlib.Path, name: str) -> None:
    folder = project / "deployments" / name
    folder.mkdir(parents=True)
    for file in ("one", "two"):
        (folder / file).write_text(name)


def test_swap_makes_moves_and_keeps_a_link(tmp_path: pathlib.Path) -> None:
    """The former target is told; a link that is right already stays, and no leftovers lie beside it."""
    assert links.read(str(tmp_path), "current") == links.MISSING
    assert links.swap(str(tmp_path), "current", "deployments/1") is None
    assert links.swap(str(tmp_path), "current", "deployments/2") == "deployments/1"
    inode = os.lstat(tmp_path / "current").st_ino
    assert links.swap(str(tmp_path), "current", "deployments/2") == "deployments/2"
    assert os.lstat(tmp_path / "current").st_ino == inode
    assert links.read(str(tmp_path), "current") == links.Standing("link", "deployments/2")
    assert os.listdir(tmp_path) == ["current"]


@pytest.mark.parametrize("name", ["with space", "new\nline", "ü", "a" * 255, "-rf", os.fsdecode(b"\xff\xfe")])
def test_swap_takes_any_name_of_one_entry(tmp_path: pathlib.Path, name: str) -> None:
    """Names are bytes to the file system, and so to us; a long one leaves room for the temporary one."""
    links.swap(str(tmp_path), name, "a")
    assert links.swap(str(tmp_path), name, "b") == "a"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "nul\0"])
def test_swap_refuses_what_is_no_name(tmp_path: pathlib.Path, name: str) -> None:
    """A name with a slash, or one that is the directory itself or its parent, could reach elsewhere."""
    with pytest.raises(links.LinkRefused, match="is no name in a directory"):
        links.swap(str(tmp_path), name, "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory", "other"])
def test_swap_refuses_to_replace_anything_but_a_link(tmp_path: pathlib.Path, kind: str) -> None:
    """A directory or file in the link's place is somebody's; it is named and stays as it is."""
    place = tmp_path / "current"
    {"file": place.touch, "directory": place.mkdir, "other": lambda: os.mkfifo(place)}[kind]()
    with pytest.raises(links.LinkRefused, match="a %s stands where the link" % kind):
        links.swap(str(tmp_path), "current", "deployments/1")
    assert links.read(str(tmp_path), "current").kind == kind
    assert len(os.listdir(tmp_path)) == 1


def test_a_directory_that_is_a_link_is_not_worked_in(tmp_path: pathlib.Path) -> None:
    """Who owns the place cannot send us elsewhere by a link with its name."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project").symlink_to("elsewhere")
    with pytest.raises(links.LinkRefused, match="is a symbolic link; expected a directory"):
        links.swap(str(tmp_path / "project"), "current", "a")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_directory_exchanged_meanwhile_is_the_one_that_was_opened(tmp_path: pathlib.Path) -> None:
    """The swap happens in the directory that was checked, also when its name means another one by now."""
    (tmp_path / "project").mkdir()
    (tmp_path / "secrets").mkdir()
    with links.opened(str(tmp_path / "project")) as descriptor:
        (tmp_path / "project").rename(tmp_path / "moved")
        (tmp_path / "project").symlink_to("secrets")
        links.swap_at(descriptor, "current", "a")
    assert os.listdir(tmp_path / "secrets") == []
    assert os.listdir(tmp_path / "moved") == ["current"]


def test_a_directory_that_anyone_may_write_to_is_refused(tmp_path: pathlib.Path) -> None:
    """What is linked there could be exchanged by anybody; the message says what to do."""
    tmp_path.chmod(0o777)
    with pytest.raises(links.Unsafe, match="chmod o-w"):
        links.swap(str(tmp_path), "current", "a")


def test_what_the_dead_left_is_removed_and_what_the_living_make_stays(tmp_path: pathlib.Path) -> None:
    """A process killed between making and renaming a link leaves it under a name that tells its owner."""
    (tmp_path / ".current.4194303-1-0.tmp").symlink_to("x")
    (tmp_path / links.temporary_name("current")).symlink_to("y")
    (tmp_path / ".current.4194303-1-1.tmp").write_text("no link, so not ours")
    links.swap(str(tmp_path), "current", "a")
    left = sorted(os.listdir(tmp_path))
    assert [name.rpartition("-")[2] for name in left if name.startswith(".")] != []
    assert ".current.4194303-1-0.tmp" not in left
    assert ".current.4194303-1-1.tmp" in left
    assert len(left) == 3


def test_a_rename_that_fails_leaves_the_old_link_and_nothing_else(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the cause, and the temporary link is gone."""
    links.swap(str(tmp_path), "current", "a")

    def full(*_arguments: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(links.LinkRefused, match=r"ENOSPC.*left as it was"):
        links.swap(str(tmp_path), "current", "b")
    assert os.listdir(tmp_path) == ["current"]
    assert os.readlink(tmp_path / "current") == "a"


def test_a_swap_is_durable_before_it_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is fsynced after the rename."""
    calls = []
    rename, fsync = os.rename, os.fsync
    monkeypatch.setattr(os, "rename", lambda *a, **k: (calls.append("rename"), rename(*a, **k)))
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    links.swap(str(tmp_path), "current", "a")
    assert calls == ["rename", "fsync"]


@pytest.mark.parametrize("possible", [True, False])
def test_a_directory_in_the_way_is_kept_beside_the_link(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, possible: bool) -> None:
    """It is exchanged at once where the file system can do that, and moved aside first where not."""
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "data").write_text("precious")
    if not possible:
        monkeypatch.setattr(links, "exchange", lambda *_arguments: False)
    with links.opened(str(tmp_path)) as descriptor:
        before = links.replace_at(descriptor, "current", "deployments/1", "current.backup")
    assert before.kind == "directory"
    assert os.readlink(tmp_path / "current") == "deployments/1"
    assert (tmp_path / "current.backup" / "data").read_text() == "precious"
    assert len(os.listdir(tmp_path)) == 2


def test_without_a_c_library_nothing_but_speed_is_lost(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the two calls are missing, many directories are synced one by one, and exchanging is said to be impossible."""
    monkeypatch.setattr(libc, "_library", [None])
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    descriptors = list(range(100))
    monkeypatch.setattr(os, "fstat", lambda _descriptor: os.stat(tmp_path))
    libc.sync_many(descriptors)
    assert synced == descriptors
    assert libc.exchange(0, "a", "b") is False


def test_c50_a_reader_never_finds_a_missing_link_or_a_mixture_during_500_swaps(tmp_path: pathlib.Path) -> None:
    """C50: who resolves `current` once and then reads two files of the release finds both, and both of the same release."""
    for name in ("a", "b"):
        release(tmp_path, name)
    links.swap(str(tmp_path), "current", "deployments/a")
    over = threading.Event()
    wrong = []
    reads = 0

    def read() -> None:
        nonlocal reads
        while not over.is_set():
            try:
                place = os.path.realpath(tmp_path / "current", strict=True)
                found = {pathlib.Path(place, file).read_text() for file in ("one", "two")}
            except OSError as error:
                wrong.append(error)
                return
            reads += 1
            if len(found) != 1:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(500):
            links.swap(str(tmp_path), "current", "deployments/%s" % "ab"[turn % 2])
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert reads > 100


def test_who_swaps_alone_takes_up_what_the_dead_left_by_its_name(tmp_path: pathlib.Path) -> None:
    """Under a lease the unfinished link has one name, so nothing is listed and nothing stays."""
    links.swap(str(tmp_path), "current", "a")
    (tmp_path / ".current.swap.tmp").symlink_to("unfinished")
    with links.opened(str(tmp_path)) as descriptor:
        assert links.swap_at(descriptor, "current", "b", alone=True).target == "a"
    assert os.listdir(tmp_path) == ["current"]
    assert os.readlink(tmp_path / "current") == "b"
