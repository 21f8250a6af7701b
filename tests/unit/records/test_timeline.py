# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline's format, chain, repair and retention, on real files."""

from __future__ import annotations

import enum
import fcntl
import hashlib
import json
import os
import pathlib
import stat
import threading

import pytest

from selfheal._core.errors import RecordError
from selfheal._records.events import SOURCES, TYPES, EventRefused
from selfheal._records.segments import ZEROS, Head, head
from selfheal._records.timeline import Timeline
from selfheal._records.verify import verify


def lines(directory: pathlib.Path, segment: str = "000001.jsonl") -> list:
    return (directory / segment).read_bytes().splitlines()


def test_the_line_is_exactly_the_one_of_the_design(tmp_path, clock):
    """Key order, separators, absent keys and the newline are those the format promises."""
    timeline = Timeline(str(tmp_path / "t"), "web1", clock)
    timeline.append("restart", "web", "web-20261121T210330.001Z", data={"attempt": 1, "reason": "liveness_failed"})
    assert (tmp_path / "t" / "000001.jsonl").read_bytes() == (
        b'{"seq":1,"timestamp":"2026-11-21T20:50:18.123Z","host":"web1","service":"web","incident":"web-20261121T210330.001Z",'
        b'"type":"restart","source":"watchdog","data":{"attempt":1,"reason":"liveness_failed"},"previous":"' + b"0" * 64 + b'"}\n'
    )


def test_absent_keys_are_left_out(tmp_path, clock):
    """An event without service, incident and data has none of these keys, on disk and in what is returned."""
    timeline = Timeline(str(tmp_path), "web1", clock)
    assert list(timeline.append("watchdog_start")) == ["seq", "timestamp", "host", "type", "source", "previous", "hash"]
    assert list(json.loads(lines(tmp_path)[0])) == ["seq", "timestamp", "host", "type", "source", "previous"]


def test_the_chain_can_be_checked_with_sha256sum(tmp_path, clock):
    """`previous` is the SHA-256 of the preceding line's bytes; `hash` the one of the event's own."""
    timeline = Timeline(str(tmp_path), "web1", clock)
    events = [timeline.append("note", data={"text": text}) for text in ("one", "zwei \u00fc", "three\nlines\n", "\U0001f600")]
    written = lines(tmp_path)
    assert [event["hash"] for event in events] == [hashlib.sha256(line).hexdigest() for line in written]
    assert [json.loads(line)["previous"] for line in written] == [ZEROS] + [event["hash"] for event in events[:-1]]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert head(str(tmp_path)) == Head(4, events[-1]["hash"])


def test_files_are_for_their_owner_only(tmp_path):
    """Segments and lock are 0600, the directory 0750, whatever else is readable."""
    Timeline(str(tmp_path / "a" / "t"), "web1").append("note")
    assert [stat.S_IMODE((tmp_path / "a" / "t" / name).stat().st_mode) for name in ("000001.jsonl", ".lock", "")] == [0o600, 0o600, 0o750]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_of_the_design_can_be_recorded_but_the_logs_own(tmp_path, name):
    """The types are the design's list; log_repair and log_prune are the log's own words."""
    timeline = Timeline(str(tmp_path), "web1", ballast=False)
    if name in ("log_repair", "log_prune"):
        with pytest.raises(EventRefused, match="by the timeline itself"):
            timeline.append(name)
    else:
        assert timeline.append(name)["type"] == name


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"type": "restrt"}, "Did you mean restart"),
        ({"type": "note", "source": "watchdgo"}, "Did you mean watchdog"),
        ({"type": "note", "service": "a\nb"}, "printable"),
        ({"type": "note", "service": ""}, "printable"),
        ({"type": "note", "service": 5}, "printable"),
        ({"type": "note", "service": ["web"]}, "printable"),
        ({"type": "note", "incident": "x" * 254}, "253"),
        ({"type": "note", "data": {"a": float("nan")}}, "data.a is nan"),
        ({"type": "note", "data": {"a": {"b": [1, float("inf")]}}}, r"data.a.b\[1\] is inf"),
        ({"type": "note", "data": {"a": object()}}, "data.a is a object"),
        ({"type": "note", "data": {"a": {1, 2}}}, "data.a is a set"),
        ({"type": "note", "data": ["a"]}, "expected an object"),
        ({"type": "note", "data": {"n": 1 << 20000}}, "bits"),
        ({"type": "note", "timestamp": "yesterday"}, "no point in time"),
        ({"type": "note", "timestamp": float("nan")}, "no point in time"),
        ({"type": "note", "timestamp": 1e30}, "no point in time"),
    ],
)
def test_a_wrong_event_is_refused_and_nothing_is_written(tmp_path, arguments, message):
    """What cannot be recorded faithfully is refused with the place and the reason, before the file is touched."""
    timeline = Timeline(str(tmp_path / "t"), "web1")
    with pytest.raises(EventRefused, match=message):
        timeline.append(**arguments)
    assert not (tmp_path / "t").exists()


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "given, recorded",
    [
        ({"a": Colour.RED}, {"a": "red"}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": "line\nbreak\r\x00"}, {"a": "line\nbreak\r\x00"}),
        ({"a": "\udcff"}, {"a": "\\udcff"}),
        ({"\udcff": 1}, {"\\udcff": 1}),
        ({"a": b"\xff@x"}, {"a": "\\xff@x"}),
        ({1: 2}, {"1": 2}),
        ({"a": "{{ lookup('pipe','id') }}"}, {"a": "{{ lookup('pipe','id') }}"}),
        ({"a": None, "b": True, "c": 1.5}, {"a": None, "b": True, "c": 1.5}),
    ],
)
def test_data_is_recorded_as_plain_json_on_one_line(tmp_path, given, recorded):
    """Newlines, control characters, lone surrogates, enums and templates are data and stay on one line."""
    Timeline(str(tmp_path), "web1").append("note", data=given)
    raw = (tmp_path / "000001.jsonl").read_bytes()
    assert (raw.count(b"\n"), raw.isascii(), json.loads(raw)["data"]) == (1, True, recorded)


def test_large_data_is_cut_with_a_mark(tmp_path):
    """No event's line exceeds 64 KiB and its place in the chain; what was cut says so and how long it was."""
    timeline = Timeline(str(tmp_path), "web1")
    timeline.append("note", data={"log": "x" * 1000000, "exit": 1})
    timeline.append("note", data={"log": "\u00fc" * 1000000})
    timeline.append("note", data={"key%d" % number: "y" * 50 for number in range(9000)})
    timeline.append("note", data={"rows": [["z"] for _turn in range(30000)]})
    found = lines(tmp_path)
    assert max(map(len, found)) <= 65536 + 256
    assert json.loads(found[0])["data"] == {"log": "x" * 8192 + "...[cut, 1000000 characters]", "exit": 1}
    assert json.loads(found[1])["data"]["log"].endswith("[cut, 1000000 characters]")
    assert sorted(json.loads(found[2])["data"]) == ["cut", "keys"]
    assert verify(str(tmp_path)).valid is True


def test_deep_and_cyclic_data_ends(tmp_path):
    """Data nested without end is recorded up to 16 levels, with a mark."""
    deep: dict = {}
    deep["again"] = deep
    raw = json.dumps(Timeline(str(tmp_path), "web1").append("note", data=deep)["data"])
    assert ("deeper than 16 levels" in raw, raw.count("again")) == (True, 16)


@pytest.mark.parametrize(
    "junk", [b'{"seq":3,"timest', b"\x00" * 5000, b"not json\n", b'{"a":1}\n', b'{"seq":1', b"\xff\xfe\n", b"[" * 20000 + b"\n"]
)
def test_a_torn_tail_is_moved_aside_and_recorded(tmp_path, clock, junk):
    """A half-written last line is kept in a side file, recorded as log_repair, and the chain goes on."""
    first = Timeline(str(tmp_path), "web1", clock)
    first.append("note")
    before = first.append("note")
    with open(tmp_path / "000001.jsonl", "ab") as file:
        file.write(junk)
    event = Timeline(str(tmp_path), "web1", clock).append("restart", "web")
    repair = json.loads(lines(tmp_path)[2])
    assert (repair["type"], repair["previous"], event["seq"]) == ("log_repair", before["hash"], 4)
    assert (tmp_path / repair["data"]["moved_to"]).read_bytes() == junk
    assert repair["data"]["bytes"] == len(junk)
    assert verify(str(tmp_path)).valid is True


def test_a_torn_tail_behind_the_back_of_a_running_writer_is_repaired_too(tmp_path, clock):
    """The writer that has the file open notices that another one died in it."""
    timeline = Timeline(str(tmp_path), "web1", clock)
    timeline.append("note")
    with open(tmp_path / "000001.jsonl", "ab") as file:
        file.write(b"half")
    timeline.append("note")
    assert [json.loads(line)["type"] for line in lines(tmp_path)] == ["note", "log_repair", "note"]


def test_a_repair_that_was_killed_before_it_was_recorded_is_recorded_later(tmp_path, clock):
    """The side file of an unfinished repair is found by the next writer that opens the log."""
    Timeline(str(tmp_path), "web1", clock).append("note")
    (tmp_path / "000001.jsonl.torn-20261121T000000.000Z.pending").write_bytes(b"half")
    Timeline(str(tmp_path), "web1", clock).append("note")
    repair = json.loads(lines(tmp_path)[1])
    assert (repair["type"], repair["data"]["moved_to"]) == ("log_repair", "000001.jsonl.torn-20261121T000000.000Z")
    assert (tmp_path / "000001.jsonl.torn-20261121T000000.000Z").read_bytes() == b"half"
    Timeline(str(tmp_path), "web1", clock).append("note")
    assert [json.loads(line)["type"] for line in lines(tmp_path)] == ["note", "log_repair", "note", "note"]


def test_a_log_that_became_shorter_under_a_running_writer_is_told_C67(tmp_path):
    """A writer that knows a later head than the disk has says so in the log."""
    timeline = Timeline(str(tmp_path), "web1")
    for _turn in range(3):
        last = timeline.append("note")
    (tmp_path / "000001.jsonl").unlink()
    timeline.append("note")
    data = json.loads(lines(tmp_path)[0])["data"]
    assert data == {"cause": "shortened", "found_seq": 0, "expected_seq": 3, "expected_hash": last["hash"]}


def test_segments_roll_and_the_chain_goes_on(tmp_path):
    """A full segment is followed by the next number; the first line there carries the last hash here."""
    timeline = Timeline(str(tmp_path), "web1", segment_size=2000, ballast=False)
    other = Timeline(str(tmp_path), "web1", segment_size=2000, ballast=False)
    for number in range(60):
        (timeline, other)[number % 2].append("note", data={"number": number})
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 5
    assert all(file.stat().st_size <= 2000 for file in files)
    assert [json.loads(line)["data"]["number"] for file in files for line in file.read_bytes().splitlines()] == list(range(60))
    assert (verify(str(tmp_path)).valid, verify(str(tmp_path)).events) == (True, 60)


def test_retention_removes_whole_oldest_segments_after_saying_so(tmp_path):
    """log_prune carries the last removed seq and hash; the shortened log verifies, and not without that event."""
    timeline = Timeline(str(tmp_path), "web1", segment_size=2000, retention=8000, ballast=False)
    events = {}
    for number in range(100):
        event = timeline.append("note", data={"number": number})
        events[event["seq"]] = event["hash"]
    files = sorted(tmp_path.glob("*.jsonl"))
    prunes = [json.loads(line) for file in files for line in file.read_bytes().splitlines() if b'"log_prune"' in line]
    first = json.loads(files[0].read_bytes().splitlines()[0])
    assert sum(file.stat().st_size for file in files) <= 8000
    assert (prunes[-1]["data"]["last_seq"], prunes[-1]["data"]["last_hash"]) == (first["seq"] - 1, first["previous"])
    found = verify(str(tmp_path))
    assert (found.valid, found.pruned) == (True, first["seq"] - 1)
    # Removing one more by hand is not what the log says.
    files[0].unlink()
    found = verify(str(tmp_path))
    assert (found.valid, found.first_bad["line"]) == (False, 1)
    assert "no log_prune event says" in found.first_bad["problem"]


def test_retention_that_was_killed_half_way_leaves_a_valid_log(tmp_path):
    """If only some of the named segments were removed, the log still verifies."""
    timeline = Timeline(str(tmp_path / "t"), "web1", segment_size=2000, retention=10**9, ballast=False)
    for number in range(40):
        timeline.append("note", data={"number": number})
    stale = {file.name: file.read_bytes() for file in sorted((tmp_path / "t").glob("*.jsonl"))}
    again = Timeline(str(tmp_path / "t"), "web1", segment_size=2000, retention=4000, ballast=False)
    while (tmp_path / "t" / "000003.jsonl").exists():
        again.append("note")
    (tmp_path / "t" / "000003.jsonl").write_bytes(stale["000003.jsonl"])
    names = sorted(file.name for file in (tmp_path / "t").glob("*.jsonl"))
    for name in [name for name in stale if "000003.jsonl" < name < names[1]]:
        (tmp_path / "t" / name).write_bytes(stale[name])
    found = verify(str(tmp_path / "t"))
    assert (found.valid, found.first_bad) == (True, None)


def test_the_lock_wait_is_bounded_and_names_the_holder(tmp_path):
    """A writer that hangs with the lock held costs a deadline, not for ever, and is named."""
    timeline = Timeline(str(tmp_path), "web1", lock_timeout=0.05)
    timeline.append("note")
    with open(tmp_path / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RecordError, match=r"held by process %d " % os.getpid()):
            timeline.append("note")
    assert timeline.append("note")["seq"] == 2


def test_the_lock_is_not_inherited_by_programs_C51(tmp_path):
    """The lock file is close-on-exec: a child that outlives its parent holds nothing."""
    timeline = Timeline(str(tmp_path), "web1")
    timeline.append("note")
    ours = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _leads_to(fd, str(tmp_path))]
    assert len(ours) == 2
    assert not any(os.get_inheritable(fd) for fd in ours)


def _leads_to(descriptor: int, folder: str) -> bool:
    try:
        return os.readlink("/proc/self/fd/%d" % descriptor).startswith(folder)
    except FileNotFoundError:
        return False


def test_a_forked_child_takes_a_lock_of_its_own(tmp_path):
    """After a fork parent and child write at once, and the chain stays whole."""
    timeline = Timeline(str(tmp_path), "web1")
    timeline.append("note")
    child = os.fork()
    if not child:
        try:
            for _turn in range(200):
                timeline.append("note", data={"who": "child"})
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _turn in range(200):
        timeline.append("note", data={"who": "parent"})
    assert os.waitpid(child, 0)[1] == 0
    assert (verify(str(tmp_path)).valid, verify(str(tmp_path)).events) == (True, 401)


def test_threads_of_one_process_write_at_once(tmp_path):
    """One timeline object serves any number of threads."""
    timeline = Timeline(str(tmp_path), "web1")
    threads = [threading.Thread(target=lambda: [timeline.append("note") for _turn in range(50)]) for _turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verify(str(tmp_path)).valid, verify(str(tmp_path)).events) == (True, 300)


@pytest.mark.parametrize("kind", ["directory", "segment", "lock", "ballast"])
def test_hostile_links_are_not_followed(tmp_path, kind):
    """A symbolic link in the place of the directory, a segment, the lock or the ballast is never written through."""
    victim = tmp_path / "victim"
    folder = tmp_path / "t"
    if kind == "directory":
        victim.mkdir()
        folder.symlink_to(victim)
    else:
        victim.write_bytes(b"precious")
        folder.mkdir(mode=0o750)
        (folder / {"segment": "000001.jsonl", "lock": ".lock", "ballast": ".ballast"}[kind]).symlink_to(victim)
    timeline = Timeline(str(folder), "web1")
    if kind == "ballast":
        assert timeline.append("note")["seq"] == 1
    else:
        with pytest.raises(RecordError):
            timeline.append("note")
    assert (list(victim.iterdir()) if victim.is_dir() else victim.read_bytes()) in ([], b"precious")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses directories of others")
def test_root_refuses_directories_others_can_write(tmp_path):
    """As root nothing is kept where anyone, or another user, could exchange it."""
    for mode, owner in ((0o777, 0), (0o750, 12345)):
        folder = tmp_path / ("d%o" % mode)
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, -1)
        with pytest.raises(RecordError, match=str(folder)):
            Timeline(str(folder), "web1").append("note")


def test_the_journal_is_told_of_what_is_durable(tmp_path):
    """The callback gets each event with its hash, so that the head is also kept outside the log."""
    told: list = []
    timeline = Timeline(str(tmp_path), "web1", journal=told.append)
    assert [timeline.append("note"), timeline.append("note")] == told


def test_sources_are_those_of_the_design(tmp_path):
    """Every source can be given."""
    timeline = Timeline(str(tmp_path), "web1")
    assert tuple(timeline.append("note", source=source)["source"] for source in SOURCES) == SOURCES
