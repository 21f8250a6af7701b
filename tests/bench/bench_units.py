# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd on real hosts are killed, and hang: with the watchdog against systemd alone, supervisord and Monit on the same host.

    python tests/bench/bench_units.py [--quick] [debian12] [debian13]

"systemd alone" are twins of the watched units, on the same host in the same minutes, that stand in no contract: what is measured is what
watching costs. Kills come one at a time, watched and unwatched in turn; hangs run beside each other and beside the peers' own.
The watchdog of a unit without ``Restart=`` is what starts it again, and so are supervisord and Monit there; a hang is seen by the
watchdog's HTTP probe, by Monit's, and by systemd where the service speaks to its ``WatchdogSec=``. Some three minutes a host.
"""

from __future__ import annotations

import functools
import pathlib
import random
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from hosts import DISTRIBUTIONS, TIMELINE, BenchHost, Unavailable, Unit, bench_hosts
from observer import Healed, beside, failure_of
from stage import PERIOD, TIMEOUT, build_archive, wait
from table import Row, show, told

KILLS = 12
BARE = 8
HANGS = 4
THEIRS = 3
FAILING_FOR = 5
MOST_RATIO = 1.1
SERVING_WITHIN = 0.100
RECORDED_WITHIN = 0.050
WATCHDOG_SEC = 2
HANG_WITHIN = PERIOD + TIMEOUT + FAILING_FOR + 2.0
HASTY_WITHIN = PERIOD + 2 * TIMEOUT + 1.5
MONIT_CYCLES = (1, 10)
QUICKLY = ("Restart=always", "RestartSec=0")
BY_DEFAULT = ("Restart=always",)
SPEAKING = ("Type=notify", "WatchdogSec=%d" % WATCHDOG_SEC, "Restart=always", "RestartSec=0")
MONIT_SERVICE = """check process {name} with pidfile /run/{name}.pid
  start program = "/usr/bin/systemctl start {name}" with timeout 2 seconds
  stop program = "/usr/bin/systemctl kill -s KILL {name}" with timeout 2 seconds
  if failed port {port} protocol http request / with timeout {timeout} seconds then restart
"""


class Twins(NamedTuple):
    """Units that are alike; the watchdog knows of the `watched` ones only."""

    watched: List[Unit]
    alone: List[Unit]


class Bench:
    """One host with everything on it that is to be broken."""

    def __init__(self, host: BenchHost, quick: bool) -> None:
        kills, bare, hangs, theirs = (2, 2, 1, 1) if quick else (KILLS, BARE, HANGS, THEIRS)
        self.host = host
        self.chance = random.Random(time.time_ns())
        self.quickly = self._twins("quick", kills, QUICKLY)
        self.by_default = self._twins("plain", kills, BY_DEFAULT)
        self.speaking = self._twins("speak", hangs, SPEAKING)
        self.bare = host.services("bare", bare)
        self.hang = host.services("hang", hangs)
        self.hasty = host.services("hasty", hangs)
        self.supervised = host.services("sup", theirs)
        self.monit = {cycle: host.services("monit%d-" % cycle, 2 * theirs, arguments="/run/{name}.pid") for cycle in MONIT_CYCLES}

    def _twins(self, name: str, count: int, lines: Sequence[str]) -> Twins:
        return Twins(self.host.services(name + "-watched", count, *lines), self.host.services(name + "-alone", count, *lines))

    def begin(self, archive: str) -> None:
        """Everything up: the peers, then the watchdog, which says that all it watches is healthy."""
        host = self.host
        host.install("monit", "supervisor")
        host.start([unit for unit in host.units if unit not in self.supervised])
        self._start_supervisord()
        for cycle, units in self.monit.items():
            self._start_monit(cycle, units)
        twins = (self.quickly, self.by_default, self.speaking)
        watched = [unit for each in twins for unit in each.watched] + self.bare + self.hang
        contracts = [unit.contract() for unit in watched] + [unit.contract(failing_for=0) for unit in self.hasty]
        host.watch(archive, contracts)

    def _start_supervisord(self) -> None:
        lines = ["[supervisord]", "nodaemon=true", "user=root", "logfile=/var/log/supervisord.log", "pidfile=/run/supervisord.pid"]
        for unit in self.supervised:
            lines += ["[program:%s]" % unit.name, "command=%s %d answer" % (self.host.victim, unit.port), "autorestart=true"]
        self.host.write("/etc/bench-supervisord.conf", "\n".join(lines) + "\n")
        self.host.unit("bench-supervisord", "ExecStart=/usr/bin/supervisord -c /etc/bench-supervisord.conf")

    def _start_monit(self, cycle: int, units: Sequence[Unit]) -> None:
        name = "bench-monit%d" % cycle
        words = "set daemon %d\nset logfile /var/log/%s.log\n" % (cycle, name)
        words += "".join("set %sfile /run/%s.%s\n" % (kind, name, kind) for kind in ("pid", "state", "id"))
        words += "".join(MONIT_SERVICE.format(name=unit.name, port=unit.port, timeout=TIMEOUT) for unit in units)
        self.host.write("/etc/%s.conf" % name, words, "0600")
        self.host.unit(name, "ExecStart=/usr/bin/monit -I -c /etc/%s.conf" % name)

    # -- faults

    def kill_in_turn(self, twins: Twins) -> Tuple[List[Healed], List[Healed]]:
        """Watched and alone, each pair in an order of its own."""
        orders = []
        for pair in zip(twins.watched, twins.alone):
            orders += [unit.order("SIGKILL", self.chance.uniform(0.3, 0.8)) for unit in self.chance.sample(pair, 2)]
        found = {order["name"]: healed for order, healed in zip(orders, self.host.order("injure", orders))}
        return [found[unit.name] for unit in twins.watched], [found[unit.name] for unit in twins.alone]

    def kill_bare(self) -> List[Healed]:
        orders = [unit.order("SIGKILL", self.chance.uniform(0.3, 0.8), TIMELINE, failure_of(unit.name)) for unit in self.bare]
        return self.host.order("injure", orders)

    def kill_supervised(self) -> List[Healed]:
        """One after the other, past supervisord's startsecs."""
        return self.host.order("injure", [unit.order("SIGKILL", self.chance.uniform(1.5, 2.5)) for unit in self.supervised])

    def injure_monit(self, cycle: int) -> Tuple[List[Healed], List[Healed]]:
        """Kills, then hangs; each at a random phase of the cycle, once the start before is over for Monit."""
        units = self.monit[cycle]
        half = len(units) // 2
        kills = [unit.order("SIGKILL", 2.5 + self.chance.uniform(0, cycle)) for unit in units[:half]]
        hangs = [unit.order("SIGSTOP", 2.5 + self.chance.uniform(0, cycle)) for unit in units[half:]]
        found = self.host.order("injure", kills + hangs)
        return found[:half], found[half:]

    def hangs(self) -> Dict[str, List[Healed]]:
        """All of ours beside each other, and those that only systemd sees; each at a phase of its own."""
        kinds = {"hang": self.hang, "hasty": self.hasty, "watched": self.speaking.watched, "alone": self.speaking.alone}
        orders = [unit.order("SIGSTOP", self.chance.uniform(0, PERIOD)) for units in kinds.values() for unit in units]
        found = {order["name"]: healed for order, healed in zip(orders, self.host.order("beside", orders))}
        return {kind: [found[unit.name] for unit in units] for kind, units in kinds.items()}

    def settle(self) -> None:
        """After the hangs. Nobody was told of a storm, in which restarts wait."""
        storms = [event for event in self.host.events("page") if "service" not in event]
        if storms:
            raise SystemExit("these were no single faults: %s" % storms)
        wait(lambda: set(self.host.states().values()) == {"healthy"}, 90, "every service is healthy again")


# The table.


def serving(found: Sequence[Healed]) -> List[float]:
    return [healed.serving for healed in found]


def against(what: str, ours: Sequence[float], alone: Sequence[float]) -> Row:
    """The median must not be more than that of systemd alone allows."""
    ratio = statistics.median(ours) / statistics.median(alone)
    return Row(what, told(ours), "systemd alone %s" % told(alone), "%.2f" % ratio, "≤ %g ×" % MOST_RATIO, ratio <= MOST_RATIO)


def within(what: str, ours: Sequence[float], theirs: Mapping[str, Sequence[float]], must: float) -> Row:
    """The worst of ours must hold; the ratios are those of the medians."""
    limit = "≤ %g ms" % (must * 1000) if must < 1 else "≤ %g s" % must
    anchors = "; ".join("%s %s" % (name, told(values)) for name, values in theirs.items())
    ratios = "; ".join("%.2g" % (statistics.median(ours) / statistics.median(values)) for values in theirs.values())
    return Row(what, told(ours), anchors or "-", ratios or "-", limit, max(ours) <= must)


def measured(host: BenchHost, archive: str, quick: bool) -> Iterator[Row]:
    where = ", unit on %s" % DISTRIBUTIONS[host.distribution]
    bench = Bench(host, quick)
    bench.begin(archive)
    # Hangs come first: were most services killed within the minute before, restarts would wait as in a storm.
    works: List[Callable[[], Any]] = [bench.hangs, bench.kill_supervised]
    works += [functools.partial(bench.injure_monit, cycle) for cycle in MONIT_CYCLES]
    hung, supervised, *by_monit = beside(*works)
    bench.settle()
    for what, twins in (("RestartSec=0", bench.quickly), ("RestartSec= by default", bench.by_default)):
        watched, alone = bench.kill_in_turn(twins)
        yield against("kill -9 → serving%s with Restart=, %s" % (where, what), serving(watched), serving(alone))
    killed = bench.kill_bare()
    monit = dict(zip(("Monit, %d s cycle," % cycle for cycle in MONIT_CYCLES), by_monit))
    kills = {"supervisord": serving(supervised), **{name: serving(found[0]) for name, found in monit.items()}}
    hangs = {"WatchdogSec=%d" % WATCHDOG_SEC: serving(hung["alone"]), **{name: serving(found[1]) for name, found in monit.items()}}
    yield within("kill -9 → recorded%s without Restart=" % where, recorded(killed), {}, RECORDED_WITHIN)
    yield within("kill -9 → serving%s without Restart=" % where, serving(killed), kills, SERVING_WITHIN)
    hang = "hang → serving%s, period %d s, timeout %d s" % (where, PERIOD, TIMEOUT)
    yield within(hang, serving(hung["hang"]), hangs, HANG_WITHIN)
    yield within(hang + ", failing_for 0", serving(hung["hasty"]), hangs, HASTY_WITHIN)
    yield against("hang → serving%s with WatchdogSec=%d" % (where, WATCHDOG_SEC), serving(hung["watched"]), serving(hung["alone"]))


def recorded(found: Sequence[Healed]) -> List[float]:
    seen = [healed.recorded for healed in found if healed.recorded is not None]
    if len(seen) < len(found):
        raise SystemExit("a fault was healed and never recorded: %s" % (found,))
    return seen


def rows(quick: bool, distributions: Sequence[str]) -> Iterator[Row]:
    """One host after the other: both at once would share two cores."""
    with tempfile.TemporaryDirectory(prefix="selfheal-bench-") as folder:
        archive = build_archive(pathlib.Path(folder))
        for distribution in distributions:
            try:
                with bench_hosts([distribution]) as (host,):
                    yield from measured(host, archive, quick)
            except Unavailable as reason:
                yield Row("units on %s" % DISTRIBUTIONS[distribution], "not measured: %s" % reason)


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if word in DISTRIBUTIONS]
    sys.exit(
        show(rows("--quick" in sys.argv[1:], chosen or (list(DISTRIBUTIONS)[:1] if "--quick" in sys.argv[1:] else list(DISTRIBUTIONS))))
    )
