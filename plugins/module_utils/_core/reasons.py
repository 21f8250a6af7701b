# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why something was done, not done, or found failing: the one enumeration behind results, log, timeline and metrics."""

from __future__ import annotations

import enum


class Reason(str, enum.Enum):
    """Values are what users see; never rename one that was released."""

    # What opens an incident or makes an attempt necessary.
    LIVENESS_FAILED = "liveness_failed"
    READINESS_FAILED = "readiness_failed"
    STARTUP_FAILED = "startup_failed"
    GONE = "gone"
    FIRST_START = "first_start"

    # How an attempt ended, and why a rung was passed over.
    ACTION_FAILED = "action_failed"
    WINDOW_OVER = "window_over"
    DIED_AGAIN = "died_again"
    RELAPSED = "relapsed"
    RELEASE_SETTLED = "release_settled"
    UNSUPPORTED = "unsupported"
    LADDER_EXHAUSTED = "ladder_exhausted"
    UNPROVEN = "unproven"
    HEALED = "healed"
    HOST_REBOOTED = "host_rebooted"
    WAIT_OVER = "wait_over"

    # Guards: what can forbid an action, in the order in which they are asked.
    HOLD = "hold"
    OBSERVE = "observe"
    AWAITING_APPROVAL = "awaiting_approval"
    ADMIN_STOPPED = "admin_stopped"
    MAINTENANCE = "maintenance"
    NOT_STARTED = "not_started"
    LEASE_HELD = "lease_held"
    DEPENDENCY_DOWN = "dependency_down"
    LAST_AVAILABLE = "last_available"
    BUDGET_SPENT = "budget_spent"
    COOLDOWN = "cooldown"
    BACKOFF = "backoff"
    FLAPPING = "flapping"
    STORM = "storm"
    OWN_NETWORK_DOWN = "own_network_down"
    ENGINE_DOWN = "engine_down"
    RECORDS_UNWRITABLE = "records_unwritable"

    # Deployments: why one was refused, skipped, failed, or what is held of its release.
    ID_USED = "id_used"
    OWNER_ALIVE = "owner_alive"
    OWNER_UNKNOWN = "owner_unknown"
    TOO_YOUNG = "too_young"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    SOURCE_MISSING = "source_missing"
    SOURCE_CHANGED = "source_changed"
    FILES_MISSING = "files_missing"
    TAMPERED = "tampered"
    BUILD_FAILED = "build_failed"
    DISK_FULL = "disk_full"
    OBSTRUCTED = "obstructed"
    RESTART_FAILED = "restart_failed"
    ROUTE_FAILED = "route_failed"
    UNHEALTHY = "unhealthy"
    BAD_RELEASE = "bad_release"
    SCHEMA_FLOOR = "schema_floor"
    NO_GOOD_RELEASE = "no_good_release"
    ROLLED_BACK = "rolled_back"
    LEFT_BY_LADDER = "left_by_ladder"
    HEALED_BY_ROLLBACK = "healed_by_rollback"
    GARBLED = "garbled"

    # Links: what was wrong with one, or why it was left as it is.
    LINK_MISSING = "link_missing"
    LINK_BROKEN = "link_broken"
    LINK_WRONG = "link_wrong"
    LINK_ABSOLUTE = "link_absolute"
    LINK_INDIRECT = "link_indirect"
    LINK_OUTSIDE = "link_outside"
    NOT_NEWEST = "not_newest"
    NO_RELEASE = "no_release"
    NO_PUBLIC_DIRECTORY = "no_public_directory"
    NO_SUCH_PROJECT = "no_such_project"
    PROJECT_IS_LINK = "project_is_link"
    UNSAFE_DIRECTORY = "unsafe_directory"

    # Traffic.
    NO_BACKUP = "no_backup"
    FORCED = "forced"
    TRAFFIC_RETURNED = "traffic_returned"
    FALLBACK_REMOVED = "fallback_removed"

    # Containers.
    DRIFTED = "drifted"
    NOT_WANTED = "not_wanted"
    ORPHANED = "orphaned"
    NAME_CONFLICT = "name_conflict"

    # What a probe found.
    TIMEOUT = "timeout"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    UNREACHABLE = "unreachable"
    EMPTY_REPLY = "empty_reply"
    BAD_STATUS_LINE = "bad_status_line"
    BAD_HEADER = "bad_header"
    HEADER_TOO_LARGE = "header_too_large"
    BAD_STATUS = "bad_status"
    BAD_BODY = "bad_body"
    BODY_MISMATCH = "body_mismatch"
    BODY_TOO_LARGE = "body_too_large"
    JSON_MISMATCH = "json_mismatch"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TLS_FAILED = "tls_failed"
    EXIT_STATUS = "exit_status"
    KILLED_BY_SIGNAL = "killed_by_signal"
    NOT_RUNNING = "not_running"
    NOT_ACTIVE = "not_active"
    CONTAINER_UNHEALTHY = "container_unhealthy"
    SLOW = "slow"

    # Why a probe could not run: its observation is unknown and changes nothing.
    NO_SUCH_PROGRAM = "no_such_program"
    NO_SUCH_CONTAINER = "no_such_container"
    IMAGE_MISSING = "image_missing"
    NO_PERMISSION = "no_permission"
    NAME_LOOKUP_FAILED = "name_lookup_failed"
    TOO_MANY_STUCK = "too_many_stuck"
    RESOURCE_LIMIT = "resource_limit"
    CLOCK_GAP = "clock_gap"
    INTERNAL_ERROR = "internal_error"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


__all__ = ["Reason"]
