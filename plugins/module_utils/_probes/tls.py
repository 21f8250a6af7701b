# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS for probes: contexts, and when a certificate expires. Imported only when a contract names an https URL."""

from __future__ import annotations

import datetime
import os
import ssl
from typing import Dict, Optional, Tuple

_Key = Tuple[bool, Optional[str], Tuple[int, int]]
_contexts: Dict[_Key, ssl.SSLContext] = {}


def context(verify: bool, ca: Optional[str]) -> ssl.SSLContext:
    """A client's context, kept as long as the CA file is unchanged: loading CAs costs 15 ms and 2 MB. Raises OSError, ssl.SSLError."""
    stamp = (0, 0)
    if ca is not None:
        status = os.stat(ca)
        stamp = (status.st_mtime_ns, status.st_size)
    key = (verify, ca, stamp)
    found = _contexts.get(key)
    if found is None:
        for old in [known for known in _contexts if known[:2] == key[:2]]:
            del _contexts[old]
        directory = ca is not None and os.path.isdir(ca)
        found = ssl.create_default_context(cafile=None if directory else ca, capath=ca if directory else None)
        # Python 3.13 began to refuse certificates that every client of the service still takes (no authority key identifier,
        # say): that would be a fault of the judge, and only on hosts with a new Python.
        found.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if not verify:
            found.check_hostname = False
            found.verify_mode = ssl.CERT_NONE
        found.set_alpn_protocols(["http/1.1"])
        _contexts[key] = found
    return found


def expiry(certificate: Optional[bytes]) -> Optional[datetime.datetime]:
    """notAfter of a DER certificate, in UTC; None if it cannot be read. Works unverified too, where `getpeercert` tells nothing."""
    if not certificate:
        return None
    try:
        return _not_after(certificate)
    except (IndexError, ValueError):
        return None


def _not_after(der: bytes) -> datetime.datetime:
    # RFC 5280: Certificate { tbs { [0] version, serial, algorithm, issuer, validity { notBefore, notAfter }, ... } }
    at = _inside(der, _inside(der, 0))
    if der[at] == 0xA0:
        at = _after(der, at)
    for _field in ("serial", "algorithm", "issuer"):
        at = _after(der, at)
    at = _after(der, _inside(der, at))
    content = der[_inside(der, at) : _after(der, at)].decode("ascii")
    if der[at] == 0x17:  # UTCTime: two digits of year, 1950 to 2049
        content = ("20" if content[:2] < "50" else "19") + content
    return datetime.datetime.strptime(content, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def _header(der: bytes, at: int) -> Tuple[int, int]:
    """Where the content of the element at `at` begins, and where it ends."""
    first = der[at + 1]
    if first < 0x80:
        return at + 2, at + 2 + first
    count = first & 0x7F
    begin = at + 2 + count
    return begin, begin + int.from_bytes(der[at + 2 : begin], "big")


def _inside(der: bytes, at: int) -> int:
    return _header(der, at)[0]


def _after(der: bytes, at: int) -> int:
    return _header(der, at)[1]


__all__ = ["context", "expiry"]
