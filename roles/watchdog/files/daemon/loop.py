# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog's process: loads the contracts, turns the engine, listens to signals, and tells systemd how it is.

It wakes up for what is due, for news, and for nothing else. Whatever it began goes on without it: stopping or killing the watchdog
stops no service.
"""

from __future__ import annotations

import math
import os
import signal
from dataclasses import replace
from typing import Any, Dict, List, Optional, Set, Tuple

from .._core.errors import ContractError, RecordError, SelfhealError
from .._core.model import Service, WatchdogConfig
from .._core.reasons import Reason
from .._engine.healer import Healer
from .._engine.local import Site, share
from .._engine.ports import Records
from .._engine.resources import unsupported
from .._probes.engine import READ, LocalHost
from .._records.segments import Head, head
from .._version import VERSION
from . import config as configuration
from .agent import AgentChecks
from .board import Board
from .config import Etc
from .endpoints import Endpoints, read_token
from .http import Server
from .ledger import Ledger
from .lock import InstanceLock
from .log import ERROR, NOTICE, WARNING, Log
from .rounds import Broken, Rounds
from .systemd import Notifier
from .textfile import Textfile

HEAD_EVERY = 60.0
"""At most once in so many seconds the timeline's head goes to the host's journal."""
STATUS_EVERY = 1.0
FLUSH_EVERY = 5.0
"""While events cannot be written, the disk is tried again every so many seconds."""
LONGEST_FIRST = 2.0
"""First probes wait up to so many seconds, each host its own share of it, so that a fleet does not ask all at once."""
MOST_FAILED_CYCLES = 100
"""So many cycles in a row that broke outside any healer end the process: a fresh one is better."""


class LoopBroken(SelfhealError):
    """The loop itself keeps breaking; says how."""


class Watchdog:
    """One run of ``selfheal watch``. Raises ContractError, AlreadyRunning, PortTaken, BadToken before it has touched anything."""

    def __init__(self, etc: Etc) -> None:
        self.etc = etc
        self.config = configuration.load_watchdog(etc)
        self._services = configuration.capped(configuration.load_services(etc.contracts), self.config)
        token = self._token(self.config)
        self.log = Log()
        self.lock = InstanceLock(self.config.run_dir)
        self.host = LocalHost()
        self._site = Site(etc.path, self.config, self.host, journal=self.log.event, wrap=self._counted)
        self._site.timeline.journal = self.log.event
        self.rounds = Rounds(self.host, self._build, self._broke, self._seen)
        self.agents = AgentChecks(self.host, self.config.listen[0], self.config.state_dir, self.config.run_dir, self._unanswered)
        self._site.companions.append(self.agents)
        self.rounds.companions = self._site.companions  # they may grow with the contracts
        self.board = Board(self.config, self.rounds, self._site.desk, self.ledger, self._head)
        self.board.pager, self.board.network = self._site.pager, self._site.network
        self.endpoints = Endpoints(self.board, token)
        self.textfile = Textfile(self.config.metrics_file, self._metrics, self._textfile_told)
        self._site.companions.append(self.textfile)
        self.server = Server(self.host, self.config.listen, self.endpoints.answer)
        self.notifier = Notifier()
        self._waiting: Dict[str, Optional[Service]] = {}
        self._signals: Set[int] = set()
        self._next_alive = -math.inf
        self._next_head = -math.inf
        self._next_status = -math.inf
        self._said_head = 0
        self._changed = True
        self._failed_cycles = 0

    # -- the life of the process -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Watch until told to stop."""
        pipe = self._listen_to_signals()
        try:
            self._recall()
            data = {"version": VERSION, "pid": os.getpid(), "services": len(self._services), "mode_ceiling": self.config.mode_ceiling}
            self.ledger.record("watchdog_start", data=data)
            self.ledger.record("contract_loaded", data={"services": len(self._services), "path": self.etc.contracts})
            self.agents.want(self._services)
            for service in self._services:
                self._begin(service)
            self.board.loaded = True
            while signal.SIGTERM not in self._signals and signal.SIGINT not in self._signals:
                self._cycle()
                if signal.SIGHUP in self._signals:
                    self._signals.discard(signal.SIGHUP)
                    self._reload()
            self._stop()
        finally:
            signal.set_wakeup_fd(-1)
            self.host.unregister(pipe)
            self._close()

    def _recall(self) -> None:
        try:
            self.board.recall()
        except RecordError as error:  # the page shows less; what must be known is read by others, who will say the same
            self.log.say("incidents of the past are not shown: %s" % error, WARNING)

    def _cycle(self) -> None:
        first = self.board.cycles == 0
        try:
            # The first cycle waits for nothing: everybody is due.
            self.rounds.spin(-math.inf if first else self._until())
            self._exchange()
        except Exception as error:  # a cycle never dies; one that always does is ended from outside the loop
            self._failed_cycles += 1
            problem = "%s: %s" % (type(error).__name__, error)
            self.log.say("the cycle broke: %s" % problem, ERROR)
            if self._failed_cycles >= MOST_FAILED_CYCLES:
                raise LoopBroken("the last %d cycles broke, the last one with %s" % (MOST_FAILED_CYCLES, problem)) from error
            return
        self._failed_cycles = 0
        self.board.cycle()
        self._tell(self.host.monotonic(), first)

    def _until(self) -> float:
        """When somebody besides the healers wants the loop: systemd, the journal. Nothing else wakes it."""
        until = self._next_alive if self.notifier.interval != math.inf else math.inf
        if self.ledger.events != self._said_head:
            until = min(until, self._next_head)
        if self.ledger.unwritable() is not None:
            until = min(until, self.host.monotonic() + FLUSH_EVERY)
        return min(until, self._next_status) if self._changed else until

    def _tell(self, now: float, first: bool) -> None:
        if first:
            self.notifier.ready(self.board.sentence())
        if self.notifier.interval != math.inf and now >= self._next_alive:
            self.notifier.alive()
            self._next_alive = now + self.notifier.interval
        if self._changed and now >= self._next_status:
            self._next_status = now + STATUS_EVERY
            self._changed = not self.notifier.status(self.board.sentence())
        if self.ledger.events != self._said_head and now >= self._next_head:
            self._said_head = self.ledger.events
            self._next_head = now + HEAD_EVERY
            end = self._head()
            self.log.say("timeline head %d:%s" % (end.seq, end.hash), NOTICE)

    def _stop(self) -> None:
        by = (signal.SIGTERM if signal.SIGTERM in self._signals else signal.SIGINT).name
        self.notifier.stopping("stopping on %s; the services go on" % by)
        self.ledger.record("watchdog_stop", data={"reason": by, "pid": os.getpid()})
        for healer in list(self.rounds.healers):
            self.rounds.leave(healer.name)
        self._site.pager.stop()

    def _close(self) -> None:
        self.agents.close()
        self.server.close()
        self.host.close()
        self._site.timeline.close()
        self.notifier.close()
        self.lock.release()

    # -- signals ---------------------------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> int:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _nothing)
        self.host.register(reading, READ, lambda _ready: self._signalled(reading))
        return reading

    def _signalled(self, pipe: int) -> None:
        self._signals.update(os.read(pipe, 256))
        self.host.wake()

    # -- contracts -------------------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """Take new contracts into force; broken ones are refused and the old stay."""
        self.notifier.reloading()
        try:
            config = configuration.load_watchdog(self.etc)
            services = configuration.capped(configuration.load_services(self.etc.contracts), config)
            token = self._token(config)
        except SelfhealError as error:
            problem = str(error)
            self.board.refused = " ".join(problem.split())
            problems = [str(each) for each in error.problems] if isinstance(error, ContractError) else [problem]
            self.ledger.record("contract_refused", data={"problem": problem.splitlines()[0], "problems": problems[:20]})
            self.log.say("refused, the old contracts stay in force: %s" % self.board.refused, ERROR)
        else:
            self.endpoints.token = token
            self.board.config = replace(self.config, mode_ceiling=config.mode_ceiling)
            self._site.config = replace(self.config, notify=config.notify)
            self._take(config, services)
        self._changed = True
        self.notifier.ready(self.board.sentence())

    def _take(self, config: WatchdogConfig, services: Tuple[Service, ...]) -> None:
        old = {service.name: service for service in self._services}
        new = {service.name: service for service in services}
        changed = {name: service for name, service in new.items() if name in old and old[name] != service}
        removed = [name for name in old if name not in new]
        added = [service for name, service in new.items() if name not in old]
        self._services = services
        self.board.refused = None
        names = {"added": [each.name for each in added], "changed": list(changed), "removed": removed}
        data: Dict[str, Any] = {"services": len(services), "path": self.etc.contracts, **names}
        stale = _needs_restart(self.config, config)
        if stale:
            data["needs_restart"] = stale
            self.log.say("watchdog.json: %s in force only after a restart of the watchdog" % ", ".join(stale), WARNING)
        self.ledger.record("contract_loaded", data=data)
        self._site.pager.retarget()
        self.agents.want(services)
        self._waiting = {name: service for name, service in self._waiting.items() if name not in new}
        self._waiting.update(changed)
        self._waiting.update((name, None) for name in removed)
        for service in added:
            self._waiting.pop(service.name, None)
            self._waiting[service.name] = service
        self._exchange()

    def _exchange(self) -> None:
        """Give changed contracts their new healers, as soon as the old ones are not in the middle of an action."""
        for name, service in list(self._waiting.items()):
            healer = self.rounds.find(name)
            if healer is not None and healer.acting:
                continue
            del self._waiting[name]
            if healer is not None and (service is None or service.fallback != healer.service.fallback):
                self._left_away(healer)
            self.rounds.leave(name)
            if service is not None:
                self._begin(service)
            else:
                self._site.forget(name)
                self.board.forget(name)
            self._changed = True

    def _left_away(self, healer: Healer) -> None:
        """A service's own fallback goes out of force. Whether its traffic may come back is for who changed the contract to say."""
        fallback = healer.service.fallback
        if fallback is None or healer.memory.traffic == "primary":
            return
        text = "its traffic is away by the fallback %s, which is in no contract any more: nobody here gives it back" % fallback.kind
        self.ledger.record("note", healer.name, data={"reason": Reason.FALLBACK_REMOVED.value, "text": text})
        self.log.say("%s: %s" % (healer.name, text), WARNING)

    def _begin(self, service: Service) -> None:
        """Watch a service; one whose kind of resource nothing here can act on is refused by name, and the others go on."""
        problem = unsupported(service)
        if problem is None:
            self.board.unsupported.pop(service.name, None)
            self.rounds.begin(service)
            return
        self.board.unsupported[service.name] = service, problem
        self.ledger.record("contract_refused", service.name, data={"problem": problem})
        self.log.say("%s is not watched: %s" % (service.name, problem), ERROR)

    @staticmethod
    def _token(config: WatchdogConfig) -> Optional[str]:
        if config.token_file is None or configuration.loopback(config.listen[0]):
            return None
        return read_token(config.token_file)

    # -- what is told ----------------------------------------------------------------------------------------------------

    def _counted(self, records: Records) -> Records:
        self.ledger = Ledger(records, self._told)
        return self.ledger

    def _build(self, service: Service) -> Healer:
        fastest = min(probe.period for probe in service.probes)
        return self._site.healer(service, delay=share("%s first" % self.config.host) * min(LONGEST_FIRST, fastest))

    def _seen(self, healer: Healer) -> None:
        if self.board.seen(healer):
            self._changed = True

    def _told(self, type: str, service: Optional[str], data: Dict[str, Any]) -> None:
        self._changed = True

    def _broke(self, broken: Broken) -> None:
        self._changed = True
        self.board.unseen(broken.service.name)
        data = {"reason": "internal_error", "detail": broken.problem, "faults": broken.faults, "text": "its healer broke and is made anew"}
        self.ledger.record("note", broken.service.name, data=data)
        self.log.say("%s: its healer broke: %s" % (broken.service.name, broken.problem), ERROR)

    def _unanswered(self, problem: str) -> None:
        """Load balancers cannot be answered, or what they were told cannot be noted."""
        self.ledger.record("note", data={"text": problem})
        self.log.say(problem, ERROR)

    def _metrics(self) -> bytes:
        from .metrics import render

        return render(self.board)

    def _textfile_told(self, problem: Optional[str]) -> None:
        self.log.say("the metrics file is written again" if problem is None else problem, NOTICE if problem is None else WARNING)

    def _head(self) -> Head:
        return head(os.path.join(self.config.state_dir, "timeline"))


def _needs_restart(old: WatchdogConfig, new: WatchdogConfig) -> List[str]:
    """The keys whose change takes more than new contracts."""
    taken = ("mode_ceiling", "token_file", "notify")
    return sorted(key for key in vars(old) if key not in taken and getattr(old, key) != getattr(new, key))


def _nothing(_number: int, _frame: Any) -> None:
    """The loop is woken through its pipe; Python wants a handler all the same."""


__all__ = ["LoopBroken", "Watchdog"]
