# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watching costs while nothing happens: 50 HTTP checks every 10 s, ours beside Monit, both over the same 50 servers.

    python tests/bench/bench_idle.py [--quick]

Ours is the heavier case: 50 services, each a process of its own that the watchdog started and whose death it waits for, with a state, a
timeline and endpoints. Monit's is its lightest: 50 ``check host`` with nothing but the HTTP request. CPU is the scheduler's count for the
whole process over the same two minutes, side by side.
"""

from __future__ import annotations

import sys
import time
from typing import Iterator, List

from observer import Victim, asked, cpu_of, rss_of
from stage import PERIOD, TIMEOUT, Stage, contract, needed, wait
from table import Row, show

CHECKS = 50
SECONDS = 120
MOST_MEMORY = 24.0
CHECK = """check host {name} with address 127.0.0.1
  if failed port {port} protocol http request / with timeout {timeout} seconds then alert
"""


def monit(stage: Stage, victims: List[Victim]) -> int:
    """Monit over these services; its pid."""
    config = stage.folder / "monit.conf"
    words = "set daemon %d\nset logfile %s\n" % (PERIOD, stage.folder / "monit.log")
    words += "".join("set %sfile %s\n" % (kind, stage.folder / ("monit." + kind)) for kind in ("pid", "state", "id"))
    words += "".join(CHECK.format(name=each.name, port=each.port, timeout=TIMEOUT) for each in victims)
    config.write_text(words)
    config.chmod(0o600)
    return stage.run([needed("monit", "MONIT"), "-I", "-c", str(config)], "monit").pid


def rows(quick: bool) -> Iterator[Row]:
    seconds = 20 if quick else SECONDS
    needed("monit", "MONIT")
    with Stage() as stage:
        victims = stage.victims("idle", CHECKS)
        watchdog = stage.watchdog("ours", [contract(stage, victim) for victim in victims])
        wait(lambda: all(watchdog.ready(victim.name) for victim in victims), 60, "every service is healthy")
        theirs = monit(stage, victims)
        for path in ("/", "/health", "/services", "/artifacts", "/metrics"):  # what an endpoint needs is loaded when it is first asked
            asked(watchdog.port, path)
        time.sleep(2 * PERIOD)  # both past their first round
        ours = watchdog.process.pid
        before = cpu_of(ours), cpu_of(theirs)
        time.sleep(seconds)
        used = [(after - earlier) * 3600 / seconds for after, earlier in zip((cpu_of(ours), cpu_of(theirs)), before)]
        memory = rss_of(ours), rss_of(theirs)
        for victim in victims:
            if watchdog.events(victim.name, "failure") or not watchdog.ready(victim.name):
                raise SystemExit("%s was not healthy all the time: this was no idle run" % victim.name)
        said = (stage.folder / "monit.log").read_text()
        if "failed" in said or "error" in said:
            raise SystemExit("not all was well with Monit: this was no idle run\n%s" % said)
    ratio = used[0] / used[1]
    what = "idle, %d services with an HTTP check every %d s each: CPU" % (CHECKS, PERIOD)
    yield Row(what, "%.2f s/h" % used[0], "Monit %.2f s/h" % used[1], "%.2f" % ratio, "≤ 1 ×", ratio <= 1.0)
    fits = memory[0] <= MOST_MEMORY
    yield Row("memory of that, with endpoints", "%.1f MB" % memory[0], "Monit %.1f MB" % memory[1], "-", "≤ %g MB" % MOST_MEMORY, fits)


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
