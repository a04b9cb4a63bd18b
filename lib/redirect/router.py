"""
Answers the questions of ringing calls within the budget, whatever the CRM or the database do.

A few worker threads work on the questions. The thread of the request waits for its worker until the budget is spent,
then answers with the usual scheme; when all workers are busy, it answers so at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from lib.calls.directory import Directory
from lib.calls.numbers import normalize
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import directory
from lib.enterprises.rules import settings as call_settings
from lib.ledger.crm import Reply
from lib.redirect import choice, hours, reply
from lib.redirect.choice import Choice, UsualScheme
from lib.redirect.crm_limit import CrmLimit
from lib.redirect.hours import Hours
from lib.redirect.journal import Journal, Record
from lib.redirect.settings import RedirectSettings, for_line
from lib.redirect.shared import Shared
from lib.retailcrm import manager
from lib.retailcrm.account import account_of
from lib.retailcrm.client import Account
from lib.retailcrm.manager import Responsible
from lib.runtime import config, db
from lib.runtime.errors import ConfigError, Forbidden, NotFound, RateLimited, Unauthorized, Unavailable
from lib.runtime.lazy import lazy
from lib.store import routing, user_statuses
from lib.store.enterprises import Enterprise

log = logging.getLogger(__name__)

T = TypeVar("T")

CUSTOMER_SECONDS: Final = 60.0
HOURS_SECONDS: Final = 600.0
# The time to wake up and answer after the request to the CRM timed out.
_MARGIN_SECONDS: Final = 0.03
_SHORTEST_QUESTION_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Question:
    """
    `token` identifies the enterprise, `address` is from where it came. `is_dialplan`: the answer goes into a dialplan,
    so routing must have been chosen, and the line counts.
    """

    token: str
    phone: str
    address: str
    enterprise_number: str = ""
    line_id: str = ""
    unique_id: str = ""
    is_dialplan: bool = True
    wants_routing: bool = True


class Router:
    def __init__(self, settings: config.SmartRedirect) -> None:
        self._budget_seconds = settings.smart_redirect_budget_ms / 1000
        self._slots = threading.BoundedSemaphore(settings.smart_redirect_workers)
        self._pool = ThreadPoolExecutor(settings.smart_redirect_workers, thread_name_prefix="redirect")
        self._responsible: Shared[Responsible] = Shared(fresh_seconds=CUSTOMER_SECONDS)
        self._hours: Shared[Hours] = Shared(fresh_seconds=HOURS_SECONDS)
        self._crm_limit = CrmLimit()
        self._journal = Journal()

    def answer(self, question: Question) -> Choice:
        """Raises Unauthorized and Forbidden, and nothing else: any other failure gives the usual scheme."""
        started = time.monotonic()
        deadline = started + self._budget_seconds
        asking: dict[str, str] = {}
        decision = self._in_time(question, deadline, asking)
        self._remember(question, decision, asking.get("enterprise"), time.monotonic() - started)
        return _usual(question, "shadow") if decision.is_shadow else decision

    def close(self) -> None:
        self._pool.shutdown()
        self._journal.close()

    def _in_time(self, question: Question, deadline: float, asking: dict[str, str]) -> Choice:
        if not self._slots.acquire(blocking=False):
            return _usual(question, "busy", "All workers are busy")
        try:
            future = self._pool.submit(self._work, question, deadline, asking)
        except RuntimeError:  # shutting down
            self._slots.release()
            return _usual(question, "busy", "The function is being stopped")
        try:
            return future.result(timeout=deadline - time.monotonic())
        except TimeoutError:
            return _usual(question, "out_of_time", "The budget was spent")
        except (Unauthorized, Forbidden):
            raise
        except (Unavailable, RateLimited) as error:
            return _usual(question, "unavailable", str(error))
        except Exception:
            log.exception("bug")
            return _usual(question, "internal", "An error of ours; it is in the log")

    def _work(self, question: Question, deadline: float, asking: dict[str, str]) -> Choice:
        try:
            enterprise = _authenticate(question)
            asking["enterprise"] = enterprise.number
            return self._decide(enterprise, question, deadline)
        finally:
            self._slots.release()

    def _decide(self, enterprise: Enterprise, question: Question, deadline: float) -> Choice:
        settings = for_line(enterprise.integration().options, question.line_id)
        mode = settings.mode or ("off" if question.is_dialplan else "routing+name")
        if not call_settings(enterprise).enabled or mode == "off":
            return _usual(question, "off")
        known = directory(enterprise)
        line = known.lines.get(known.line_named(question.line_id))
        phone = normalize(question.phone, known, line=line)
        is_routing = mode == "routing+name" and question.wants_routing
        responsible: Responsible | UsualScheme = UsualScheme("no_customer_number")
        if phone and ("customer" in settings.names or (is_routing and settings.algorithm == "retailcrm")):
            responsible = self._ask_responsible(enterprise, phone, settings, deadline)
        customer_name = responsible.customer_name if isinstance(responsible, Responsible) else ""
        name = reply.name_of(choice.name_parts(settings, line, customer_name), caller=question.phone)
        try:
            extension, reason = _whom(enterprise, known, phone, settings, responsible, is_routing=is_routing)
            phone_id = self._reachable(enterprise, known, extension, settings, deadline)
            plan = _plan(question, phone_id)
        except UsualScheme as usual:
            return Choice(reason=usual.reason, name=name, error=usual.error, is_shadow=settings.shadow)
        return Choice(reason=reason, name=name, extension=extension, dial_plan=plan, is_shadow=settings.shadow)

    def _reachable(
        self, enterprise: Enterprise, known: Directory, extension: str, settings: RedirectSettings, deadline: float
    ) -> int:
        """
        The id of the extension's row. Raises UsualScheme when the manager is busy, away, or has no extension here.
        """
        user_id = known.extension_users.get(extension)
        with db.connection() as conn:
            phone_id = routing.find_phone_id(conn, enterprise.number, extension)
            status = user_statuses.find_status(conn, enterprise.number, user_id) if user_id is not None else None
        if phone_id is None:
            raise UsualScheme("no_internal_phone")
        if status and not settings.ignore_status and not choice.is_free(status.status, status.age_seconds):
            raise UsualScheme(f"manager_{status.status}")
        if not settings.ignore_hours and not self._ask_hours(enterprise, deadline).is_open(datetime.now(UTC)):
            raise UsualScheme("outside_working_hours")
        return phone_id

    def _ask_responsible(
        self, enterprise: Enterprise, phone: str, settings: RedirectSettings, deadline: float
    ) -> Responsible | UsualScheme:
        def ask() -> Responsible:
            question = partial(manager.find_responsible, phone=phone, ignore_status=settings.ignore_status)
            return manager.read_responsible(self._ask(enterprise, question, deadline).details)

        key = (enterprise.number, enterprise.integration().version, phone, settings.ignore_status)
        try:
            return self._shared(self._responsible, key, ask, deadline)
        except UsualScheme as usual:
            return usual

    def _ask_hours(self, enterprise: Enterprise, deadline: float) -> Hours:
        """Raises UsualScheme when the hours are not known."""

        def ask() -> Hours:
            hours_now = partial(manager.get_settings, patience_seconds=0)
            settings = self._ask(enterprise, hours_now, deadline).details.get("settings")
            try:
                return hours.read(settings if isinstance(settings, dict) else {})
            except ValueError as error:
                raise UsualScheme("working_hours_unknown", f"The CRM's working hours: {error}") from error

        return self._shared(self._hours, (enterprise.number, enterprise.integration().version), ask, deadline)

    def _shared(self, store: Shared[T], key: tuple[Hashable, ...], ask: Callable[[], T], deadline: float) -> T:
        """The kept answer, else a new one, in a slot of the enterprise that the key begins with."""
        known = store.find(key)
        if known is not None:
            return known
        try:
            with self._crm_limit.slot(str(key[0])):
                return store.get(key, ask, deadline=deadline)
        except TimeoutError as error:
            raise UsualScheme("crm_slow", "The CRM did not answer within the budget") from error

    def _ask(self, enterprise: Enterprise, question: Callable[..., Reply], deadline: float) -> Reply:
        """One request within the rest of the budget. Raises UsualScheme."""
        left = deadline - time.monotonic() - _MARGIN_SECONDS
        if left < _SHORTEST_QUESTION_SECONDS:
            raise UsualScheme("out_of_time", "The budget was spent")
        answer = question(_account(enterprise), timeout_seconds=left)
        if answer.outcome == "busy" and answer.http_status is None:
            raise UsualScheme("crm_busy", answer.error)
        self._crm_limit.record(enterprise.number, is_good=answer.outcome in {"done", "permanent"})
        if answer.outcome == "done":
            return answer
        if answer.outcome in {"authentication", "permanent"}:
            raise UsualScheme("crm_refused", answer.error)
        is_slow = answer.outcome == "in_doubt" and answer.http_status is None
        raise UsualScheme("crm_slow" if is_slow else "crm_unavailable", answer.error)

    def _remember(self, question: Question, decision: Choice, enterprise: str | None, seconds: float) -> None:
        duration_ms = round(seconds * 1000, 1)
        log.info("decided", extra={"enterprise": enterprise, "reason": decision.reason, "duration_ms": duration_ms})
        if enterprise is None:
            return
        self._journal.write(
            Record(
                enterprise_number=enterprise,
                request={
                    "form": "dialplan" if question.is_dialplan else "api",
                    **_shown(unique_id=question.unique_id, phone=question.phone, line_id=question.line_id),
                },
                response={
                    "reason": decision.reason,
                    "name": decision.name,
                    "extension": decision.extension,
                    "dial_plan": decision.dial_plan,
                    "is_shadow": decision.is_shadow,
                    "duration_ms": duration_ms,
                },
                error=decision.error,
            )
        )


def _authenticate(question: Question) -> Enterprise:
    """Raises Unauthorized, Forbidden, and what the look-up raises when the database is away."""
    try:
        enterprise = enterprise_cache().by_token(question.token, address=question.address)
    except NotFound as error:
        raise Unauthorized("No enterprise has this token") from error
    if question.enterprise_number not in {"", enterprise.number}:
        raise Unauthorized("The token is another enterprise's")
    return enterprise


def _whom(
    enterprise: Enterprise,
    known: Directory,
    phone: str | None,
    settings: RedirectSettings,
    responsible: Responsible | UsualScheme,
    *,
    is_routing: bool,
) -> tuple[str, str]:
    """The extension that shall be rung, and why. Raises UsualScheme."""
    if phone is None:
        raise UsualScheme("no_customer_number")
    if not is_routing:
        raise UsualScheme("name_only", responsible.error if isinstance(responsible, UsualScheme) else None)
    if settings.algorithm == "retailcrm":
        return _responsible_extension(responsible, known), "responsible_manager"
    find = routing.find_first_talker if settings.algorithm == "first_call" else routing.find_last_talker
    with db.connection() as conn:
        talker = find(conn, enterprise.number, phone)
    if talker is None or not known.knows(talker):
        raise UsualScheme("no_call_before")
    return talker, settings.algorithm


def _responsible_extension(responsible: Responsible | UsualScheme, known: Directory) -> str:
    if isinstance(responsible, UsualScheme):
        raise responsible
    extension = choice.extension_of(responsible, known)
    if extension is None:
        nobody = responsible.user_id is None and responsible.code is None
        raise UsualScheme("no_responsible_manager" if nobody else "manager_without_extension")
    return extension


def _plan(question: Question, phone_id: int) -> str | None:
    """Raises UsualScheme for a line whose name the dialplan would misread."""
    if not question.is_dialplan:
        return None
    plan = reply.dial_plan(phone_id, question.line_id)
    if plan is None:
        raise UsualScheme("line_cannot_be_routed")
    return plan


def _account(enterprise: Enterprise) -> Account:
    try:
        return account_of(enterprise)
    except ConfigError as error:
        raise UsualScheme("crm_not_configured", str(error)) from error


def _usual(question: Question, reason: str, error: str | None = None) -> Choice:
    return Choice(reason=reason, name=reply.name_of((), caller=question.phone), error=error)


def _shown(**texts: str) -> Mapping[str, str]:
    return {name: "".join(filter(str.isprintable, text))[:64] for name, text in texts.items() if text}


@lazy
def router() -> Router:
    """The router of this process."""
    return Router(config.current(config.SmartRedirect))


def close() -> None:
    """Closes the router, if there is one."""
    if router.made is not None:
        router.made.close()
        router.forget()
