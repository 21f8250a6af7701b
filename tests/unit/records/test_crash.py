# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline under kill -9, many writers, full and read-only disks. All by real means."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import time

import pytest

from selfheal._core.errors import RecordError
from selfheal._records.buffer import Recorder
from selfheal._records.events import EventRefused
from selfheal._records.read import read
from selfheal._records.timeline import Timeline
from selfheal._records.verify import verify

WRITER = """
from selfheal._records.timeline import Timeline
timeline = Timeline(sys.argv[1], "web1", segment_size=int(sys.argv[3]), ballast=False)
number = 0
while number < int(sys.argv[4]):
    event = timeline.append("note", data={"who": sys.argv[2], "number": number})
    os.write(1, b"%d %d\\n" % (number, event["seq"]))
    number += 1
"""


def test_eight_processes_at_once_lose_nothing_C67(tmp_path, spawn):
    """Concurrent appends never fork the chain, and every event that was reported written is there once."""
    children = [spawn(WRITER, str(tmp_path), str(who), "20000", "150") for who in range(8)]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 8
    found = verify(str(tmp_path))
    assert (found.valid, found.events) == (True, 8 * 150)
    written = {(event["data"]["who"], event["data"]["number"]): event["seq"] for event in read(str(tmp_path))}
    reported = {
        (str(who), int(line.split()[0])): int(line.split()[1]) for who, output in enumerate(outputs) for line in output.splitlines()
    }
    assert written == reported


def test_kill_9_at_any_instant_loses_no_reported_event(tmp_path, spawn):
    """100 writers killed at random instants: the log stays valid, every event whose append returned is there."""
    rng = random.Random(20261121)
    reported = set()
    for turn in range(100):
        child = spawn(WRITER, str(tmp_path), str(turn), "8000", "1000000")
        first = child.stdout.readline()
        time.sleep(rng.random() * 0.01)
        child.send_signal(signal.SIGKILL)
        output = first + child.stdout.read()
        child.wait()
        # The report itself may have been cut by the kill.
        for line in output.split(b"\n")[:-1]:
            reported.add((str(turn), int(line.split()[0])))
    Timeline(str(tmp_path), "web1", ballast=False).append("note")
    found = verify(str(tmp_path))
    assert (found.valid, found.first_bad) == (True, None)
    data = [event.get("data", {}) for event in read(str(tmp_path))]
    written = {(entry["who"], entry["number"]) for entry in data if "who" in entry}
    assert len(reported) > 100
    assert reported - written == set()


STEPPED = """
import random
from selfheal._records import files, segments, timeline as module
from selfheal._records.timeline import Timeline
# Die right before the n-th system call that changes anything.
left = int(sys.argv[2])
def dying(call):
    def step(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return call(*arguments, **options)
    return step
for name in ("write", "ftruncate", "fdatasync", "fsync", "rename", "unlink", "open", "mkdir"):
    setattr(os, name, dying(getattr(os, name)))
timeline = Timeline(sys.argv[1], "web1", segment_size=600, retention=1500, ballast=False)
for number in range(8):
    timeline.append("note", data={"number": number})
"""


def test_kill_9_before_every_single_write_leaves_a_log_that_goes_on(tmp_path, spawn):
    """Rolling, repairing and pruning are killed before each of their system calls in turn; the next writer always goes on."""
    step, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        folder = tmp_path / str(step)
        folder.mkdir(mode=0o750)
        Timeline(str(folder), "web1", ballast=False).append("note")
        with open(folder / "000001.jsonl", "ab") as file:
            file.write(b"torn")
        child = spawn(STEPPED, str(folder), str(step), stdout=subprocess.DEVNULL)
        status = child.wait(timeout=60)
        Timeline(str(folder), "web1", ballast=False).append("note", data={"last": True})
        found = verify(str(folder))
        assert (step, found.valid, found.first_bad) == (step, True, None)
        assert read(str(folder), limit=1)[0]["data"] == {"last": True}
        assert not list(folder.glob("*.pending"))
        step += 4 if step > 40 else 1
    assert (status, step > 30) == (0, True)


def fill(folder) -> None:
    """Leave not one free block on that disk."""
    descriptor = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 1):
        try:
            while os.write(descriptor, b"x" * size) == size:
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    os.close(descriptor)


def test_on_a_full_disk_append_says_so_and_leaves_the_log_whole(small_disk):
    """ENOSPC is an error with the path and the cause; what did not fit is not half there."""
    folder = small_disk("size=256k")
    timeline = Timeline(str(folder / "t"), "web1", ballast=False)
    timeline.append("note")
    fill(folder)
    with pytest.raises(RecordError, match=r"No space left on device \(ENOSPC\)"):
        for _turn in range(50):
            timeline.append("note", data={"text": "x" * 1000})
    found = verify(str(folder / "t"))
    assert (found.valid, found.first_bad) == (True, None)
    (folder / "filler").unlink()
    assert timeline.append("note")["seq"] == found.events + 1


def test_the_ballast_is_given_back_on_a_full_disk_and_taken_again(small_disk):
    """1 MiB is reserved while there is room, and lets hundreds of events be written when there is none."""
    folder = small_disk("size=8m")
    Timeline(str(folder / "t"), "web1").append("note")
    assert (folder / "t" / ".ballast").stat().st_blocks * 512 >= 1024 * 1024
    fill(folder)
    timeline = Timeline(str(folder / "t"), "web1")
    for _turn in range(500):
        timeline.append("note", data={"text": "x" * 1000})
    assert not (folder / "t" / ".ballast").exists()
    with pytest.raises(RecordError, match="ENOSPC"):
        for _turn in range(1000):
            timeline.append("note", data={"text": "x" * 1000})
    (folder / "filler").unlink()
    Timeline(str(folder / "t"), "web1").append("note")
    assert (folder / "t" / ".ballast").exists()
    assert verify(str(folder / "t")).valid is True


def test_no_room_for_inodes_is_an_error_too(small_disk):
    """A disk without free inodes cannot begin a segment; that is told."""
    folder = small_disk("size=1m,nr_inodes=3")
    (folder / "t").mkdir(mode=0o750)
    (folder / "filler").touch()
    with pytest.raises(RecordError, match="ENOSPC"):
        Timeline(str(folder / "t"), "web1", ballast=False).append("note")


def test_a_torn_tail_on_a_full_disk_is_repaired_from_the_ballast(small_disk):
    """Also the side file of a repair may use the reserved room."""
    folder = small_disk("size=4200k")
    Timeline(str(folder / "t"), "web1").append("note")
    assert (folder / "t" / ".ballast").exists()
    with open(folder / "t" / "000001.jsonl", "ab") as file:
        file.write(b"torn")
    fill(folder)
    Timeline(str(folder / "t"), "web1").append("note")
    assert verify(str(folder / "t")).valid is True


def test_a_read_only_disk_is_an_error_and_then_works_again(small_disk):
    """EROFS does not wedge the writer that has the file open."""
    folder = small_disk("size=4m")
    timeline = Timeline(str(folder / "t"), "web1")
    timeline.append("note")
    timeline.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(RecordError, match="EROFS"):
        timeline.append("note")
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    assert timeline.append("note")["seq"] == 2


def test_a_file_size_limit_is_an_error_not_a_death(tmp_path, spawn):
    """RLIMIT_FSIZE cuts a write in the middle of a line; the log is put back to its last whole line."""
    child = spawn(
        "import resource\n"
        "from selfheal._core.errors import RecordError\n"
        "from selfheal._records.timeline import Timeline\n"
        "timeline = Timeline(sys.argv[1], 'web1', ballast=False)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    for number in range(100): timeline.append('note')\n"
        "except RecordError as error: print(number, error)\n",
        str(tmp_path),
    )
    output = child.communicate(timeout=30)[0].decode()
    found = verify(str(tmp_path))
    assert (child.returncode, found.valid, found.events) == (0, True, int(output.split()[0]))
    assert (tmp_path / "000001.jsonl").stat().st_size <= 1000
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_the_recorder_keeps_events_in_order_and_writes_them_when_it_can(small_disk, clock):
    """While nothing can be written events wait in memory and go to the journal; then they follow a log_repair, with their own times."""
    folder = small_disk("size=128k")
    journal: list = []
    recorder = Recorder(Timeline(str(folder / "t"), "web1", clock, ballast=False), journal.append, capacity=5)
    assert (recorder.record("note")["seq"], recorder.writable) == (1, True)
    fill(folder)
    kept = []
    for number in range(30):
        clock.now += 1
        if recorder.record("restart", "web", data={"number": number, "pad": "x" * 900}) is None:
            kept.append(number)
    assert (recorder.writable, recorder.waiting, recorder.dropped) == (False, 5, len(kept) - 5)
    assert "ENOSPC" in recorder.problem
    assert [event["data"]["number"] for event in journal] == kept
    (folder / "filler").unlink()
    clock.now += 100
    assert recorder.flush() is True
    assert (recorder.writable, recorder.waiting, recorder.dropped) == (True, 0, 0)
    recorder.record("note", data={"text": "after"})
    events = read(str(folder / "t"))
    repair = next(place for place, event in enumerate(events) if event["type"] == "log_repair")
    data = events[repair]["data"]
    assert (data["cause"], data["kept"], data["dropped"]) == ("unwritable", 5, len(kept) - 5)
    assert [event["data"]["number"] for event in events[repair + 1 : -1]] == kept[-5:]
    assert events[repair + 1]["timestamp"] < events[repair]["timestamp"]
    assert verify(str(folder / "t")).valid is True


def test_the_recorder_does_not_wait_for_the_lock_twice(tmp_path):
    """Once the lock was not given in time, later events are kept at once instead of waiting again."""
    import fcntl

    recorder = Recorder(Timeline(str(tmp_path), "web1", lock_timeout=0.3))
    recorder.record("note")
    with open(tmp_path / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert recorder.record("note") is None
        begin = time.monotonic()
        for _turn in range(20):
            recorder.record("note")
        assert time.monotonic() - begin < 0.3
    assert (recorder.flush(), read(str(tmp_path), limit=1)[0]["seq"]) == (True, 23)


def test_the_recorder_refuses_wrong_events_and_stays_writable(tmp_path):
    """A wrong event is the caller's fault, not the disk's."""
    recorder = Recorder(Timeline(str(tmp_path), "web1"))
    with pytest.raises(EventRefused):
        recorder.record("nonsense")
    assert (recorder.writable, recorder.waiting) == (True, 0)


def test_two_writers_repair_one_torn_tail_once(tmp_path, spawn):
    """Whoever comes first repairs; nobody repairs twice."""
    Timeline(str(tmp_path), "web1", ballast=False).append("note")
    with open(tmp_path / "000001.jsonl", "ab") as file:
        file.write(b'{"seq":2,"torn')
    children = [spawn(WRITER, str(tmp_path), str(who), "1000000", "20") for who in range(4)]
    assert [child.communicate(timeout=60) and child.returncode for child in children] == [0] * 4
    raw = (tmp_path / "000001.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["type"] for line in raw].count("log_repair") == 1
    assert len(list(tmp_path.glob("*.torn-*"))) == 1
    assert (verify(str(tmp_path)).valid, verify(str(tmp_path)).events) == (True, 82)
