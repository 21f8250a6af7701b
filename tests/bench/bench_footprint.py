# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watchdog takes of a real host while nothing happens: 50 units with an HTTP check every 10 s, beside Monit over the same 50.

    python tests/bench/bench_footprint.py [--quick] [debian12] [debian13]

Ours is the heavier case, as in `bench_idle.py`: units whose death is waited for, with a state, a timeline and endpoints that were asked.
Monit has 50 ``check host`` with nothing but the HTTP request. CPU is the scheduler's count over the same two minutes, side by side.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
from typing import Iterator, List, Sequence

from bench_idle import CHECK, CHECKS, MOST_MEMORY, SECONDS
from hosts import DISTRIBUTIONS, BenchHost, Unavailable, Unit, bench_hosts
from stage import PERIOD, TIMEOUT, build_archive
from table import Row, show

ENDPOINTS = ("/", "/health", "/services", "/artifacts", "/metrics")


def start_monit(host: BenchHost, units: Sequence[Unit]) -> int:
    """Monit over these units; its pid."""
    words = "set daemon %d\nset logfile /var/log/bench-monit.log\n" % PERIOD
    words += "".join("set %sfile /run/bench-monit.%s\n" % (kind, kind) for kind in ("pid", "state", "id"))
    words += "".join(CHECK.format(name=unit.name, port=unit.port, timeout=TIMEOUT) for unit in units)
    host.write("/etc/bench-monit.conf", words, "0600")
    host.unit("bench-monit", "ExecStart=/usr/bin/monit -I -c /etc/bench-monit.conf")
    return host.pid("bench-monit")


def measured(host: BenchHost, archive: str, seconds: float) -> Iterator[Row]:
    host.install("monit")
    units: List[Unit] = host.services("idle", CHECKS)
    host.start(units)
    host.watch(archive, [unit.contract() for unit in units])
    pids = host.pid("selfheal-watchdog"), start_monit(host, units)
    for path in ENDPOINTS:  # what an endpoint needs is loaded when it is first asked
        host.run("curl", "-s", "-o", "/dev/null", "--max-time", "5", "http://127.0.0.1:9877" + path)
    host.usage(2 * PERIOD, *pids)  # both past their first round
    (ours, memory), (theirs, their_memory) = host.usage(seconds, *pids)
    states = host.states()
    if set(states.values()) != {"healthy"} or host.events("failure"):
        raise SystemExit("not every service was healthy all the time: this was no idle run\n%s" % states)
    if "failed" in host.sh("cat /var/log/bench-monit.log"):
        raise SystemExit("not all was well with Monit: this was no idle run")
    used, used_by_monit = (each * 3600 / seconds for each in (ours, theirs))
    where = ", %d units on %s with an HTTP check every %d s each" % (CHECKS, DISTRIBUTIONS[host.distribution], PERIOD)
    ratio = used / used_by_monit
    yield Row("idle%s: CPU" % where, "%.2f s/h" % used, "Monit %.2f s/h" % used_by_monit, "%.2f" % ratio, "≤ 1 ×", ratio <= 1.0)
    fits = memory <= MOST_MEMORY
    yield Row("memory of that, with endpoints", "%.1f MB" % memory, "Monit %.1f MB" % their_memory, "-", "≤ %g MB" % MOST_MEMORY, fits)


def rows(quick: bool, distributions: Sequence[str]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder:
        archive = build_archive(pathlib.Path(folder))
        for distribution in distributions:
            try:
                with bench_hosts([distribution]) as (host,):
                    yield from measured(host, archive, 20 if quick else SECONDS)
            except Unavailable as reason:
                yield Row("idle on %s" % DISTRIBUTIONS[distribution], "not measured: %s" % reason)


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if word in DISTRIBUTIONS]
    sys.exit(show(rows("--quick" in sys.argv[1:], chosen or list(DISTRIBUTIONS))))
