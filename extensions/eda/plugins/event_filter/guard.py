# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets through to a runbook only alerts that are safe to act on. One self-contained file: rulebooks load it without its package."""

from __future__ import annotations

import ast
import datetime
import json
import logging
import os
import pathlib
import re
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
---
module: guard
short_description: Drop alerts that are not safe to act on, and say why
version_added: 0.1.0
author:
  - the faultline.selfheal maintainers
description:
  - Takes one alert of Alertmanager, as V(eda.builtin.event_splitter) makes them of a notification, and hands on a new event with
    nothing in it but what a runbook needs. Annotations and other free text never go on.
  - Whatever could make a runbook act on the wrong host, or run text of the alert as a template, is dropped with its reason, which is
    logged and, with O(timeline), recorded.
  - An alert that was handed on is not handed on again for O(repeat_after), so that several senders of one alert make one run. With
    O(memory) that outlives a restart of the rulebook.
options:
  settings:
    description:
      - A file of JSON with the options below. It is read anew when it has changed. What is given beside it here counts more.
      - ansible-rulebook fills no variables into the options of a filter, so this is how a rulebook that is shipped gets them.
      - The default is what the environment names as E(SELFHEAL_GUARD), and without that V(/etc/selfheal/guard.json), unless O(hosts) is
        given here. Without that file nothing is let through.
    type: path
  hosts:
    description:
      - The hosts that may be acted on, by the names they have in the inventory, or a mapping of those names to the services of each.
      - An empty list lets nothing through. Needed, here or in O(settings).
    type: raw
  services:
    description: The services that may be acted on, where O(hosts) is a list. By default any whose name is one.
    type: list
    elements: str
  host_label:
    description: The label that names the host.
    type: str
    default: host
  service_label:
    description: The label that names the service.
    type: str
    default: service
  alerts:
    description: The alerts that may be acted on, by name. By default any.
    type: list
    elements: str
  max_age:
    description: An alert that began so many seconds ago, or more, is stale. What went on for so long is not mended by one more heal.
    type: float
    default: 3600
  repeat_after:
    description: For so many seconds an alert (fingerprint and beginning) is handed on once.
    type: float
    default: 600
  throttle:
    description: For so many seconds one alert is handed on for each host and service. Another one about it is sent again by Alertmanager.
    type: float
    default: 0
  memory:
    description: A file that remembers what was handed on. Without one a rulebook that is started again knows nothing of before.
    type: path
  timeline:
    description: The directory of a timeline in which what was dropped is recorded, as C(alert_dropped). By default it is logged only.
    type: str
  recorded_as:
    description: The host's name in those events.
    type: str
    default: controller
"""

EXAMPLES = r"""
- eda.builtin.webhook:
    host: 127.0.0.1
    port: 5001
    token: "{{ selfheal_token }}"
  filters:
    - eda.builtin.event_splitter:
        splitter_key: payload.alerts
    - faultline.selfheal.guard:
        hosts: {web1: [web, worker], web2: [web]}
        memory: /var/lib/selfheal-alerts/handed.json
        timeline: /var/lib/selfheal-alerts/timeline
    - eda.builtin.insert_hosts_to_meta:
        host_path: labels.host
"""

LOG = logging.getLogger(__name__)
SETTINGS = "/etc/selfheal/guard.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}", re.ASCII)
SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,128}", re.ASCII)
WORD = re.compile(r"[0-9A-Za-z:.+_-]{1,64}", re.ASCII)
MARKS = ("{{", "{%", "{#")
# Groups that every inventory has: a limit of this name is no host.
GROUPS = frozenset(("all", "ungrouped"))
DEEPEST = 20
LARGEST = 10_000
AHEAD = 300.0
REMEMBERED = 2_000
"""Times of alerts handed on, by words about them (wall clock, since a file may keep them), and of what was said already."""
_handed: dict[str, float] = {}
_said: dict[tuple[str, ...], float] = {}
"""The file that _handed was read from, and what is in the settings' file that was read at a time of its own."""
_recalled: list[str] = []
_read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}


def _shown(value: Any, most: int = 60) -> str:
    """A value of an alert in words about it. What is nested or long is not written out: that alone could fail."""
    if isinstance(value, str):
        return repr(value[:most])
    return repr(value)[:most] if value is None or isinstance(value, (bool, float)) else "a value of type %s" % type(value).__name__


class Dropped(Exception):
    """The reason, as a word for machines, and in words for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def main(event: dict[str, Any], **options: Any) -> dict[str, Any] | list[Any]:
    """The event to act on, or an empty list for one that is dropped."""
    now = time.time()
    try:
        options = _settings(options)
        return judge(event, options, now)
    except Dropped as dropped:
        _tell(event, dropped, options, now)
    except Exception as error:
        # A filter that raises fails the whole notification, and Alertmanager would send it again for ever with all the others in it.
        LOG.exception("an alert could not be judged")
        _tell(event, Dropped("internal_error", "%.200r" % (error,)), options, now)
    return []


def judge(event: Any, options: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The event as it may go on. Raises Dropped."""
    if not isinstance(event, dict):
        raise Dropped("malformed", "it is no mapping")
    _without_templates(event)
    labels = event.get("labels")
    if not isinstance(labels, dict):
        raise Dropped("malformed", "it has no labels; is event_splitter before this filter?")
    if event.get("status") != "firing":
        raise Dropped("not_firing", "its status is %s" % _shown(event.get("status")))
    for name in ("hosts", "services", "alerts"):
        _no_text(options.get(name), name)
    host, service = _host(labels, options), _service(labels, options)
    known = options["hosts"]
    if isinstance(known, Mapping):
        _no_text(known[host], "hosts.%s" % host)
        if service not in (known[host] or ()):
            raise Dropped("unknown_service", "%s is no service of %s" % (service, host))
    alert = labels.get("alertname")
    if not isinstance(alert, str) or NAME.fullmatch(alert) is None:
        raise Dropped("malformed", "its alertname is %s" % _shown(alert))
    if options.get("alerts") is not None and alert not in options["alerts"]:
        raise Dropped("unknown_alert", "nothing is to be done about %s" % alert)
    began = _began(event, float(options.get("max_age", 3600)), now)
    fingerprint = event.get("fingerprint")
    if not isinstance(fingerprint, str) or FINGERPRINT.fullmatch(fingerprint) is None:
        raise Dropped("malformed", "its fingerprint is %s" % _shown(fingerprint))
    _once("%s %.6f" % (fingerprint, began), "%s/%s" % (host, service), options, now)
    starts_at = datetime.datetime.fromtimestamp(began, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "status": "firing",
        "fingerprint": fingerprint,
        "starts_at": starts_at,
        "labels": {"alertname": alert, "host": host, "service": service},
        # In lists and mappings, where what looks like a number stays a text: see _misread.
        "heal": {"names": [service], "alert": {"fingerprint": fingerprint, "starts_at": starts_at, "alertname": alert}},
        # A new mapping: event_splitter lets the alerts of one notification share theirs, and the last one's host would win.
        "meta": _plain(event.get("meta"), ("uuid", "received_at")),
    }


def _plain(meta: Any, keys: Sequence[str]) -> dict[str, str]:
    """Of what a rulebook notes beside an event, words and times. Whoever sends an alert may have put anything there, and the filters that
    come after this one take it for granted that it is as they write it themselves."""
    found = {key: meta.get(key) for key in keys} if isinstance(meta, dict) else {}
    return {key: value for key, value in found.items() if isinstance(value, str) and WORD.fullmatch(value) is not None}


def _no_text(value: Any, name: str) -> None:
    """Raises Dropped. In a text every part of it would be found: `we` in `web1`."""
    if isinstance(value, str):
        raise Dropped("no_settings", "%s is the text %s; expected a list of names" % (name, _shown(value)))


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with what the settings' file says beside them. Raises Dropped."""
    given = {key: value for key, value in options.items() if key != "settings"}
    if options.get("settings") is None and "hosts" in given:
        return given
    path = str(options.get("settings") or os.environ.get("SELFHEAL_GUARD") or SETTINGS)
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_mtime_ns, status.st_ino)
            if path not in _read or _read[path][0] != stamp:
                found = json.load(file)
                if not isinstance(found, dict) or not isinstance(found.get("hosts"), (dict, list)):
                    raise ValueError("it holds no mapping with hosts")
                _read[path] = (stamp, found)
    except (OSError, ValueError) as error:
        raise Dropped("no_settings", "%s says nothing about which hosts may be acted on: %s" % (path, error)) from None
    return {**_read[path][1], **given}


def _without_templates(event: Any) -> None:
    """The whole event goes along to the playbook as a variable, so no text anywhere in it may be one that a template engine runs."""
    for number, text in enumerate(_texts(event, 0)):
        if number >= LARGEST:
            raise Dropped("too_large", "it has more than %d values" % LARGEST)
        if any(mark in text for mark in MARKS):
            raise Dropped("template", "it has a template in it: %s" % _shown(text))


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Every text in it, keys included; an empty one for what is neither text nor made of others, so that it counts."""
    if depth > DEEPEST:
        raise Dropped("too_large", "it is nested more than %d deep" % DEEPEST)
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key, depth + 1)
            yield from _texts(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, depth + 1)
    else:
        yield ""


def _host(labels: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    label = str(options.get("host_label", "host"))
    host = labels.get(label)
    if not isinstance(host, str) or not host:
        raise Dropped("no_host", "its label %s is %s" % (label, _shown(host)))
    if NAME.fullmatch(host) is None or host in GROUPS:
        raise Dropped("no_host", "%s names no single host" % _shown(host))
    if _misread(host):
        raise Dropped("no_host", "a rulebook would take %s for a number or a word of Python" % _shown(host))
    if host not in (options.get("hosts") or ()):
        raise Dropped("foreign_host", "%s is not among the hosts that may be acted on" % host)
    return host


def _misread(text: str) -> bool:
    """A template of a rulebook that gives a text makes a value of one that looks like one: of 1_0 it makes 10, which is another host, and
    of 10 a number, which no play takes for a host."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


def _service(labels: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    label = str(options.get("service_label", "service"))
    service = labels.get(label)
    if not isinstance(service, str) or SERVICE.fullmatch(service) is None:
        raise Dropped("no_service", "its label %s is %s" % (label, _shown(service)))
    allowed = options.get("services")
    if allowed is not None and service not in allowed:
        raise Dropped("unknown_service", "%s is not among the services that may be acted on" % service)
    return service


def _began(event: Mapping[str, Any], max_age: float, now: float) -> float:
    text = event.get("startsAt")
    try:
        # Nanoseconds, as Go writes them, are more than Python reads.
        moment = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    except (TypeError, ValueError):
        raise Dropped("malformed", "its startsAt is %s" % _shown(text)) from None
    if moment.tzinfo is None:
        raise Dropped("malformed", "its startsAt %s has no zone" % _shown(text))
    age = now - moment.timestamp()
    if age >= max_age:
        raise Dropped("stale", "it began %.0f s ago; what is older than %g s is for people" % (age, max_age))
    if age < -AHEAD:
        raise Dropped("stale", "it begins %.0f s from now: the clocks differ" % -age)
    return moment.timestamp()


def _once(alert: str, place: str, options: Mapping[str, Any], now: float) -> None:
    """One run for one alert, and for one host and service, within their times. Raises Dropped."""
    _recall(options)
    # A clock that was put back makes one run too many, rather than none for hours.
    for key, within, reason, what in (
        (alert, float(options.get("repeat_after", 600)), "duplicate", "it"),
        (place, float(options.get("throttle", 0)), "throttled", "an alert about %s" % place),
    ):
        if key in _handed and 0 <= now - _handed[key] < within:
            raise Dropped(reason, "%s was handed on %.0f s ago" % (what, now - _handed[key]))
    _remember(_handed, alert, now)
    _remember(_handed, place, now)
    _keep(options)


def _recall(options: Mapping[str, Any]) -> None:
    """Take up what an earlier rulebook has handed on."""
    path = options.get("memory")
    if not path or str(path) in _recalled:
        return
    _recalled.append(str(path))
    try:
        with open(str(path), encoding="utf-8") as file:
            found = json.load(file)
        _handed.update((str(key), float(at)) for key, at in found["handed"].items())
    except FileNotFoundError:
        LOG.info("nothing was handed on before: there is no %s", path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Healing twice is harmless, since the host confirms; not healing is not.
        LOG.exception("what was handed on before cannot be read from %s, and is forgotten", path)


def _keep(options: Mapping[str, Any]) -> None:
    """Before it is handed on it is on disk, so that a rulebook killed in the middle does not begin again at once."""
    path = options.get("memory")
    if not path:
        return
    part = "%s.part" % path
    try:
        with open(part, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "handed": _handed}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, str(path))
    except OSError:
        LOG.exception("an alert is handed on, and that cannot be kept in %s", path)


def _remember(times: dict[Any, float], key: Any, now: float) -> None:
    times.pop(key, None)
    times[key] = now
    while len(times) > REMEMBERED:
        del times[next(iter(times))]


def _tell(event: Any, dropped: Dropped, options: Mapping[str, Any], now: float) -> None:
    """Log it, and record it; the same about the same alert once in ten minutes."""
    labels = event.get("labels") if isinstance(event, dict) else None
    label = labels.get("alertname") if isinstance(labels, dict) else None
    fingerprint = event.get("fingerprint") if isinstance(event, dict) else None
    alert, mark = (each[:200] if isinstance(each, str) else _shown(each) for each in (label, fingerprint))
    LOG.warning("alert %r dropped: %s: %s", alert, dropped.reason, dropped)
    key = (dropped.reason, mark, alert)
    if not options.get("timeline") or now - _said.get(key, -600.0) < 600.0:
        return
    _remember(_said, key, now)
    data = {"reason": dropped.reason, "detail": str(dropped), "alert": alert, "fingerprint": mark}
    try:
        _timeline()(str(options["timeline"]), str(options.get("recorded_as", "controller"))).append(
            "alert_dropped", source="runbook", data=data
        )
    except Exception:
        # A filter that raises ends the rulebook, and with it every heal to come: that what was dropped cannot be recorded is said instead.
        LOG.exception("alert %r was dropped, and that could not be recorded in %s", alert, options["timeline"])


def _timeline() -> Callable[..., Any]:
    """The timeline of the collection this file lies in, which is on no import path here."""
    name = "faultline_selfheal_library"
    if name not in sys.modules:
        library = types.ModuleType(name)
        library.__path__ = [str(pathlib.Path(__file__).resolve().parents[4] / "plugins" / "module_utils")]
        sys.modules[name] = library
    from importlib import import_module

    found: Callable[..., Any] = import_module(name + "._records.timeline").Timeline
    return found
