# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that is an image: what is asked for, and by what it takes over from the container before. Pure.

Two things are written by name, since they are known only when the container stands. ``@container:80@`` in the text of a route is the
address at which its port 80 is reached. The host ``container`` in a probe means the container itself, by its own port: such a probe is
asked before any traffic goes there, and again when it does.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlsplit, urlunsplit

from .schema import BAD, Problems, Record, boolean, join, number, show
from .target import HttpTarget, Target, TcpTarget

HOST = "container"
"""What stands for the container itself as the host of a probe."""
_MARK = re.compile(r"@container:([0-9]{1,5})@")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,200}", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,500}", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
_TABLES = ("HostConfig", "Labels", "NetworkingConfig", "ExposedPorts", "Volumes", "Healthcheck")


class Switch(str, enum.Enum):
    """How the new container takes over. route: files lead there. alias: a network's name does. beside: nobody has to be led. swap: two of
    them cannot serve at the same time, so the old one stops before the new one starts."""

    ROUTE = "route"
    ALIAS = "alias"
    BESIDE = "beside"
    SWAP = "swap"

    def __str__(self) -> str:
        return self.value


class Wanted(NamedTuple):
    """reference: an image of the engine. container: its name. definition: what it is made of, as ``POST /containers/create`` takes it.

    drain: seconds that the old one gets to finish what it has. beside: may two of them run at a time (None: by what the definition says)?
    """

    reference: str
    container: str
    definition: Mapping[str, Any] = {}
    drain: float = 10.0
    beside: Optional[bool] = None

    @property
    def host_config(self) -> Mapping[str, Any]:
        return self.definition.get("HostConfig") or {}

    @property
    def endpoints(self) -> Mapping[str, Mapping[str, Any]]:
        """Its networks, that of its network mode first."""
        found = (self.definition.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        mode = self.host_config.get("NetworkMode")
        return {name: found[name] or {} for name in sorted(found, key=lambda each: (each != mode, each))}


# -- reading it


def _name(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        return problems.add(path, "expected the name of a container, found %s" % show(value))
    return value


def _reference(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value) or ".." in value:
        return problems.add(path, "expected an image such as registry.example/web:2.4, found %s" % show(value))
    return value


def _definition(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, dict):
        return problems.add(path, "expected a mapping as POST /containers/create takes it, found %s" % show(value))
    for key in _TABLES:
        if not isinstance(value.get(key) or {}, dict):
            return problems.add(join(path, key), "expected a mapping, found %s" % show(value[key]))
    if "Image" in value:
        return problems.add(join(path, "Image"), "the image is named by reference")
    host = value.get("HostConfig") or {}
    if host.get("AutoRemove"):
        where = join(join(path, "HostConfig"), "AutoRemove")
        return problems.add(where, "a container that goes when it stops could not be put back; leave it out")
    bindings = host.get("PortBindings") or {}
    if not isinstance(bindings, dict) or not all(isinstance(each or [], list) for each in bindings.values()):
        return problems.add(join(join(path, "HostConfig"), "PortBindings"), "expected lists of HostIp and HostPort by port")
    endpoints = (value.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    if not isinstance(endpoints, dict) or not all(isinstance(each or {}, dict) for each in endpoints.values()):
        return problems.add(join(join(path, "NetworkingConfig"), "EndpointsConfig"), "expected a mapping for each network")
    return value


image = Record(
    Wanted,
    need={"reference": _reference, "container": _name},
    may={"definition": _definition, "drain": number(0, 3600), "beside": boolean},
)


def read(value: Any, path: str, problems: Problems) -> Any:
    """An image as a source. Returns Wanted."""
    return BAD if value is None else image(value, path, problems)


def agree(wanted: Wanted, texts: Sequence[str], path: str, problems: Problems) -> None:
    """Can the new container be led to as the routes say? Reports what contradicts it."""
    ports = named_ports(texts)
    if not ports:
        return
    if wanted.beside is False:
        problems.add(
            join(path, "beside"), "a route names the new container, which then stands beside the old one; leave one of the two out"
        )
    for reason in alone(wanted):
        problems.add(path, "a route names port %d of the new container, which cannot run beside the old one: it %s" % (ports[0], reason))


# -- how it takes over


def named_ports(texts: Sequence[str]) -> Tuple[int, ...]:
    """The ports that these routes name."""
    return tuple(sorted({int(port) for text in texts for port in _MARK.findall(text)}))


def rendered(text: str, address: Callable[[int], str]) -> str:
    """A route's text with addresses."""
    return _MARK.sub(lambda match: address(int(match.group(1))), text)


def alone(wanted: Wanted) -> List[str]:
    """Why two of them could not serve at the same time, in words that follow "it"; empty where they can."""
    found = []
    mode = str(wanted.host_config.get("NetworkMode") or "")
    if mode == "host" or mode.startswith("container:"):
        found.append("shares the network of %s" % ("the host" if mode == "host" else mode))
    for port, bindings in sorted((wanted.host_config.get("PortBindings") or {}).items()):
        for each in bindings or ():
            if _is_fixed(each):
                found.append("publishes %s at the fixed port %s" % (port, each["HostPort"]))
    for name, endpoint in wanted.endpoints.items():
        config = endpoint.get("IPAMConfig") or {}
        if config.get("IPv4Address") or config.get("IPv6Address"):
            found.append("has a fixed address in the network %s" % name)
    return found


def _is_fixed(binding: Any) -> bool:
    port = str((binding or {}).get("HostPort") or "0") if isinstance(binding, dict) else "0"
    return port != "0" and not _RANGE.fullmatch(port)


def switch_of(wanted: Wanted, texts: Sequence[str]) -> Switch:
    """What its definition and the texts of its routes amount to."""
    if wanted.beside is False or alone(wanted):
        return Switch.SWAP
    if named_ports(texts):
        return Switch.ROUTE
    return Switch.ALIAS if any(endpoint.get("Aliases") for endpoint in wanted.endpoints.values()) else Switch.BESIDE


def rehearsed(wanted: Wanted, anonymous: bool) -> bool:
    """Before a swap: is the image tried first, beside the old one and with no port of its own? Not where two would write to the same
    volume, unless that is allowed. anonymous: volumes go over that only the engine has named."""
    mode = str(wanted.host_config.get("NetworkMode") or "")
    if wanted.beside is False or mode == "host" or mode.startswith("container:"):
        return False
    return bool(wanted.beside) or not (anonymous or writes(wanted))


def writes(wanted: Wanted) -> bool:
    """Does it mount anything that it may write to, and that outlives it?"""
    host = wanted.host_config
    if host.get("VolumesFrom") or any(not _read_only(str(bind)) for bind in host.get("Binds") or ()):
        return True
    return any(
        isinstance(each, dict) and each.get("Type") != "tmpfs" and each.get("Source") and not each.get("ReadOnly")
        for each in host.get("Mounts") or ()
    )


def _read_only(bind: str) -> bool:
    parts = bind.split(":")
    return len(parts) > 2 and "ro" in parts[2].split(",")


def wanted_port(wanted: Wanted, port: int) -> Tuple[str, Optional[Tuple[int, int]]]:
    """Where this port of the container is published: the address, and from which range (None: from ours)."""
    bindings = (wanted.host_config.get("PortBindings") or {}).get("%d/tcp" % port) or [{}]
    first: Dict[str, Any] = bindings[0] or {}
    match = _RANGE.fullmatch(str(first.get("HostPort") or ""))
    return str(first.get("HostIp") or "127.0.0.1"), (int(match.group(1)), int(match.group(2))) if match else None


# -- probes of the container itself


def asks_container(target: Target) -> bool:
    """Does the probe mean the container itself?"""
    if isinstance(target, HttpTarget):
        return urlsplit(target.url).hostname == HOST
    return isinstance(target, TcpTarget) and target.host == HOST


def pointed(target: Target, address: Callable[[int], Tuple[str, int]]) -> Target:
    """The same probe at the address at which that port of the container is reached; one that asks something else as it is."""
    if not asks_container(target):
        return target
    if isinstance(target, TcpTarget):
        host, port = address(target.port)
        return target._replace(host=host, port=port)
    if isinstance(target, HttpTarget):
        parts = urlsplit(target.url)
        host, port = address(parts.port or (443 if parts.scheme == "https" else 80))
        return target._replace(url=urlunsplit(parts._replace(netloc=joined(host, port))))
    return target


def joined(host: str, port: int) -> str:
    """An address as text."""
    return "%s:%d" % ("[%s]" % host if ":" in host else host, port)


__all__ = [
    "HOST",
    "Switch",
    "Wanted",
    "agree",
    "alone",
    "asks_container",
    "image",
    "joined",
    "named_ports",
    "pointed",
    "read",
    "rehearsed",
    "rendered",
    "switch_of",
    "wanted_port",
    "writes",
]
