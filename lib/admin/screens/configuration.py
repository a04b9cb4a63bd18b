"""The settings of the connection: shown without the API key, saved field by field, never over a newer version."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

import phonenumbers

from lib import crms
from lib.admin import audit, guard, orders, proof, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, DATA, FLAG, MAYBE_TEXT, TEXT, listed, obj, one_of, record, refused_as, text
from lib.calls.settings import RANGES, Settings
from lib.click import settings as click
from lib.redirect import settings as redirect
from lib.retailcrm import address, registration
from lib.retailcrm.client import Account
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, Conflict
from lib.runtime.http import Answer
from lib.runtime.json_schema import Problem, Schema
from lib.runtime.vault import vault
from lib.store import configuration, module_commands, sessions
from lib.store.enterprises import Enterprise
from lib.store.integration import RETAILCRM, Integration, version_of


def _range(name: str) -> Schema:
    least, most = RANGES[name]
    return {"type": ["number", "null"], "minimum": least, "maximum": most}


def _choice(*words: str) -> Schema:
    return {"type": ["string", "null"], "enum": [*words, None], "description": f"one of {', '.join(words)}"}


_SWITCH: Final[Schema] = {"type": ["boolean", "null"]}
_REDIRECT: Final[Mapping[str, Schema]] = {
    "mode": _choice("off", "name-only", "routing+name"),
    "algorithm": _choice("retailcrm", "first_call", "last_call"),
    "names": {
        "type": ["array", "null"],
        "maxItems": 3,
        "items": {"type": "string", "enum": ["line", "shop", "customer"]},
    },
    "ignore_status": _SWITCH,
    "ignore_hours": _SWITCH,
    "shadow": _SWITCH,
}
COUNTRIES: Final = sorted(phonenumbers.SUPPORTED_REGIONS)
_NO_ADDRESS: Final = Problem(code="crm_address", message="must be an https address of RetailCRM")
_KEY_AGAIN: Final = Problem(code="key_again", message="must be entered again for another domain")
# Null restores the default.
SETTINGS: Final[Mapping[str, Schema]] = {
    "owner_policy": _choice("last_talker", "first_talker"),
    "missed_owner": _choice("first_rung", "none"),
    "synthetic_dial": _SWITCH,
    "popup_max_age_seconds": _range("popup_max_age_seconds"),
    "settle_seconds": _range("settle_seconds"),
    "finalize_after_seconds": _range("finalize_after_seconds"),
    "call_max_hours": _range("call_max_hours"),
    "wait_for_recording_seconds": _range("wait_for_recording_seconds"),
    "accept_number_as_client_id": _SWITCH,
    click.COUNTRIES: {
        "type": ["array", "null"],
        "maxItems": len(COUNTRIES),
        "items": {
            "type": "string",
            "enum": [click.ANYWHERE, *COUNTRIES],
            "description": f"a country, as BY, or {click.ANYWHERE} for every one",
        },
    },
    click.NUMBER_KINDS: {
        "type": ["array", "null"],
        "maxItems": len(click.KINDS),
        "items": {"type": "string", "enum": [*click.KINDS]},
    },
    click.LIMIT: {"type": ["integer", "null"], "minimum": 1, "maximum": click.MOST_PER_DAY},
    **{redirect.PREFIX + name: schema for name, schema in _REDIRECT.items()},
    redirect.PREFIX + "shop_names": {
        "type": ["object", "null"],
        "additionalProperties": text(100),
        "propertyNames": {"pattern": "^[ -~]{1,100}$", "description": "the code of a shop"},
    },
    redirect.PREFIX + "lines": {
        "type": ["object", "null"],
        "additionalProperties": obj(_REDIRECT),
        "propertyNames": {"pattern": "^[ -~]{1,100}$", "description": "a line"},
    },
}
DOMAIN: Final = refused_as(
    "crm_address", text(255, least=1, description="the address of the account, as demo.retailcrm.ru")
)
API_KEY: Final = refused_as(
    "api_key", text(255, least=1, pattern="^[!-~]+$", description="an API key: characters without spaces")
)


def show(request: AdminRequest) -> Answer:
    return shown(request.enterprise, request.enterprise.integration()), 200


def save(request: AdminRequest) -> Answer:
    """
    Merges the fields of the request; others stay. Another domain needs its own API key, and RetailCRM's refusal of the
    key stores nothing. Switching on registers.
    """
    prove(request, must_answer=False)
    with db.transaction() as conn:
        before, after = store(conn, request)
        is_switched_on = after.is_connected and after.enabled and not before.enabled
        if is_switched_on:
            orders.enter(conn, request, "register")
    if is_switched_on:
        orders.wake(request.enterprise.number)
    return shown(request.enterprise, after), 200


def prove(request: AdminRequest, *, must_answer: bool) -> None:
    """
    Raises InvalidPayload for an address or a key of the request that cannot be, or that RetailCRM does not accept, and
    Conflict. RetailCRM is asked outside of any transaction: what is saved meanwhile makes this save a Conflict too.
    """
    given, saved = request.body, request.enterprise.integration()
    if not {"domain", "api_key"} & given.keys():
        return
    _require_version(request, saved)
    url = _changes(given, saved, request.enterprise.number).get("domain", saved.domain)
    if "api_key" not in given or not url:
        return
    try:
        account = Account(base_url=base_url(url), api_key=given["api_key"])
    except ConfigError:  # what is saved cannot be meant
        guard.refuse({"domain": _NO_ADDRESS})
    else:
        proof.require(account, must_answer=must_answer)


def store(conn: db.Connection, request: AdminRequest) -> tuple[Integration, Integration]:
    """What was saved before, and what is after the request. Raises InvalidPayload, Conflict."""
    number, given = request.enterprise.number, request.body
    before = configuration.lock(conn, number)
    saved = Integration.from_config(RETAILCRM, before)
    _require_version(request, saved)
    changes = _changes(given, saved, number)
    merged = {name: value for name, value in {**before, **changes}.items() if value is not None}
    changed = sorted(name for name in changes if merged.get(name) != before.get(name))
    if changed:
        merged["version"] = saved.version + 1
        configuration.write(conn, number, merged)
        audit.remember(conn, request, "config", {"changed": changed, "version": merged["version"]})
    return saved, Integration.from_config(RETAILCRM, merged)


def _require_version(request: AdminRequest, saved: Integration) -> None:
    if request.body["version"] != saved.version:
        raise Conflict(
            "Somebody saved other settings meanwhile: look at them, then save again",
            details={"current": shown(request.enterprise, saved)},
        )


def delete(request: AdminRequest) -> Answer:
    """
    Switches the module off in RetailCRM, then removes all of the connection: the key, the mapping, the links, and all
    other sessions. `module` says what could not be switched off. Raises Conflict while a command is being carried out.
    """
    number = request.enterprise.number
    with db.transaction() as conn:
        # None that waits may switch the module on again.
        module_commands.supersede(conn, number)
        if module_commands.is_busy(conn, number):
            raise Conflict("The module is being changed at this moment: wait a little", code="module_busy")
    released = registration.release(request.enterprise)
    with db.transaction() as conn:
        before = configuration.lock(conn, number)
        after = {"enabled": False, "version": version_of(before) + 1}
        configuration.write(conn, number, after)
        # A registration that has not ended may have issued the next version already.
        sessions.raise_link_version(conn, number, above=(sessions.find_link_version(conn, number) or 0) + 1)
        sessions.revoke_others(conn, number, session_id=request.session.id)
        details = {"deleted": sorted(before), "version": after["version"], "module": released.state}
        audit.remember(conn, request, "config", details)
    answer = shown(request.enterprise, Integration.from_config(RETAILCRM, after))
    return {**answer, "module": {"state": released.state, "trouble": troubles.as_json(released.trouble)}}, 200


def base_url(domain: str) -> str:
    """Raises ConfigError for an address that is not RetailCRM's."""
    return address.base_url(domain, config.current(config.RetailCRM).retailcrm_extra_hosts)


def _changes(given: Mapping[str, Any], saved: Integration, number: str) -> dict[str, Any]:
    """Raises InvalidPayload with everything that is wrong."""
    problems: dict[str, Problem] = {}
    changes: dict[str, Any] = dict(given.get("settings", {}))
    if "enabled" in given:
        changes["enabled"] = given["enabled"]
    if "domain" in given:
        try:
            changes["domain"] = base_url(given["domain"])
        except ConfigError as error:
            problems["domain"] = dataclasses.replace(_NO_ADDRESS, message=str(error).removeprefix("domain: "))
        else:
            is_elsewhere = saved.api_key and not is_same_address(changes["domain"], saved)
            if is_elsewhere and "api_key" not in given:
                problems["api_key"] = _KEY_AGAIN
    if "api_key" in given:
        changes["api_key"] = vault().encrypt(given["api_key"], owner=number)
    guard.refuse(problems)
    return changes


def is_same_address(url: str, saved: Integration) -> bool:
    try:
        return base_url(saved.domain or "") == url
    except ConfigError:
        return False


def shown(enterprise: Enterprise, saved: Integration) -> dict[str, Any]:
    lines = saved.options.get(redirect.PREFIX + "lines")
    redirected = [
        problem
        for line in ("", *(lines if isinstance(lines, dict) else ()))
        for problem in redirect.for_line(saved.options, line).problems
    ]
    return {
        "enterprise": {
            "number": enterprise.number,
            "name": enterprise.name,
            "region": enterprise.region,
            "timezone": enterprise.timezone,
        },
        "version": saved.version,
        "enabled": saved.enabled,
        "domain": saved.domain,
        "api_key": _shown_key(enterprise.number, saved),
        "last_sync": saved.last_sync,
        "crm_timezone": saved.crm_timezone,
        "settings": {name: saved.stored.get(name) for name in SETTINGS},
        "defaults": _DEFAULTS | {click.COUNTRIES: sorted(click.usual_countries(enterprise.region))},
        "countries": COUNTRIES,
        "problems": [
            {"setting": _setting_of(problem), "message": problem}
            for problem in (
                *saved.problems,
                *dict.fromkeys(redirected),
                *click.read(saved.options, enterprise.region).problems,
            )
        ],
        "unserved": crms.unserved(enterprise.integrations),
    }


def _setting_of(problem: str) -> str:
    """Each begins with the name of its setting."""
    found = re.match("[a-z_]+", problem)
    return found[0] if found else ""


def _shown_key(number: str, saved: Integration) -> dict[str, Any]:
    """A key that cannot be decrypted any more is still set, and must be entered again."""
    if not saved.api_key:
        return {"is_set": False, "is_readable": False, "last_four": None}
    try:
        key = vault().decrypt(saved.api_key, owner=number)
    except ConfigError:
        return {"is_set": True, "is_readable": False, "last_four": None}
    return {"is_set": True, "is_readable": True, "last_four": key[-4:] if len(key) >= 8 else None}


def _defaults() -> dict[str, Any]:
    ours = dataclasses.asdict(Settings()) | {click.NUMBER_KINDS: [], click.LIMIT: click.DAILY_LIMIT}
    routed = {redirect.PREFIX + name: value for name, value in dataclasses.asdict(redirect.RedirectSettings()).items()}
    return {
        name: {**ours, **routed}.get(name, False if schema is _SWITCH else None) for name, schema in SETTINGS.items()
    }


_DEFAULTS: Final = _defaults()

_CONFIG: Final[Mapping[str, Schema]] = {
    "enterprise": record({"number": TEXT, "name": TEXT, "region": TEXT, "timezone": TEXT}),
    "version": COUNT,
    "enabled": FLAG,
    "domain": MAYBE_TEXT,
    "api_key": record({"is_set": FLAG, "is_readable": FLAG, "last_four": MAYBE_TEXT}),
    "settings": DATA,
    "defaults": DATA,
    "countries": listed(TEXT),
    "problems": listed(record({"setting": TEXT, "message": TEXT})),
    "unserved": listed(TEXT),
    "last_sync": MAYBE_TEXT,
    "crm_timezone": MAYBE_TEXT,
}
CONFIG: Final = record(_CONFIG)
DELETED: Final = record(
    {**_CONFIG, "module": record({"state": one_of("off", "absent", "left"), "trouble": troubles.MAYBE_TROUBLE})}
)
VERSION: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 2**53,
    "description": "the version that was shown",
    "x-problem": "version",
}

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/config/{number}",
        summary="The connection and its settings",
        handle=show,
        gives=CONFIG,
    ),
    Operation(
        method="PUT",
        path="/config/{number}",
        summary="Save what is sent, over the version that it was made from",
        handle=save,
        gives=CONFIG,
        body=obj(
            {
                "version": VERSION,
                "enabled": {"type": "boolean"},
                "domain": DOMAIN,
                "api_key": API_KEY,
                "settings": obj(SETTINGS),
            },
            required=("version",),
        ),
        answers={200: "What is saved now", 409: "Somebody else saved meanwhile; `current` is what they saved"},
    ),
    Operation(
        method="DELETE",
        path="/config/{number}",
        summary="Switch the module off in RetailCRM, then forget the connection; `module`: what became of it",
        handle=delete,
        gives=DELETED,
        answers={200: "Forgotten", 409: "The module is being changed at this moment"},
    ),
)
