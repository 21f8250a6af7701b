# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics, in Prometheus' text format 0.0.4. Names, labels and meanings are documented in ``docs/endpoints.md``."""

from __future__ import annotations

import platform
from typing import Any, Dict, Iterable, List, NamedTuple, Tuple

from .._core.contract import MODES
from .._core.health import State
from .._engine import explain
from .._version import VERSION
from . import view
from .board import Board
from .ledger import BUCKETS

Labels = Tuple[Tuple[str, Any], ...]
Sample = Tuple[str, Labels, float]

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    name: str
    type: str
    help: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("selfheal_probe_duration_seconds", "gauge", "How long the last run of a probe took."),
        Metric("selfheal_probes_total", "counter", "Probe runs by result: ok, bad, unknown (could not run)."),
        Metric("selfheal_service_state", "gauge", "1 for the state a service is in, 0 for the others."),
        Metric("selfheal_service_mode", "gauge", "1 for the mode a service is in, within the host's ceiling, 0 for the others."),
        Metric("selfheal_service_rung", "gauge", "1 for the rung of the ladder an open incident is on, 0 for the others."),
        Metric("selfheal_actions_total", "counter", "Actions by rung, reason and outcome of the action itself; begun: a first start."),
        Metric("selfheal_blocked_total", "counter", "Times an action was forbidden, once per change of reason."),
        Metric(
            "selfheal_breaker_state",
            "gauge",
            "Breaker: 0 closed, 1 half-open, 2 open, 3 forced open, 4 disabled; no dependency: of the service itself.",
        ),
        Metric("selfheal_incidents_total", "counter", "Incidents opened."),
        Metric("selfheal_incident_open", "gauge", "1 while an incident is open."),
        Metric("selfheal_recovery_seconds", "histogram", "From the failure to the start of the health that closed the incident."),
        Metric("selfheal_availability_ratio", "gauge", "Share of the watched time in which the service was healthy or degraded."),
        Metric("selfheal_budget_remaining", "gauge", "Actions the guard still allows in its window."),
        Metric("selfheal_held", "gauge", "1 while a person holds the service, or all."),
        Metric("selfheal_healer_broken", "gauge", "1 while a service is not watched because its healer broke and waits to be made anew."),
        Metric("selfheal_pages_total", "counter", "Messages to people by target: delivered, failed (one attempt), given_up."),
        Metric("selfheal_pages_waiting", "gauge", "Messages to people that are not delivered yet."),
        Metric(
            "selfheal_keep_warm_requests_total",
            "counter",
            "Requests that keep it warm by result: ok, bad, unknown, given_way (to a probe).",
        ),
        Metric("selfheal_own_network_down", "gauge", "1 while the network reference did not answer when it was asked last."),
        Metric("selfheal_timeline_head_seq", "gauge", "Sequence number of the timeline's last event."),
        Metric("selfheal_timeline_writable", "gauge", "1 while events can be written, 0 while they are kept in memory."),
        Metric("selfheal_contracts_refused", "gauge", "1 while the newest contracts were refused and older ones are in force."),
        Metric("selfheal_cycle_duration_seconds", "gauge", "How long the last cycle worked, waiting not counted."),
        Metric("selfheal_cycles_total", "counter", "Completed cycles."),
        Metric("selfheal_last_cycle_timestamp_seconds", "gauge", "When the last cycle was completed: alert when it is old (dead man)."),
        Metric("selfheal_build_info", "gauge", "1, with the version in its labels."),
    )
}
_BREAKERS = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 3, "disabled": 4}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def render(board: Board) -> bytes:
    """All metrics as they are now."""
    samples: Dict[str, List[Sample]] = {name: [] for name in METRICS}
    for group in (_services(board), _ledger(board), _recoveries(board), _pages(board), _daemon(board)):
        for name, labels, value in group:
            samples[_family(name)].append((name, labels, value))
    lines: List[str] = []
    for name, metric in METRICS.items():
        if samples[name]:
            lines += ["# HELP %s %s" % (name, metric.help), "# TYPE %s %s" % (name, metric.type)]
            lines += [_line(*sample) for sample in samples[name]]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _family(name: str) -> str:
    if name in METRICS:
        return name
    return name.rpartition("_")[0]


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join('%s="%s"' % (key, str(text).translate(_ESCAPES)) for key, text in labels)
    return "%s{%s} %s" % (name, inner, _number(value)) if inner else "%s %s" % (name, _number(value))


def _number(value: float) -> str:
    return "%d" % value if value == int(value) else repr(value)


def _services(board: Board) -> Iterable[Sample]:
    now = board.rounds.host.monotonic()
    for healer in board.rounds.healers:
        of = (("service", healer.name),)
        present = str(healer.state)
        for state in State:
            yield "selfheal_service_state", of + (("state", state.value),), float(state.value == present)
        for mode in MODES:
            yield "selfheal_service_mode", of + (("mode", mode),), float(mode == healer.service.mode)
        rung = explain.rung(healer)
        for each in healer.service.ladder:
            yield "selfheal_service_rung", of + (("rung", each.rung),), float(each.rung == rung)
        for result, count in healer.around.warm.counts.items():
            yield "selfheal_keep_warm_requests_total", of + (("result", result),), count
        for name, tally in healer.watch.tally.items():
            probe = of + (("probe", name),)
            if tally.last is not None:
                yield "selfheal_probe_duration_seconds", probe, round(tally.last.ended - tally.last.started, 6)
            for result, count in (("ok", tally.good), ("bad", tally.bad), ("unknown", tally.unknown)):
                yield "selfheal_probes_total", probe + (("result", result),), count
        yield "selfheal_breaker_state", of + (("dependency", ""),), _BREAKERS[str(healer.around.breaker())]
        for dependency in healer.around.dependencies:
            yield "selfheal_breaker_state", of + (("dependency", dependency.rules.name),), _BREAKERS[str(dependency.state.state)]
        uptime = board.uptimes.get(healer.name)
        share = uptime.share(now) if uptime is not None else None
        if share is not None:
            yield "selfheal_availability_ratio", of, round(share, 6)
        yield "selfheal_budget_remaining", of, view.budget(healer, now)
        yield "selfheal_held", of, float(board.hold(healer.name) is not None)
        yield "selfheal_incident_open", of, float(healer.memory.incident is not None)
        yield "selfheal_healer_broken", of, 0.0
    for name in board.rounds.broken:
        yield "selfheal_healer_broken", (("service", name),), 1.0


def _ledger(board: Board) -> Iterable[Sample]:
    ledger = board.ledger
    for (service, rung, reason, outcome), count in ledger.actions.items():
        yield "selfheal_actions_total", (("service", service), ("rung", rung), ("reason", reason), ("outcome", outcome)), count
    for (service, reason), count in ledger.blocked.items():
        yield "selfheal_blocked_total", (("service", service), ("reason", reason)), count
    names = [healer.name for healer in board.rounds.healers]
    for service in dict.fromkeys(names + list(ledger.incidents)):
        # Zero from the beginning, or Prometheus would not see the first one as an increase.
        yield "selfheal_incidents_total", (("service", service),), ledger.incidents.get(service, 0)


def _recoveries(board: Board) -> Iterable[Sample]:
    for service, histogram in board.ledger.recoveries.items():
        of, running = (("service", service),), 0
        for bound, count in zip(BUCKETS + (float("inf"),), histogram.counts):
            running += count
            label = "+Inf" if bound == float("inf") else "%g" % bound
            yield "selfheal_recovery_seconds_bucket", of + (("le", label),), running
        yield "selfheal_recovery_seconds_sum", of, round(histogram.total, 3)
        yield "selfheal_recovery_seconds_count", of, running


def _pages(board: Board) -> Iterable[Sample]:
    if board.pager is None:
        return
    for (service, target, outcome), count in board.pager.tally((healer.name for healer in board.rounds.healers)).items():
        yield "selfheal_pages_total", (("service", service), ("target", target), ("outcome", outcome)), count
    yield "selfheal_pages_waiting", (), board.pager.waiting


def _daemon(board: Board) -> Iterable[Sample]:
    if board.network is not None:
        yield "selfheal_own_network_down", (), float(board.network.down is not None)
    yield "selfheal_timeline_head_seq", (), board.head().seq
    yield "selfheal_timeline_writable", (), float(board.ledger.unwritable() is None)
    yield "selfheal_contracts_refused", (), float(board.refused is not None)
    yield "selfheal_cycle_duration_seconds", (), round(board.rounds.work, 6)
    yield "selfheal_cycles_total", (), board.cycles
    yield "selfheal_last_cycle_timestamp_seconds", (), round(board.last_cycle, 3)
    build = (("version", VERSION), ("python", platform.python_version()), ("host", board.config.host))
    yield "selfheal_build_info", build, 1.0


__all__ = ["METRICS", "Metric", "TYPE", "render"]
