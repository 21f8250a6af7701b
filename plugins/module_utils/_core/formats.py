# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks for the strings a contract is made of: URLs, paths, argument lists, header lines, names, status codes.

What they refuse is what would later be understood differently by another program, or not at all.
A message never shows what may be a secret.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Tuple

from .schema import BAD, Check, ListOf, Pairs, Problems, integer, pattern, printable, show, text

_URL = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RANGE = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.([a-z]+)")
UNIT_SUFFIXES = ("service", "socket", "timer", "path", "mount", "automount", "swap", "target", "device", "scope", "slice")
_OWN_HEADERS = ("connection", "content-length", "transfer-encoding")

name = pattern(
    re.compile(r"[a-z0-9][a-z0-9_-]{0,62}"), "a name of 1 to 63 lower-case letters, digits, '_' and '-', beginning with a letter or digit"
)
user = pattern(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\$?"), "the name of a user")
container = pattern(re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*"), "the name of a container")
project = pattern(re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*"), "the name of one directory below root, without '/'")
proxy_name = pattern(re.compile(r"[A-Za-z0-9_.:-]+"), "a name as HAProxy knows it")
variable = pattern(re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "the name of an environment variable")
port = integer(1, 65535)


def is_address(value: str, version: int) -> bool:
    """Whether it is a literal IP address of that version."""
    import ipaddress

    try:
        return ipaddress.ip_address(value).version == version
    except ValueError:
        return False


def is_host(value: str) -> bool:
    return len(value) <= 253 and _HOST.fullmatch(value) is not None


def host(value: Any, path: str, problems: Problems) -> Any:
    """A host name or an IP address, without brackets or port."""
    if isinstance(value, str) and (is_host(value) or (":" in value and is_address(value, 6))):
        return value
    return problems.add(path, "expected a host name or an IP address, found %s" % show(value))


def split_authority(authority: str) -> Tuple[str, str]:
    """``host:port`` as host (without brackets) and port (empty if absent); an empty host if it is neither."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return "", ""
    found, given_port = match.group(1), match.group(2)
    if found.startswith("["):
        found = found[1:-1] if is_address(found[1:-1], 6) else ""
    elif not is_host(found):
        found = ""
    if given_port is None:
        return found, ""
    return (found, given_port) if re.fullmatch(r"[0-9]{1,5}", given_port) and int(given_port) <= 65535 else ("", "")


def url(credentials_go: str) -> Check:
    """An absolute http or https URL; `credentials_go` tells where credentials belong instead."""

    def check(value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str):
            return problems.add(path, "expected an http or https URL, found %s" % show(value))
        if len(value) > 4096:
            return problems.add(path, "is %d characters long; at most 4096 are allowed" % len(value))
        if any(not "!" <= c <= "~" or c in '"<>\\^`{|}' for c in value):
            return problems.add(path, "contains a space, a control character or another one that must be percent-encoded in a URL")
        match = _URL.fullmatch(value)
        if match is None:
            found = "" if "@" in value else ", found " + show(value)
            return problems.add(path, "expected a URL that begins with http:// or https://" + found)
        if "@" in match.group(2):
            return problems.add(path, "contains credentials, which would be seen in logs; put them into %s" % credentials_go)
        named, given_port = split_authority(match.group(2))
        if not named or (given_port and int(given_port) == 0):
            return problems.add(path, "expected a host name or address and perhaps a port from 1 to 65535, found %s" % show(match.group(2)))
        if match.group(5):
            return problems.add(path, "contains a #fragment, which is never sent to a server; remove it")
        return value

    return check


def path_name(value: Any, path: str, problems: Problems) -> Any:
    """An absolute path that means the same wherever it is read."""
    if not isinstance(value, str) or not value.startswith("/"):
        return problems.add(path, "expected an absolute path, found %s" % show(value))
    if len(value) > 4095 or not printable(value):
        return problems.add(path, "must be at most 4095 characters without control characters or line breaks")
    if ".." in value.split("/"):
        return problems.add(path, "must not contain '..', found %s" % show(value))
    return value


def argument(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str):
        return problems.add(path, "expected a string (numbers in quotes), found %s" % show(value))
    if len(value) > 131071 or any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        return problems.add(path, "no program can be given this: it is too long, or contains NUL or half a character")
    return value


_ARGUMENTS = ListOf(argument, most=1000, of="strings, the program first", least=1)


def argv(value: Any, path: str, problems: Problems) -> Any:
    """A program by absolute path and its arguments. No shell reads them."""
    if isinstance(value, str):
        return problems.add(path, "expected a list of strings, found one string: no shell reads it, so write each argument by itself")
    clean = _ARGUMENTS(value, path, problems)
    if clean is BAD or path_name(clean[0], path + "[0]", problems) is BAD:
        return BAD
    return clean


def unit(refused: Tuple[str, ...] = ()) -> Check:
    """A systemd unit's full name, none of the refused suffixes."""
    suffixes = tuple(suffix for suffix in UNIT_SUFFIXES if suffix not in refused)

    def check(value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str):
            return problems.add(path, "expected a unit's name such as web.service, found %s" % show(value))
        match = _UNIT.fullmatch(value)
        if match is None or match.group(1) not in suffixes or len(value) > 255 or value[0] in "-.":
            return problems.add(path, "expected a unit's full name, ending in .%s; found %s" % (", .".join(suffixes), show(value)))
        if "@." in value:
            return problems.add(path, "%s is a template; name an instance, such as %s" % (show(value), value.replace("@.", "@1.")))
        return value

    return check


def header_name(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or len(value) > 255 or not _TOKEN.fullmatch(value):
        return problems.add(path, "expected the name of an HTTP header, found %s" % show(value))
    if value.lower() in _OWN_HEADERS:
        return problems.add(path, "the header %s is set by the client itself and cannot be given" % value)
    return value


def header_value(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str):
        return problems.add(path, "expected a string (numbers in quotes)")
    if len(value) > 8192 or any((c < " " and c != "\t") or c == "\x7f" or c > "\xff" for c in value):
        return problems.add(path, "must be at most 8192 characters of Latin-1 without line breaks or control characters")
    return value


_HEADERS = Pairs(header_name, header_value)


def headers(value: Any, path: str, problems: Problems) -> Any:
    """A mapping of header names to values, as pairs; no name twice, whatever its case."""
    clean = _HEADERS(value, path, problems)
    if clean is BAD:
        return BAD
    names = [pair[0].lower() for pair in clean]
    twice = sorted({found for found in names if names.count(found) > 1})
    return problems.add(path, "the header %s is given twice" % twice[0]) if twice else clean


def environment_value(value: Any, path: str, problems: Problems) -> Any:
    if not isinstance(value, str) or len(value) > 131071 or any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        return problems.add(path, "expected a string (numbers in quotes) without NUL")
    return value


environment = Pairs(variable, environment_value)


def status_range(value: Any, path: str, problems: Problems) -> Any:
    """One code or range, as (first, last)."""
    codes = "%d" % value if isinstance(value, int) and 0 < value < 1000 else value
    match = _RANGE.fullmatch(codes) if isinstance(codes, str) else None
    first = int(match.group(1)) if match else 0
    last = int(match.group(2) or first) if match else -1
    if first > last:
        return problems.add(path, 'expected a status code (204) or a range ("200-299") between 100 and 599, found %s' % show(value))
    return first, last


status = ListOf(status_range, most=100, of="status codes and ranges", least=1)


def regex(value: Any, path: str, problems: Problems) -> Any:
    """A regular expression that compiles, and means the same in every version of Python."""
    if text()(value, path, problems) is BAD:
        return BAD
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(value)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        return problems.add(path, "is no regular expression: %s" % error)
    except Warning as warning:
        return problems.add(path, "is an ambiguous regular expression: %s; escape what is meant literally" % warning)
    return value


def json_path(value: Any, path: str, problems: Problems) -> Any:
    """A dotted path into a JSON document."""
    if not isinstance(value, str) or len(value) > 255 or not printable(value) or not all(value.split(".")):
        return problems.add(path, "expected a path such as status or checks.database.ok, found %s" % show(value))
    return value


__all__ = [
    "UNIT_SUFFIXES",
    "argv",
    "container",
    "environment",
    "headers",
    "host",
    "is_address",
    "is_host",
    "json_path",
    "name",
    "path_name",
    "port",
    "project",
    "proxy_name",
    "regex",
    "split_authority",
    "status",
    "unit",
    "url",
    "user",
    "variable",
]
