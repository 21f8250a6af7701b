# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that become file names."""

from __future__ import annotations

import re

from .._core.errors import RecordError

_SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_ODD = {code: "%%%02X" % code for code in range(256) if not (chr(code).isascii() and chr(code).isalnum()) and chr(code) not in "_.-"}
_LONGEST = 200


def service_name(name: str) -> str:
    """`name`, if it is a service's. Raises RecordError: nothing else may become part of a path."""
    if not isinstance(name, str) or _SERVICE.fullmatch(name) is None:
        raise RecordError(
            "%.80r is no name of a service; expected a-z, 0-9, _ and -, at most 63 characters, beginning with a-z or 0-9." % (name,)
        )
    return name


def escape(name: str) -> str:
    """Any string as a file name, reversibly: other bytes than ``A-Za-z0-9_-.`` (and a leading dot) become ``%XX``.

    A name that gets too long ends in a hash instead; what it was must then stand in the file. Raises RecordError for an empty one.
    """
    data = name.encode("utf-8", "surrogatepass")
    if not data:
        raise RecordError("An empty name cannot be leased; expected the name of a resource or project.")
    text = data.decode("latin-1").translate(_ODD)
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) <= _LONGEST:
        return text
    from .segments import digest

    return "%s%%~%s" % (text[:100].rpartition("%")[0] or text[:100], digest(data))


def unescape(text: str) -> str:
    """The name that `escape` was given. Raises ValueError for what it did not make, and for a name ending in a hash."""
    data = bytearray()
    place = 0
    while place < len(text):
        if text[place] == "%":
            data.append(int(text[place + 1 : place + 3], 16))
            place += 3
        else:
            data.append(ord(text[place]))
            place += 1
    name = data.decode("utf-8", "surrogatepass")
    if escape(name) != text:
        raise ValueError("%r is no escaped name" % text)
    return name


__all__ = ["escape", "service_name", "unescape"]
