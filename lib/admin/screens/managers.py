"""Managers and their extensions, here and in the CRM. A failed or empty answer of the CRM changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from lib.admin import audit, guard, orders, progress, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.progress import Work
from lib.admin.schemas import (
    COUNT,
    FLAG,
    ID,
    MAYBE_ID,
    MAYBE_TEXT,
    MOMENT,
    TEXT,
    listed,
    mapped,
    maybe,
    obj,
    one_of,
    record,
)
from lib.admin.screens import mapping
from lib.admin.screens import module as module_screen
from lib.admin.screens.mapping import Difference
from lib.admin.screens.module import BEGUN, COMMAND
from lib.ledger.crm import Reply
from lib.retailcrm import module, people, repair, trouble
from lib.retailcrm.account import account_of
from lib.retailcrm.client import Account
from lib.retailcrm.people import Person, Staff
from lib.retailcrm.trouble import Trouble
from lib.runtime import config, db
from lib.runtime.errors import ConfigError
from lib.runtime.http import Answer
from lib.store import configuration, module_commands
from lib.store import people as staff
from lib.store.integration import RETAILCRM, Integration, version_of
from lib.store.module_commands import Command

# Together less than a gateway waits.
TIMEOUT_SECONDS: Final = 8.0
BUDGET_SECONDS: Final = 18.0

_Heard = tuple[Sequence[Person], dict[int, str] | None, Trouble | None]


def list_managers(request: AdminRequest) -> Answer:
    return progress.answered(request, _list_managers(request))


def _list_managers(request: AdminRequest) -> Work:
    number = request.enterprise.number
    persons, codes, found_trouble = yield from _ask_crm(request)
    with db.connection() as conn:
        numbers = {phone.extension for phone in staff.list_internal_phones(conn, number)}
        statuses = staff.list_statuses(conn, number)
        unknown = staff.list_unknown_to_crm(conn, number)
    ours = (
        _import_once(request, codes or {})
        if found_trouble is None
        else request.enterprise.integration().user_extensions
    )
    known = {person.user_id: person for person in persons}
    everybody = sorted({*known, *map(int, ours), *(codes or {})})
    differences = mapping.differences(ours, codes, numbers) if codes is not None else []
    return {
        "crm": {
            "is_available": found_trouble is None,
            "trouble": troubles.as_json(found_trouble),
            "is_registered": codes is not None,
        },
        "managers": [
            {
                **_name(known.get(user)),
                "user_id": user,
                "is_in_crm": user in known if found_trouble is None else None,
                "extension": ours.get(str(user)),
                "crm_extension": (codes or {}).get(user),
                "status": statuses.get(user),
            }
            for user in everybody
        ],
        "differences": [asdict(item) for item in differences],
        "repair": _repair(request, [item for item in differences if item.user_id in known]),
        "unknown_to_crm": [asdict(item) for item in unknown],
    }


def list_internal_phones(request: AdminRequest) -> Answer:
    owners = {held: int(user) for user, held in request.enterprise.integration().user_extensions.items() if held}
    with db.connection() as conn:
        phones = staff.list_internal_phones(conn, request.enterprise.number)
    return {
        "internal_phones": [{**asdict(phone), "manager_user_id": owners.get(phone.extension)} for phone in phones]
    }, 200


def show_mapping(request: AdminRequest) -> Answer:
    with db.connection() as conn:
        commands = module_commands.list_commands(conn, request.enterprise.number, limit=1)
    return _shown(request.enterprise.integration(), commands[0] if commands else None), 200


def save_mapping(request: AdminRequest) -> Answer:
    """An extension of another manager moves; both change in one transaction, then the CRM is told."""
    number, changes = request.enterprise.number, request.body["user_extensions"]
    with db.transaction() as conn:
        section = configuration.lock(conn, number)
        numbers = {phone.extension for phone in staff.list_internal_phones(conn, number)}
        guard.refuse(mapping.problems(changes, numbers))
        before = Integration.from_config(RETAILCRM, section).user_extensions
        after, taken = mapping.assign(before, changes)
        command = None
        if after != before:
            section = _with_mapping(section, after)
            configuration.write(conn, number, section)
            command = module_commands.insert_command(conn, number, "push_mapping")
            audit.remember(conn, request, "mapping", {"changes": changes, "taken": [asdict(item) for item in taken]})
    if command:
        orders.wake(number)
    return _shown(Integration.from_config(RETAILCRM, section), command) | {
        "taken": [asdict(item) for item in taken]
    }, 200


def sync(request: AdminRequest) -> Answer:
    """Our mapping wins; the CRM's extensions of other managers stay."""
    with db.transaction() as conn:
        command = orders.enter(conn, request, "push_mapping")
    orders.wake(request.enterprise.number)
    return {"command": module_screen.as_json(command)}, 202


def _ask_crm(request: AdminRequest) -> Generator[dict[str, Any], None, _Heard]:
    """Returns the users, the extensions in the CRM (None: no module there), and what went wrong."""
    try:
        account = account_of(request.enterprise)
    except ConfigError as error:
        return [], None, trouble.of_settings(error)
    found = Staff(people=[])
    for found in people.list_people(account, timeout_seconds=TIMEOUT_SECONDS, budget_seconds=BUDGET_SECONDS):
        if not found.failure:
            yield {"progress": {"page": found.page, "pages": found.pages, "people": len(found.people)}}
    if found.failure:
        return [], None, trouble.of(found.failure)
    reply = _module(account)
    if module.is_unknown(reply):
        return found.people, None, None
    if reply.outcome != "done":
        return [], None, trouble.of(reply)
    return found.people, module.codes_of(reply.details.get("integrationModule") or {}), None


def _module(account: Account) -> Reply:
    return module.get(account, config.current(config.Module).module_code, timeout_seconds=TIMEOUT_SECONDS)


def _import_once(request: AdminRequest, codes: Mapping[int, str]) -> Mapping[str, str | None]:
    """What the CRM has is taken over while nothing was ever mapped here."""
    found, saved = mapping.imported(codes), request.enterprise.integration()
    if not found or "user_extensions" in saved.stored:
        return saved.user_extensions
    with db.transaction() as conn:
        section = configuration.lock(conn, request.enterprise.number)
        if "user_extensions" not in section:
            section = _with_mapping(section, found)
            configuration.write(conn, request.enterprise.number, section)
            audit.remember(conn, request, "mapping", {"imported": found})
    return Integration.from_config(RETAILCRM, section).user_extensions


def _repair(request: AdminRequest, differences: Sequence[Difference]) -> str:
    """What we have wins, as long as the integration is on; what only RetailCRM has stays there."""
    repairable = [asdict(item) for item in differences if item.kind in {"other", "not_in_crm"}]
    if not repairable or not request.enterprise.integration().enabled:
        return "none"
    begun = repair.even_out(request.enterprise.number, repairable)
    if begun == "begun":
        orders.wake(request.enterprise.number)
    return begun


def _with_mapping(section: Mapping[str, Any], after: mapping.Mapped) -> dict[str, Any]:
    """The section's next version; what stood there and is no mapping stays."""
    stored = section.get("user_extensions")
    kept = stored if isinstance(stored, dict) else {}
    return {**section, "user_extensions": {**kept, **after}, "version": version_of(section) + 1}


def _shown(saved: Integration, command: Command | None) -> dict[str, Any]:
    return {
        "user_extensions": dict(saved.user_extensions),
        "version": saved.version,
        "last_sync": saved.last_sync,
        "command": module_screen.as_json(command) if command else None,
    }


def _name(person: Person | None) -> dict[str, Any]:
    if person is None:
        return {"first_name": None, "last_name": None, "email": None, "is_active": None}
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "is_active": person.is_active,
    }


UNKNOWN: Final = {
    "kind": one_of("extension", "manager"),
    "value": TEXT,
    "since": MOMENT,
    "last_at": MOMENT,
    "calls": COUNT,
}
MANAGERS: Final = record(
    {
        "crm": record({"is_available": FLAG, "trouble": troubles.MAYBE_TROUBLE, "is_registered": FLAG}),
        "managers": listed(
            record(
                {
                    "user_id": ID,
                    "first_name": MAYBE_TEXT,
                    "last_name": MAYBE_TEXT,
                    "email": MAYBE_TEXT,
                    "is_active": maybe(FLAG),
                    "is_in_crm": maybe(FLAG),
                    "extension": MAYBE_TEXT,
                    "crm_extension": MAYBE_TEXT,
                    "status": MAYBE_TEXT,
                }
            )
        ),
        "differences": listed(
            record(
                {
                    "kind": one_of("not_in_crm", "not_ours", "other", "no_such_number"),
                    "user_id": ID,
                    "ours": MAYBE_TEXT,
                    "crm": MAYBE_TEXT,
                }
            )
        ),
        "repair": one_of("none", "begun", "tried"),
        "unknown_to_crm": listed(record(UNKNOWN)),
    }
)
PHONES: Final = record(
    {
        "internal_phones": listed(
            record(
                {
                    "extension": TEXT,
                    "login": MAYBE_TEXT,
                    "first_name": MAYBE_TEXT,
                    "last_name": MAYBE_TEXT,
                    "manager_user_id": MAYBE_ID,
                }
            )
        )
    }
)
MAPPING: Final = record(
    {
        "user_extensions": mapped(MAYBE_TEXT),
        "version": COUNT,
        "last_sync": MAYBE_TEXT,
        "command": maybe(COMMAND),
        "taken": listed(record({"extension": TEXT, "from_user_id": ID, "to_user_id": ID})),
    },
    optional=("taken",),
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/managers/{number}",
        summary="RetailCRM's users with their extensions here and there: taken over once, then set right",
        handle=list_managers,
        gives=MANAGERS,
        also=progress.LINES,
    ),
    Operation(
        method="GET",
        path="/internal-phones/{number}",
        summary="The enterprise's extensions and whose they are",
        handle=list_internal_phones,
        gives=PHONES,
    ),
    Operation(
        method="GET",
        path="/user-extensions/{number}",
        summary="Which manager has which extension, and how the last push to RetailCRM went",
        handle=show_mapping,
        gives=MAPPING,
    ),
    Operation(
        method="POST",
        path="/save-extensions/{number}",
        summary="Give managers extensions, or null; a number that is somebody else's moves",
        handle=save_mapping,
        gives=MAPPING,
        body=obj(
            {
                "user_extensions": {
                    "type": "object",
                    "maxProperties": 1000,
                    "propertyNames": {"pattern": "^[1-9][0-9]{0,17}$", "description": "a user id of RetailCRM"},
                    "additionalProperties": {
                        "type": ["string", "null"],
                        "pattern": "^[0-9]{1,10}$",
                        "description": "an extension of digits, or null",
                        "x-problem": "extension",
                    },
                }
            },
            required=("user_extensions",),
        ),
    ),
    Operation(
        method="POST",
        path="/sync-extensions/{number}",
        summary="Make RetailCRM have the extensions that are saved here",
        handle=sync,
        gives=BEGUN,
        answers={202: "Begun: follow it with GET register/{number}"},
    ),
)
