# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking: whole and durable or not at all, and nothing hostile gets out, in, or through."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pathlib
import random
import stat
import tarfile
import zipfile
from typing import Any, Callable, List, Optional, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfheal._actuators import unpack, unpack_tree
from selfheal._actuators.unpack import Limits, UnpackError, UnpackRefused

Entry = Tuple[str, Any]
SMALL = Limits(total_size=10_000, file_size=6_000, entries=20, depth=8)


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> Entry:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, 1_700_000_000
    return name, (info, content)


def entry(name: str, kind: bytes, target: str = "", mode: int = 0o755) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return name, (info, b"")


def folder(name: str, mode: int = 0o755) -> Entry:
    return entry(name, tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, target)


def hard(name: str, target: str) -> Entry:
    return entry(name, tarfile.LNKTYPE, target)


def make_tar(path: pathlib.Path, entries: List[Entry], mode: str = "w:gz") -> str:
    with tarfile.open(path, mode) as archive:
        for _name, (info, content) in entries:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return str(path)


def make_zip(path: pathlib.Path, entries: List[Entry], method: int = zipfile.ZIP_DEFLATED) -> str:
    kinds = {tarfile.REGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, (info, content) in entries:
            member = zipfile.ZipInfo(name + "/" * (info.type == tarfile.DIRTYPE and not name.endswith("/")))
            member.external_attr = (kinds[info.type] | info.mode) << 16
            member.compress_type = method
            archive.writestr(member, info.linkname if info.issym() else content)
    return str(path)


PACKERS = {
    "tar.gz": make_tar,
    "tar": lambda path, entries: make_tar(path, entries, "w"),
    "zip": make_zip,
}


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "outside").mkdir()
    return tmp_path


def listing(root: pathlib.Path) -> List[str]:
    return sorted(os.path.relpath(os.path.join(where, name), root) for where, _dirs, names in os.walk(root) for name in names)


@pytest.mark.parametrize("kind", sorted(PACKERS))
def test_an_archive_is_unpacked_with_its_checksum(place: pathlib.Path, kind: str) -> None:
    """Files, directories, links and modes are there; what would give rights to others is not; the archive's SHA-256 is told."""
    entries = [
        folder("bin", 0o2777),
        file("bin/run", b"#!/bin/sh\n", 0o6777),
        file("deep/er/data", b"d" * 3000),
        link("latest", "deep/er/data"),
        link("bin/up", "../deep"),
        file("%s/%s" % ("n" * 120, "m" * 120), b"long"),
    ]
    archive = PACKERS[kind](place / "a", entries)
    into = place / "release"
    digest = unpack.unpack(archive, str(into))
    assert digest == hashlib.sha256(pathlib.Path(archive).read_bytes()).hexdigest()
    assert (into / "latest").read_bytes() == b"d" * 3000
    assert os.path.realpath(into / "bin" / "up") == str(into / "deep")
    assert stat.S_IMODE((into / "bin" / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((into / "bin").stat().st_mode) == 0o755
    assert stat.S_IMODE(into.stat().st_mode) == 0o755


def test_tar_keeps_times_and_hard_links_within(place: pathlib.Path) -> None:
    """Build tools look at times; a hard link to a file before it in the archive is one here, too."""
    archive = make_tar(place / "a", [file("./one", b"1"), hard("./two", "./one")])
    unpack.unpack(archive, str(place / "r"))
    assert (place / "r" / "one").stat().st_mtime == 1_700_000_000
    assert (place / "r" / "one").samefile(place / "r" / "two")


def test_a_directory_is_copied(place: pathlib.Path) -> None:
    """Without a checksum; links as links, files alone, bits for others taken away."""
    source = place / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(b"content")
    (source / "sub" / "file").chmod(0o4775)
    (source / "link").symlink_to("sub/file")
    assert unpack.unpack(str(source), str(place / "r")) is None
    assert os.readlink(place / "r" / "link") == "sub/file"
    assert (place / "r" / "link").read_bytes() == b"content"
    assert stat.S_IMODE((place / "r" / "sub" / "file").stat().st_mode) == 0o755


HOSTILE = {
    "parent": ([file("../evil")], "leads out of the release"),
    "parent_inside": ([file("a/../../evil")], "leads out of the release"),
    "absolute": ([file("/tmp/evil")], "absolute path"),
    "link_absolute": ([link("etc", "/etc")], "absolute path"),
    "link_out": ([link("up", "../outside")], "leads out of the release"),
    "link_out_deep": ([link("a/b/c", "../../../outside")], "leads out of the release"),
    "link_through_link": ([folder("d/e"), link("a", "d/e"), link("b", "a/../../../outside")], "leads out of the release"),
    "link_by_its_text_inside": ([link("a", "."), link("d/b", "../a/../outside")], "leads out of the release"),
    "link_loop": ([link("a", "b"), link("b", "a")], "more than 40 links"),
    "link_then_write": ([link("a", "b"), file("a/evil")], "lies below 'a', which is a link"),
    "write_then_link": ([file("a/f"), link("a", "b")], "occurs twice"),
    "file_as_directory": ([file("a"), file("a/b")], "lies below 'a', which is a file"),
    "twice": ([file("a"), file("./a")], "occurs twice"),
    "directory_over_file": ([file("a"), folder("a")], "occurs twice"),
    "fifo": ([entry("pipe", tarfile.FIFOTYPE)], "FIFO"),
    "link_empty": ([link("a", "x" * 4000)], "expected a path below|at most"),
    "too_deep": ([file("/".join("abcdefghi"))], "9 directories deep; at most 8"),
    "name_too_long": ([file("n" * 256)], "longer than a name"),
    "too_large": ([file("a", b"x" * 6001)], "at most 6000"),
    "too_much": ([file("a", b"x" * 5000), file("b", b"x" * 5000), file("c")], "more than 10000 bytes"),
    "too_many": ([file("f%d" % number) for number in range(21)], "more than 20 entries|has 21 entries"),
    "too_many_by_directories": ([file("%d/%d/f" % (number, number)) for number in range(10)], "more than 20 entries"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", sorted(PACKERS))
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_what_is_hostile_is_refused_and_leaves_nothing(place: pathlib.Path, what: str, kind: str) -> None:
    """Whatever the archive tries: nothing is written outside, nothing stays, and the message says what it was."""
    entries, words = HOSTILE[what]
    archive = PACKERS[kind](place / "a", entries)
    with pytest.raises(UnpackRefused, match=words) as refusal:
        unpack.unpack(archive, str(place / "release"), SMALL)
    assert "Nothing was left behind" in str(refusal.value)
    assert listing(place) == ["a"]
    assert not (place / "release").exists()


TAR_ONLY = {
    "character_device": ([entry("null", tarfile.CHRTYPE)], "a character device"),
    "block_device": ([entry("sda", tarfile.BLKTYPE)], "a block device"),
    "hard_link_out": ([hard("shadow", "../outside/secret")], "leads out of the release"),
    "hard_link_absolute": ([hard("shadow", "/etc/shadow")], "absolute path"),
    "hard_link_to_link": ([link("a", "b"), hard("c", "a")], "which is link"),
    "hard_link_to_nothing": ([hard("a", "later"), file("later")], "nothing that was unpacked"),
    "hard_links_as_bomb": ([file("a", b"x" * 5000), hard("b", "a"), hard("c", "a")], "more than 10000 bytes"),
    "unknown_type": ([entry("a", b"V")], "type b'V'"),
}


@pytest.mark.parametrize("what", sorted(TAR_ONLY))
def test_what_only_tar_can_try_is_refused(place: pathlib.Path, what: str) -> None:
    """Devices, and hard links to what the archive has not brought itself."""
    (place / "outside" / "secret").write_text("secret")
    entries, words = TAR_ONLY[what]
    with pytest.raises(UnpackRefused, match=words):
        unpack.unpack(make_tar(place / "a", entries), str(place / "release"), SMALL)
    assert listing(place) == ["a", "outside/secret"]


def test_a_bomb_is_refused_before_it_goes_off(place: pathlib.Path) -> None:
    """A gigabyte of zeros in a megabyte: refused by what the header says, and by what comes when the header lies."""
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 30
    with gzip.open(place / "a", "wb", 1) as archive:
        archive.write(info.tobuf())
        for _mebibyte in range(64):
            archive.write(b"\0" * (1 << 20))
    with pytest.raises(UnpackRefused, match="at most 6000 are unpacked of a file"):
        unpack.unpack(str(place / "a"), str(place / "r"), SMALL)
    with pytest.raises(UnpackRefused, match="cut off"):
        unpack.unpack(str(place / "a"), str(place / "r"))
    assert listing(place) == ["a"]


def test_headers_are_no_bomb_either(place: pathlib.Path) -> None:
    """An extended header of a gigabyte would be read into memory whole."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open(place / "a", "wb", 1) as archive:
        archive.write(info.tobuf())
        for _mebibyte in range(16):
            archive.write(b"\0" * (1 << 20))
    with pytest.raises(UnpackRefused, match="headers are larger"):
        unpack.unpack(str(place / "a"), str(place / "r"))


def test_what_follows_the_end_is_counted(place: pathlib.Path) -> None:
    """A gigabyte of zeros behind the end of the archive is read for its checksum, but not for ever."""
    make_tar(place / "plain", [file("a")], "w")
    with gzip.open(place / "a", "wb", 1) as archive:
        archive.write((place / "plain").read_bytes())
        for _mebibyte in range(8):
            archive.write(b"\0" * (1 << 20))
    with pytest.raises(UnpackRefused, match="unpacks to more than"):
        unpack.unpack(str(place / "a"), str(place / "r"), SMALL)


def test_a_sparse_file_is_refused(place: pathlib.Path) -> None:
    """A terabyte that takes no room in the archive."""
    info = tarfile.TarInfo("hole")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(UnpackRefused, match="sparse"):
        unpack.unpack(make_tar(place / "a", [("hole", (info, b""))], "w"), str(place / "r"))


def test_a_zip_that_lies_about_sizes_is_refused(place: pathlib.Path) -> None:
    """What the directory says is compared with what comes."""
    make_zip(place / "a", [file("data", b"x" * 3000)])
    raw = bytearray((place / "a").read_bytes())
    at = raw.rindex(b"PK\x01\x02") + 24
    raw[at : at + 4] = (10).to_bytes(4, "little")
    (place / "a").write_bytes(raw)
    with pytest.raises(UnpackRefused):
        unpack.unpack(str(place / "a"), str(place / "r"), SMALL)
    assert listing(place) == ["a"]


def test_a_zip_with_a_password_or_an_odd_method_is_refused(place: pathlib.Path) -> None:
    """Neither can be unpacked on every host."""
    make_zip(place / "a", [file("data")], zipfile.ZIP_LZMA)
    with pytest.raises(UnpackRefused, match="method 14"):
        unpack.unpack(str(place / "a"), str(place / "r"))
    make_zip(place / "b", [file("data")])
    raw = bytearray((place / "b").read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    (place / "b").write_bytes(raw)
    with pytest.raises(UnpackRefused, match="encrypted"):
        unpack.unpack(str(place / "b"), str(place / "r"))


@pytest.mark.parametrize("kind", sorted(PACKERS))
def test_a_damaged_archive_is_never_half_a_release(place: pathlib.Path, kind: str) -> None:
    """Cut off anywhere, or with a bit turned: refused, or unpacked whole. tarfile alone takes a bad header for the end."""
    content = random.Random(1).randbytes(3000)
    good = [file("one", content), file("two", b"2" * 700), link("three", "one"), file("four", b"4" * 100)]
    whole = pathlib.Path(PACKERS[kind](place / "a", good)).read_bytes()
    chance = random.Random(kind)
    damaged = [whole[: chance.randrange(len(whole))] for _turn in range(60)]
    for _turn in range(60):
        raw = bytearray(whole)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(raw))
    refused = 0
    for number, raw in enumerate(damaged):
        into = place / ("r%d" % number)
        (place / "a").write_bytes(raw)
        try:
            unpack.unpack(str(place / "a"), str(into))
        except UnpackRefused:
            assert not into.exists()
            refused += 1
        else:
            assert len(listing(into)) == 4
    assert refused > (40 if kind == "tar" else 90)


def test_other_sources_are_refused_by_what_they_are(place: pathlib.Path) -> None:
    """A FIFO is not waited for; an unknown format, a missing source and a place that is taken are named."""
    os.mkfifo(place / "fifo")
    (place / "text").write_text("no archive")
    (place / "taken").mkdir()
    cases: List[Tuple[str, str, type, str]] = [
        ("fifo", "r", UnpackRefused, "neither a file nor a directory"),
        ("text", "r", UnpackRefused, "expected a tar, tar.gz or zip"),
        ("missing", "r", UnpackError, "ENOENT"),
        ("outside", "taken", UnpackError, "must not exist before"),
        ("outside", "outside/copy", UnpackRefused, "would lie in the directory that is copied"),
    ]
    for source, into, error, words in cases:
        with pytest.raises(error, match=words):
            unpack.unpack(str(place / source), str(place / into))
    assert sorted(os.listdir(place)) == ["fifo", "outside", "taken", "text"]
    assert os.listdir(place / "outside") == []


@pytest.mark.parametrize("special", ["fifo", "link_out", "link_absolute"])
def test_a_directory_is_as_little_trusted_as_an_archive(place: pathlib.Path, special: str) -> None:
    """A special file or a link that leads out of it is refused, and nothing is left behind."""
    source = place / "source"
    source.mkdir()
    (source / "fine").write_text("fine")
    if special == "fifo":
        os.mkfifo(source / "x")
    else:
        (source / "x").symlink_to("../outside" if special == "link_out" else "/etc")
    with pytest.raises(UnpackRefused, match="'x' is a"):
        unpack.unpack(str(source), str(place / "r"))
    assert not (place / "r").exists()


@pytest.mark.parametrize("call", ["write", "mkdir", "symlink", "fchmod", "fsync"])
def test_a_full_disk_leaves_nothing_behind(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """At every kind of write: the cause is told, and what was written is gone."""
    archive = make_tar(place / "a", [file("d/one", b"1" * 100), link("two", "d/one")])
    real: Callable[..., Any] = getattr(os, call)
    calls = 0

    def full(*arguments: Any, **more: Any) -> Optional[Any]:
        nonlocal calls
        calls += 1
        # The first directory is the release itself.
        if call != "mkdir" or calls > 1:
            raise OSError(28, "No space left on device")
        return real(*arguments, **more)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UnpackError, match="ENOSPC"):
        unpack.unpack(archive, str(place / "r"))
    monkeypatch.undo()
    assert listing(place) == ["a"]


def test_everything_is_on_the_disk_before_it_is_told(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and directory is synced where they are few, the file system where they are many."""
    synced, whole = [], []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.readlink("/proc/self/fd/%d" % descriptor)), fsync(descriptor)))
    monkeypatch.setattr(unpack, "sync_filesystem", lambda descriptor: whole.append(descriptor) or True)
    unpack.unpack(make_tar(place / "a", [file("d/one"), file("two")]), str(place / "r"))
    made = [str(place / "r" / name) for name in ("", "d", "d/one", "two")]
    assert sorted(path.rstrip("/") for path in synced) == sorted([str(place), *(path.rstrip("/") for path in made)])
    assert whole == []
    unpack.unpack(make_tar(place / "a", [file("%d" % number) for number in range(100)]), str(place / "r2"))
    assert len(whole) == 1


NAMES = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=5).map("/".join)
KINDS = st.sampled_from(["file", "folder", "link", "hard"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(KINDS, NAMES, NAMES), min_size=1, max_size=8))
def test_no_mixture_of_entries_reaches_outside(tmp_path_factory: pytest.TempPathFactory, made: List[Tuple[str, str, str]]) -> None:
    """Whatever names and links are combined: what is unpacked resolves within the release, and outside nothing is touched."""
    place = tmp_path_factory.mktemp("p")
    build = {"file": lambda n, _t: file(n), "folder": lambda n, _t: folder(n), "link": link, "hard": hard}
    archive = make_tar(place / "a", [build[kind](name or "x", target or "x") for kind, name, target in made], "w")
    into = place / "r"
    try:
        unpack.unpack(archive, str(into))
    except UnpackRefused:
        assert listing(place) == ["a"]
        return
    for name in listing(into):
        resolved = os.path.realpath(into / name)
        assert resolved == str(into) or resolved.startswith(str(into) + os.sep)
    assert sorted(os.listdir(place)) == ["a", "r"]


def test_limits_hold_defaults_that_fit_a_release() -> None:
    """The defaults are told in one place."""
    assert unpack_tree.Limits() == Limits(total_size=4 << 30, file_size=2 << 30, entries=200_000, depth=64)
