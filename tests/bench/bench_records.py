# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durable appends against raw append + fdatasync, verification of a million events against JSON parse + SHA-256 of the raw line.

An append of ours and one of the anchor's follow each other, so that both meet the same disk and the same neighbours, as rare as events are;
the ratio is the median of the rounds' ratios. It is the Python of the distribution that appends, as on a managed host.
Run alone: ``python tests/bench/bench_records.py [--quick]``; prints rows of a Markdown table.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from typing import Callable, Dict, Iterator, List

from stage import distribution_python
from table import Row, show

ROOT = pathlib.Path(os.environ.get("SELFHEAL_COLLECTION_ROOT") or pathlib.Path(__file__).resolve().parents[2])
DATA = {
    "rung": "restart",
    "attempt": 2,
    "reason": "liveness_failed",
    "detail": "GET http://127.0.0.1:8080/live: no answer within 4.0 s",
    "previous": {"outcome": "bad", "reason": "window_over"},
}


def library() -> None:
    """Make the library importable under the name it has on the hosts."""
    if "selfheal" not in sys.modules:
        package = types.ModuleType("selfheal")
        package.__path__ = [str(ROOT / "plugins" / "module_utils")]
        sys.modules["selfheal"] = package


def appends(folder: pathlib.Path, rounds: int, count: int) -> Row:
    """Events of some 400 bytes, one after the other, each durable before the next."""
    argv = [distribution_python(), __file__, "--appends", str(folder), str(rounds), str(count)]
    found = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return Row(
        "durable append, %d bytes" % found["bytes"],
        "%.0f/s" % found["ours"],
        "raw append + fdatasync %.0f/s" % found["anchor"],
        "%.2f" % found["ratio"],
        ">= 0.8",
        found["ratio"] >= 0.8,
    )


def child_appends(folder: pathlib.Path, rounds: int, count: int) -> Dict[str, float]:
    library()
    from selfheal._records.timeline import Timeline

    timeline = Timeline(str(folder / "timeline"), "web1")
    timeline.append("restart", "web", "web-20261121T210330.001Z", data=DATA)
    raw = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    line = (folder / "timeline" / "000001.jsonl").read_bytes()

    def ours() -> None:
        timeline.append("restart", "web", "web-20261121T210330.001Z", data=DATA)

    def anchor() -> None:
        os.write(raw, line)
        os.fdatasync(raw)

    found = in_turn(ours, anchor, rounds, count)
    os.close(raw)
    timeline.close()
    return {"bytes": len(line), **found}


def in_turn(ours: Callable[[], None], anchor: Callable[[], None], rounds: int, count: int) -> Dict[str, float]:
    """Median rates of both and the median of their ratios, over rounds of so many calls of each."""
    spent: Dict[str, List[float]] = {"ours": [], "anchor": []}
    for _round in range(rounds):
        took = {"ours": 0.0, "anchor": 0.0}
        for _turn in range(count):
            for name, call in (("ours", ours), ("anchor", anchor)):
                begin = time.perf_counter()
                call()
                took[name] += time.perf_counter() - begin
        for name, seconds in took.items():
            spent[name].append(seconds / count)
    ratio = statistics.median(other / one for one, other in zip(spent["ours"], spent["anchor"]))
    return {"ratio": ratio, **{name: 1 / statistics.median(values) for name, values in spent.items()}}


def write_log(folder: pathlib.Path, events: int) -> None:
    """A sound log of so many events; written directly, as a million fdatasyncs are no part of this."""
    import hashlib

    library()
    from selfheal._records.events import draft
    from selfheal._records.segments import SEGMENT_SIZE

    event = draft("web1", 1795294218.123, "restart", "web", "web-20261121T210330.001Z", "watchdog", DATA)
    previous, number, size, file = "0" * 64, 0, SEGMENT_SIZE, None
    for seq in range(1, events + 1):
        line = event.line(seq, previous)
        previous = hashlib.sha256(line[:-1]).hexdigest()
        if size + len(line) > SEGMENT_SIZE:
            if file:
                file.close()
            number, size = number + 1, 0
            file = open(folder / ("%06d.jsonl" % number), "wb")
        if file:
            file.write(line)
        size += len(line)
    if file:
        file.close()


def child_ours(folder: str) -> int:
    library()
    from selfheal._records.verify import verify

    found = verify(folder)
    if not found.valid:
        raise SystemExit("the log is not valid: %s" % (found.first_bad,))
    return found.events


def child_anchor(folder: str) -> int:
    """The least that any verification in Python does: parse the line, hash its bytes."""
    import hashlib  # not where appends are measured: the watchdog does without

    count = 0
    for path in sorted(pathlib.Path(folder).glob("*.jsonl")):
        with open(path, "rb") as file:
            for line in file:
                json.loads(line)
                hashlib.sha256(line[:-1]).hexdigest()
                count += 1
    return count


def child(kind: str, folder: str) -> None:
    begin = time.process_time()
    count = child_ours(folder) if kind == "ours" else child_anchor(folder)
    took = time.process_time() - begin
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    sys.stdout.write(json.dumps({"rate": count / took, "peak": peak / 1024}))


def verification(folder: pathlib.Path, rounds: int, events: int) -> List[Row]:
    """Each run in a fresh process, its CPU time measured: other work on the machine counts little."""
    log = folder / "million"
    log.mkdir()
    write_log(log, events)
    found: Dict[str, List[Dict[str, float]]] = {"ours": [], "anchor": []}
    for turn in range(rounds):
        for kind in ("ours", "anchor")[:: 1 if turn % 2 else -1]:
            output = subprocess.run([sys.executable, __file__, "--child", kind, str(log)], check=True, stdout=subprocess.PIPE).stdout
            found[kind].append(json.loads(output))
    ours, anchor = (statistics.median(run["rate"] for run in found[kind]) for kind in ("ours", "anchor"))
    ratio = statistics.median(one["rate"] / other["rate"] for one, other in zip(found["ours"], found["anchor"]))
    peak = max(run["peak"] for run in found["ours"])
    least = "json + sha256 of the raw line %.0f/s" % anchor
    return [
        Row("verify %d events" % events, "%.0f/s" % ours, least, "%.2f" % ratio, ">= 0.8", ratio >= 0.8),
        Row("memory of that", "%.1f MB" % peak, "-", "-", "<= 30 MB", peak <= 30),
    ]


def rows(quick: bool = False) -> Iterator[Row]:
    """All measurements, in a directory on the disk where records live by default, or where TMPDIR says."""
    place = os.environ.get("TMPDIR") or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else None)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfheal-bench-", dir=place))
    try:
        yield appends(folder, 15 if quick else 41, 200)
        yield from verification(folder, 1 if quick else 3, 100000 if quick else 1000000)
    finally:
        shutil.rmtree(folder)


def main() -> int:
    if sys.argv[1:2] == ["--appends"]:
        json.dump(child_appends(pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])), sys.stdout)
        return 0
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3])
        return 0
    return show(rows("--quick" in sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
