# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the host's configuration: ``watchdog.json``, ``contracts.json`` and the red button."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Tuple

from .._core.contract import ceiling, parse_watchdog
from .._core.errors import ContractError, Problem
from .._core.model import Service, WatchdogConfig
from .._engine.etc import DEFAULT_ETC, Etc, Unreadable, chosen, load_services, read_json

ENVIRONMENT = "SELFHEAL_ETC"


def load_watchdog(etc: Etc) -> WatchdogConfig:
    """The host's configuration. Raises ContractError, Unreadable."""
    return load_configuration(etc.watchdog)


def load_configuration(path: str) -> WatchdogConfig:
    """A configuration from a file. Raises ContractError, Unreadable."""
    config = parse_watchdog(read_json(path), path)
    if not loopback(config.listen[0]) and config.token_file is None:
        message = "%s is no loopback address, and without a token everybody could read; add token_file, or listen on 127.0.0.1"
        raise ContractError(path, [Problem("listen", message % config.listen[0])])
    return config


def capped(services: Tuple[Service, ...], config: WatchdogConfig) -> Tuple[Service, ...]:
    """The services in the modes this host allows."""
    return tuple(replace(service, mode=ceiling(service.mode, config.mode_ceiling)) for service in services)


def loopback(host: str) -> bool:
    """Does only this host reach that address? A name other than localhost is taken to be reachable from outside."""
    if host == "localhost":
        return True
    try:
        return socket.inet_pton(socket.AF_INET, host)[0] == 127
    except OSError:
        try:
            return socket.inet_pton(socket.AF_INET6, host) == b"\0" * 15 + b"\1"
        except OSError:
            return False


__all__ = [
    "DEFAULT_ETC",
    "ENVIRONMENT",
    "Etc",
    "Unreadable",
    "capped",
    "chosen",
    "load_configuration",
    "load_services",
    "load_watchdog",
    "loopback",
    "read_json",
]
