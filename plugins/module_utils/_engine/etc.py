# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of the host's configuration: ``watchdog.json``, ``contracts.json`` and the red button."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Sequence, Tuple

from .._core.contract import load_json, parse_services
from .._core.errors import ContractError, Problem, SelfhealError
from .._core.loading import MOST_BYTES
from .._core.model import Service

DEFAULT_ETC = "/etc/selfheal"


class Etc(NamedTuple):
    """Where things lie below the configuration's directory."""

    path: str

    @property
    def watchdog(self) -> str:
        return os.path.join(self.path, "watchdog.json")

    @property
    def contracts(self) -> str:
        return os.path.join(self.path, "contracts.json")

    @property
    def hold(self) -> str:
        return os.path.join(self.path, "hold")


class Unreadable(SelfhealError):
    """A file that is there could not be read; names it and the cause."""


def read_json(path: str, most: int = MOST_BYTES) -> Any:
    """Decode a JSON file or pipe of at most `most` bytes (1 MB). Raises ContractError where there is none or it is no JSON, Unreadable."""
    try:
        with open(path, "rb") as source:
            data = source.read(most + 1)
    except FileNotFoundError as error:
        message = "there is no such file; give its path, or write it with the role faultline.selfheal.watchdog"
        raise ContractError(path, [Problem("", message)]) from error
    except IsADirectoryError as error:
        raise ContractError(path, [Problem("", "is a directory; give the file's path")]) from error
    except OSError as error:
        raise Unreadable("reading %s: %s" % (path, error.strerror or error)) from error
    return load_json(data, path, most)


def load_services(path: str) -> Tuple[Service, ...]:
    """Contracts from a file. Raises ContractError, Unreadable."""
    return parse_services(read_json(path), path)


def chosen(services: Tuple[Service, ...], names: Sequence[str], where: str) -> Tuple[Service, ...]:
    """Those of that name, in the order of the contracts; all when none is named. Raises ContractError for unknown ones."""
    known = [service.name for service in services]
    unknown = [name for name in names if name not in known]
    if unknown:
        problems = [Problem("", "there is no service %s; known: %s" % (name, ", ".join(known) or "none")) for name in unknown]
        raise ContractError(where, problems)
    return tuple(service for service in services if not names or service.name in names)


__all__ = ["DEFAULT_ETC", "Etc", "Unreadable", "chosen", "load_services", "read_json"]
