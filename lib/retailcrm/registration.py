"""
Carries out module commands: reads the integration module, merges our part into it, sends the whole object.

A command can be run again at any time: it uses the configuration of that moment. Each step is recorded before the
next one, for the page that shows the progress.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from lib.enterprises.rules import directory
from lib.ledger.crm import Reply
from lib.retailcrm import access, client, manager, module
from lib.retailcrm import trouble as troubles
from lib.retailcrm.account import account_of
from lib.retailcrm.client import Account, Form
from lib.retailcrm.options import NUMBER_ACCEPTED
from lib.retailcrm.trouble import Trouble
from lib.runtime import config, db
from lib.runtime.errors import ConfigError
from lib.store import configuration, enterprises, integration_logs, module_commands, sessions
from lib.store.enterprises import Enterprise
from lib.store.module_commands import Command

log = logging.getLogger(__name__)

# Longer than the deadlines of all requests together; the subscription's ack deadline is longer still.
LEASE_SECONDS: Final = 40.0
READ_SECONDS: Final = 5.0
ATTEMPTS: Final = 8
_BACKOFF_SECONDS: Final = (2.0, 300.0)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The end of a command, in words for an administrator; the page translates by `code`."""

    state: Literal["done", "failed", "retry"]
    code: str
    message: str
    retry_in_seconds: float = 0.0


class _Stop(Exception):
    """The CRM did not carry out the command."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.error)
        self.reply = reply


@dataclass(frozen=True, kw_only=True)
class _Progress:
    command: Command
    steps: list[dict[str, Any]] = field(default_factory=list)

    def step(
        self,
        name: str,
        state: Literal["done", "warning", "failed"],
        message: str,
        *,
        params: Mapping[str, Any] | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        told = {"params": params or {}, "trouble": asdict(trouble) if trouble else None}
        self.steps.append({"name": name, "state": state, "message": message, **told})
        with db.connection() as conn:
            module_commands.save_steps(conn, self.command, self.steps)


def run_next(enterprise_number: str) -> bool:
    """Runs the enterprise's next command; False when none is due. Raises Unavailable."""
    with db.transaction() as conn:
        command = module_commands.claim_next(conn, enterprise_number, lease_seconds=LEASE_SECONDS)
    if command is None:
        return False
    with db.connection() as conn:
        enterprise = enterprises.find_enterprise(conn, enterprise_number)
    if enterprise is None:  # the enterprise was deleted meanwhile, and its commands with it
        return False
    progress = _Progress(command=command)
    try:
        verdict = _run(command, enterprise, progress)
    except ConfigError as error:
        progress.step("settings", "failed", str(error), trouble=troubles.of_settings(error))
        verdict = Verdict(state="failed", code="not_configured", message=str(error))
    except _Stop as stop:
        verdict = judge(stop.reply, attempts_made=command.attempts_made)
    with db.transaction() as conn:
        module_commands.finish(
            conn,
            command,
            state=verdict.state,
            code=verdict.code,
            message=verdict.message,
            retry_in_seconds=verdict.retry_in_seconds,
        )
    log.info(command.action, extra={"enterprise": enterprise_number, "state": verdict.state, "code": verdict.code})
    return True


@dataclass(frozen=True, kw_only=True)
class Released:
    """`off`: the module is switched off; `absent`: there is none; `left`: it stays as it was, because of `trouble`."""

    state: Literal["off", "absent", "left"]
    trouble: Trouble | None = None


def release(enterprise: Enterprise) -> Released:
    """
    Switches the module off at once, before the connection is forgotten. Its link leads to the sign-in from then on.
    Raises Unavailable.
    """
    if not enterprise.integration().is_connected:
        return Released(state="absent")
    try:
        account = account_of(enterprise)
    except ConfigError as error:
        return Released(state="left", trouble=troubles.of_settings(error))
    reply = module.get(account, config.current(config.Module).module_code, timeout_seconds=READ_SECONDS)
    if module.is_unknown(reply):
        return Released(state="absent")
    if reply.outcome == "done":
        existing = reply.details.get("integrationModule")
        wanted = replace(
            _wanted(enterprise, active=False, link=None), account_url=account_link.without_token(enterprise.number)
        )
        reply = _edit(account, enterprise, module.merged(existing if isinstance(existing, dict) else {}, wanted))
    if reply.outcome != "done":
        return Released(state="left", trouble=troubles.of(reply))
    return Released(state="off")


def judge(reply: Reply, *, attempts_made: int) -> Verdict:
    """Decides whether a command that RetailCRM did not carry out is retried or fails."""
    words = reply.error or "no answer"
    match reply.outcome:
        case "authentication":
            message = f"RetailCRM refuses the API key: {words} Check the key and what it may do, then try again."
            return Verdict(state="failed", code="key_refused", message=message)
        case "permanent" if not _is_half(reply):
            message = f"RetailCRM does not accept the module: {words}"
            return Verdict(state="failed", code="module_refused", message=message)
    waiting = "is busy" if reply.outcome == "busy" else "does not answer as it should"
    code = "crm_busy" if reply.outcome == "busy" else "crm_away"
    if attempts_made >= ATTEMPTS:
        message = f"RetailCRM {waiting} ({words}), {attempts_made} times now. Try again later."
        return Verdict(state="failed", code=code, message=message)
    base, most = _BACKOFF_SECONDS
    pause = min(most, base * 2 ** (attempts_made - 1)) * random.uniform(0.5, 1)  # noqa: S311  (jitter)
    pause = max(pause, min(reply.retry_after_seconds or 0, most))
    message = f"RetailCRM {waiting} ({words}). It is tried again by itself."
    return Verdict(state="retry", code=code, message=message, retry_in_seconds=pause)


def _is_half(reply: Reply) -> bool:
    """An incomplete "not found" or refusal says nothing of the module: the request is repeated."""
    return not reply.details and reply.text.lstrip().startswith("{")


def _run(command: Command, enterprise: Enterprise, progress: _Progress) -> Verdict:
    account = account_of(enterprise)
    code = config.current(config.Module).module_code
    existing = _read(account, code, progress)
    if not existing and command.action != "register":
        return Verdict(state="done", code="not_registered", message="The module is not registered: nothing to change")
    timezone = _timezone(account, progress)
    link = _next_link(enterprise) if command.action == "register" else None
    active = {"register": True, "deactivate": False}.get(command.action, existing.get("active") is True)
    wanted = _wanted(enterprise, active=active, link=link)
    complaints = _send(account, enterprise, module.merged(existing, wanted), progress)
    changes: dict[str, Any] = {} if command.action == "push_mapping" else {"enabled": active}
    with db.transaction() as conn:
        if link:
            sessions.raise_link_version(conn, enterprise.number, above=link.version - 1)
        # RetailCRM has the clientId now, whatever was done: nothing may ring by the number any more.
        is_number_over = configuration.lock(conn, enterprise.number).get(NUMBER_ACCEPTED) is True
        configuration.merge(conn, enterprise.number, changes | ({NUMBER_ACCEPTED: False} if is_number_over else {}))
        configuration.note_sync(conn, enterprise.number, {"crm_timezone": timezone} if timezone else {})
    if is_number_over:
        progress.step("client_id", "done", "RetailCRM has the clientId: the enterprise number rings nobody any more")
    return _success(command, wanted, complaints)


def _read(account: Account, code: str, progress: _Progress) -> Mapping[str, Any]:
    """The module as it is; empty when there is none."""
    reply = module.get(account, code, timeout_seconds=READ_SECONDS)
    if module.is_unknown(reply):
        progress.step("read", "done", "The module is not there yet")
        return {}
    if reply.outcome != "done":
        progress.step("read", "failed", f"RetailCRM: {reply.error}", trouble=troubles.of(reply))
        raise _Stop(reply)
    found = reply.details.get("integrationModule")
    progress.step("read", "done", "The module is there; what stands in it is kept")
    return found if isinstance(found, dict) else {}


def _timezone(account: Account, progress: _Progress) -> str | None:
    reply = manager.get_settings(account, timeout_seconds=READ_SECONDS)
    zone = access.timezone(reply.details) if reply.outcome == "done" else None
    if zone is None:
        progress.step("timezone", "warning", "RetailCRM does not say its time zone: the telephony's own is used")
    else:
        progress.step("timezone", "done", f"RetailCRM's time zone is {zone}", params={"zone": zone})
    return zone


def _send(account: Account, enterprise: Enterprise, whole: Mapping[str, Any], progress: _Progress) -> module.Complaints:
    reply = _edit(account, enterprise, whole)
    if reply.outcome != "done":
        progress.step("send", "failed", f"RetailCRM: {reply.error}", trouble=troubles.of(reply))
        raise _Stop(reply)
    progress.step("send", "done", "RetailCRM has accepted the module")
    complaints = module.complaints(reply.details)
    if complaints.user_ids:
        users = [*complaints.user_ids]
        message = f"RetailCRM does not know these managers: {', '.join(map(str, users))}"
        progress.step("managers", "warning", message, params={"users": users})
    if complaints.sites:
        shops = [*complaints.sites]
        message = f"RetailCRM does not know these shops: {', '.join(shops)}"
        progress.step("lines", "warning", message, params={"shops": shops})
    return complaints


def _edit(account: Account, enterprise: Enterprise, whole: Mapping[str, Any]) -> Reply:
    form = module.edit_form(whole)
    reply = client.send_in_slot(
        account, form, timeout_seconds=config.current(config.RetailCRM).retailcrm_upload_timeout_seconds
    )
    with db.connection() as conn:
        integration_logs.insert(
            conn,
            enterprise_number=enterprise.number,
            event_type="register_module",
            request=_as_log(form, whole),
            response={"http_status": reply.http_status, "body": reply.details or reply.text[:4000].replace("\x00", "")},
            error=reply.error if reply.outcome != "done" else None,
        )
    return reply


def _success(command: Command, wanted: module.Wanted, complaints: module.Complaints) -> Verdict:
    if complaints.user_ids or complaints.sites:
        message = "Done, but RetailCRM does not know everybody: see the steps"
        return Verdict(state="done", code="done_with_complaints", message=message)
    count = sum(1 for extension in wanted.extensions.values() if extension)
    messages = {
        "register": f"The module is registered and active; managers with an extension: {count}",
        "deactivate": "The module is switched off in RetailCRM",
        "push_mapping": f"RetailCRM has the extensions; managers with one: {count}",
    }
    return Verdict(state="done", code="done", message=messages[command.action])


def _next_link(enterprise: Enterprise) -> Link:
    """Earlier links stay valid until the CRM has this one."""
    with db.connection() as conn:
        version = sessions.find_link_version(conn, enterprise.number) or 0
    return Link(enterprise_number=enterprise.number, version=version + 1)


def _wanted(enterprise: Enterprise, *, active: bool, link: Link | None) -> module.Wanted:
    settings = config.current(config.Module)
    lines = directory(enterprise).lines.values()
    return module.Wanted(
        code=settings.module_code,
        integration_code=settings.module_code,
        name=settings.module_name,
        client_id=enterprise.client_id,
        public_url=config.current(config.Public).public_url,
        active=active,
        extensions={int(user): held for user, held in enterprise.integration().user_extensions.items()},
        external_phones=[(line.site_code, line.phone_number) for line in lines if line.site_code and line.phone_number],
        account_url=account_link.url(link) if link else None,
    )


def _as_log(form: Form, whole: Mapping[str, Any]) -> dict[str, Any]:
    """Without the credentials: the clientId, and the token in the link."""
    link = str(whole.get("accountUrl") or "").partition("?")[0]
    return {"path": form.path, form.name: {**whole, "clientId": "•••", "accountUrl": link}}
