#!/usr/bin/env bash
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Real hosts with systemd: `lab.sh up [NUMBER]` starts some for playing, `lab.sh down` removes them, `lab.sh test [PYTEST ARGUMENTS]` runs
# tests/lab on fresh ones, `lab.sh images` makes what all of them start from. Tests mostly wait, so many run at once: SELFHEAL_LAB_WORKERS.
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

verb=${1:-}
shift || true
case $verb in
    up | down | images)
        exec "$("$ROOT/tests/tools/find-python.sh")" "$ROOT/tests/lab/lab.py" "$verb" "$@"
        ;;
    test)
        install_collection
        venv test
        ansible_environment test
        lab_engine
        cd "$ROOT"
        export SELFHEAL_COLLECTION_ROOT="$INSTALLED" PYTHONDONTWRITEBYTECODE=1
        paths=(tests/lab)
        for argument in "$@"; do case $argument in tests/*) paths=() ;; esac; done
        workers=8
        # Every host takes seven inotify instances.
        if [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -lt 512 ]; then workers=4; fi
        # One test at a time to each worker: they come in an order, the longest first.
        twice lab -n "${SELFHEAL_LAB_WORKERS:-$workers}" --dist load --maxschedchunk 1 "${paths[@]}" "$@"
        ;;
    *) die "usage: tests/tools/lab.sh up [NUMBER] | down | images | test [PYTEST ARGUMENTS]" ;;
esac
