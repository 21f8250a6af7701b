# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract parser: the only place that knows the schema of contracts and of the watchdog's configuration.

Everything is checked before anything is refused, so that one `ContractError` names all problems with their paths
(``services[2].probes[0].http.url: …``). An input that is too large or too deep is refused before it is read.
"""

from __future__ import annotations

from typing import Any, Tuple

from . import formats, remedies, targets
from .loading import load_json
from .model import (
    ContainerResource,
    Dependency,
    GuardLimits,
    KeepWarm,
    Probe,
    ProcessResource,
    Release,
    Service,
    Slow,
    Storm,
    UnitResource,
    WatchdogConfig,
)
from .schema import BAD, Given, ListOf, Problems, Record, boolean, choice, integer, join, number, refuse_twice, show, text, unique
from .targets import NamedTarget, parse_target, parse_targets

MOST_SERVICES = 500
MODES = ("observe", "approve", "auto")
"""From the most careful to the freest."""

_span = number(0, 86400)


def _signal(value: Any, path: str, problems: Problems) -> Any:
    bare = value[3:] if isinstance(value, str) and value.startswith("SIG") else value
    return choice("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH")(bare, path, problems)


_process = Record(
    ProcessResource,
    need={"argv": formats.argv},
    may={
        "user": formats.user,
        "cwd": formats.path_name,
        "environment_file": formats.path_name,
        "pidfile": formats.path_name,
        "stop_signal": _signal,
        "stop_timeout": number(0, 3600),
    },
)


def _unit_resource(value: Any, path: str, problems: Problems) -> Any:
    clean = formats.unit(refused=("device", "scope", "slice"))(value, path, problems)
    return BAD if clean is BAD else UnitResource(clean)


def _container_resource(value: Any, path: str, problems: Problems) -> Any:
    clean = formats.container(value, path, problems)
    return BAD if clean is BAD else ContainerResource(clean)


_resource = Record(remedies.only, one_as="one", one_of={"unit": _unit_resource, "container": _container_resource, "process": _process})


def _dependency(**given: Any) -> Dependency:
    given["probe"] = given["probe"].named(given["name"], "dependency")
    return Dependency(**given)


_dependency_entry = Record(
    _dependency,
    need={"name": formats.name, "probe": targets.lone_probe},
    may={
        "failure_threshold": targets.threshold,
        "reset_timeout": number(0.1, 86400),
        "success_threshold": targets.threshold,
        "half_open_limit": number(0.1, 86400),
        "fallback": remedies.fallback,
    },
)
_dependencies = ListOf(_dependency_entry, most=50, of="dependencies", after=unique("name", "the dependency name"))


def _peers_given(_given: Given, written: Given, path: str, problems: Problems) -> None:
    if "min_available" in written and not written.get("peers"):
        problems.add(join(path, "min_available"), "counts the other instances, so it needs peers: a list of their readiness URLs")


_guard = Record(
    GuardLimits,
    may={
        "actions": integer(1, 10000),
        "per": number(1, 31536000),
        "cooldown": _span,
        "backoff_cap": _span,
        "min_available": integer(1, 1000),
        "peers": ListOf(remedies.url, most=100, of="URLs"),
    },
    after=_peers_given,
)
_slow = Record(dict, may={"after": number(0.001, 3600), "window": integer(2, 10000), "predict": boolean})
_release = Record(Release, need={"root": formats.path_name, "project": formats.project}, may={"suspect_for": number(0, 315360000)})
_keep_warm = Record(KeepWarm, need={"http": targets.http}, may={"period": number(1, 86400)})


def _slow_for(probes: Tuple[Probe, ...], written: Given) -> Slow:
    after = min(3.0, 0.75 * min(probe.timeout for probe in probes))
    return Slow(**{"after": after, **written})


def _service_of(**given: Any) -> Service:
    given["slow"] = _slow_for(given["probes"], given.get("slow", {}))
    ladder = given["ladder"] if "ladder" in given else remedies.default_ladder(with_release="release" in given)
    given["ladder"] = remedies.ending_with_page(ladder)
    return Service(**given)


def _slow_can_be_seen(given: Given, written: Given, path: str, problems: Problems) -> None:
    after = given.get("slow", {}).get("after")
    probes = written.get("probes")
    for index, probe in enumerate(probes if after is not None and isinstance(probes, (list, tuple)) else ()):
        timeout = probe.get("timeout") if isinstance(probe, dict) else None
        timeout = Probe.timeout if timeout is None else timeout
        if isinstance(timeout, (int, float)) and after >= timeout:
            message = "is %g s, but probes[%d] times out after %s s; must be below every probe's timeout"
            problems.add(join(path, "slow.after"), message % (after, index, show(timeout)))
            return


def _rungs_can_act(written: Given, path: str, problems: Problems) -> None:
    """A written redeploy or rollback needs something that it can redeploy or roll back."""
    resource = written.get("resource")
    if "release" in written or (isinstance(resource, dict) and resource.get("container") is not None):
        return
    rungs = written.get("ladder")
    for index, rung in enumerate(rungs if isinstance(rungs, (list, tuple)) else ()):
        if isinstance(rung, dict) and rung.get("rung") in remedies.NEW_RELEASE and rung.get("command") is None and rung.get("http") is None:
            message = "%s has nothing to act on: add a command or http to it, or a release to the service, or remove the rung"
            problems.add("%s.ladder[%d]" % (path, index), message % rung["rung"])


def _service_agrees(given: Given, written: Given, path: str, problems: Problems) -> None:
    """What only the whole contract can get wrong."""
    _slow_can_be_seen(given, written, path, problems)
    _rungs_can_act(written, path, problems)


_service = Record(
    _service_of,
    need={"name": formats.name, "resource": _resource, "probes": targets.probes},
    may={
        "mode": choice(*MODES),
        "desired": choice("by_admin", "always"),
        "confirm_period": number(0.1, 86400),
        "failing_for": _span,
        "recovered_after": _span,
        "ladder_reset_after": _span,
        "retry_every": number(1, 86400),
        "slow": _slow,
        "ladder": remedies.ladder,
        "fallback": remedies.fallback,
        "release": _release,
        "dependencies": _dependencies,
        "keep_warm": _keep_warm,
        "guard": _guard,
        "notify": remedies.notify,
    },
    after=_service_agrees,
)
_services = ListOf(_service, most=MOST_SERVICES, of="contracts", after=unique("name", "the name"))


def _refuse_shared_ports(services: Tuple[Service, ...], problems: Problems) -> None:
    """No two agent checks can listen on one port."""
    ports = []
    for index, service in enumerate(services):
        places = [("fallback", service.fallback)]
        places += [("dependencies[%d].fallback" % position, entry.fallback) for position, entry in enumerate(service.dependencies)]
        for place, fallback in places:
            if fallback is not None and fallback.kind == "agent_check":
                ports.append(("services[%d].%s.agent_check.port" % (index, place), str(fallback.options["port"])))
    refuse_twice(ports, problems, "the port")


def parse_services(data: object, what: str = "contracts") -> Tuple[Service, ...]:
    """Contracts: a list of them, or ``{"services": [contract, ...]}``. Every default is applied.

    what: how messages call the input (a file's path, a variable's name).
    Raises `ContractError` with every problem found.
    """
    problems = Problems()
    entries = data
    if isinstance(data, dict):
        document = Record(dict, need={"services": lambda value, _path, _problems: value})(data, "", problems)
        entries = data.get("services") if document is BAD else document["services"]
    services: Any = BAD if entries is None and problems.count else _services(entries, "services", problems)
    if services is not BAD:
        _refuse_shared_ports(services, problems)
    problems.refuse(what)
    return tuple(services)


def _schema_one(value: Any, path: str, problems: Problems) -> Any:
    if isinstance(value, bool) or value != 1:
        return problems.add(path, "expected 1, found %s: this version of selfheal reads no other" % show(value))
    return 1


def _listen(value: Any, path: str, problems: Problems) -> Any:
    host, port = formats.split_authority(value) if isinstance(value, str) else ("", "")
    if not host or not port:
        return problems.add(path, "expected address and port such as 127.0.0.1:9877 or [::1]:9877, found %s" % show(value))
    return host, int(port)


def _metrics_file(value: Any, path: str, problems: Problems) -> Any:
    clean = formats.path_name(value, path, problems)
    if clean is not BAD and (not clean.endswith(".prom") or clean.endswith("/.prom")):
        return problems.add(path, "expected a file that ends in .prom, as the node exporter reads no other; found %s" % show(value))
    return clean


def _watchdog_of(**given: Any) -> WatchdogConfig:
    del given["schema"]
    if "network_reference" in given:
        given["network_reference"] = given["network_reference"].named("network_reference", "reference")
    return WatchdogConfig(**given)


_watchdog = Record(
    _watchdog_of,
    need={"schema": _schema_one, "host": text(253)},
    may={
        "listen": _listen,
        "token_file": formats.path_name,
        "state_dir": formats.path_name,
        "run_dir": formats.path_name,
        "notify": remedies.notify,
        "storm": Record(Storm, may={"services": integer(2, 500), "percent": number(1, 100, "percent"), "window": number(1, 3600)}),
        "network_reference": targets.network_probe,
        "retention": integer(16777216, 1 << 50),
        "mode_ceiling": choice(*MODES),
        "metrics_file": _metrics_file,
    },
)


def parse_watchdog(data: object, what: str = "watchdog.json") -> WatchdogConfig:
    """The configuration of one host's watchdog. Raises `ContractError` with every problem found."""
    problems = Problems()
    config = _watchdog(data, "", problems)
    problems.refuse(what)
    return config


def ceiling(mode: str, highest: str) -> str:
    """The mode in force where a host allows at most `highest`: the more careful of both."""
    return min(mode, highest, key=MODES.index)


__all__ = [
    "MODES",
    "MOST_SERVICES",
    "NamedTarget",
    "Problems",
    "ceiling",
    "load_json",
    "parse_services",
    "parse_target",
    "parse_targets",
    "parse_watchdog",
]
