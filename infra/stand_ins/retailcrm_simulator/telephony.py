"""call/event and calls/upload: checks a request, and decides its effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from infra.stand_ins.retailcrm_simulator import fields
from infra.stand_ins.retailcrm_simulator.accounts import Account
from infra.stand_ins.retailcrm_simulator.answers import (
    BLANK,
    ENTITY_ERRORS,
    INVALID,
    NOT_A_CHOICE,
    TELEPHONY_OFF,
    UPLOAD_OFF,
    Answer,
    refusal,
    success,
)
from infra.stand_ins.retailcrm_simulator.board import Board
from infra.stand_ins.retailcrm_simulator.decision import Decision, json_field, judged, unexpected
from infra.stand_ins.retailcrm_simulator.fields import Field, Findings
from infra.stand_ins.retailcrm_simulator.incoming import Incoming

MAX_CALLS: Final = 50

_FLAGS: Final = {"in": "inputEventSupported", "out": "outputEventSupported", "hangup": "hangupEventSupported"}
_EVENT: Final = {
    "phone": Field(check=fields.filled, required=True),
    "type": Field(check=fields.one_of("in", "out", "hangup"), required=True),
    "codes": Field(check=fields.list_of(fields.filled)),
    "userIds": Field(check=fields.list_of(fields.integer)),
    "hangupStatus": Field(check=fields.one_of("answered", "busy", "cancel", "failed", "no answered")),
    "externalPhone": Field(check=fields.text),
    "callExternalId": Field(check=fields.filled),
    "site": Field(check=fields.filled),
    "webAnalyticsData": Field(
        inner={
            "campaign": Field(inner={"name": Field(check=fields.text), "code": Field(check=fields.text)}),
            "queryString": Field(check=fields.text),
        }
    ),
}
_CALL: Final = {
    "date": Field(check=fields.date_time, required=True),
    "type": Field(check=fields.one_of("in", "out"), required=True),
    "phone": Field(check=fields.filled, required=True),
    "result": Field(
        check=fields.one_of("answered", "busy", "failed", "no answer", "not allowed", "unknown"), required=True
    ),
    "externalId": Field(check=fields.filled, required=True),
    "code": Field(check=fields.filled),
    "userId": Field(check=fields.integer),
    "duration": Field(check=fields.count),
    "durationWaiting": Field(check=fields.count),
    "recordUrl": Field(check=fields.url),
    "externalPhone": Field(check=fields.text),
    "site": Field(check=fields.filled),
    "source": Field(
        inner={name: Field(check=fields.text) for name in ("source", "medium", "campaign", "keyword", "content")}
    ),
    "clientId": Field(check=fields.filled),
}


def call_event(account: Account, incoming: Incoming, board: Board) -> Decision:
    event = json_field(incoming, "event")
    if isinstance(event, Answer):
        return Decision(answer=event)
    if not account.active_telephony:
        return Decision(answer=_telephony_off(account, TELEPHONY_OFF))
    if not isinstance(event, dict):
        return Decision(answer=refusal(400, ENTITY_ERRORS, {"event": INVALID}))
    findings = Findings(unknown=unexpected(incoming, "event"))
    fields.examine(event, _EVENT, findings, at="event")
    findings = Findings(  # the API names an entity's fields without the entity
        errors={name.removeprefix("event."): text for name, text in findings.errors.items()},
        unknown=findings.unknown,
    )
    if not event.get("codes") and not event.get("userIds"):
        findings.errors.setdefault("codes", BLANK)
    if event.get("type") == "hangup" and event.get("hangupStatus") is None:
        findings.errors["hangupStatus"] = BLANK
    _check_site(account, event, findings, "site")
    if not findings.errors:
        _doubt_phone(event["phone"], findings, "event.phone")
        if event["type"] != "hangup" and event.get("hangupStatus") is not None:
            findings.warnings.append("hangupStatus on an event that is no hangup")
        findings.warnings.extend(board.doubts_about(account.name, event))
    refused, warnings = judged(account, findings)
    if refused:
        return Decision(answer=refused, warnings=warnings)
    return _accepted_event(account, event, warnings)


def calls_upload(account: Account, incoming: Incoming, board: Board) -> Decision:
    calls = json_field(incoming, "calls")
    if isinstance(calls, Answer):
        return Decision(answer=calls)
    if not account.active_telephony:
        return Decision(answer=_telephony_off(account, UPLOAD_OFF))
    if not isinstance(calls, list):
        return Decision(answer=refusal(400, ENTITY_ERRORS, {"calls": INVALID}))
    if not 1 <= len(calls) <= MAX_CALLS:
        problem = f"This collection should contain {MAX_CALLS} elements or less" if calls else BLANK
        return Decision(answer=refusal(400, ENTITY_ERRORS, {"calls": problem}))
    findings = Findings(unknown=unexpected(incoming, "calls"))
    for index, call in enumerate(calls):
        at = f"calls[{index}]"
        if not isinstance(call, dict):
            findings.errors[at] = INVALID
            continue
        fields.examine(call, _CALL, findings, at=at)
        _check_site(account, call, findings, f"{at}.site")
        _doubt_phone(call.get("phone"), findings, f"{at}.phone")
        _check_owner(account, call, findings, at)
    refused, warnings = judged(account, findings)
    if refused:
        return Decision(answer=refused, warnings=warnings)
    return _accepted_calls(account, calls, board, warnings)


def _accepted_event(account: Account, event: Mapping[str, Any], warnings: tuple[str, ...]) -> Decision:
    codes, user_ids = event.get("codes") or [], event.get("userIds") or []
    unknown_codes = [code for code in codes if code not in account.users_by_code]
    unknown_users = [user for user in user_ids if user not in account.user_by_id]
    shown_to = [
        *((code, user) for code in codes for user in account.users_by_code.get(code, ())),
        *((account.code_by_user.get(user), user) for user in user_ids if user in account.user_by_id),
    ]
    flag = _FLAGS[event["type"]]
    if not account.supports(flag):
        warnings = (*warnings, f"the module does not declare {flag}: nobody is shown anything")
        shown_to = []
    missing: dict[str, object] = {"notExistCodes": unknown_codes} if unknown_codes else {}
    if unknown_users:
        missing["notExistUsers"] = unknown_users
    shown = [{"code": code, "user_id": user} for code, user in dict.fromkeys(shown_to)]
    return Decision(answer=success(missing), applied={"event": event, "shown_to": shown}, warnings=warnings)


def _accepted_calls(account: Account, calls: list[dict[str, Any]], board: Board, warnings: tuple[str, ...]) -> Decision:
    stored: dict[str, dict[str, Any]] = {}
    duplicates: list[str] = []
    for call in calls:
        external_id = call["externalId"]
        earlier = stored.get(external_id) or board.held_call(account.name, external_id)
        if earlier is None:
            stored[external_id] = call
            continue
        duplicates.append(external_id)
        changed = sorted(name for name in {*call, *earlier} if call.get(name) != earlier.get(name))
        if changed:
            warnings = (*warnings, f"duplicate {external_id} differs in {', '.join(changed)}: ignored")
    counts: dict[str, object] = {"processedCallsCount": len(stored)}
    if duplicates:
        counts["duplicateCalls"] = duplicates
    applied = {"stored": list(stored.values()), "duplicates": duplicates}
    return Decision(answer=success(counts), applied=applied, warnings=warnings)


def _telephony_off(account: Account, text: str) -> Answer:
    return refusal(account.behaviour.telephony_off_status, text)


def _check_site(account: Account, value: Mapping[str, Any], findings: Findings, path: str) -> None:
    site = value.get("site")
    if site is None:
        if len(account.sites) > 1:
            findings.errors[path] = BLANK
    elif path not in findings.errors and site not in account.sites:
        findings.errors[path] = NOT_A_CHOICE


def _doubt_phone(phone: object, findings: Findings, path: str) -> None:
    if isinstance(phone, str) and not re.fullmatch(r"\+?[0-9]{5,15}", phone):
        findings.warnings.append(f"{path} does not look like a number")


def _check_owner(account: Account, call: Mapping[str, Any], findings: Findings, at: str) -> None:
    code, user = call.get("code"), call.get("userId")
    if isinstance(user, int) and user in account.deleted_users:
        findings.errors[f"{at}.userId"] = NOT_A_CHOICE
        return
    refuses = account.behaviour.unknown_owner == "refuse"
    if isinstance(code, str) and code not in account.users_by_code:
        if refuses:
            findings.errors[f"{at}.code"] = NOT_A_CHOICE
        findings.warnings.append(f"{at}.code {code} belongs to nobody")
    if isinstance(user, int) and user not in account.user_by_id:
        if refuses:
            findings.errors[f"{at}.userId"] = NOT_A_CHOICE
        findings.warnings.append(f"{at}.userId {user} does not exist")
    if isinstance(code, str) and isinstance(user, int) and user not in account.users_by_code.get(code, (user,)):
        findings.warnings.append(f"{at}: code {code} is not userId {user}'s")
