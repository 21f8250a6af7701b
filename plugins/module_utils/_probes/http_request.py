# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes an HTTP probe sends, made once per target, and what may be shown of them."""

from __future__ import annotations

import urllib.parse
from typing import Optional, Tuple

from .._core.redact import redact_text
from .._core.target import HttpTarget
from .connect import Endpoint

USER_AGENT = "faultline-selfheal"

Headers = Tuple[Tuple[str, str], ...]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REWRITTEN = ("connection", "content-length", "transfer-encoding", "host")
HARMLESS = ("accept", "accept-encoding", "accept-language", "cache-control", "content-type", "host", "user-agent")
"""Headers whose values may be shown, and sent to another port of the same host. Any other may be a secret."""
SHORTEST_SECRET = 4
"""What is shorter is no secret, and hiding it would blot out half of every message."""


class Request:
    """One request of a probe: where it goes, its bytes, and `shown`, its first line and Host without secrets.

    scheme: http or https. authority: the Host sent. server_name: the name asked for in TLS.
    """

    __slots__ = ("scheme", "endpoint", "method", "path", "authority", "server_name", "wire", "shown", "headers", "body")

    def __init__(self, url: str, method: str, headers: Headers, body: Optional[str], server_name: Optional[str]) -> None:
        parts = urllib.parse.urlsplit(url)
        self.scheme = parts.scheme.lower()
        if self.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("expected an http or https URL with a host")
        port = parts.port or _DEFAULT_PORTS[self.scheme]
        self.endpoint = Endpoint(parts.hostname, port)
        self.method = method
        self.path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        self.headers = headers
        self.body = body
        self.server_name = server_name or parts.hostname
        usual = _authority(parts.hostname, port, self.scheme)
        self.authority = next((value for name, value in headers if name.lower() == "host"), usual)
        self.wire = self._bytes()
        self.shown = "%s %s://%s%s%s" % (
            method,
            self.scheme,
            self.endpoint,
            redact_text(self.path),
            "" if self.authority == usual else " (Host: %s)" % self.authority,
        )

    def _bytes(self) -> bytes:
        lines = ["%s %s HTTP/1.1" % (self.method, self.path), "Host: " + self.authority]
        given = {name.lower() for name, _value in self.headers}
        for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity")):
            if name.lower() not in given:
                lines.append("%s: %s" % (name, value))
        lines += ["%s: %s" % (name, value) for name, value in self.headers if name.lower() not in _REWRITTEN]
        body = (self.body or "").encode("utf-8")
        if body or self.method in ("POST", "PUT", "PATCH"):
            lines.append("Content-Length: %d" % len(body))
        lines.append("Connection: close")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a request line or header must not contain line breaks")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def after(self, status: int, location: str) -> Tuple[Optional[Request], str]:
        """The request that a redirect asks for, and where it leads (without secrets); None if it leads to another host or is no URL.

        To another scheme or port of the same host go neither the own Host nor any header that may be a secret.
        Raises nothing: what cannot be followed is the server's fault.
        """
        method, body = self.method, self.body
        if status == 303 and method != "HEAD" or status in (301, 302) and method == "POST":
            method, body = "GET", None
        shown = redact_text(location.strip())[:200]
        try:
            base = "%s://%s%s" % (self.scheme, self.endpoint, self.path)
            # What servers send unencoded is encoded as browsers do; what is encoded stays.
            joined = urllib.parse.urljoin(base, location.strip()).partition("#")[0]
            target = urllib.parse.quote(joined, safe="!$%&'()*+,/:;=?@[]~", encoding="latin-1", errors="replace")
            shown = redact_text(target)[:200]
            parts = urllib.parse.urlsplit(target)
            if (parts.hostname or "") != self.endpoint.host.lower() or parts.scheme.lower() not in _DEFAULT_PORTS:
                return None, shown
            same = (parts.scheme.lower(), parts.port or _DEFAULT_PORTS[parts.scheme.lower()]) == (self.scheme, self.endpoint.port)
            headers = self.headers if same else tuple((n, v) for n, v in self.headers if n.lower() != "host" and n.lower() in HARMLESS)
            return Request(target, method, headers, body, self.server_name), shown
        except ValueError:
            return None, shown


def _authority(host: str, port: int, scheme: str) -> str:
    name = "[%s]" % host if ":" in host else host
    return name if port == _DEFAULT_PORTS[scheme] else "%s:%d" % (name, port)


def first_request(target: HttpTarget) -> Request:
    """The request a contract describes. Raises ValueError for what its parser refuses."""
    return Request(target.url, target.method, target.headers, target.body, target.tls_server_name)


__all__ = ["HARMLESS", "Request", "SHORTEST_SECRET", "USER_AGENT", "first_request"]
