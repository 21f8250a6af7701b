# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens in a simulation, and when: the script that `selfheal simulate` plays against contracts.

A script names things as people do (a probe by its role, a dependency of whoever has it); the entries that come out name
exactly one thing each, so that the simulator never looks anything up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .model import Service
from .schema import BAD, Check, Given, ListOf, Problems, Record, boolean, choice, did_you_mean, number, show, text, words

MOST_ENTRIES = 100000
MOST_BYTES = 64000000
ACTIONS = ("restart", "redeploy", "rollback", "start", "failover", "failback")
OPERATORS = ("hold", "unhold", "approve", "ack", "stop", "start")
OPERATORS_ON_ALL = ("hold", "unhold")
# What may be written for an action's outcome, and what it means.
OUTCOMES = {
    "ok": "ok",
    "failed": "failed",
    "fail": "failed",
    "bad": "failed",
    "cannot": "cannot",
    "cannot_help": "cannot",
    "unsupported": "cannot",
}
BREAKER_WORDS = ("open", "close", "disable", "auto")
_ANSWERS = ("ok", "bad", "hang", "unknown")


@dataclass(frozen=True)
class Entry:
    """One thing that happens at `at` seconds.

    ============  ==========================  =====================  ==========================================================
    kind          service                     name                   further
    ============  ==========================  =====================  ==========================================================
    probe         the probe's                 the probe's own name   result: ok, bad, hang, slow, unknown
    action        the service                 one of `ACTIONS`       result: ok, failed, cannot; takes; heals
    dependency    who has it                  the dependency's       result: ok, bad, hang, unknown
    gone          the service                 gone
    instance      the service                 instance
    operator      the service; None: all      one of `OPERATORS`     lasts (hold only; None: until unhold); reason
    crash         None                        watchdog
    peer          None                        the peer's URL         result: ok, bad, hang, unknown
    lease         a service's name, or None   the service's name,    holder; lasts (None: to the end; 0: given back now)
                                              or a release project
    maintenance   None                        why, in words          lasts (None: to the end; 0: over)
    network       None                        ok, bad, hang, unknown
    breaker       the service                 the dependency's, or   result: open, close, disable, auto; reason
                                              the service's own
    fallback      who has the dependency      the dependency's       result: ok, failed; takes
    warm          the service                 warm                   result: ok, bad, hang, unknown
    records       None                        ok or unwritable
    ============  ==========================  =====================  ==========================================================
    """

    at: float
    kind: str
    name: str
    service: Optional[str] = None
    result: str = "ok"
    takes: float = 1.0
    heals: bool = False
    lasts: Optional[float] = None
    reason: Optional[str] = None
    holder: Optional[str] = None


@dataclass(frozen=True)
class Scenario:
    """`entries` are sorted by time; those of one instant stand in the order written."""

    until: float
    entries: Tuple[Entry, ...] = ()


class _Names:
    """Checks that resolve what a script names against the contracts. Each returns (service, name) pairs."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services: Mapping[str, Service] = {service.name: service for service in services}
        self.projects = [service.release.project for service in services if service.release]
        self.peers = [peer for service in services for peer in service.guard.peers]

    def service(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str) or value not in self.services:
            return self._unknown("service", value, list(self.services), path, problems)
        return value

    def probe(self, value: Any, path: str, problems: Problems) -> Any:
        """``service/probe``; a role stands for all probes of that role."""
        service, name = self._pair(value, "web/liveness", path, problems)
        if service is None:
            return BAD
        found = [probe.name for probe in service.probes if probe.name == name]
        found = found or [probe.name for probe in service.probes if probe.role == name]
        known = [probe.name for probe in service.probes]
        return [(service.name, probe) for probe in found] or self._unknown("probe of %s" % service.name, name, known, path, problems)

    def action(self, value: Any, path: str, problems: Problems) -> Any:
        service, name = self._pair(value, "web/restart", path, problems)
        if service is None:
            return BAD
        return [(service.name, name)] if name in ACTIONS else self._unknown("action", name, list(ACTIONS), path, problems)

    def dependency(self, value: Any, path: str, problems: Problems) -> Any:
        """``dependency`` of every service that has it, or ``service/dependency``."""
        named, services = value, list(self.services.values())
        if isinstance(value, str) and "/" in value:
            service, named = self._pair(value, "web/payments", path, problems)
            if service is None:
                return BAD
            services = [service]
        known = [(service.name, dependency.name) for service in services for dependency in service.dependencies]
        found = [pair for pair in known if pair[1] == named]
        return found or self._unknown("dependency", named, sorted({name for _service, name in known}), path, problems)

    def breaker(self, value: Any, path: str, problems: Problems) -> Any:
        """A service's own, by the service's name; ``service/dependency`` for that of a dependency."""
        if isinstance(value, str) and "/" in value:
            return self.dependency(value, path, problems)
        service = self.service(value, path, problems)
        return BAD if service is BAD else [(service, service)]

    def fallback(self, value: Any, path: str, problems: Problems) -> Any:
        """Of dependencies that have one."""
        found = self.dependency(value, path, problems)
        if found is BAD:
            return BAD
        having = {(service.name, each.name) for service in self.services.values() for each in service.dependencies if each.fallback}
        return [pair for pair in found if pair in having] or problems.add(path, "%s has no fallback in its contract" % show(value))

    def warm(self, value: Any, path: str, problems: Problems) -> Any:
        service = self.service(value, path, problems)
        if service is BAD:
            return BAD
        if self.services[service].keep_warm is None:
            return problems.add(path, "%s has no keep_warm in its contract" % show(value))
        return [(service, "warm")]

    def peer(self, value: Any, path: str, problems: Problems) -> Any:
        return [(None, value)] if value in self.peers else self._unknown("peer", value, self.peers, path, problems)

    def lease(self, value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, str) and (value in self.services or value in self.projects):
            return [(value if value in self.services else None, value)]
        return self._unknown("service or release project", value, [*self.services, *self.projects], path, problems)

    def happens(self, kind: str) -> Check:
        """For an entry whose value is the service it happens to."""

        def check(value: Any, path: str, problems: Problems) -> Any:
            service = self.service(value, path, problems)
            return BAD if service is BAD else [(service, kind)]

        return check

    def _pair(self, value: Any, example: str, path: str, problems: Problems) -> Tuple[Optional[Service], str]:
        parts = value.split("/") if isinstance(value, str) else []
        if len(parts) != 2:
            problems.add(path, "expected a service and a name such as %s, found %s" % (example, show(value)))
            return None, ""
        return (None, "") if self.service(parts[0], path, problems) is BAD else (self.services[parts[0]], parts[1])

    @staticmethod
    def _unknown(what: str, value: Any, known: List[str], path: str, problems: Problems) -> Any:
        return problems.add(path, "" if problems.full else "unknown %s %s%s" % (what, show(value), did_you_mean(value, known)))


def _one_of(*names: str) -> Check:
    """A word, as the (service, name) pair of an entry that belongs to no service."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        word = choice(*names)(value, path, problems)
        return BAD if word is BAD else [(None, word)]

    return check


def _words_of(longest: int) -> Check:
    """Words of people, as the (service, name) pair of an entry that belongs to no service."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        word = text(longest)(value, path, problems)
        return BAD if word is BAD else [(None, word)]

    return check


def _outcome(value: Any, path: str, problems: Problems) -> Any:
    word = choice(*OUTCOMES)(value, path, problems)
    return BAD if word is BAD else OUTCOMES[word]


def _operator_has_service(_given: Given, written: Given, path: str, problems: Problems) -> None:
    verb = written.get("operator")
    if verb in OPERATORS and verb not in OPERATORS_ON_ALL and "service" not in written:
        problems.add(path + ".service", "is required: only %s can be meant for all services" % words(OPERATORS_ON_ALL, "and"))
    if verb in OPERATORS and verb != "hold" and "for" in written:
        problems.add(path + ".for", "only a hold has a duration")


def _breaker_of_a_service(_given: Given, written: Given, path: str, problems: Problems) -> None:
    if written.get("to") == "close" and "/" not in str(written.get("breaker")):
        problems.add(path + ".to", "the breaker of a service itself follows its incident; expected open, disable or auto")


def _entries(kind: str) -> Any:
    """Makes entries of one kind out of a record's clean values."""

    def make(**given: Any) -> Tuple[Entry, ...]:
        pairs = given[kind]
        given["result"] = given.get("outcome", given.get("to", given.get("result", "ok")))
        given["lasts"] = given.get("for")
        override = given.get("service")
        fields = {key: given[key] for key in ("at", "result", "takes", "heals", "lasts", "reason", "holder") if key in given}
        return tuple(Entry(kind=kind, service=service or override, name=name, **fields) for service, name in pairs)

    return make


def _kinds(services: Sequence[Service]) -> Dict[str, Record]:
    """What an entry of each kind may say."""
    names = _Names(services)
    answer = {"result": choice(*_ANSWERS)}
    table: Dict[str, Tuple[Check, Dict[str, Check], Dict[str, Check]]] = {
        "probe": (names.probe, {"result": choice("ok", "bad", "hang", "slow", "unknown")}, {}),
        "action": (names.action, {}, {"outcome": _outcome, "takes": number(0, 1e8), "heals": boolean}),
        "dependency": (names.dependency, answer, {}),
        "gone": (names.happens("gone"), {}, {}),
        "instance": (names.happens("instance"), {}, {}),
        "operator": (_one_of(*OPERATORS), {}, {"service": names.service, "for": number(0, 1e8), "reason": text(500)}),
        "crash": (_one_of("watchdog"), {}, {}),
        "peer": (names.peer, answer, {}),
        "lease": (names.lease, {}, {"holder": text(200), "for": number(0, 1e8)}),
        "maintenance": (_words_of(200), {}, {"for": number(0, 1e8)}),
        "network": (_one_of(*_ANSWERS), {}, {}),
        "records": (_one_of("ok", "unwritable"), {}, {}),
        "breaker": (names.breaker, {"to": choice(*BREAKER_WORDS)}, {"reason": text(500)}),
        "fallback": (names.fallback, {"outcome": choice("ok", "failed")}, {"takes": number(0, 1e8)}),
        "warm": (names.warm, answer, {}),
    }
    after = {"operator": _operator_has_service, "breaker": _breaker_of_a_service}
    return {
        kind: Record(_entries(kind), need={"at": number(0, 1e8), kind: check, **need}, may=may, after=after.get(kind))
        for kind, (check, need, may) in table.items()
    }


def schema(services: Sequence[Service] = ()) -> Record:
    """The grammar of a scenario for these contracts."""
    kinds = _kinds(services)

    def entry(value: Any, path: str, problems: Problems) -> Any:
        found = [kind for kind in kinds if isinstance(value, dict) and kind in value]
        if len(found) != 1:
            wanted = "expected a mapping with exactly one of %s; found %s%s"
            return problems.add(path, wanted % (words(kinds, "or"), words(found, "and") or show(value), _nearest(value, list(kinds))))
        return kinds[found[0]](value, path, problems)

    return Record(dict, need={"until": number(0, 1e8)}, may={"script": ListOf(entry, most=MOST_ENTRIES, of="entries")})


def _nearest(value: Any, kinds: List[str]) -> str:
    """A hint for an entry of no kind: which one its unknown key looks like."""
    given = [key for key in value if isinstance(key, str)] if isinstance(value, dict) and len(value) < 20 else []
    hints = [did_you_mean(key, kinds) for key in given]
    return next((hint for hint in hints if hint.startswith("; did you mean")), "") if not set(given) & set(kinds) else ""


def known_keys() -> Tuple[str, ...]:
    """Every key a scenario knows: for the test that holds the documentation to the parser."""
    return tuple(dict.fromkeys(["until", "script", *(key for record in _kinds(()).values() for key in record.known)]))


def parse_scenario(data: object, services: Sequence[Service], what: str = "scenario") -> Scenario:
    """The scenario, its names resolved against the contracts. Raises `ContractError` with every problem (``script[3].probe: …``)."""
    problems = Problems()
    clean = schema(services)(data, "", problems)
    problems.refuse(what)
    entries = [entry for group in clean.get("script", ()) for entry in group]
    return Scenario(until=clean["until"], entries=tuple(sorted(entries, key=lambda entry: entry.at)))


__all__ = ["ACTIONS", "BREAKER_WORDS", "Entry", "MOST_BYTES", "OPERATORS", "OUTCOMES", "Scenario", "known_keys", "parse_scenario"]
