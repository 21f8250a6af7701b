# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe can be pointed at, and the probes of contracts, dependencies, the host's network and `health_probe`."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from . import formats
from .schema import (
    BAD,
    Given,
    ListOf,
    Pairs,
    Problems,
    Record,
    anything,
    boolean,
    choice,
    integer,
    join,
    number,
    refuse_twice,
    show,
    text,
    unique,
)
from .target import ExecTarget, HttpTarget, Probe, ProcessTarget, Target, TcpTarget, UnitTarget

ROLES = ("liveness", "readiness", "startup")
SHORTEST_EXEC_PERIOD = 1.0
"""Starting a child more often than this has brought hosts down (C09)."""

_BODY_LIMIT = 1048576
MOST_TARGETS = 10000

period = number(0.1, 86400)
probe_timeout = number(0.05, 3600)
threshold = integer(1, 1000)


def _body(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or len(value) > _BODY_LIMIT or any("\ud800" <= c <= "\udfff" for c in value):
        return problems.add(path, "expected a string of at most 1 MiB")
    return value


def _body_can_be_read(given: Given, _written: Given, path: str, problems: Problems) -> None:
    asserted = [key for key in ("body_text", "body_regex", "json") if given.get(key)]
    if given.get("method") == "HEAD" and asserted:
        problems.add(join(path, asserted[0]), "the answer to HEAD has no body; use GET")


http = Record(
    HttpTarget,
    need={"url": formats.url("headers")},
    may={
        "method": choice("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
        "headers": formats.headers,
        "status": formats.status,
        "body": _body,
        "body_text": text(),
        "body_regex": formats.regex,
        "json": Pairs(formats.json_path, anything),
        "body_limit": integer(1, _BODY_LIMIT),
        "redirects": integer(0, 10),
        "tls_verify": boolean,
        "tls_ca": formats.path_name,
        "tls_server_name": formats.host,
    },
    after=_body_can_be_read,
)
tcp = Record(TcpTarget, need={"host": formats.host, "port": formats.port})
command = Record(
    ExecTarget,
    need={"argv": formats.argv},
    may={"user": formats.user, "cwd": formats.path_name, "environment": formats.environment},
)
unit = Record(UnitTarget, need={"name": formats.unit()})
process = Record(ProcessTarget, may={"pidfile": formats.path_name})
process_by_pidfile = Record(ProcessTarget, need={"pidfile": formats.path_name})

KINDS = {"http": http, "tcp": tcp, "exec": command, "unit": unit, "process": process}
# Where no service stands behind the probe, a process can only be found by its pidfile.
KINDS_ALONE = dict(KINDS, process=process_by_pidfile)


class NamedTarget(NamedTuple):
    """An entry of `health_probe`'s targets; `timeout` None: the module's."""

    name: str
    target: Target
    timeout: Optional[float] = None


def _exec_period(given: Given, _written: Given, path: str, problems: Problems) -> None:
    if isinstance(given.get("target"), ExecTarget) and given.get("period", Probe.period) < SHORTEST_EXEC_PERIOD:
        problems.add(join(path, "period"), "exec starts a process each time: at least %g s, or use http or tcp" % SHORTEST_EXEC_PERIOD)


def _probe(**given: Any) -> Probe:
    given.setdefault("name", given["role"])
    return Probe(**given)


# A probe of a contract.
probe = Record(
    _probe,
    need={"role": choice(*ROLES)},
    one_of=KINDS,
    may={
        "name": formats.name,
        "period": period,
        "timeout": probe_timeout,
        "failure_threshold": threshold,
        "success_threshold": threshold,
        "initial_delay": number(0, 86400),
    },
    after=_exec_period,
)


class LoneProbe(NamedTuple):
    """The probe of a dependency or of the host's network: its owner gives it a name, and keeps the thresholds."""

    target: Target
    period: float = Probe.period
    timeout: float = Probe.timeout

    def named(self, name: str, role: str) -> Probe:
        return Probe(name=name, role=role, target=self.target, period=self.period, timeout=self.timeout)


lone_probe = Record(LoneProbe, one_of=KINDS_ALONE, may={"period": period, "timeout": probe_timeout}, after=_exec_period)
network_probe = Record(
    LoneProbe,
    one_of={kind: KINDS[kind] for kind in ("http", "tcp", "exec")},
    may={"period": period, "timeout": probe_timeout},
    after=_exec_period,
)


def _probes_agree(entries: Sequence[Any], path: str, problems: Problems) -> None:
    """What only all probes of a service together can get wrong."""
    mappings = [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]
    names = [("%s[%d].name" % (path, index), entry.get("name") or entry.get("role")) for index, entry in mappings]
    unnamed: Dict[str, str] = {}
    for index, entry in mappings:
        role = entry.get("role")
        if entry.get("name") is None and isinstance(role, str) and role in ROLES:
            where = "%s[%d]" % (path, index)
            if role in unnamed:
                problems.add(where, "has no name, and %s is a %s probe without one too; give both a name" % (unnamed[role], role))
                names = [pair for pair in names if pair[0] != where + ".name"]
            unnamed.setdefault(role, where)
        elif entry.get("name") in ROLES and entry.get("name") != role:
            problems.add("%s[%d].name" % (path, index), "%s is the name of another role; choose a different name" % show(entry.get("name")))
    refuse_twice(names, problems, "the probe name")
    startups = ["%s[%d]" % (path, index) for index, entry in mappings if entry.get("role") == "startup"]
    for where in startups[1:]:
        problems.add(where, "a second startup probe; %s is the first, and a service has at most one" % startups[0])


probes = ListOf(probe, most=50, of="probes", least=1, after=_probes_agree)

_target = Record(NamedTarget, need={"name": text(200)}, one_of=KINDS_ALONE, may={"timeout": probe_timeout})

_targets = ListOf(_target, most=MOST_TARGETS, of="targets", after=unique("name", "the name"))


def parse_target(value: object, path: str, problems: Problems) -> Optional[NamedTarget]:
    """One entry of `health_probe`'s targets; None if it was refused, with the reasons added to `problems`."""
    clean = _target(value, path, problems)
    return None if clean is BAD else clean


def parse_targets(data: object, what: str = "targets") -> Tuple[NamedTarget, ...]:
    """The targets of `health_probe`: a list of mappings with a name, exactly one kind and perhaps a timeout.

    Raises `ContractError` with every problem (``targets[3].http.url: …``). An empty list gives an empty tuple.
    """
    problems = Problems()
    clean = _targets(data, "targets", problems)
    problems.refuse(what)
    return clean


__all__ = [
    "KINDS",
    "KINDS_ALONE",
    "LoneProbe",
    "MOST_TARGETS",
    "NamedTarget",
    "ROLES",
    "SHORTEST_EXEC_PERIOD",
    "lone_probe",
    "network_probe",
    "parse_target",
    "parse_targets",
    "period",
    "probe",
    "probe_timeout",
    "probes",
    "threshold",
]
