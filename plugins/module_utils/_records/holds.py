# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's "hands off", for one service or the whole host; and the red button, a file whose mere presence is enough.

When in doubt, held: a file that cannot be read or understood holds as well, and says so in its reason.

Expiry: on the boot on which a hold was set, its span is measured with the monotonic clock, so that setting the wall clock
neither ends it early nor makes it last; after a reboot the wall clock decides.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

from .._core.errors import RecordError
from .._core.times import format_time, parse_time
from .files import boot_id, cause, make_directory, read_file, remove, replace_file, sync_directory
from .names import service_name

ALL = "all"
# No service can have this name, so the host's own hold cannot be taken for a service's.
_HOST_FILE = "@host.json"
_LIMIT = 65536


@dataclass(frozen=True)
class Hold:
    """`scope`: a service's name, or ``all``. `since` and `expires`: wall seconds; `expires` None is until it is lifted."""

    scope: str
    owner: str
    reason: str
    since: float
    expires: Optional[float] = None
    red_button: bool = False

    def as_data(self) -> Dict[str, Any]:
        """For the timeline and for people."""
        expires = None if self.expires is None else format_time(self.expires)
        return {"scope": self.scope, "owner": self.owner, "reason": self.reason, "since": format_time(self.since), "expires": expires}


def span_left(data: Dict[str, Any], wall: float, monotonic: float) -> Optional[float]:
    """Seconds until what the record says is over (negative: since); None for never. Raises ValueError, TypeError, KeyError."""
    if data["expires"] is None:
        return None
    since, expires = parse_time(data["since"]), parse_time(data["expires"])
    begun = data["monotonic"]
    if isinstance(begun, bool) or not isinstance(begun, (int, float)):
        raise TypeError("monotonic is %.40r" % (begun,))
    if data["boot_id"] == boot_id():
        return (expires - since) - (monotonic - begun)
    return expires - wall


def record(owner: str, reason: str, seconds: Optional[float], wall: float, monotonic: float) -> Dict[str, Any]:
    """What is kept of a hold or an approval. Raises RecordError."""
    if not isinstance(owner, str) or not owner.strip():
        raise RecordError("A hold or approval needs an owner, so that others know whom to ask.")
    if seconds is not None and not 0 < seconds < 1e9:
        raise RecordError("A hold or approval of %r seconds makes no sense; expected more than 0." % (seconds,))
    return {
        "schema": 1,
        "owner": owner,
        "reason": reason,
        "since": format_time(wall),
        "expires": None if seconds is None else format_time(wall + seconds),
        "boot_id": boot_id(),
        "monotonic": monotonic,
    }


def dump(data: Dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode("ascii")


class Holds:
    """``<state_dir>/holds/`` and the red button ``<etc>/hold``."""

    def __init__(
        self,
        state_dir: str,
        etc: str = "/etc/selfheal",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = os.path.join(state_dir, "holds")
        self.button = os.path.join(etc, "hold")
        self._clock = clock
        self._monotonic = monotonic

    def _path(self, service: Optional[str]) -> str:
        return os.path.join(self.directory, _HOST_FILE if service is None else service_name(service) + ".json")

    def set(self, service: Optional[str], owner: str, reason: str = "", seconds: Optional[float] = None) -> Hold:
        """Hold one service, or with None all of this host, for `seconds` or until lifted. Replaces an earlier one. Raises RecordError."""
        path = self._path(service)
        data = record(owner, reason, seconds, self._clock(), self._monotonic())
        make_directory(self.directory)
        replace_file(path, dump(data))
        return self._hold(service or ALL, data)

    def press(self, owner: str, reason: str = "") -> Hold:
        """Press the red button: everything is held until it is released. Raises RecordError."""
        data = record(owner, reason, None, self._clock(), self._monotonic())
        if not os.path.lexists(self.button):
            make_directory(os.path.dirname(self.button), 0o755)
            replace_file(self.button, dump(data), 0o644)
        found = self._red()
        return found if found is not None else self._hold(ALL, data)

    def release(self) -> bool:
        """Release the red button; was it pressed? Raises RecordError."""
        return self._remove(self.button)

    def clear(self, service: Optional[str]) -> bool:
        """Lift the hold of a service, or with None the host's (not the red button); was there one? Raises RecordError."""
        return self._remove(self._path(service))

    @staticmethod
    def _remove(path: str) -> bool:
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            elif not remove(path):
                return False
            sync_directory(os.path.dirname(path))
        except OSError as error:
            raise RecordError("Lifting the hold %s: %s. Everything it names stays held." % (path, cause(error))) from error
        return True

    def active(self, service: Optional[str], now: Optional[float] = None) -> Optional[Hold]:
        """What holds this service now (with None: what holds all), the widest first; never raises for what a file may hold.

        `now` is wall seconds, the clock's by default.
        """
        wall = self._clock() if now is None else now
        red = self._red()
        if red is not None:
            return red
        host = self._read(None, wall)
        if host is not None or service is None:
            return host
        return self._read(service, wall)

    def list(self, now: Optional[float] = None) -> List[Hold]:
        """Everything that holds now. Raises RecordError when the directory cannot be listed."""
        wall = self._clock() if now is None else now
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise RecordError("Listing the holds in %s: %s" % (self.directory, cause(error))) from error
        services = [name[:-5] for name in names if name.endswith(".json") and name[0] not in ".@"]
        found = [self._red(), self._read(None, wall)]
        found += [self._read(name, wall) for name in services if _is_service(name)]
        return [hold for hold in found if hold is not None]

    def _red(self) -> Optional[Hold]:
        try:
            since = os.lstat(self.button).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = "the red button %s cannot be looked at: %s" % (self.button, cause(error))
            return Hold(ALL, "unknown", reason, self._clock(), None, True)
        owner, reason = "unknown", "the red button %s is pressed" % self.button
        try:
            data = json.loads(read_file(self.button, _LIMIT))
            owner, reason = str(data["owner"]), str(data["reason"] or reason)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            # Whatever it holds or is, it is there, and that alone counts.
            if not isinstance(error, ValueError) or os.path.islink(self.button):
                reason += " (%s)" % type(error).__name__
        return Hold(ALL, owner, reason, since, None, True)

    def _read(self, service: Optional[str], wall: float) -> Optional[Hold]:
        path = self._path(service)
        scope = service or ALL
        try:
            data = json.loads(read_file(path, _LIMIT))
            if not isinstance(data, dict) or not isinstance(data["owner"], str) or not isinstance(data["reason"], str):
                raise ValueError("no owner and reason")
            left = span_left(data, wall, self._monotonic())
            hold = self._hold(scope, data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            problem = cause(error) if isinstance(error, OSError) else "%s: %s" % (type(error).__name__, error)
            reason = "held to be safe: the hold %s cannot be understood (%.200s). Lift it or set it again." % (path, problem)
            return Hold(scope, "unknown", reason, wall)
        return hold if left is None or left > 0 else None

    @staticmethod
    def _hold(scope: str, data: Dict[str, Any]) -> Hold:
        expires = None if data["expires"] is None else parse_time(data["expires"])
        return Hold(scope, data["owner"], data["reason"], parse_time(data["since"]), expires)


def _is_service(name: str) -> bool:
    try:
        service_name(name)
    except RecordError:
        return False
    return True


__all__ = ["ALL", "Hold", "Holds", "dump", "record", "span_left"]
