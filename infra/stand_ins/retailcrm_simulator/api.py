"""The API as clients see it: from a request to its entry in the ledger, its effect and its answer."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from infra.stand_ins.retailcrm_simulator import accounts, answers, directory, module, telephony, wire
from infra.stand_ins.retailcrm_simulator.accounts import Account
from infra.stand_ins.retailcrm_simulator.answers import Answer, refusal, success
from infra.stand_ins.retailcrm_simulator.board import Board
from infra.stand_ins.retailcrm_simulator.crm import CRM, Share
from infra.stand_ins.retailcrm_simulator.decision import Decision, json_field, judged, unexpected
from infra.stand_ins.retailcrm_simulator.faults import Fault
from infra.stand_ins.retailcrm_simulator.incoming import Incoming, read
from infra.stand_ins.retailcrm_simulator.ledger import Entry


@dataclass(frozen=True, kw_only=True)
class MethodRequest:
    """What a method decides by. `arguments` are the parts of the path in braces, `address` is our own."""

    account: Account
    incoming: Incoming
    board: Board
    arguments: Mapping[str, str]
    address: str


@dataclass(frozen=True, kw_only=True)
class Route:
    method: str
    path: str
    kind: str
    decide: Callable[[MethodRequest], Decision]
    scope: str | None = None

    def arguments(self, path: str) -> dict[str, str] | None:
        """The parts in braces, None when this is another path."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        match = re.fullmatch(pattern, path)
        return match.groupdict() if match else None


def _users(given: MethodRequest) -> Decision:
    answer, warnings = directory.users(given.account, given.incoming)
    return Decision(answer=answer, warnings=tuple(warnings))


def _user(given: MethodRequest) -> Decision:
    return Decision(answer=directory.user(given.account, _number(given.arguments["id"])))


def _user_status(given: MethodRequest) -> Decision:
    account, status = given.account, given.incoming.form.get("status")
    user = account.user_by_id.get(_number(given.arguments["id"]))
    if user is None:
        return Decision(answer=refusal(404, answers.NOT_FOUND))
    if "status" in given.incoming.non_scalar:
        return Decision(answer=answers.non_scalar("status"))
    if status is None:
        return Decision(answer=answers.parameter_missing("status"))
    if status not in accounts.STATUSES:
        return Decision(answer=refusal(400, answers.INPUT_ERRORS, {"status": answers.NOT_A_CHOICE}))
    changed = replace(
        account, users=tuple(replace(each, status=status) if each.id == user.id else each for each in account.users)
    )
    return Decision(answer=success(), applied={"user_id": user.id, "status": status}, account=changed)


def _manager(given: MethodRequest) -> Decision:
    answer, warnings = directory.manager(given.account, given.incoming, given.address)
    return Decision(answer=answer, warnings=tuple(warnings))


def _module(given: MethodRequest) -> Decision:
    found = given.account.modules.get(given.arguments["code"])
    if found is None:
        return Decision(answer=refusal(404, answers.NOT_FOUND))
    return Decision(answer=success({"integrationModule": module.shown(found)}))


def _module_edit(given: MethodRequest) -> Decision:
    account, code = given.account, given.arguments["code"]
    value = json_field(given.incoming, "integrationModule")
    if isinstance(value, Answer):
        return Decision(answer=value)
    if not isinstance(value, dict):
        return Decision(answer=refusal(400, answers.ENTITY_ERRORS, {"integrationModule": answers.INVALID}))
    findings = module.check(value, path_code=code)
    findings.unknown.extend(unexpected(given.incoming, "integrationModule"))
    refused, warnings = judged(account, findings)
    if refused:
        return Decision(answer=refused, warnings=warnings)
    registered = module.register(value, user_ids=account.user_by_id, sites=account.sites)
    return Decision(
        # PHP writes an empty map as [].
        answer=success({"info": registered.info or []}, status=200 if code in account.modules else 201),
        applied={"module": code, "active": registered.module["active"], "created": code not in account.modules},
        account=replace(account, modules={**account.modules, code: registered.module}),
        warnings=warnings,
    )


def _module_scopes(given: MethodRequest) -> Decision:
    account, code = given.account, given.arguments["code"]
    if code not in account.modules:
        return Decision(answer=refusal(404, answers.NOT_FOUND))
    requires = json_field(given.incoming, "requires")
    if isinstance(requires, Answer):
        return Decision(answer=requires)
    if not account.behaviour.simple_connection:
        return Decision(answer=refusal(400, answers.NO_SIMPLE_CONNECTION))
    scopes = requires.get("scopes") if isinstance(requires, dict) else None
    if not isinstance(scopes, list) or not all(scope in accounts.SCOPES for scope in scopes):
        errors = {"scopes": answers.NOT_A_CHOICE}
        return Decision(answer=refusal(400, answers.ENTITY_ERRORS, errors))
    key = secrets.token_hex(16)
    return Decision(
        answer=success({"apiKey": key}),
        applied={"module": code, "scopes": scopes},
        account=replace(account, api_key=key, scopes=tuple(scopes)),
    )


def _number(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else -1


# Which scope a method needs follows from their names; settings and the unversioned ones are given to every key.
ROUTES: Final = (
    Route(
        method="POST",
        path="/api/v5/telephony/call/event",
        kind="event",
        scope="telephony_write",
        decide=lambda given: telephony.call_event(given.account, given.incoming, given.board),
    ),
    Route(
        method="POST",
        path="/api/v5/telephony/calls/upload",
        kind="upload",
        scope="telephony_write",
        decide=lambda given: telephony.calls_upload(given.account, given.incoming, given.board),
    ),
    Route(method="GET", path="/api/v5/telephony/manager", kind="manager", scope="telephony_read", decide=_manager),
    Route(method="GET", path="/api/v5/users", kind="users", scope="user_read", decide=_users),
    Route(method="GET", path="/api/v5/users/{id}", kind="user", scope="user_read", decide=_user),
    Route(method="POST", path="/api/v5/users/{id}/status", kind="user_status", scope="user_write", decide=_user_status),
    Route(
        method="GET",
        path="/api/v5/user-groups",
        kind="user_groups",
        scope="user_read",
        decide=lambda given: Decision(answer=directory.groups(given.account, given.incoming)),
    ),
    Route(
        method="GET",
        path="/api/v5/reference/sites",
        kind="sites",
        scope="reference_read",
        decide=lambda given: Decision(answer=directory.sites(given.account)),
    ),
    Route(
        method="GET",
        path="/api/v5/settings",
        kind="settings",
        decide=lambda given: Decision(answer=directory.settings(given.account)),
    ),
    Route(
        method="GET",
        path="/api/v5/integration-modules/{code}",
        kind="module",
        scope="integration_read",
        decide=_module,
    ),
    Route(
        method="POST",
        path="/api/v5/integration-modules/{code}/edit",
        kind="module_edit",
        scope="integration_write",
        decide=_module_edit,
    ),
    Route(
        method="POST",
        path="/api/v5/integration-modules/{code}/update-scopes",
        kind="module_scopes",
        scope="integration_write",
        decide=_module_scopes,
    ),
    Route(
        method="GET",
        path="/api/credentials",
        kind="credentials",
        decide=lambda given: Decision(answer=directory.credentials(given.account, _paths())),
    ),
    Route(
        method="GET",
        path="/api/api-versions",
        kind="api_versions",
        decide=lambda _: Decision(answer=success({"versions": ["3.0", "4.0", "5.0"]})),
    ),
    Route(
        method="GET",
        path="/api/system-info",
        kind="system_info",
        decide=lambda given: Decision(answer=directory.system_info(given.account, given.address)),
    ),
)


def _instead(account: Account, path: str) -> Answer | None:
    """What an account that takes nothing answers, whatever it is asked."""
    match account.state:
        case "unpaid":
            return refusal(402, answers.NOT_PAID)
        case "gone":
            return refusal(404, answers.NO_ACCOUNT)
        case "moved":
            page = answers.PAGE.format("301 Moved Permanently")
            return Answer(status=301, headers={"Location": account.moved_to.rstrip("/") + path}, page=page)
        case "page":
            return Answer(status=200, page=answers.PAGE.format("RetailCRM"))
    return None


KINDS: Final = (*(route.kind for route in ROUTES), "unknown")


class API:
    def __init__(self, crm: CRM) -> None:
        self._crm = crm

    async def handle(self, request: web.Request) -> web.StreamResponse:
        received_at = time.time()
        incoming = await read(request)
        route, arguments = _find(incoming)
        account = self._crm.accounts.with_key(incoming.api_key)
        entry = Entry(
            account=account.name if account else "",
            kind=route.kind if route else _kind_of(incoming.path),
            method=incoming.method,
            path=incoming.path,
            received_at=received_at,
            query=incoming.query,
            headers=incoming.headers,
            fields=incoming.parsed(),
            unread=incoming.unread,
            warnings=list(incoming.warnings),
        )
        self._crm.ledger.arrive(entry)
        share: Share = "telephony" if "/telephony" in incoming.path else "other"
        if account and not self._crm.admit(account, share):
            entry.limited = True
            answer = refusal(account.behaviour.rate_limit_status, answers.RATE_LIMIT)
            return await self._finish(request, entry, answer, None)
        fault = self._crm.faults.choose(entry.account, _endpoints(entry.kind))
        if fault and fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
            # The account may have changed meanwhile, and what is applied must be decided in one go.
            account = self._crm.accounts.with_key(incoming.api_key)
        decision = self._decide(account, incoming, route, arguments, f"{request.scheme}://{request.host}")
        entry.warnings.extend(decision.warnings)
        if fault is None or fault.apply:
            self._crm.apply(entry, decision)
        return await self._finish(request, entry, decision.answer, fault)

    def _decide(
        self,
        account: Account | None,
        incoming: Incoming,
        route: Route | None,
        arguments: Mapping[str, str],
        address: str,
    ) -> Decision:
        if account is None:
            return Decision(answer=refusal(403, answers.KEY_WRONG if incoming.api_key else answers.KEY_MISSING))
        instead = _instead(account, incoming.path)
        if instead is not None:
            return Decision(answer=instead)
        if route is None:
            known = any(each.arguments(incoming.path) is not None for each in ROUTES)
            answer = refusal(405, answers.METHOD_NOT_ALLOWED) if known else refusal(404, answers.METHOD_NOT_FOUND)
            return Decision(answer=answer)
        if route.scope and account.scopes is not None and route.scope not in account.scopes:
            return Decision(answer=refusal(403, answers.ACCESS_DENIED))
        given = MethodRequest(
            account=account, incoming=incoming, board=self._crm.board, arguments=arguments, address=address
        )
        return route.decide(given)

    async def _finish(
        self, request: web.Request, entry: Entry, answer: Answer, fault: Fault | None
    ) -> web.StreamResponse:
        entry.fault = fault.mode if fault else None
        entry.answer = wire.meant(answer, fault)
        entry.answered_at = time.time() if entry.answer else None
        self._crm.decided(entry)
        return await wire.send(request, answer, fault)


def _paths() -> dict[str, str | None]:
    """The API's paths as the older list of credentials writes them: without a version."""
    return {route.path.replace("/api/v5/", "/api/"): route.scope for route in ROUTES}


def _find(incoming: Incoming) -> tuple[Route | None, Mapping[str, str]]:
    for route in ROUTES:
        arguments = route.arguments(incoming.path)
        if arguments is not None and route.method == incoming.method:
            return route, arguments
    return None, {}


def _kind_of(path: str) -> str:
    return next((route.kind for route in ROUTES if route.arguments(path) is not None), "unknown")


def _endpoints(kind: str) -> tuple[str, ...]:
    return (kind,) if kind in {"event", "upload"} else (kind, "other")
