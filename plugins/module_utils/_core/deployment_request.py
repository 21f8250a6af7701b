# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment is asked to do, checked as a whole before anything is touched. One grammar reads it from a task and from a journal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

from . import formats, image_request, remedies, targets
from .deployment import valid_id
from .model import Fallback
from .schema import BAD, Given, ListOf, Problems, Record, integer, join, number, printable, show, text
from .targets import NamedTarget

_BYTES = 1048576
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,254}", re.ASCII)
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^\s]+")
_PASSWORD = re.compile(r"^[a-z+]+://[^/@]*:[^/@]*@")
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Build:
    """One command, run in the release under way. No shell reads it."""

    argv: Tuple[str, ...]
    timeout: float = 600.0
    environment: Tuple[Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Shared:
    """A path of the release that is a link to one in ``shared/``. directory: it is made there if it is missing."""

    path: str
    directory: bool = False


@dataclass(frozen=True)
class Route:
    """A file outside the project. An argument ``%s`` of `validate` stands for the new file before it is put in place."""

    path: str
    content: str
    validate: Tuple[str, ...] = ()
    reload: Tuple[str, ...] = ()
    timeout: float = 30.0


@dataclass(frozen=True)
class Source:
    """kind: upload (path), git (repository, ref, token_file, key_file) or image."""

    kind: str
    path: str = ""
    repository: str = ""
    ref: str = "HEAD"
    token_file: Optional[str] = None
    key_file: Optional[str] = None
    timeout: float = 300.0
    image: Optional[image_request.Wanted] = None


@dataclass(frozen=True)
class Restart:
    """What is restarted when `current` has moved. kind: unit or service (a contract of this host)."""

    kind: str
    name: str


@dataclass(frozen=True)
class Request:
    """`schema`: of the data that this release reads; `schema_floor`: the oldest that may read what it leaves behind."""

    root: str
    project: str
    id: str
    source: Source
    build: Tuple[Build, ...] = ()
    shared: Tuple[Shared, ...] = ()
    routes: Tuple[Route, ...] = ()
    health: Tuple[NamedTarget, ...] = ()
    health_within: float = 60.0
    restart: Optional[Restart] = None
    fallback: Optional[Fallback] = None
    keep: int = 5
    schema: Optional[int] = None
    schema_floor: Optional[int] = None

    @property
    def build_time(self) -> float:
        """Seconds that the builds may take together."""
        return sum(step.timeout for step in self.build)


def identifier(value: Any, path: str, problems: Problems) -> Any:
    """The id of a deployment."""
    if not valid_id(value):
        expected = "expected 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit, without '..'; found %s"
        return problems.add(path, expected % show(value))
    return value


def project_name(value: Any, path: str, problems: Problems) -> Any:
    clean = formats.project(value, path, problems)
    if clean is not BAD and (".." in clean or len(clean) > 200):
        return problems.add(path, "expected the name of one directory of at most 200 characters without '..', found %s" % show(value))
    return clean


def _inside(value: Any, path: str, problems: Problems) -> Any:
    """A path below the release."""
    if not isinstance(value, str) or not printable(value) or len(value) > 1000:
        return problems.add(path, "expected a path below the release, found %s" % show(value))
    directory = value.endswith("/")
    parts = (value[:-1] if directory else value).split("/")
    if any(part in ("", ".", "..") for part in parts):
        return problems.add(path, "expected a path below the release such as log/ or config/.env, found %s" % show(value))
    return Shared("/".join(parts), directory)


def _nested(entries: Sequence[Any], path: str, problems: Problems) -> None:
    names = [(index, entry.rstrip("/")) for index, entry in enumerate(entries) if isinstance(entry, str)]
    for index, name in names:
        for other, outer in names:
            if other != index and (name == outer and other < index or name.startswith(outer + "/")):
                problems.add("%s[%d]" % (path, index), "%s lies in %s, which is shared as a whole" % (show(name), show(outer)))


def _content(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or len(value) > _BYTES or any("\ud800" <= c <= "\udfff" for c in value):
        return problems.add(path, "expected the file's text, at most 1 MiB")
    return value


def _repository(value: Any, path: str, problems: Problems) -> Any:
    """What git can clone, and nothing that it would read as an option or run as a program (``ext::``)."""
    if not isinstance(value, str) or not _LINE.fullmatch(value) or len(value) > 4096:
        return problems.add(path, "expected a repository: an absolute path, an https, ssh or git URL, or user@host:path")
    if _PASSWORD.match(value) or (value.startswith("http") and "@" in value.partition("://")[2].partition("/")[0]):
        return problems.add(path, "contains credentials, which logs would show; put the token into a file and name it in token_file")
    if value.startswith("/"):
        return formats.path_name(value, path, problems)
    if re.match(r"(https?|ssh|git|file)://[^-]", value) or (_SCP.fullmatch(value) and not value.startswith("-")):
        return value
    return problems.add(path, "expected an absolute path, an https, ssh or git URL, or user@host:path; found %s" % show(value))


def _ref(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or not _REF.fullmatch(value) or ".." in value or value.endswith((".lock", "/", ".")) or "@{" in value:
        return problems.add(path, "expected a branch, a tag or a commit, found %s" % show(value))
    return value


def _source(kind: str) -> Any:
    def make(**given: Any) -> Source:
        return Source(kind, **given)

    return make


def _image(value: Any, path: str, problems: Problems) -> Any:
    clean = image_request.read(value, path, problems)
    return BAD if clean is BAD else Source("image", image=clean)


_within = number(0.1, 86400)
_source_record = Record(
    remedies.only,
    one_as="one",
    one_of={
        "upload": Record(_source("upload"), need={"path": formats.path_name}, may={"timeout": _within}),
        "git": Record(
            _source("git"),
            need={"repository": _repository},
            may={"ref": _ref, "token_file": formats.path_name, "key_file": formats.path_name, "timeout": _within},
        ),
        "image": _image,
    },
)


def _argv_here(value: Any, path: str, problems: Problems) -> Any:
    """A build's program may also be found in the standard directories (make) or in the release (./configure)."""
    if isinstance(value, str):
        return problems.add(path, "expected a list of strings, found one string: no shell reads it, so write each argument by itself")
    clean = ListOf(formats.argument, most=1000, of="strings, the program first", least=1)(value, path, problems)
    if clean is not BAD and not re.fullmatch(r"[A-Za-z0-9_./][^\x00-\x1f]*", clean[0]):
        return problems.add("%s[0]" % path, "expected a program, found %s" % show(clean[0]))
    return clean


_build = Record(Build, need={"argv": _argv_here}, may={"timeout": _within, "environment": formats.environment})


def _route_agrees(given: Given, _written: Given, path: str, problems: Problems) -> None:
    if any("%s" in argument for argument in given.get("reload", ())):
        problems.add(join(path, "reload"), "the new file is in place when it is reloaded; name it by its path instead of %s")


_route = Record(
    Route,
    need={"path": formats.path_name, "content": _content},
    may={"validate": formats.argv, "reload": formats.argv, "timeout": _within},
    after=_route_agrees,
)


def _routes_differ(entries: Sequence[Any], path: str, problems: Problems) -> None:
    seen = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    for index, name in enumerate(seen):
        if name is not None and name in seen[:index]:
            problems.add("%s[%d].path" % (path, index), "%s is written twice" % show(name))


def _probe_of(**given: Any) -> NamedTarget:
    target = given["target"]
    detail = (
        getattr(target, "url", None) or getattr(target, "name", None) or getattr(target, "pidfile", None) or getattr(target, "host", "")
    )
    return NamedTarget(given.get("name") or ("%s %s" % (target.kind, detail)).strip(), target, given.get("timeout"))


_health = Record(_probe_of, one_of=targets.KINDS_ALONE, may={"name": text(200), "timeout": targets.probe_timeout})


def _restart(kind: str, check: Any) -> Any:
    def read(value: Any, path: str, problems: Problems) -> Any:
        clean = check(value, path, problems)
        return BAD if clean is BAD else Restart(kind, clean)

    return read


_restart_record = Record(
    remedies.only,
    one_as="one",
    one_of={
        "unit": _restart("unit", formats.unit(refused=("device", "scope", "slice"))),
        "service": _restart("service", formats.name),
    },
)

_schema_number = integer(0, 1 << 53)


def _floor_agrees(given: Given, written: Given, path: str, problems: Problems) -> None:
    if "schema_floor" in given and "schema" not in written:
        problems.add(join(path, "schema_floor"), "says which data a release must be able to read, so schema must say what this one reads")
    elif given.get("schema_floor", 0) > given.get("schema", 1 << 53):
        problems.add(join(path, "schema_floor"), "is above schema: this release could not read its own data")


def _agrees(given: Given, written: Given, path: str, problems: Problems) -> None:
    _floor_agrees(given, written, path, problems)
    source, routes = given.get("source"), given.get("routes", ())
    if isinstance(source, Source) and source.image is not None:
        image_request.agree(source.image, [each.content for each in routes], join(join(path, "source"), "image"), problems)


_request = Record(
    Request,
    need={"root": formats.path_name, "project": project_name, "id": identifier, "source": _source_record},
    may={
        "build": ListOf(_build, most=100, of="commands"),
        "shared": ListOf(_inside, most=1000, of="paths", after=_nested),
        "routes": ListOf(_route, most=100, of="routes", after=_routes_differ),
        "health": ListOf(_health, most=100, of="probes"),
        "health_within": number(0, 86400),
        "restart": _restart_record,
        "fallback": remedies.fallback,
        "keep": integer(1, 1000),
        "schema": _schema_number,
        "schema_floor": _schema_number,
    },
    after=_agrees,
)
_place = Record(dict, need={"root": formats.path_name, "project": project_name})


def parse_request(data: object, what: str = "deployment") -> Request:
    """A deployment as it is asked for. Raises `ContractError` with every problem (``routes[0].path: …``)."""
    problems = Problems()
    clean = _request(data, "", problems)
    problems.refuse(what)
    return clean


def check_place(root: object, project: object, what: str = "deployment") -> None:
    """Are these the names of a root and of a project in it? Raises `ContractError`."""
    problems = Problems()
    _place({"root": root, "project": project}, "", problems)
    problems.refuse(what)


def check_release(name: object, path: str, what: str = "deployment") -> None:
    """Is this the name of a release? Raises `ContractError`."""
    problems = Problems()
    identifier(name, path, problems)
    problems.refuse(what)


def same_request(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Do both ask for the same release? Who waits how long and how many are kept makes no difference."""
    kept = ("source", "build", "shared", "routes", "health", "restart", "schema", "schema_floor")
    return all((one.get(key) or None) == (other.get(key) or None) for key in kept)


__all__ = [
    "Build",
    "Request",
    "Restart",
    "Route",
    "Shared",
    "Source",
    "check_place",
    "check_release",
    "identifier",
    "parse_request",
    "project_name",
    "same_request",
]
