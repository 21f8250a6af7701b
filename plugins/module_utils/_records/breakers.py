# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people say of a breaker: open, disabled, or closed once; for the service itself, or for one of its dependencies.

A file that cannot be understood says nothing: it is set aside, and the breaker is left to itself.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._core.errors import RecordError
from .._core.times import compact, format_time, parse_time
from .files import cause, make_directory, read_file, remove, replace_file, set_aside, sync_directory
from .holds import dump
from .names import service_name

WORDS = ("open", "disabled", "closed")
"""closed is done once and then forgotten; the others hold until they are lifted."""
_LIMIT = 65536


@dataclass(frozen=True)
class Forced:
    """`dependency` None: the service's own breaker. `since`: wall seconds."""

    service: str
    dependency: Optional[str]
    to: str
    owner: str
    reason: str
    since: float

    @property
    def name(self) -> str:
        return self.service if self.dependency is None else "%s/%s" % (self.service, self.dependency)

    def as_data(self) -> Dict[str, Any]:
        """For the timeline and for people."""
        data = {"breaker": self.name, "dependency": self.dependency, "to": self.to, "owner": self.owner, "reason": self.reason}
        return {**{key: value for key, value in data.items() if value}, "since": format_time(self.since)}


class Breakers:
    """``<state_dir>/breakers/<service>[@<dependency>].json``. `damaged(path, aside, problem)` is told of what was set aside."""

    def __init__(
        self, state_dir: str, damaged: Optional[Callable[[str, str, str], None]] = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = os.path.join(state_dir, "breakers")
        self._damaged = damaged
        self._clock = clock

    def _path(self, service: str, dependency: Optional[str]) -> str:
        name = service_name(service) if dependency is None else "%s@%s" % (service_name(service), service_name(dependency))
        return os.path.join(self.directory, name + ".json")

    def force(self, service: str, dependency: Optional[str], to: str, owner: str, reason: str = "") -> Forced:
        """Say it; replaces what was said before. Raises RecordError."""
        if to not in WORDS or not owner.strip():
            raise RecordError("A breaker is forced to one of %s by somebody; found %r by %r." % (", ".join(WORDS), to, owner))
        path = self._path(service, dependency)
        made = Forced(service, dependency, to, owner, reason, self._clock())
        make_directory(self.directory)
        replace_file(path, dump({"schema": 1, "to": to, "owner": owner, "reason": reason, "since": format_time(made.since)}))
        return made

    def lift(self, service: str, dependency: Optional[str]) -> bool:
        """Leave it to itself again; was anything said? Raises RecordError."""
        path = self._path(service, dependency)
        try:
            found = remove(path)
            if found:
                sync_directory(self.directory)
        except OSError as error:
            raise RecordError("Lifting %s: %s. The breaker stays as it was forced." % (path, cause(error))) from error
        return found

    def version(self) -> Tuple[int, int]:
        """Changes whenever something is said or lifted; (0, 0) while nothing ever was."""
        try:
            found = os.stat(self.directory)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def read(self, service: str, dependency: Optional[str]) -> Optional[Forced]:
        """What is said of one breaker, or None. Raises RecordError only where a bad file cannot even be set aside."""
        path = self._path(service, dependency)
        try:
            data = json.loads(read_file(path, _LIMIT))
            if data["to"] not in WORDS:
                raise ValueError("to is %.40r" % (data["to"],))
            return Forced(service, dependency, data["to"], str(data["owner"]), str(data["reason"]), parse_time(data["since"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = cause(error)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = "%s: %s" % (type(error).__name__, error)
        try:
            aside = set_aside(path, "bad", compact(self._clock()))
        except OSError as error:
            raise RecordError("%s is unusable (%s) and cannot be set aside: %s" % (path, problem, cause(error))) from error
        if self._damaged is not None:
            self._damaged(path, aside, problem)
        return None

    def list(self) -> List[Forced]:
        """Everything that is forced now. Raises RecordError."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError("Listing the forced breakers in %s: %s" % (self.directory, cause(error))) from error
        found: List[Optional[Forced]] = []
        for name in names:
            if name.endswith(".json") and name[0] != ".":
                service, _at, dependency = name[:-5].partition("@")
                found.append(self.read(service, dependency or None))
        return [each for each in found if each is not None]


__all__ = ["Breakers", "Forced", "WORDS"]
