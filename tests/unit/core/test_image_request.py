# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release that is an image asks for, and how its container takes over: tables."""

from __future__ import annotations

import pytest

from selfheal._core.deployment_request import parse_request
from selfheal._core.errors import ContractError
from selfheal._core.image_request import (
    Switch,
    Wanted,
    asks_container,
    named_ports,
    pointed,
    rehearsed,
    rendered,
    switch_of,
    wanted_port,
    writes,
)
from selfheal._core.target import ExecTarget, HttpTarget, TcpTarget

FIXED = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
RANGE = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "8081-8089"}]}}}
ANY = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}}}
ALIAS = {"NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["web"]}}}}
ADDRESS = {"NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "10.1.1.1"}}}}}
ROUTE = ("server web @container:80@ check",)


def wanted(definition=None, **more):
    return Wanted("web:1", "web", definition or {}, **more)


@pytest.mark.parametrize(
    ("definition", "texts", "beside", "expected"),
    [
        ({}, (), None, Switch.BESIDE),
        ({}, ROUTE, None, Switch.ROUTE),
        ({}, ("nothing of it",), None, Switch.BESIDE),
        (ANY, (), None, Switch.BESIDE),
        (RANGE, ROUTE, None, Switch.ROUTE),
        (ALIAS, (), None, Switch.ALIAS),
        (ALIAS, ROUTE, None, Switch.ROUTE),
        (FIXED, (), None, Switch.SWAP),
        (ADDRESS, (), None, Switch.SWAP),
        ({"HostConfig": {"NetworkMode": "host"}}, (), None, Switch.SWAP),
        ({"HostConfig": {"NetworkMode": "container:db"}}, (), None, Switch.SWAP),
        ({}, (), False, Switch.SWAP),
        (FIXED, (), True, Switch.SWAP),
    ],
)
def test_how_it_takes_over(definition, texts, beside, expected):
    """Two serve at the same time unless a port, an address or a word forbids it."""
    assert switch_of(wanted(definition, beside=beside), texts) is expected


@pytest.mark.parametrize(
    ("host", "beside", "anonymous", "expected"),
    [
        ({}, None, False, True),
        ({"Binds": ["/usr:/usr:ro", "/etc/x:/x:ro,z"]}, None, False, True),
        ({"Binds": ["data:/var/lib/db"]}, None, False, False),
        ({"Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}]}, None, False, False),
        ({"Mounts": [{"Type": "bind", "Source": "/srv", "Target": "/srv", "ReadOnly": True}]}, None, False, True),
        ({"Mounts": [{"Type": "tmpfs", "Target": "/tmp"}]}, None, False, True),
        ({"VolumesFrom": ["db"]}, None, False, False),
        ({}, None, True, False),
        ({"Binds": ["data:/var/lib/db"]}, True, True, True),
        ({}, False, False, False),
        ({"NetworkMode": "host"}, True, False, False),
    ],
)
def test_no_two_write_to_one_volume_unasked(host, beside, anonymous, expected):
    """Before a swap an image is tried beside the old one, but not on the data of the old one."""
    assert rehearsed(wanted({"HostConfig": host}, beside=beside), anonymous) is expected
    assert writes(wanted({"HostConfig": {"Binds": ["/a:/b"]}}))


def test_routes_name_ports():
    """Only the mark is replaced, each by the address of its own port."""
    text = "a @container:80@ b @container:8443@ user@container:80 @container:x@"
    assert (80, 8443) == named_ports([text, "@container:80@"])
    assert "a h:81 b h:8444 user@container:80 @container:x@" == rendered(text, lambda port: "h:%d" % (port + 1))


@pytest.mark.parametrize(
    ("definition", "expected"),
    [({}, ("127.0.0.1", None)), (ANY, ("127.0.0.1", None)), (RANGE, ("10.0.0.1", (8081, 8089)))],
)
def test_where_a_named_port_is_published(definition, expected):
    """For this host alone, unless the definition says otherwise."""
    assert wanted_port(wanted(definition), 80) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (HttpTarget("http://container/ready"), HttpTarget("http://10.0.0.5:1080/ready")),
        (HttpTarget("https://container/x?y=1"), HttpTarget("https://10.0.0.5:1443/x?y=1")),
        (HttpTarget("http://container:8080/"), HttpTarget("http://10.0.0.5:9080/")),
        (TcpTarget("container", 5432), TcpTarget("10.0.0.5", 6432)),
    ],
)
def test_a_probe_of_the_container_itself(target, expected):
    """Its own port, wherever that is reached."""
    assert asks_container(target)
    assert pointed(target, lambda port: ("10.0.0.5", port + 1000)) == expected


@pytest.mark.parametrize("target", [HttpTarget("http://127.0.0.1/container"), TcpTarget("containers", 80), ExecTarget(("/bin/true",))])
def test_a_probe_of_something_else(target):
    """It is left as it is."""
    assert not asks_container(target)
    assert pointed(target, lambda port: ("10.0.0.5", port)) == target


def asked(**image):
    source = {"image": {"reference": "web:1", "container": "web", **image}}
    return {"root": "/srv/www", "project": "web", "id": "one", "source": source}


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ({"container": "-web"}, "source.image.container: expected the name of a container"),
        ({"reference": "../x"}, "source.image.reference: expected an image"),
        ({"definition": []}, "source.image.definition: expected a mapping"),
        ({"definition": {"Image": "x"}}, "source.image.definition.Image: the image is named by reference"),
        ({"definition": {"HostConfig": {"AutoRemove": True}}}, "source.image.definition.HostConfig.AutoRemove: a container that goes"),
        ({"definition": {"HostConfig": {"PortBindings": {"80/tcp": "8080"}}}}, "source.image.definition.HostConfig.PortBindings: expected"),
        ({"definition": {"NetworkingConfig": {"EndpointsConfig": ["net"]}}}, "EndpointsConfig: expected a mapping"),
        ({"drain": -1}, "source.image.drain: expected"),
        ({"tag": "x"}, "source.image: unknown key 'tag'"),
    ],
)
def test_what_is_refused(image, problem):
    """Before anything is touched, by its path."""
    with pytest.raises(ContractError) as raised:
        parse_request(asked(**image))
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ({"definition": FIXED}, "publishes 80/tcp at the fixed port 8080"),
        ({"definition": ADDRESS}, "has a fixed address in the network net"),
        ({"beside": False}, "source.image.beside: a route names the new container"),
    ],
)
def test_what_contradicts_itself(image, problem):
    """A route cannot lead to a second container that cannot be."""
    with pytest.raises(ContractError) as raised:
        parse_request({**asked(**image), "routes": [{"path": "/etc/x", "content": ROUTE[0]}]})
    assert problem in str(raised.value)


def test_its_own_network_comes_first():
    """An engine takes one network when a container is made: that of its network mode."""
    found = wanted({"HostConfig": {"NetworkMode": "b"}, "NetworkingConfig": {"EndpointsConfig": {"a": None, "b": {}, "c": {}}}})
    assert ["b", "a", "c"] == list(found.endpoints)
