# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of 200 hosts with 10,000 events each, and taking those events in, against reading and hashing the same bytes once.

    python tests/bench/bench_report.py [--quick]

Takes some three minutes and 700 MB of disk; ratios are those of CPU time. `--quick`: 20 hosts, and
nothing is demanded of their seconds. Where a Chromium is, its first paint of the page is measured, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import resource
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from bench_urls import collections
from table import Row, show

HOSTS, EVENTS, QUICK = 200, 10_000, 20
MUST_SECONDS, MUST_MEMORY, MUST_PAINT = 60.0, 500.0, 1.0
NOW = 1795294218.0
SPAN = 30 * 86400.0
SERVICES = ("web", "db", "queue", "cache", "mail")
CAUSES = ("oom_killed", "disk_full", "dependency_down", "segfault", "")
REASONS = ("gone", "liveness_failed")
BLOCKED = ("hold", "backoff", "lease_held", "budget_spent", "maintenance")


def moment(seconds: float) -> str:
    whole = int(seconds)
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)), int((seconds - whole) * 1000))


def story(host: str, chance: random.Random, count: int) -> Iterator[Tuple[float, str, str, str, Dict[str, Any]]]:
    """`count` events of a host, in their order: (when, type, service, incident, data). Most heal, some page, some stay open."""
    told, at, gap = 0, NOW - SPAN, SPAN / (count / 5.0)
    while told < count:
        at += chance.uniform(0.4, 1.6) * gap * 0.98
        service, reason = chance.choice(SERVICES), chance.choice(REASONS)
        name = "%s-%d" % (service, told)
        took = chance.lognormvariate(1.0, 1.2)
        made: List[Tuple[float, str, Dict[str, Any]]] = [(0.05, "failure", {"failure_time": moment(at), "reason": reason})]
        if chance.random() < 0.15:
            made.append((0.1, "blocked", {"reason": chance.choice(BLOCKED)}))
        made.append((0.2, "failover", {"reason": reason}))
        for attempt in range(1 + (chance.random() < 0.1)):
            made.append((0.3 + attempt, "restart", {"rung": "restart", "attempt": attempt + 1, "reason": reason}))
        if chance.random() < 0.05:
            made.append((2.5, "redeploy", {"rung": "redeploy", "attempt": 1, "reason": reason, "previous": {"outcome": "failed"}}))
        if chance.random() < 0.03:
            made.append((3.0, "page", {"reason": "ladder_exhausted", "severity": "critical"}))
        if chance.random() < 0.998:
            end = {"failure_time": moment(at), "recovery_time": moment(at + took), "recovery_duration_ms": round(took * 1000)}
            made.append((took + 9.9, "failback", {}))
            made.append((took + 10, "recover", {**end, "rung": "restart", "cause": chance.choice(CAUSES)}))
        for after, type, data in made[: count - told]:
            yield min(at + after, NOW - 1), type, service, name, data
        told += len(made[: count - told])


def lay_out(folder: pathlib.Path, hosts: int, events: int) -> int:
    """The timelines of that many hosts, as their watchdogs would have written them; their bytes."""
    size = 0
    for number in range(hosts):
        host, previous, lines = "host%03d.example" % number, "0" * 64, []
        for seq, (at, type, service, incident, data) in enumerate(story(host, random.Random(number), events), 1):
            event = {"seq": seq, "timestamp": moment(at), "host": host, "service": service, "incident": incident, "type": type}
            event.update(source="watchdog", data=data, previous=previous)
            line = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
            previous = hashlib.sha256(line).hexdigest()
            lines.append(line + b"\n")
        (folder / host).mkdir(parents=True)
        (folder / host / "000001.jsonl").write_bytes(b"".join(lines))
        size += sum(map(len, lines))
    return size


class Took(NamedTuple):
    """Seconds by the clock and of CPU, and the largest memory of a child that did nothing else, in MB."""

    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        return "%.1f s (%.1f CPU s, %.0f MB)" % self


def alone(work: Callable[[], None]) -> Took:
    """Do it in a child of its own, so that its memory is its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            before, began = time.process_time(), time.monotonic()
            work()
            spent = (time.monotonic() - began, time.process_time() - before)
            used = resource.getrusage(resource.RUSAGE_SELF)
            os.write(writer, json.dumps([*spent, used.ru_maxrss / 1024]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("what was measured failed; its message is above")
    return Took(*json.loads(said))


def anchor(folder: pathlib.Path) -> None:
    for path in sorted(folder.glob("*/*.jsonl")):
        with open(path, "rb") as file:
            for line in file:
                json.loads(line)
                hashlib.sha256(line[:-1]).hexdigest()


def take_in(folder: pathlib.Path, mirror: pathlib.Path) -> None:
    """As `timeline_fetch` does, but for the way between."""
    from ansible_collections.faultline.selfheal.plugins.module_utils._records.extract import extract
    from ansible_collections.faultline.selfheal.plugins.plugin_utils._mirror import Mirror, Told

    for path in sorted(folder.iterdir()):
        with Mirror(str(mirror), path.name, lambda: NOW) as kept:
            found = kept.fetch(lambda after, path=path: Told(*extract(str(path), after)))  # type: ignore[misc]
            if found.faults or not found.new:
                raise RuntimeError("%s was not taken in whole: %r" % (path.name, found))


def report(mirror: pathlib.Path, dest: pathlib.Path) -> None:
    from ansible_collections.faultline.selfheal.plugins.action import fleet_report

    hosts = sorted(path.name for path in mirror.iterdir())
    options = {"mirror": str(mirror), "dest": str(dest), "hosts": hosts, "unreached": {}, "title": "Self-healing report"}
    fleet_report._make(options, NOW - SPAN, NOW, False)


def rows(quick: bool) -> Iterator[Row]:
    hosts = QUICK if quick else HOSTS
    must = "-" if quick else "≤ %g s" % MUST_SECONDS

    def soon(seconds: float) -> Optional[bool]:
        return None if quick else seconds <= MUST_SECONDS

    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder:
        sys.path.insert(0, collections(folder))
        timelines, mirror, dest = (pathlib.Path(folder, name) for name in ("timelines", "mirror", "report"))
        size = lay_out(timelines, hosts, EVENTS)
        raw = alone(lambda: anchor(timelines))
        words, other = "%d hosts × %d events" % (hosts, EVENTS), "JSON + SHA-256 of the same %d MB: %s" % (size >> 20, raw)
        fetched = alone(lambda: take_in(timelines, mirror))
        yield Row("taking in %s, every chain checked" % words, str(fetched), other, "%.1f" % (fetched.cpu / raw.cpu))
        made = alone(lambda: report(mirror, dest))
        yield Row("report of %s" % words, str(made), other, "%.1f" % (made.cpu / raw.cpu), must, soon(made.wall))
        both = fetched.wall + made.wall
        ratio = (fetched.cpu + made.cpu) / raw.cpu
        yield Row("both", "%.1f s" % both, other, "%.1f" % ratio, must, soon(both))
        most = max(made.memory, fetched.memory)
        yield Row("its memory", "%.0f MB" % most, must="≤ %g MB" % MUST_MEMORY, ok=most <= MUST_MEMORY)
        yield from painted(dest / "index.html", words)


def painted(page: pathlib.Path, words: str) -> Iterator[Row]:
    what = "first paint of the page of %s, %.1f MB" % (words, page.stat().st_size / 1e6)
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
    from browser import Browser, find_browser

    program = find_browser()
    if program is None:
        yield Row(what, "no chromium here")
        return
    seconds = []
    for _run in range(5):
        with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as home, Browser(program, home) as browser:
            browser.open(page.as_uri())
            seconds.append(browser.first_paint())
    paint = statistics.median(seconds)
    yield Row(what, "%.0f ms" % (paint * 1000), must="≤ %g s" % MUST_PAINT, ok=paint <= MUST_PAINT)


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
