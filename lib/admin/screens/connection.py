"""Tests the connection: one check after the other, each with a sentence on what its result means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from lib.admin import progress, troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.progress import Work
from lib.admin.schemas import DATA, FLAG, MAYBE_NUMBER, TEXT, listed, obj, one_of, record
from lib.admin.screens import configuration
from lib.admin.screens.configuration import API_KEY, DOMAIN
from lib.ledger.crm import Reply
from lib.retailcrm import access, manager, module, trouble
from lib.retailcrm.client import Account
from lib.retailcrm.trouble import Trouble
from lib.runtime import config
from lib.runtime.errors import ConfigError
from lib.runtime.http import Answer
from lib.runtime.vault import vault
from lib.store.enterprises import Enterprise

TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """`facts`: what the page's sentence is about; `trouble`: why it could not be found out; `message` in English."""

    name: str
    state: Literal["ok", "warning", "failed"]
    message: str
    latency_ms: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    trouble: Trouble | None = None


def test(request: AdminRequest) -> Answer:
    """Tests the settings of the request, else the saved ones. A saved key is sent to its own address only."""
    return progress.answered(request, _test(request))


def _test(request: AdminRequest) -> Work:
    checks: list[Check] = []
    for check in _checks(request):
        checks.append(check)
        yield {"check": asdict(check)}
    is_ok = all(check.state in {"ok", "warning"} for check in checks)
    return {"success": is_ok, "checks": [asdict(check) for check in checks]}


def _checks(request: AdminRequest) -> Iterator[Check]:
    try:
        account = _account(request)
    except ConfigError as error:
        yield Check(name="settings", state="failed", message=str(error), trouble=trouble.of_settings(error))
        return
    reply, latency_ms = _timed(access.get_credentials, account)
    if reply.outcome != "done":
        yield _failed("credentials", reply, latency_ms)
        return
    yield Check(name="credentials", state="ok", message="RetailCRM accepts the API key", latency_ms=latency_ms)
    yield _scopes(reply)
    for look in (_versions, _timezone, _module):
        yield look(account, request.enterprise)


def _account(request: AdminRequest) -> Account:
    stored, given = request.enterprise.integration(), request.body
    domain = given.get("domain") or stored.domain
    if not domain:
        raise ConfigError("Enter the address of the account first", code="not_configured")
    url = configuration.base_url(domain)
    if "api_key" in given:
        return Account(base_url=url, api_key=given["api_key"])
    if not stored.api_key:
        raise ConfigError("Enter the API key first", code="not_configured")
    if not configuration.is_same_address(url, stored):
        message = "Enter the API key too: the one that is saved belongs to another address"
        raise ConfigError(message, code="key_of_another_address")
    return Account(base_url=url, api_key=vault().decrypt(stored.api_key, owner=request.enterprise.number))


def _scopes(reply: Reply) -> Check:
    missing = access.missing_scopes(reply.details)
    if not missing:
        return Check(name="scopes", state="ok", message="The API key may do everything that is needed")
    return Check(
        name="scopes",
        state="failed",
        message="; ".join(f"{scope.name} is missing: {scope.breaks[0].lower()}{scope.breaks[1:]}" for scope in missing),
        facts={"missing": [{"name": scope.name, "breaks": scope.breaks} for scope in missing]},
    )


def _versions(account: Account, _: Enterprise) -> Check:
    reply, latency_ms = _timed(access.get_versions, account)
    if reply.outcome != "done":
        return _failed("versions", reply, latency_ms)
    versions = [str(version) for version in reply.details.get("versions") or []]
    is_there = any(version.startswith("5") for version in versions)
    return Check(
        name="versions",
        state="ok" if is_there else "failed",
        message="API version 5 is there" if is_there else "The account has no API version 5",
        latency_ms=latency_ms,
        facts={"versions": versions},
    )


def _timezone(account: Account, enterprise: Enterprise) -> Check:
    reply, latency_ms = _timed(manager.get_settings, account)
    if reply.outcome != "done":
        return _failed("timezone", reply, latency_ms)
    zone = access.timezone(reply.details)
    facts = {"crm": zone, "enterprise": enterprise.timezone}
    if zone == enterprise.timezone:
        return Check(name="timezone", state="ok", message=f"Both are in {zone}", latency_ms=latency_ms, facts=facts)
    message = f"RetailCRM is in {zone or 'no time zone'}, the telephony in {enterprise.timezone}: times are converted"
    return Check(name="timezone", state="warning", message=message, latency_ms=latency_ms, facts=facts)


def _module(account: Account, _: Enterprise) -> Check:
    code = config.current(config.Module).module_code
    reply, latency_ms = _timed(lambda whose, **limits: module.get(whose, code, **limits), account)
    if module.is_unknown(reply):
        message = "The module is not registered yet: save, then register"
        return Check(name="module", state="warning", message=message, latency_ms=latency_ms, facts={"state": "absent"})
    if reply.outcome != "done":
        return _failed("module", reply, latency_ms)
    found = reply.details.get("integrationModule") or {}
    state = "frozen" if found.get("freeze") else "active" if found.get("active") else "inactive"
    messages = {
        "active": "The module is registered and active",
        "inactive": "The module is registered, but switched off in RetailCRM",
        "frozen": "RetailCRM has frozen the module: look at the account's billing",
    }
    return Check(
        name="module",
        state="ok" if state == "active" else "warning",
        message=messages[state],
        latency_ms=latency_ms,
        facts={"state": state},
    )


def _timed(ask: Callable[..., Reply], account: Account) -> tuple[Reply, float]:
    started = time.perf_counter()
    reply = ask(account, timeout_seconds=TIMEOUT_SECONDS)
    return reply, round((time.perf_counter() - started) * 1000, 1)


def _failed(name: str, reply: Reply, latency_ms: float) -> Check:
    return Check(
        name=name,
        state="failed",
        message=f"RetailCRM: {reply.error}",
        latency_ms=latency_ms,
        facts={"outcome": reply.outcome, "http_status": reply.http_status},
        trouble=trouble.of(reply),
    )


CHECK: Final = record(
    {
        "name": one_of("settings", "credentials", "scopes", "versions", "timezone", "module"),
        "state": one_of("ok", "warning", "failed"),
        "message": TEXT,
        "latency_ms": MAYBE_NUMBER,
        "facts": DATA,
        "trouble": troubles.MAYBE_TROUBLE,
    }
)
CHECKS: Final = record({"success": FLAG, "checks": listed(CHECK)})

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/config/{number}/test",
        summary="Try the connection that is sent, or the one that is saved",
        handle=test,
        gives=CHECKS,
        also=progress.LINES,
        body=obj({"domain": DOMAIN, "api_key": API_KEY}),
        answers={200: "Every check with its state: ok, warning, failed"},
    ),
)
