#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What systemctl show tells in every state that matters, recorded on a host of the lab (see `make lab`), in this folder:
#   docker exec -i selfheal-debian12-1 bash -s -- PROPERTIES <record.sh >systemd252.txt
# PROPERTIES: unit_state.PROPERTIES, joined by commas.
set -u
properties=$1 units=/usr/local/lib/systemd/system
mkdir -p $units
show() { echo "## $1"; systemctl show --property="$properties" -- "$2"; }
unit() { local name=$1; shift; printf '%s\n' "[Service]" "$@" >"$units/$name"; }
main() { systemctl show --property=MainPID --value "$1"; }
unit plain.service "ExecStart=/bin/sleep 1000"
unit again.service "ExecStart=/bin/sleep 1000" "Restart=always" "RestartSec=3"
unit code.service "ExecStart=/bin/sh -c 'sleep .2; exit 3'"
unit loop.service "ExecStart=/bin/sh -c 'exit 3'" "Restart=on-failure" "RestartSec=20ms"
unit deaf.service "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'" "TimeoutStopSec=2"
unit seven.service "ExecStart=/bin/sh -c 'trap \"exit 7\" TERM; while :; do sleep .1; done'"
unit notify.service "Type=notify" "ExecStart=/bin/sleep 100" "TimeoutStartSec=infinity"
unit once.service "Type=oneshot" "ExecStart=/bin/true" "RemainAfterExit=yes"
unit dog.service "WatchdogSec=1" "ExecStart=/bin/sleep 100"
unit most.service "ExecStart=/bin/sleep 100" "RuntimeMaxSec=1"
unit app@.service "ExecStart=/bin/sleep 100%i"
unit lazy.service "ExecStart=/bin/sleep 100"
unit no-program.service "ExecStart=/usr/bin/there-is-none"
printf '[Socket]\nListenStream=/run/lazy\n' >$units/lazy.socket
printf '[Service]\nfoo\n' >$units/broken.service
ln -sf plain.service $units/alias.service
systemctl daemon-reload
show never plain
systemctl start plain
show running plain
show alias alias
kill -9 "$(main plain)"; sleep .2
show killed plain
systemctl start plain; kill -TERM "$(main plain)"; sleep .2
show ended-well plain
systemctl start plain; systemctl stop plain
show stopped plain
systemctl start plain; systemctl --quiet mask plain
show masked-running plain
kill -9 "$(main plain)"; sleep .2
show masked-killed plain
systemctl reset-failed plain
show masked plain
systemctl --quiet unmask plain
systemctl start again; kill -9 "$(main again)"; sleep .2
show auto-restart again
systemctl stop again
show stopped-in-auto-restart again
systemctl start code; sleep .6
show exit-code code
systemctl start loop; sleep 2
show start-limit loop
systemctl start loop 2>/dev/null
show start-refused loop
systemctl start deaf; sleep .3; systemctl stop --no-block deaf; sleep .3
show stopping deaf
sleep 3
show stop-timeout deaf
systemctl start seven; sleep .3; systemctl stop seven
show stopped-badly seven
systemctl start --no-block notify; sleep .3
show activating notify
systemctl stop notify
systemctl start once
show once once
systemctl start dog; sleep 2
show watchdog dog
systemctl start most; sleep 2.5
show time-limit most
systemctl start app@1
show template app@1
systemctl start lazy.socket
show socket lazy
systemctl start no-program 2>/dev/null; sleep .2
show no-program no-program
show not-found nowhere
show broken broken
systemctl stop again app@1 lazy.socket 2>/dev/null
