# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container of a release is made of, as ``POST /containers/create`` takes it, and where it is reached. Nothing is asked here.

A release says all of it: nothing goes over from the container before but the volumes that only the engine has named, as nobody else could
find what is in them again.
"""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._actuators.container_make import anonymous_volumes
from .._actuators.container_state import Told, of
from .._core.containers import DEPLOYMENT, HELPER, OWNER, RAN, RELEASE, REPLACES
from .._core.image_request import Switch, Wanted
from .._core.reasons import Reason
from .deploy_run import PhaseFailed

Ports = Mapping[int, Tuple[str, int]]
"""The container's ports with the address and port of this host where each is published."""


def body_of(
    wanted: Wanted, image: str, switch: Switch, labels: Mapping[str, str], old: Optional[Told] = None, ports: Optional[Ports] = None
) -> Dict[str, Any]:
    """The container itself. ports: published beside what the definition publishes. With switch alias it bears no alias yet."""
    body = _copied(wanted, image, labels)
    host = body["HostConfig"]
    if old is not None:
        binds = list(host.get("Binds") or ()) + anonymous_volumes(old, host)
        if binds:
            host["Binds"] = binds
    for port, (address, number) in (ports or {}).items():
        key = "%d/tcp" % port
        host["PortBindings"] = {**(host.get("PortBindings") or {}), key: [{"HostIp": address, "HostPort": str(number)}]}
        body["ExposedPorts"] = {**(body.get("ExposedPorts") or {}), key: {}}
    _join_first(body, wanted, switch is Switch.ALIAS)
    return body


def rehearsal_of(wanted: Wanted, image: str, release: str) -> Dict[str, Any]:
    """The same for a first try beside the one that serves: ports that the engine chooses, no fixed address, no alias, no policy."""
    labels = {OWNER: wanted.container, HELPER: "rehearsal of %s" % release}
    body = _copied(wanted, image, labels)
    host = body["HostConfig"]
    host["RestartPolicy"] = {"Name": "no"}
    if host.get("PortBindings"):
        host["PortBindings"] = {port: [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in host["PortBindings"]}
    _join_first(body, wanted, True)
    endpoints = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    for endpoint in endpoints.values():
        endpoint.pop("IPAMConfig", None)
    return body


def labels_of(wanted: Wanted, release: str, deployment: str, old: Optional[Told]) -> Dict[str, str]:
    """By these a container is known again by whoever takes a deployment up, and what it is to be replaced by when it fails."""
    ran = old is not None and of(old, "State", "Status") in ("running", "restarting")
    replaces = str(old["Id"]) if old is not None else ""
    return {OWNER: wanted.container, RELEASE: release, DEPLOYMENT: deployment, REPLACES: replaces, RAN: "1" if ran else "0"}


def _copied(wanted: Wanted, image: str, labels: Mapping[str, str]) -> Dict[str, Any]:
    body: Dict[str, Any] = copy.deepcopy(dict(wanted.definition))
    host = body["HostConfig"] = dict(body.get("HostConfig") or {})
    if host.get("PortBindings"):  # an engine publishes only what is exposed as well
        body["ExposedPorts"] = {**(body.get("ExposedPorts") or {}), **{port: {} for port in host["PortBindings"]}}
    return {**body, "Image": image, "Labels": {**(body.get("Labels") or {}), **labels}}


def _join_first(body: Dict[str, Any], wanted: Wanted, nameless: bool) -> None:
    """An engine before version 25 takes one network when a container is made; the others follow."""
    endpoints = wanted.endpoints
    if not endpoints:
        return
    first = next(iter(endpoints))
    body["HostConfig"].setdefault("NetworkMode", first)
    body["NetworkingConfig"] = {"EndpointsConfig": {first: endpoint(wanted, first, nameless)}}


def endpoint(wanted: Wanted, network: str, nameless: bool) -> Dict[str, Any]:
    """What is asked for of one network. nameless: without what others find it by."""
    told = copy.deepcopy(dict(wanted.endpoints[network]))
    if nameless:
        told.pop("Aliases", None)
    return told


def attached(told: Told, wanted: Wanted, network: str) -> bool:
    """Is it in that network, with every alias that is asked for?"""
    here = of(told, "NetworkSettings", "Networks") or {}
    if network not in here:
        return False
    aliases = set((here[network] or {}).get("Aliases") or ())
    return set(wanted.endpoints[network].get("Aliases") or ()) <= aliases


def address_of(told: Told, port: int) -> Tuple[str, int]:
    """Where that port of the container is reached from this host. Raises PhaseFailed."""
    for each in (of(told, "NetworkSettings", "Ports") or {}).get("%d/tcp" % port) or ():
        return _reached(each), int(each["HostPort"])
    if of(told, "HostConfig", "NetworkMode") == "host":
        return "127.0.0.1", port
    for each in (of(told, "NetworkSettings", "Networks") or {}).values():
        if (each or {}).get("IPAddress"):
            return str(each["IPAddress"]), port
    name = str(told.get("Name", "")).lstrip("/")
    raise PhaseFailed(
        Reason.UNPROVEN, "port %d of container %s is reached nowhere: it is not published, and it has no address" % (port, name)
    )


def published(told: Optional[Told]) -> List[int]:
    """The ports of this host that are its own as soon as it runs."""
    found = []
    for bindings in (of(told, "HostConfig", "PortBindings") or {}).values() if told is not None else ():
        found += [int(each["HostPort"]) for each in bindings or () if str(each.get("HostPort") or "").isdigit()]
    return found


def own_port(told: Told, port: int) -> Tuple[str, int]:
    """Where a route leads: what the container was made with, which stays the same when it is started again. Raises PhaseFailed."""
    for each in (of(told, "HostConfig", "PortBindings") or {}).get("%d/tcp" % port) or ():
        if str(each.get("HostPort") or "").isdigit() and int(each["HostPort"]):
            return _reached(each), int(each["HostPort"])
    words = "container %s publishes its port %d nowhere, so no route can lead there; deploy again"
    raise PhaseFailed(Reason.ROUTE_FAILED, words % (str(told.get("Name", "")).lstrip("/"), port))


def _reached(binding: Mapping[str, Any]) -> str:
    """From this host, what is published at every address is reached at its own."""
    address = str(binding.get("HostIp") or "")
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(address, address)


__all__ = ["Ports", "address_of", "attached", "body_of", "endpoint", "labels_of", "own_port", "published", "rehearsal_of"]
