# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service is killed, and one hangs: until it is recorded and until it serves again, ours against Monit and supervisord.

    python tests/bench/bench_watchdog.py [--quick]

Every fault meets a service that had none before, under a contract of defaults (period 10 s, timeout 2 s), at a random phase of its probes
or of Monit's cycle. An observer of its own asks the service once a millisecond: it serves when another pid answers 200. It is recorded when
the line can be read in the file: our timeline, Monit's log, supervisord's log. Kills come one at a time; hangs run beside each other, and
beside Monit's, except that Monit's own come one at a time, as its checks wait for each other.

Fifty other services are watched beside them (Monit: 50 other checks). At first all of them are well: if nothing else were watched, that
many hangs within a minute would be a storm, in which restarts wait for a person. Then 5 of them accept and say nothing. Some four minutes.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import statistics
import sys
import time
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from observer import Follower, Healed, Victim, beside, failure_of, injure
from stage import HERE, PERIOD, TIMEOUT, Stage, Watchdog, contract, needed, wait
from table import Row, show, told

KILLS = 5
HANGS = 5
THEIR_KILLS = 3
THEIR_HANGS = 3
OTHERS = 50
SILENT = 5
FAILING_FOR = 5
RECORDED_WITHIN = 0.050
SERVING_WITHIN = 0.100
HANG_WITHIN = PERIOD + TIMEOUT + FAILING_FOR + 2.0
HASTY_WITHIN = PERIOD + 2 * TIMEOUT + 1.5


# Ours.


class Ours:
    """One watchdog over services to kill, to hang, and to hang without `failing_for`, beside `OTHERS` more of which `silent` hang."""

    def __init__(self, stage: Stage, name: str, kills: int, hangs: int, silent: int) -> None:
        self.kill = stage.victims(name + "k", kills)
        self.hang = stage.victims(name + "h", hangs)
        self.hasty = stage.victims(name + "z", hangs)
        crowd = stage.victims(name + "o", OTHERS - silent) + stage.victims(name + "s", silent, silent=True)
        services = [contract(stage, victim) for victim in self.kill + self.hang + crowd]
        services += [contract(stage, victim, failing_for=0) for victim in self.hasty]
        self.watchdog: Watchdog = stage.watchdog(name, services)
        self._silent = crowd[OTHERS - silent :]
        sound = self.kill + self.hang + self.hasty + crowd[: OTHERS - silent]
        wait(lambda: all(self.watchdog.ready(victim.name) for victim in sound), 60, "every service is healthy")

    def kills(self, chance: random.Random) -> List[Healed]:
        found = []
        for victim in self.kill:
            time.sleep(chance.uniform(0.2, 1.2))
            found.append(injure(victim, signal.SIGKILL, Follower(self.watchdog.log, failure_of(victim.name))))
        return found

    def hangs(self, chance: random.Random) -> List[Tuple[Victim, Healed]]:
        """Every victim at a phase of its own."""
        victims = self.hang + self.hasty
        phases = {victim.name: chance.uniform(0, PERIOD) for victim in victims}

        def hang(victim: Victim) -> Tuple[Victim, Healed]:
            time.sleep(phases[victim.name])
            return victim, injure(victim, signal.SIGSTOP)

        found = beside(*[functools.partial(hang, victim) for victim in victims])
        for victim in self._silent:
            if not self.watchdog.events(victim.name, "failure"):
                raise SystemExit("%s hangs and no failure of it is on record: this was no run beside hanging checks" % victim.name)
        return found

    def of(self, victims: Sequence[Victim], found: List[Tuple[Victim, Healed]]) -> List[Healed]:
        return [healed for victim, healed in found if victim in victims]


# Theirs.

MONIT_SERVICE = """check process {name} with pidfile {pidfile}
  start program = "{start}" with timeout 2 seconds
  stop program = "{stop}" with timeout 2 seconds
  if failed port {port} protocol http request / with timeout {timeout} seconds then restart
"""
MONIT_OTHER = """check host {name} with address 127.0.0.1
  if failed port {port} protocol http request / with timeout {timeout} seconds then alert
"""


class Monit:
    """Its start timeout is 2 s rather than the default 30 s, in which it would not look at a service's port; a favour to it."""

    def __init__(self, stage: Stage, name: str, cycle: int, victims: int, silent: int) -> None:
        self.cycle = cycle
        self.victims = stage.victims(name, victims)
        self._log = stage.folder / (name + ".log")
        crowd = stage.victims(name + "o", OTHERS - silent) + stage.victims(name + "s", silent, silent=True)
        for index, victim in enumerate(crowd):
            stage.run(stage.argv(victim), "%s-other-%d" % (name, index))
        words = "set daemon %d\nset logfile %s\n" % (cycle, self._log)
        words += "".join("set %sfile %s.%s\n" % (kind, stage.folder / name, kind) for kind in ("pid", "state", "id"))
        for victim in self.victims:
            pidfile = stage.pidfile(victim)
            start = [*stage.victim, "-d", str(victim.port), victim.mode, str(pidfile)]
            stop = [*stage.victim, "--stop", str(pidfile)]
            words += MONIT_SERVICE.format(
                name=victim.name, port=victim.port, start=" ".join(start), stop=" ".join(stop), pidfile=pidfile, timeout=TIMEOUT
            )
        words += "".join(MONIT_OTHER.format(name=victim.name, port=victim.port, timeout=TIMEOUT) for victim in crowd)
        config = stage.folder / (name + ".conf")
        config.write_text(words)
        config.chmod(0o600)
        stage.run([sys.executable, str(HERE / "init.py"), needed("monit", "MONIT"), "-I", "-c", str(config)], name)
        wait(lambda: all(victim.pid() for victim in self.victims), 60, "Monit has started its services")

    def injure(self, kills: int, hangs: int, chance: random.Random) -> Tuple[List[Healed], List[Healed]]:
        """One after the other, each at a random phase of the cycle, once the start before is over for Monit."""
        found: Tuple[List[Healed], List[Healed]] = [], []
        for index, victim in enumerate(self.victims[: kills + hangs]):
            time.sleep(2.5 + chance.uniform(0, self.cycle))
            if index < kills:
                follower = Follower(self._log, ["'%s' process is not running" % victim.name])
                found[0].append(injure(victim, signal.SIGKILL, follower))
            else:
                found[1].append(injure(victim, signal.SIGSTOP))
        return found


class Supervisord:
    """With autorestart and nothing else changed. It has no probes: what hangs, hangs for ever."""

    def __init__(self, stage: Stage, victims: int) -> None:
        self.victims = stage.victims("sup", victims)
        self._log = stage.folder / "supervisord.log"
        config = stage.folder / "supervisord.conf"
        lines = ["[supervisord]", "nodaemon=true", "user=%d" % os.geteuid(), "logfile=%s" % self._log]
        lines.append("pidfile=%s" % (stage.folder / "supervisord.pid"))
        for victim in self.victims:
            lines += ["[program:%s]" % victim.name, "command=%s" % " ".join(stage.argv(victim)), "autorestart=true"]
        config.write_text("\n".join(lines) + "\n")
        stage.run([sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], "supervisord")
        wait(lambda: all(victim.pid() for victim in self.victims), 30, "supervisord has started its services")

    def kills(self, chance: random.Random) -> List[Healed]:
        found = []
        for victim in self.victims:
            time.sleep(1.5 + chance.uniform(0, 1))  # past startsecs
            found.append(injure(victim, signal.SIGKILL, Follower(self._log, ["exited: %s " % victim.name])))
        return found


# The table.


def row(what: str, ours: Sequence[float], theirs: Mapping[str, Sequence[float]], must: float) -> Row:
    """The worst of ours must hold; the ratios are those of the medians."""
    limit = "≤ %g ms" % (must * 1000) if must < 1 else "≤ %g s" % must
    anchors = "; ".join("%s %s" % (name, told(values)) for name, values in theirs.items())
    ratios = "; ".join("%.2g" % (statistics.median(ours) / statistics.median(values)) for values in theirs.values())
    return Row(what, told(ours), anchors, ratios, limit, max(ours) <= must)


def recorded(found: Sequence[Healed]) -> List[float]:
    seen = [healed.recorded for healed in found]
    if None in seen:
        raise SystemExit("a fault was healed and never recorded: %s" % (found,))
    return [value for value in seen if value is not None]


def serving(found: Sequence[Healed]) -> List[float]:
    return [healed.serving for healed in found]


def report(where: str, ours: Ours, kills: List[Healed], hangs: List[Tuple[Victim, Healed]], anchors: Dict[str, Any]) -> Iterator[Row]:
    killed = {name: their_kills for name, (their_kills, _hangs) in anchors.items()}
    hung = {name: serving(their_hangs) for name, (_kills, their_hangs) in anchors.items() if their_hangs}
    hang = "hang → serving, period %d s, timeout %d s" % (PERIOD, TIMEOUT)
    yield row("kill -9 → recorded" + where, recorded(kills), {name: recorded(found) for name, found in killed.items()}, RECORDED_WITHIN)
    yield row("kill -9 → serving" + where, serving(kills), {name: serving(found) for name, found in killed.items()}, SERVING_WITHIN)
    yield row(hang + where, serving(ours.of(ours.hang, hangs)), hung, HANG_WITHIN)
    yield row(hang + ", failing_for 0" + where, serving(ours.of(ours.hasty, hangs)), hung, HASTY_WITHIN)


def well(stage: Stage, chance: random.Random, kills: int, hangs: int) -> Iterator[Row]:
    """Beside 50 others, all of them well."""
    ours = Ours(stage, "ours", kills, hangs, 0)
    killed = ours.kills(chance)
    quick, slow = Monit(stage, "quick", 1, kills + THEIR_HANGS, 0), Monit(stage, "slow", 10, THEIR_KILLS + THEIR_HANGS, 0)
    supervisord = Supervisord(stage, kills)
    seeds = [random.Random(chance.random()) for _each in range(4)]
    hung, by_quick, by_slow, by_supervisord = beside(
        lambda: ours.hangs(seeds[0]),
        lambda: quick.injure(kills, min(hangs, THEIR_HANGS), seeds[1]),
        lambda: slow.injure(min(kills, THEIR_KILLS), min(hangs, THEIR_HANGS), seeds[2]),
        lambda: supervisord.kills(seeds[3]),
    )
    anchors = {"supervisord": (by_supervisord, []), "Monit, 1 s cycle,": by_quick, "Monit, 10 s cycle,": by_slow}
    yield from report("", ours, killed, hung, anchors)


def beset(stage: Stage, chance: random.Random, kills: int, hangs: int) -> Iterator[Row]:
    """Beside 50 others, 5 of which hang."""
    ours = Ours(stage, "ours", kills, hangs, SILENT)
    killed = ours.kills(chance)
    monit = Monit(stage, "busy", 1, THEIR_KILLS + THEIR_HANGS, SILENT)
    seeds = [random.Random(chance.random()) for _each in range(2)]
    hung, by_monit = beside(lambda: ours.hangs(seeds[0]), lambda: monit.injure(min(kills, THEIR_KILLS), min(hangs, THEIR_HANGS), seeds[1]))
    yield from report(", %d of %d others hanging" % (SILENT, OTHERS), ours, killed, hung, {"Monit, 1 s cycle,": by_monit})


def rows(quick: bool) -> Iterator[Row]:
    needed("monit", "MONIT")
    chance = random.Random(time.time_ns())
    kills, hangs = (1, 1) if quick else (KILLS, HANGS)
    for scene in (well, beset):
        with Stage() as stage:
            yield from scene(stage, chance, kills, hangs)


if __name__ == "__main__":
    sys.exit(show(rows("--quick" in sys.argv[1:])))
