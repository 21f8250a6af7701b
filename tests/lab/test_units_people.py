# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do to units and to the watchdog is respected."""

from __future__ import annotations

import json
import time
from typing import Any

LOCK = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(600)"


def test_what_an_admin_stopped_stays_stopped(bed: Any) -> None:
    """C01 systemctl stop, also of a service that ends badly when told to; started again, it is watched as before."""
    badly = bed.unit("badly", "ExecStopPost=/bin/true", options="")
    bed.write("/usr/local/lib/systemd/system/badly.service.d/stop.conf", "[Service]\nKillSignal=SIGQUIT\nSuccessExitStatus=\n")
    bed.sh("systemctl daemon-reload")
    bed.watch(bed.unit("web"), badly)
    bed.sh("systemctl stop web badly")
    for name in ("web", "badly"):
        bed.in_state(name, "stopped")
    assert "failed" == bed.show("badly", "ActiveState")["ActiveState"], "only the journal tells this stop from a crash"
    time.sleep(3)
    assert not bed.events("failure", "start", "restart", "page")
    bed.sh("systemctl start web")
    bed.healthy("web")
    bed.kill("web")
    bed.event("recover", service="web")


def test_masked(bed: Any) -> None:
    """C01 a masked unit is not started, whatever became of its process; unmasked and started by a person it is watched again."""
    bed.watch(bed.unit("web"))
    bed.sh("systemctl mask --quiet web")
    bed.kill("web")
    bed.in_state("web", "stopped")
    time.sleep(2)
    assert not bed.events("start", "restart", "page")
    bed.sh("systemctl unmask --quiet web && systemctl start web")
    bed.healthy("web")


def test_packages_being_changed(bed: Any) -> None:
    """While the package manager holds its lock nothing is started; the block says who, and it is healed right after."""
    bed.watch(bed.unit("web"))
    bed.sh('systemd-run --quiet --unit=upgrade python3 -I -c "%s"' % LOCK)
    time.sleep(1.2)
    bed.kill("web")
    blocked = bed.event("blocked")
    assert "maintenance" == blocked["data"]["reason"] and "lock-frontend" in json.dumps(blocked["data"])
    assert not bed.events("start")
    bed.sh("systemctl stop upgrade")
    bed.event("recover")


def test_red_button(bed: Any) -> None:
    """The file /etc/selfheal/hold stops every action on every service; without it they are healed."""
    bed.watch(bed.unit("web"), bed.unit("api"))
    bed.sh("touch /etc/selfheal/hold")
    time.sleep(1.2)
    for name in ("web", "api"):
        bed.kill(name)
    for name in ("web", "api"):
        assert "hold" == bed.event("blocked", service=name)["data"]["reason"]
    time.sleep(2)
    assert not bed.events("start", "restart")
    bed.sh("rm /etc/selfheal/hold")
    for name in ("web", "api"):
        bed.event("recover", service=name)


def test_broken_contract_on_reload(bed: Any) -> None:
    """A contract that is broken is refused by name, and the old one stays in force."""
    bed.watch(bed.unit("web"))
    bed.write("/etc/selfheal/contracts.json", '{"services": [{"name": "web", "resource": {"unti": "web.service"}}]}')
    bed.sh("systemctl reload selfheal-watchdog")
    refused = bed.event("contract_refused")
    assert any("unti" in problem for problem in refused["data"]["problems"])
    bed.kill("web")
    bed.event("recover")


def test_a_unit_that_does_not_exist(bed: Any) -> None:
    """A contract for a unit that is not there is said to be wrong; it is no incident, and the others are watched."""
    web = bed.unit("web")
    ghost = bed.contract("ghost", 9)
    bed.contracts(web, ghost)
    said = json.loads(bed.selfheal("check", "--json", expect=2))
    assert any("ghost.service" in problem for problem in said["problems"])
    bed.sh("systemctl start selfheal-watchdog")
    bed.healthy("web")
    time.sleep(3)
    assert "unknown" == bed.state("ghost")
    assert not bed.events("failure", "start", "page")
    bed.kill("web")
    bed.event("recover", service="web")


def test_templates_aliases_and_sockets(bed: Any) -> None:
    """An instance of a template and an alias are healed as what they are; a socket-activated unit that waits is not dead."""
    bed.write("/usr/local/lib/systemd/system/tool@.service", "[Service]\nExecStart=/bin/sleep 10%i\n")
    bed.sh("ln -s web.service /etc/systemd/system/www.service")
    web, lazy = bed.unit("web"), bed.unit("lazy")
    bed.write("/usr/local/lib/systemd/system/lazy.socket", "[Socket]\nListenStream=/run/lazy\n")
    bed.sh("systemctl daemon-reload; systemctl stop lazy; systemctl start lazy.socket; systemctl start tool@1")
    probe = {"role": "liveness", "unit": {"name": "tool@1.service"}, "period": 1, "timeout": 0.9}
    tool = {**bed.contract("tool", 1), "resource": {"unit": "tool@1.service"}, "probes": [probe]}
    web["resource"] = {"unit": "www.service"}
    bed.contracts(tool, web, lazy)
    bed.sh("systemctl start selfheal-watchdog")
    for name in ("tool", "web"):
        bed.healthy(name)
    bed.in_state("lazy", "stopped")
    bed.kill("tool@1")
    bed.kill("web")
    for name in ("tool", "web"):
        bed.event("recover", service=name)
    assert not bed.events("failure", service="lazy")
