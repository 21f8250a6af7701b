# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of tampering is found and its place named (C67); what a chain cannot show, an anchor does."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from selfheal._core.errors import RecordError
from selfheal._records.segments import ZEROS, Head, head
from selfheal._records.timeline import Timeline
from selfheal._records.verify import verify

COUNT = 40


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> pathlib.Path:
    """A sound log of 40 events in several segments; tests work on copies."""
    folder = tmp_path_factory.mktemp("original") / "t"
    timeline = Timeline(str(folder), "web1", segment_size=4000, ballast=False)
    for number in range(COUNT):
        timeline.append("restart", "web", "web-1", data={"number": number, "reason": "liveness_failed"})
    return folder


@pytest.fixture
def log(original, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(original, tmp_path / "t"))


def places(folder: pathlib.Path) -> list:
    """(file, line number, offset, length with newline) of every event in order."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        offset = 0
        for number, line in enumerate(file.read_bytes().splitlines(keepends=True), 1):
            found.append((file, number, offset, len(line)))
            offset += len(line)
    return found


def bad_place(folder: pathlib.Path) -> tuple:
    found = verify(str(folder))
    assert (found.valid, found.first_bad is None) == (False, False)
    return found.first_bad["seq"], os.path.basename(found.first_bad["path"]), found.first_bad["line"]


def test_a_sound_log_is_valid(log):
    """Nothing to complain of: all events counted, the head is the last line's hash."""
    found = verify(str(log))
    file = places(log)[-1][0]
    assert (found.valid, found.events, found.first_bad, found.pruned, found.anchor_ok) == (True, COUNT, None, 0, None)
    assert found.head == Head(COUNT, hashlib.sha256(file.read_bytes().splitlines()[-1]).hexdigest()) == head(str(log))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@example(where=0.0, change=1)
@example(where=0.9999999, change=1)
def test_any_flipped_byte_is_found_with_an_anchor_and_named_C67(original, tmp_path, where, change):
    """Whatever byte of whatever line becomes whatever other byte, the log is invalid and that very line is named."""
    folder = tmp_path / "flip"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    anchor = head(str(folder))
    lines = places(folder)
    position = int(where * sum(length for _file, _number, _offset, length in lines))
    seq = 0
    while position >= lines[seq][3]:
        position -= lines[seq][3]
        seq += 1
    file, number, offset, _length = lines[seq]
    seq += 1
    raw = bytearray(file.read_bytes())
    raw[offset + position] ^= change
    file.write_bytes(raw)
    found = verify(str(folder), anchor)
    assert found.valid is False
    bad = found.first_bad
    expected = (seq, file.name, number)
    if bad["line"] is None:
        # The last line was changed so that only the anchor can tell.
        assert (bad["seq"], seq) == (COUNT, COUNT)
    else:
        assert (bad["seq"], os.path.basename(bad["path"]), bad["line"]) == expected


def rewrite(file: pathlib.Path, change) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(change(lines)))


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda lines: lines[:3] + lines[4:], 4),
        (lambda lines: lines[:3] + [lines[4], lines[3]] + lines[5:], 4),
        (lambda lines: lines[:4] + [lines[3]] + lines[4:], 5),
        (lambda lines: lines[:3] + [lines[0]] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"{}\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b'{"seq":4}\n'] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"[1]\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"\xff\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"[" * 100000 + b"\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b'{"seq":' + b"9" * 10000 + b"}\n"] + lines[3:], 4),
        (lambda lines: lines[:3] + [b"x" * 1000000] + lines[3:], 4),
        (lambda lines: [lines[0].replace(b'"number":0', b'"number":7')] + lines[1:], 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0].replace(b"0" * 64, b"1" * 64)] + lines[1:], 1),
        (lambda lines: [line.replace(b'"number":4', b'"number":5') for line in lines], 5),
    ],
    ids=[
        "drop",
        "swap",
        "double",
        "double-far",
        "empty",
        "object",
        "no-previous",
        "list",
        "not-utf8",
        "deep",
        "huge-seq",
        "endless-line",
        "first-changed",
        "first-dropped",
        "first-previous",
        "changed",
    ],
)
def test_lines_dropped_swapped_inserted_doubled_are_named_C67(log, change, line):
    """The first place that is not as it was written is named by seq, file and line."""
    rewrite(log / "000001.jsonl", change)
    assert bad_place(log) == (line, "000001.jsonl", line)


def test_a_changed_previous_is_told_from_a_changed_line(log):
    """When the link between two lines is broken, the line that was altered is named, not its neighbour."""

    def forge(lines):
        event = json.loads(lines[4])
        event["previous"] = "ab" * 32
        return lines[:4] + [json.dumps(event, separators=(",", ":")).encode() + b"\n"] + lines[5:]

    rewrite(log / "000001.jsonl", forge)
    assert bad_place(log) == (5, "000001.jsonl", 5)


def test_a_segment_deleted_in_the_middle_is_shown(log):
    """The chain does not go over a missing file."""
    (log / "000002.jsonl").unlink()
    seq, name, line = bad_place(log)
    assert (name, line) == ("000003.jsonl", 1)


def test_a_first_segment_deleted_is_shown(log):
    """A log that begins late without a log_prune saying so is not valid."""
    (log / "000001.jsonl").unlink()
    assert bad_place(log)[1:] == ("000002.jsonl", 1)


def test_the_last_line_must_stand_in_the_form_lines_are_written_in(log):
    """Nothing follows the last line to vouch for it; at least its form is checked."""
    file = sorted(log.glob("*.jsonl"))[-1]
    rewrite(file, lambda lines: lines[:-1] + [lines[-1].replace(b'"host":', b'"host": ')])
    assert bad_place(log)[0] == COUNT


def test_a_torn_tail_is_told_and_says_what_happens_next(log):
    """An unfinished last line is named as such."""
    file = sorted(log.glob("*.jsonl"))[-1]
    file.write_bytes(file.read_bytes()[:-10])
    found = verify(str(log))
    assert (found.valid, found.events, found.first_bad["seq"]) == (False, COUNT - 1, COUNT)
    assert "the next append moves it aside" in found.first_bad["problem"]


def test_a_cut_tail_is_valid_alone_and_shown_against_an_anchor_C67(log):
    """Whole lines cut from the end: the chain cannot know, the anchor does."""
    anchor = head(str(log))
    file = sorted(log.glob("*.jsonl"))[-1]
    rewrite(file, lambda lines: lines[:-1])
    assert verify(str(log)).valid is True
    found = verify(str(log), anchor._asdict())
    assert (found.valid, found.anchor_ok, found.first_bad["seq"]) == (False, False, COUNT)
    assert "tail was cut or files were deleted" in found.first_bad["problem"]


def test_a_deleted_last_segment_is_shown_against_an_anchor_C67(log):
    """A whole file removed from the end."""
    anchor = head(str(log))
    sorted(log.glob("*.jsonl"))[-1].unlink()
    assert (verify(str(log)).valid, verify(str(log), anchor).valid) == (True, False)


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_what_stands_where_a_segment_was_is_no_empty_segment(log, tmp_path, kind):
    """A pipe, a directory or a link in a segment's place is refused by name: it is neither waited for nor taken for an empty file."""
    last = sorted(log.glob("*.jsonl"))[-1]
    last.rename(tmp_path / "elsewhere")
    {"fifo": lambda: os.mkfifo(last), "directory": last.mkdir, "link": lambda: last.symlink_to(tmp_path / "elsewhere")}[kind]()
    with pytest.raises(RecordError, match=last.name):
        verify(str(log))


def test_a_lock_that_is_a_pipe_is_not_waited_for(log):
    """Whoever verifies a copy with a pipe for a lock waits for nobody."""
    (log / ".lock").unlink(missing_ok=True)
    os.mkfifo(log / ".lock")
    assert verify(str(log)).valid


def test_everything_deleted_is_shown_against_an_anchor_C67(log):
    """An empty log is no extension of one that had events; one that is gone altogether is an error."""
    anchor = head(str(log))
    for file in log.glob("*.jsonl"):
        file.unlink()
    found = verify(str(log), anchor)
    assert (found.valid, found.anchor_ok, found.head, found.first_bad["seq"]) == (False, False, Head(0, ZEROS), 1)
    shutil.rmtree(log)
    found = verify(str(log), anchor)
    assert (found.valid, found.anchor_ok, "there is no timeline" in found.first_bad["problem"]) == (False, False, True)
    with pytest.raises(RecordError, match="no timeline"):
        verify(str(log))


def test_a_rewrite_of_the_same_length_is_shown_against_an_anchor_C67(log, tmp_path):
    """A log written anew with the same number of events has another hash at the anchor's seq."""
    anchor = head(str(log))
    timeline = Timeline(str(tmp_path / "new"), "web1", ballast=False)
    for _turn in range(COUNT + 5):
        timeline.append("note")
    assert verify(str(tmp_path / "new")).valid is True
    found = verify(str(tmp_path / "new"), anchor)
    assert (found.valid, found.anchor_ok, found.first_bad["seq"]) == (False, False, COUNT)
    assert "written anew" in found.first_bad["problem"]


def test_an_extension_of_the_anchor_is_valid(log):
    """A log that has grown since the anchor was taken is fine, and so is the head of an empty log as anchor."""
    anchor = head(str(log))
    Timeline(str(log), "web1", ballast=False).append("note")
    for given_anchor in (anchor, anchor._asdict(), {"seq": 0, "hash": ZEROS}, {"seq": anchor.seq, "hash": anchor.hash.upper()}):
        found = verify(str(log), given_anchor)
        assert (found.valid, found.anchor_ok) == (True, True)


def test_an_anchor_whose_event_was_pruned_is_not_called_good(tmp_path):
    """When retention removed the anchor's event the answer is: cannot tell; the last removed one can still be told."""
    timeline = Timeline(str(tmp_path), "web1", segment_size=2000, retention=6000, ballast=False)
    heads = []
    for _turn in range(60):
        event = timeline.append("note")
        heads.append(Head(event["seq"], event["hash"]))
    first = verify(str(tmp_path)).pruned
    found = verify(str(tmp_path), heads[0])
    assert (found.valid, found.anchor_ok, found.first_bad) == (None, None, None)
    assert "removed by retention" in found.detail
    last = next(one for one in heads if one.seq == first)
    assert verify(str(tmp_path), last).valid is True
    assert verify(str(tmp_path), Head(first, "0" * 63 + "1")).valid is False


@pytest.mark.parametrize(
    "anchor", [{}, {"seq": 1}, {"seq": True, "hash": ZEROS}, {"seq": 1, "hash": "xyz"}, {"seq": -1, "hash": ZEROS}, "1", 5]
)
def test_an_unusable_anchor_is_refused(log, anchor):
    """A mistyped anchor must not pass for a good one."""
    with pytest.raises(RecordError, match="anchor"):
        verify(str(log), anchor)


def test_verification_streams(tmp_path, spawn):
    """100,000 events are verified in less than 30 MB of memory."""
    previous, path = ZEROS, tmp_path / "000001.jsonl"
    with open(path, "wb") as file:
        for seq in range(1, 100001):
            line = b'{"seq":%d,"timestamp":"2026-11-21T21:03:38.123Z","host":"web1","type":"note","source":"watchdog","previous":"%s"}' % (
                seq,
                previous.encode(),
            )
            previous = hashlib.sha256(line).hexdigest()
            file.write(line + b"\n")
    child = spawn(
        "from selfheal._records.verify import verify\n"
        "found = verify(sys.argv[1])\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1]\n"
        "print(found.valid, found.events, peak)\n",
        str(tmp_path),
    )
    valid, events, peak = child.communicate(timeout=60)[0].split()
    assert (valid, events) == (b"True", b"100000")
    assert int(peak) < 30 * 1024
