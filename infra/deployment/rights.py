"""
Who may do what in the database: a role for each function and one for the operator's commands, each with these rights
and no others. A further role, the migrator, owns the tables.

The docstring of each function names the same tables (Reads, Writes, Deletes); tests compare both, and run the functions
under their roles. A statement that needs more is refused by PostgreSQL (`permission denied for table …`): its right is
entered here and in the docstring. `migrate` grants what is missing. It takes nothing away, because instances of the
version before may still run; `make roles REVOKE=1` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

EVERY_COLUMN: Final = "*"
# How PostgreSQL names the sequence of `id` of a table.
SEQUENCE: Final = "_id_seq"

MIGRATOR: Final = "gateway_migrator"
OPERATOR: Final = "gateway_operator"


@dataclass(frozen=True, kw_only=True)
class Rights:
    """
    On one table. `reads`, `updates`: columns, separated by blanks, or EVERY_COLUMN.

    `locks`: a column that may be updated only because PostgreSQL lets nobody lock a row who may not update anything of
    it; nothing updates it. `draws_ids`: takes numbers from the sequence of `id` beside inserting; `moves_ids`: lets the
    sequence go on behind numbers that came from elsewhere.
    """

    reads: str = ""
    inserts: bool = False
    updates: str = ""
    deletes: bool = False
    locks: str = ""
    draws_ids: bool = False
    moves_ids: bool = False

    @property
    def writes(self) -> bool:
        return self.inserts or bool(self.updates)


class Privilege(NamedTuple):
    """As PostgreSQL keeps it. `column` is empty for the whole table, `table` may be a sequence."""

    role: str
    table: str
    column: str
    kind: str


Tables = Mapping[str, Rights]

# One row with everything that belongs to an enterprise, as `lib.store.enterprises` reads it for the cache. Neither the
# token nor the secret of a host nor the hash of a password is in it.
_ENTERPRISE: Final = (
    "number name token_sha256 secret_sha256 client_id region timezone asterisk_url integrations_config host_networks"
)
_ROTATION: Final = Rights(reads="enterprise_number next_token_sha256")
# Whoever is shown a token notes when the old one was used last.
_ROTATION_IN_USE: Final = Rights(reads="enterprise_number next_token_sha256", updates="old_used_at")
_CACHE: Final[Tables] = {
    "users": Rights(reads="id enterprise_number personal_phone"),
    "user_internal_phones": Rights(reads=EVERY_COLUMN),
    "lines": Rights(reads=EVERY_COLUMN),
    "token_rotations": _ROTATION,
}
_READ: Final = Rights(reads=EVERY_COLUMN)
_APPEND: Final = Rights(inserts=True)
_UPSERT: Final = Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN)
_CONFIGURATION: Final = "integrations_config updated_at"

# What `GET /stats` counts, which every function answers (`lib.admin.health`): states and times, nothing that was said.
STATS: Final[Tables] = {
    "deliveries": Rights(reads="call_id crm state finished_at"),
    "calls": Rights(reads="id enterprise_number kind decisions next_wake_at updated_at"),
    "call_events": Rights(reads="call_id received_at wake_at"),
    "rejected_messages": Rights(reads="received_at"),
    "crm_gates": Rights(
        reads="account away_since failures telephony_under_way telephony_ended other_under_way other_ended pauses"
    ),
}

FUNCTIONS: Final[Mapping[str, Tables]] = {
    "dispatch-call-event": {
        **_CACHE,
        "token_rotations": _ROTATION_IN_USE,
        "enterprises": Rights(reads=_ENTERPRISE),
        # By what copies are recognised; what hosts said is not read back.
        "call_events": Rights(
            reads="id event_id enterprise_number unique_id event_type fingerprint occurrence copies received_at "
            "wake_at xmax",
            inserts=True,
            updates="copies wake_at",
        ),
    },
    "retailcrm-deliver": {
        **_CACHE,
        "enterprises": Rights(reads=_ENTERPRISE),
        # What was received stays as it is.
        "call_events": Rights(reads=EVERY_COLUMN, inserts=True, updates="copies call_id wake_at"),
        "calls": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True, draws_ids=True),
        "call_links": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True),
        "host_clocks": _UPSERT,
        "deliveries": _UPSERT,
        "attempts": _UPSERT,
        "row_timers": _UPSERT,
        "crm_gates": _UPSERT,
        # The mapping is pushed again when the CRM does not know an extension.
        "module_commands": _UPSERT,
        "integration_logs": _APPEND,
        "rejected_messages": _APPEND,
    },
    "retailcrm-upload": {
        **_CACHE,
        "enterprises": Rights(reads=_ENTERPRISE),
        "deliveries": Rights(reads=EVERY_COLUMN, updates=EVERY_COLUMN),
        "attempts": _UPSERT,
        "row_timers": Rights(reads=EVERY_COLUMN, updates=EVERY_COLUMN),
        "crm_gates": _UPSERT,
        "integration_logs": _APPEND,
        "rejected_messages": _APPEND,
    },
    "assemble-recovered": {
        **_CACHE,
        "enterprises": Rights(reads=_ENTERPRISE),
        "call_events": Rights(reads=EVERY_COLUMN, inserts=True, updates="copies call_id wakes wake_at"),
        "calls": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True, draws_ids=True),
        "call_links": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True),
        "host_clocks": _UPSERT,
        "deliveries": _UPSERT,
        # Of a worker that is gone: whether it sent anything.
        "attempts": _READ,
        "row_timers": _UPSERT,
        "rejected_messages": _APPEND,
    },
    "sweep-calls": {
        "enterprises": Rights(reads="number"),
        # `raw_data`, `record_url`: emptied when they are too old.
        "call_events": Rights(
            reads=EVERY_COLUMN, inserts=True, updates="copies wakes wake_at raw_data record_url", deletes=True
        ),
        "calls": Rights(reads=EVERY_COLUMN, updates="wakes next_wake_at due_at events_forgotten", deletes=True),
        "call_links": Rights(reads="call_id", deletes=True),
        "deliveries": Rights(reads=EVERY_COLUMN, updates="state reason lease_until fence finished_at", deletes=True),
        "row_timers": Rights(reads=EVERY_COLUMN, updates="wake_at"),
        "attempts": Rights(reads="delivery_id started_at ctid", deletes=True, locks="fence"),
        "crm_gates": Rights(reads="account"),
        "integration_logs": Rights(reads="created_at ctid", deletes=True, locks="id"),
        # `reason`, `replayed_at`: what `GET /metrics` counts for all functions.
        "rejected_messages": Rights(
            reads="received_at reason replayed_at ctid", inserts=True, deletes=True, locks="id"
        ),
        "clicks": Rights(reads="clicked_at ctid", deletes=True, locks="id"),
        "callbacks": Rights(reads="said_at ctid", deletes=True, locks="state"),
        "sessions": Rights(reads="created_at last_seen_at ctid", deletes=True, locks="id"),
        "sign_in_attempts": Rights(reads="attempted_at ctid", deletes=True, locks="id"),
        "known_browsers": Rights(reads="seen_at ctid", deletes=True, locks="tries"),
        "module_commands": Rights(reads="finished_at ctid", deletes=True, locks="id"),
        "replays": Rights(reads="created_at ctid", deletes=True, locks="id"),
    },
    "make-call": {
        **_CACHE,
        # The secret: the Asterisk service knows the enterprise by it.
        "enterprises": Rights(reads=f"{_ENTERPRISE} secret", updates=_CONFIGURATION),
        "clicks": _UPSERT,
        "user_statuses": _UPSERT,
        "integration_logs": _APPEND,
    },
    "smart-redirect": {
        **_CACHE,
        "token_rotations": _ROTATION_IN_USE,
        "enterprises": Rights(reads=_ENTERPRISE),
        "calls": Rights(reads="enterprise_number customer result owner_extension started_at"),
        "user_statuses": _READ,
        "crm_gates": _UPSERT,
        "integration_logs": _APPEND,
    },
    "register-module": {
        **_CACHE,
        "enterprises": Rights(
            reads=f"{_ENTERPRISE} account_link_version", updates=f"{_CONFIGURATION} account_link_version"
        ),
        "module_commands": Rights(reads=EVERY_COLUMN, updates=EVERY_COLUMN),
        "crm_gates": _UPSERT,
        "integration_logs": _APPEND,
        "rejected_messages": _APPEND,
    },
    "admin-api": {
        "token_rotations": _ROTATION,
        "enterprises": Rights(
            reads=f"{_ENTERPRISE} account_link_version", updates=f"{_CONFIGURATION} account_link_version"
        ),
        "users": Rights(reads=EVERY_COLUMN, updates="password_hash"),
        "user_internal_phones": _READ,
        "lines": Rights(reads=EVERY_COLUMN, updates="name phone_number site_code incoming_transform"),
        "sessions": _UPSERT,
        "sign_in_attempts": Rights(reads=EVERY_COLUMN, inserts=True, deletes=True),
        "known_browsers": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True),
        "module_commands": _UPSERT,
        "calls": Rights(reads=EVERY_COLUMN, locks="id"),
        "call_events": _READ,
        "host_clocks": _READ,
        "clicks": _READ,
        "callbacks": Rights(reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True),
        "user_statuses": _READ,
        # A replay: one delivery more, and the lane wakes.
        "deliveries": Rights(reads=EVERY_COLUMN, inserts=True),
        "replays": Rights(reads=EVERY_COLUMN, inserts=True),
        "row_timers": _UPSERT,
        "attempts": _READ,
        "crm_gates": _UPSERT,
        "integration_logs": Rights(reads=EVERY_COLUMN, inserts=True),
        "rejected_messages": _READ,
    },
}

# The commands of infra/commands; they read everything.
COMMANDS: Final[Tables] = {
    "enterprises": _UPSERT,
    "users": _UPSERT,
    # The import gives extensions the ids that the dialplans of their hosts know.
    "user_internal_phones": Rights(
        reads=EVERY_COLUMN, inserts=True, updates=EVERY_COLUMN, deletes=True, moves_ids=True
    ),
    "lines": _UPSERT,
    "token_rotations": Rights(reads=EVERY_COLUMN, inserts=True, deletes=True),
    "dropped_tokens": Rights(reads=EVERY_COLUMN, inserts=True),
    "sessions": Rights(reads=EVERY_COLUMN, updates="revoked_at"),
    "calls": Rights(reads=EVERY_COLUMN, locks="id"),
    "deliveries": Rights(reads=EVERY_COLUMN, inserts=True),
    "replays": Rights(reads=EVERY_COLUMN, inserts=True),
    "row_timers": _UPSERT,
    "rejected_messages": Rights(reads=EVERY_COLUMN, updates="replayed_at"),
    "integration_logs": Rights(reads=EVERY_COLUMN, inserts=True),
    "sign_in_attempts": _READ,
    "known_browsers": Rights(reads=EVERY_COLUMN, deletes=True),
    "module_commands": _READ,
    "call_events": _READ,
    "call_links": _READ,
    "host_clocks": _READ,
    "attempts": _READ,
    "clicks": _READ,
    "callbacks": _READ,
    "user_statuses": _READ,
    "crm_gates": _READ,
}

# What the migrator owns beside the tables above.
MIGRATIONS: Final = "schema_migrations"
SQL_FUNCTIONS: Final = ("notify_integration_config_changed", "store_call_events", "token_hash")


def role_of(function: str) -> str:
    return f"gateway_{function.replace('-', '_')}"


def roles() -> list[str]:
    """All of them, the migrator first."""
    return [MIGRATOR, OPERATOR, *map(role_of, FUNCTIONS)]


def tables() -> list[str]:
    declared = (COMMANDS, *FUNCTIONS.values())
    return sorted({MIGRATIONS, *(table for one in declared for table in one)})


def password_variable(role: str) -> str:
    """The variable of the environment by which `make roles` and docker-compose.yml are told the role's password."""
    return f"{role.upper()}_PASSWORD"


def wanted() -> set[Privilege]:
    """Everything that is declared here, one by one."""
    given = {OPERATOR: [COMMANDS]} | {role_of(name): [STATS, own] for name, own in FUNCTIONS.items()}
    return {
        privilege
        for role, declared in given.items()
        for part in declared
        for table, rights in part.items()
        for privilege in _privileges(role, table, rights)
    }


def _privileges(role: str, table: str, rights: Rights) -> Iterable[Privilege]:
    for kind, columns in (("SELECT", rights.reads), ("UPDATE", f"{rights.updates} {rights.locks}")):
        for column in columns.split():
            yield Privilege(role, table, "" if column == EVERY_COLUMN else column, kind)
    if rights.inserts:
        yield Privilege(role, table, "", "INSERT")
    if rights.deletes:
        yield Privilege(role, table, "", "DELETE")
    if rights.draws_ids:
        yield Privilege(role, table + SEQUENCE, "", "USAGE")
    if rights.moves_ids:
        yield Privilege(role, table + SEQUENCE, "", "UPDATE")
