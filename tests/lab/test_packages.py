# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real packages are upgraded by apt and dpkg while their service is watched: the package manager is not fought."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest
from bed import SERVICE, until

PORT = 8100
# Builds version $1 of the package `shop`, which is one service. $2 runs before the new files are unpacked, $3 after.
BUILD = r"""
set -e
tree=/root/shop-$1
mkdir -p $tree/DEBIAN $tree/lib/systemd/system $tree/usr/share/shop
printf 'Package: shop\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@localhost>\nDescription: one\n' $1 > $tree/DEBIAN/control
printf '[Service]\nType=notify\nExecStart=/usr/bin/python3 -I SERVICE /srv/shop PORT\n' > $tree/lib/systemd/system/shop.service
echo $1 > $tree/usr/share/shop/version
printf '#!/bin/sh\nset -e\n%s\n' "$2" > $tree/DEBIAN/preinst
printf '#!/bin/sh\nset -e\nsystemctl daemon-reload\n%s\n' "$3" > $tree/DEBIAN/postinst
chmod 0755 $tree/DEBIAN/preinst $tree/DEBIAN/postinst
dpkg-deb --build --root-owner-group $tree /root/shop_$1.deb
"""
APT = "DEBIAN_FRONTEND=noninteractive apt-get install -q -y /root/shop_%s.deb"
DPKG = "dpkg -i /root/shop_%s.deb"
KILL = "kill -9 $(systemctl show -p MainPID --value shop)"


def build(bed: Any, version: int, before: str, after: str) -> None:
    script = BUILD.replace("SERVICE", SERVICE).replace("PORT", str(PORT))
    bed.run("sh", "-c", script, "sh", str(version), before, after)


def shop(bed: Any) -> Dict[str, Any]:
    """Version 1, installed and running."""
    build(bed, 1, ":", "systemctl start shop")
    bed.sh(APT % 1, within=90)
    made: Dict[str, Any] = bed.contract("shop", PORT)
    return made


@pytest.mark.long(45)
def test_an_upgrade_that_stops_and_starts(bed: Any) -> None:
    """C01 a package that stops its service, takes its time and starts it again is left alone: that is no failure at all."""
    bed.watch(shop(bed))
    build(bed, 2, "systemctl stop shop", "sleep 5; systemctl start shop")
    bed.sh(APT % 2, within=90)
    assert "2" == bed.sh("cat /usr/share/shop/version").strip()
    bed.healthy("shop")
    assert not bed.events("failure", "start", "restart", "page")
    assert 2 == len(bed.lines("/srv/shop/starts"))
    bed.kill("shop")
    bed.event("recover")


@pytest.mark.long(45)
@pytest.mark.parametrize("install", [APT, DPKG], ids=["apt", "dpkg"])
def test_an_upgrade_that_kills(bed: Any, install: str) -> None:
    """A service that dies in the middle of an upgrade is not started under the package manager's hands, which is named."""
    bed.watch(shop(bed))
    build(bed, 2, KILL, "sleep 6; systemctl start shop")
    bed.sh(install % 2, within=90)
    blocked = bed.event("blocked")
    assert "maintenance" == blocked["data"]["reason"] and "dpkg" in json.dumps(blocked["data"])
    recovered = bed.event("recover")
    assert recovered["data"]["recovery_duration_ms"] >= 5500
    assert not bed.events("start", "restart", "page") and 2 == len(bed.lines("/srv/shop/starts"))


@pytest.mark.long(45)
def test_an_upgrade_that_leaves_it_dead(bed: Any) -> None:
    """What an upgrade has killed and not started again is started when the package manager is done, and not before."""
    bed.watch(shop(bed))
    build(bed, 2, KILL, "sleep 5; date +%s%3N > /root/done")
    bed.sh(APT % 2, within=90)
    started = bed.event("start")
    bed.event("recover")
    assert 1 == len(bed.events("start")) and not bed.events("restart", "page")
    done = int(bed.sh("cat /root/done"))
    when = until(lambda: int(bed.sh("date -d %s +%%s%%3N" % started["timestamp"])), 5, lambda: started["timestamp"])
    assert when >= done, "it was started %d ms before the package was configured" % (done - when)
