# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployments of one project: ``<project>/.selfheal/deployments/<id>.json``, one file each, replaced atomically and durably.

A file holds what was asked for as well, with what may be secret in it (an environment, a route's text): it is for its owner alone, and
`shown` is what others see. A file that cannot be understood is set aside, and whoever reads reports it.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from .._core.deployment import KINDS, STANDINGS, Deployment, Done, Failure, Phase, Standing, valid_id
from .._core.errors import RecordError
from .._core.redact import redact
from .._core.times import compact, parse_time
from .files import cause, make_directory, read_file, remove, replace_file, set_aside, sync_directory, temporary_name, write_new

SCHEMA = 1
_LIMIT = 8 << 20
_PLAIN = (
    "id",
    "project",
    "kind",
    "release",
    "started_at",
    "phase_updated_at",
    "previous",
    "left",
    "by",
    "service",
    "traffic",
    "activated_at",
)


class Newer(RecordError):
    """A later version of this collection wrote it: nothing is wrong with it, and it is for that version to judge."""


class Journal:
    """`folder`: ``<project>/.selfheal/deployments``. `on_garbled(path, aside, problem)` is called for each file that was set aside;
    without ``repair`` such a file stays where it is (aside is then "")."""

    def __init__(
        self,
        folder: str,
        on_garbled: Optional[Callable[[str, str, str], None]] = None,
        clock: Callable[[], float] = time.time,
        repair: bool = True,
    ) -> None:
        self.folder = folder
        self._on_garbled = on_garbled
        self._clock = clock
        self._repair = repair

    def path(self, identity: str) -> str:
        """Where a deployment's journal lies. Raises RecordError for what is no id."""
        if not valid_id(identity):
            raise RecordError("%.80r is no id of a deployment; expected letters, digits, '.', '_' and '-'." % (identity,))
        return os.path.join(self.folder, identity + ".json")

    def create(self, entry: Deployment) -> None:
        """Begin a journal whose id was never used here. Raises RecordError; FileExistsError when the id is used."""
        path = self.path(entry.id)
        make_directory(self.folder)
        temporary = temporary_name(path)
        try:
            write_new(temporary, dump(entry))
            try:
                os.link(temporary, path, follow_symlinks=False)
            finally:
                remove(temporary)
            sync_directory(self.folder)
        except FileExistsError:
            raise
        except OSError as error:
            raise RecordError("Beginning the journal %s: %s. Nothing was deployed." % (path, cause(error))) from error

    def save(self, entry: Deployment) -> None:
        """Replace the journal; durable on return. Raises RecordError, and then the old one stands as it was."""
        replace_file(self.path(entry.id), dump(entry))

    def load(self, identity: str) -> Optional[Deployment]:
        """One deployment; None when there is none, or none that can be understood. Raises RecordError."""
        path = self.path(identity)
        try:
            return parse(identity, read_file(path, _LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordError("Reading the journal %s: %s" % (path, cause(error))) from error
        except Newer as error:
            raise Newer("The journal %s: %s" % (path, error)) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._garbled(path, "%s: %s" % (type(error).__name__, error))
            return None

    def _garbled(self, path: str, problem: str) -> None:
        aside = ""
        if self._repair:
            try:
                aside = set_aside(path, "bad", compact(self._clock()))
            except OSError as error:
                raise RecordError("The journal %s is unusable (%s) and cannot be set aside: %s." % (path, problem, cause(error))) from error
        if self._on_garbled is not None:
            self._on_garbled(path, aside, problem[:300])

    def ids(self) -> List[str]:
        """The ids of all deployments, by name. Raises RecordError."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError("Listing the journals in %s: %s" % (self.folder, cause(error))) from error
        return sorted(name[:-5] for name in names if name.endswith(".json") and not name.startswith(".") and valid_id(name[:-5]))

    def all(self) -> List[Deployment]:
        """Every deployment, those begun first at the front. Raises RecordError."""
        found = (self.load(identity) for identity in self.ids())
        return sorted((entry for entry in found if entry is not None), key=lambda entry: (entry.started_at, entry.id))

    def forget(self, identity: str) -> None:
        """Remove a journal. Raises RecordError."""
        try:
            if remove(self.path(identity)):
                sync_directory(self.folder)
        except OSError as error:
            raise RecordError("Removing the journal %s: %s" % (self.path(identity), cause(error))) from error


def to_data(entry: Deployment) -> Dict[str, Any]:
    """A deployment as plain data, whole."""
    data: Dict[str, Any] = {"schema": SCHEMA}
    data.update((key, getattr(entry, key)) for key in _PLAIN)
    data["phase"] = entry.phase.value
    data["owner"] = dict(entry.owner)
    data["source"] = dict(entry.source)
    data["phases"] = [
        {"phase": done.phase.value, "began": done.began, "ended": done.ended, "proof": dict(done.proof)} for done in entry.phases
    ]
    data["manifest"] = dict(entry.manifest)
    data["standing"] = None if entry.standing is None else vars(entry.standing).copy()
    data["reverting"] = _failure_data(entry.reverting)
    data["failure"] = _failure_data(entry.failure)
    data["resumed"] = entry.resumed
    data["notes"] = list(entry.notes)
    data["request"] = dict(entry.request)
    return data


def shown(entry: Deployment) -> Dict[str, Any]:
    """The same for modules, logs and people: without texts of routes, values of environments, headers, and what is secret by name."""
    data = to_data(entry)
    request = dict(data["request"])
    request["routes"] = [{key: value for key, value in route.items() if key != "content"} for route in request.get("routes") or []]
    request["build"] = [{**step, "environment": sorted(step.get("environment") or {})} for step in request.get("build") or []]
    request["health"] = [_without_headers(probe) for probe in request.get("health") or []]
    image = (request.get("source") or {}).get("image")
    if isinstance(image, dict):
        request["source"] = {"image": _without_values(image)}
    data["request"] = request
    return redact(data)


def _without_values(image: Mapping[str, Any]) -> Dict[str, Any]:
    """The names of the environment of a container only."""
    definition = image.get("definition") or {}
    names = sorted(str(each).partition("=")[0] for each in definition.get("Env") or ())
    return {**image, "definition": {**definition, "Env": names}} if "Env" in definition else dict(image)


def _without_headers(probe: Mapping[str, Any]) -> Dict[str, Any]:
    kept = dict(probe)
    for kind in ("http", "exec"):
        if isinstance(kept.get(kind), dict):
            kept[kind] = {key: value for key, value in kept[kind].items() if key not in ("headers", "body", "environment")}
    return kept


def dump(entry: Deployment) -> bytes:
    """A journal's bytes. Raises RecordError for what JSON cannot say."""
    try:
        data = (json.dumps(to_data(entry), indent=1, allow_nan=False) + "\n").encode("ascii")
        if len(data) > _LIMIT:
            words = (
                "The journal of deployment %s would have %d bytes; at most %d are kept. Give the routes' texts in fewer or smaller files."
            )
            raise RecordError(words % (entry.id, len(data), _LIMIT))
        return data
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError("The journal of deployment %s cannot be written as JSON: %s" % (entry.id, error)) from error


_ABSENT: Mapping[str, Any] = {
    "schema": SCHEMA,
    "project": "",
    "kind": "deploy",
    "owner": {},
    "request": {},
    "source": {},
    "phases": (),
    "previous": None,
    "left": None,
    "by": "",
    "service": None,
    "traffic": "",
    "manifest": {},
    "activated_at": None,
    "standing": None,
    "reverting": None,
    "failure": None,
    "resumed": 0,
    "notes": (),
}


def complete(identity: str, data: Any) -> Dict[str, Any]:
    """A journal with every key. It may have been written by another version, or by a tool that knows but the phases and their times.

    What became active is good unless it says otherwise. Raises ValueError for what is none, Newer.
    """
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    made = {**_ABSENT, "release": data.get("id"), **data}
    if isinstance(made["schema"], int) and made["schema"] > SCHEMA:
        words = "a newer version wrote it (schema %d; this one knows %d). It was left as it is; update the collection that came here."
        raise Newer(words % (made["schema"], SCHEMA))
    updated = made.get("phase_updated_at") or made.get("activated_at") or made.get("started_at")
    made["phase_updated_at"] = updated
    made.setdefault("started_at", updated)
    if made.get("phase") == Phase.ACTIVE.value:
        made["activated_at"] = made["activated_at"] or updated
        if "standing" not in data and made["kind"] != "rollback":
            made["standing"] = {"word": "good", "reason": "active", "at": made["activated_at"]}
    if made["schema"] != SCHEMA or isinstance(made["schema"], bool):
        raise ValueError("it is no journal of schema %d" % SCHEMA)
    if made.get("id") != identity or not valid_id(made["release"]) or made["kind"] not in KINDS:
        raise ValueError("it is the journal of %.80r" % (made.get("id"),))
    return made


def parse(identity: str, raw: bytes) -> Deployment:
    """A journal from its bytes. Raises ValueError, TypeError or KeyError for what is none, Newer."""
    data = complete(identity, json.loads(raw))
    for key in ("started_at", "phase_updated_at"):
        parse_time(data[key])
    if data["activated_at"] is not None:
        parse_time(data["activated_at"])
    for key in ("owner", "source", "manifest", "request"):
        if not isinstance(data[key], dict):
            raise ValueError("%s is no object" % key)
    for key in ("previous", "left", "service"):
        if data[key] is not None and not isinstance(data[key], str):
            raise ValueError("%s is no string" % key)
    phases = tuple(Done(Phase(each["phase"]), each["began"], each["ended"], dict(each["proof"])) for each in data["phases"])
    return Deployment(
        phase=Phase(data["phase"]),
        owner=data["owner"],
        source=data["source"],
        manifest=data["manifest"],
        request=data["request"],
        phases=phases,
        standing=_standing(data["standing"]),
        reverting=_failure(data["reverting"]),
        failure=_failure(data["failure"]),
        resumed=int(data["resumed"]),
        notes=tuple(str(note) for note in data["notes"]),
        **{key: data[key] for key in _PLAIN},
    )


def _standing(data: Any) -> Optional[Standing]:
    if data is None:
        return None
    if data["word"] not in STANDINGS:
        raise ValueError("standing is %.40r" % (data["word"],))
    return Standing(data["word"], str(data["reason"]), str(data["at"]))


def _failure(data: Any) -> Optional[Failure]:
    if data is None:
        return None
    return Failure(Phase(data["phase"]), str(data["reason"]), str(data["detail"]), bool(data["resume_attempted"]))


def _failure_data(failure: Optional[Failure]) -> Optional[Dict[str, Any]]:
    if failure is None:
        return None
    return {
        "phase": failure.phase.value,
        "reason": failure.reason,
        "detail": failure.detail,
        "resume_attempted": failure.resume_attempted,
    }


__all__ = ["Journal", "Newer", "SCHEMA", "complete", "dump", "parse", "shown", "to_data"]
