# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP probes over TLS: verification, names, expiry, and peers that stall or break the handshake."""

from __future__ import annotations

import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from selfheal._core.model import HttpTarget
from selfheal._core.reasons import Reason
from selfheal._probes import tls
from selfheal._probes.http import HttpProbe

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


def certificate(name, expires, issuer=None, issuer_key=None):
    """A certificate for `name` and 127.0.0.1, and its key; its own authority unless an issuer is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    authority = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 90 * DAY)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if not authority:
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key if authority else issuer_key, hashes.SHA256()), key


@pytest.fixture(scope="module")
def authority():
    return certificate("test authority", NOW + 3650 * DAY)


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def secure(serve, replies, answer, authority, tmp_path):
    """secure(name, expires, handler) → a TLS server with such a certificate."""

    def start(name="app.example", expires=NOW + 30 * DAY + DAY / 2, handler=None):
        made, key = certificate(name, expires, *authority)
        path = tmp_path / "server.pem"
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(key.private_bytes(*plain) + made.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(path))
        return serve(handler or replies(answer(body=b"secret garden")), wrap=lambda raw: context.wrap_socket(raw, server_side=True))

    return start


def target(server, **options):
    return HttpTarget(url="https://127.0.0.1:%d/" % server.port, **options)


def test_verified(secure, run, ca_file):
    """A trusted certificate is healthy, and when it expires is told."""
    server = secure()
    outcome = run(HttpProbe(target(server, tls_ca=ca_file, body_text="garden")), 2).outcome
    assert outcome.status == "ok", outcome
    assert outcome.data == {"http_status": 200, "certificate_expires": (NOW + 30 * DAY + DAY / 2).strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert "expires in 30 days" in outcome.detail


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({}, "self-signed certificate|unable to get local issuer"),
        ({"tls_server_name": "other.example"}, "Hostname mismatch|certificate is not valid for"),
    ],
)
def test_refused(secure, run, ca_file, options, finding):
    """An unknown authority or another name is a TLS failure that says which."""
    import re

    if options:
        options["tls_ca"] = ca_file
    outcome = run(HttpProbe(target(secure(), **options)), 2).outcome
    assert (outcome.status, outcome.reason) == ("bad", Reason.TLS_FAILED)
    assert re.search(finding, outcome.detail), outcome.detail


def test_server_name(secure, run, ca_file):
    """The name to verify can be another one than the URL's."""
    assert run(HttpProbe(target(secure(), tls_ca=ca_file, tls_server_name="app.example")), 2).outcome.status == "ok"


def test_expired(secure, run, ca_file):
    """An expired certificate fails, and with verification off it is still told that it expired."""
    server = secure(expires=NOW - 3 * DAY)
    refused = run(HttpProbe(target(server, tls_ca=ca_file)), 2).outcome
    assert (refused.status, refused.reason) == ("bad", Reason.TLS_FAILED)
    assert "expired" in refused.detail
    lax = run(HttpProbe(target(server, tls_verify=False)), 2).outcome
    assert lax.status == "ok"
    assert "expired 3 days ago" in lax.detail


def test_missing_ca_file_is_unknown(secure, run, tmp_path):
    """A CA file that is not there is a fault of this host: unknown, and it is named."""
    outcome = run(HttpProbe(target(secure(), tls_ca=str(tmp_path / "none.pem"))), 2).outcome
    assert (outcome.status, outcome.reason) == ("unknown", Reason.TLS_FAILED)
    assert "none.pem" in outcome.detail


def test_ca_file_is_read_again_when_it_changes(ca_file, authority):
    """A replaced CA file is seen; an unchanged one is not loaded twice."""
    first = tls.context(True, ca_file)
    assert tls.context(True, ca_file) is first
    with open(ca_file, "ab") as more:
        more.write(authority[0].public_bytes(serialization.Encoding.PEM))
    assert tls.context(True, ca_file) is not first


@pytest.mark.parametrize("expires", [NOW + DAY, NOW.replace(2049, 12, 31), NOW.replace(2050, 1, 1)])
def test_expiry_is_read_from_der(authority, expires):
    """Both ways of writing a time in a certificate are understood."""
    made, _key = certificate("app.example", expires, *authority)
    assert tls.expiry(made.public_bytes(serialization.Encoding.DER)) == expires


@pytest.mark.parametrize("garbage", [b"", b"\x30", b"\x30\x82\xff\xff\x30\x03\x02\x01", b"hello"])
def test_expiry_of_garbage(garbage):
    """What is no certificate has no expiry."""
    assert tls.expiry(garbage) is None


def test_handshake_that_stalls(serve, run):
    """C28: a peer that accepts and never begins TLS is a failure at the deadline."""
    outcome = run(HttpProbe(target(serve(lambda peer: peer.silence()))), 0.3).outcome
    assert (outcome.status, outcome.reason) == ("bad", Reason.TIMEOUT)
    assert "the TLS handshake did not end" in outcome.detail


def test_handshake_that_drips(serve, run):
    """A handshake that comes byte by byte does not stretch the deadline."""
    outcome = run(HttpProbe(target(serve(lambda peer: peer.drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 9000)))), 0.3).outcome
    assert outcome.status == "bad"
    assert outcome.reason in (Reason.TIMEOUT, Reason.TLS_FAILED)


@pytest.mark.parametrize(
    "speak", [lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), lambda peer: peer.reset(), lambda peer: None]
)
def test_no_tls_there(serve, run, speak):
    """A plain server behind an https URL, or one that hangs up, is a TLS failure."""

    def handler(peer):
        peer.connection.recv(10000)
        speak(peer)

    outcome = run(HttpProbe(target(serve(handler))), 2).outcome
    assert (outcome.status, outcome.reason) == ("bad", Reason.TLS_FAILED), outcome


def test_stall_after_the_handshake(secure, run):
    """Silence inside TLS is a failure at the deadline."""
    server = secure(handler=lambda peer: peer.silence())
    outcome = run(HttpProbe(target(server, tls_verify=False)), 0.4).outcome
    assert (outcome.status, outcome.reason) == ("bad", Reason.TIMEOUT)


def test_large_body_in_records(secure, run, answer):
    """A body of many TLS records, some decrypted at once, is read to its end."""

    def handler(peer):
        peer.request()
        peer.send(answer(body=b"x" * 200000 + b"end"))

    server = secure(handler=handler)
    outcome = run(HttpProbe(target(server, tls_verify=False, body_limit=1048576, body_text="end")), 3).outcome
    assert outcome.status == "ok", outcome


def test_redirect_over_tls(secure, run, answer):
    """A redirect within TLS makes a new connection and a new handshake."""

    def handler(peer):
        first = peer.request().startswith(b"GET / ")
        peer.send(answer("302 Found", ["Location: /end"]) if first else answer(body=b"arrived"))

    outcome = run(HttpProbe(target(secure(handler=handler), tls_verify=False, body_text="arrived")), 3).outcome
    assert outcome.status == "ok", outcome
