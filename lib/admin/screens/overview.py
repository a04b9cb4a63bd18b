"""Is it working? Numbers of today, the delay of the last hour, and what needs somebody's attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from lib.admin import troubles
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import (
    COUNT,
    MAYBE_MOMENT,
    MAYBE_NUMBER,
    MAYBE_TEXT,
    MOMENT,
    NUMBER,
    TEXT,
    listed,
    mapped,
    one_of,
    record,
)
from lib.admin.screens.drawn_story import EFFECT, STATE
from lib.admin.screens.managers import UNKNOWN
from lib.ledger import silence
from lib.ledger.silence import Silence
from lib.retailcrm import address, client, options
from lib.retailcrm.account import account_of
from lib.runtime import config, db
from lib.runtime.errors import ConfigError
from lib.runtime.http import Answer
from lib.store import gates, host_clocks, integration_logs, journal, module_commands, people
from lib.store.enterprises import Enterprise
from lib.store.gates import Waiting
from lib.store.host_clocks import HostClock
from lib.store.journal import Backlog, Exchange
from lib.store.module_commands import Command
from lib.store.people import Unknown
from lib.store.silence import REASONS

CLOCK_SECONDS: Final = 60.0
AWAY_HOURS: Final = 1
# An event that waits longer than the sweep takes to find it.
BEHIND_SECONDS: Final = 10.0
FAILED_DAYS: Final = 7
_WAITING: Final = ("ready", "retry", "leased", "held")
_FAILED: Final = ("failed", "not_shown", "expired", "in_doubt")
_OPEN_CONNECTION: Final = {"kind": "open", "screen": "connection"}


State = Literal[
    "connected",
    "not_configured",
    "misconfigured",
    "disabled",
    "key_refused",
    "account_refused",
    "crm_away",
    "module_inactive",
    "nobody_mapped",
    "nothing_shown",
    "nothing_stored",
]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an enterprise at this moment. `failed`: calls whose history row can be sent again."""

    now: datetime
    exchange: Exchange | None = None
    popups: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    clock: HostClock | None = None
    command: Command | None = None
    unknown: Sequence[Unknown] = ()
    unknown_lines: Sequence[str] = ()
    failed: Sequence[tuple[int, datetime]] = ()
    last_event_at: datetime | None = None
    is_quiet: bool = False
    away_since: datetime | None = None
    waiting: Waiting | None = None
    backlog: Backlog | None = None
    recovered: Backlog | None = None
    silence: Silence | None = None
    # Clicks of the last hour, and since when.
    over_limit: tuple[int, datetime] | None = None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """
    The state of the connection, by what was really shown and stored; `message` is RetailCRM's own text.
    `nothing_shown`, `nothing_stored`: today's pop-ups, or rows, all failed.
    """

    state: State
    message: str | None = None
    since: datetime | None = None


def show(request: AdminRequest) -> Answer:
    enterprise = request.enterprise
    number = enterprise.number
    with db.transaction() as conn:
        today = journal.count_today(conn, number, timezone=enterprise.timezone)
        delays = journal.list_delays(conn, number)
        now = db.now(conn)
        facts = Facts(
            now=now,
            exchange=journal.find_last_exchange(conn, number),
            popups=_by_outcome(today["deliveries"], "popup"),
            rows=_by_outcome(today["deliveries"], "upload"),
            clock=host_clocks.find(conn, number),
            command=next(iter(module_commands.list_commands(conn, number, limit=1)), None),
            unknown=people.list_unknown_to_crm(conn, number),
            unknown_lines=journal.list_unknown_lines(conn, number),
            failed=journal.list_failed_rows(conn, number, since=now - timedelta(days=FAILED_DAYS), limit=1000),
            last_event_at=today["last_event_at"],
            is_quiet=journal.is_unusually_quiet(conn, number),
            away_since=_away_since(conn, enterprise),
            waiting=_waiting(conn, enterprise),
            backlog=journal.find_backlog(conn, number, older_seconds=BEHIND_SECONDS),
            recovered=journal.find_recovered(conn, number, older_seconds=BEHIND_SECONDS),
            silence=silence.read(conn, number),
            over_limit=integration_logs.find_refused_last_hour(conn, number, "make_call", "daily_limit"),
        )
        arrived = journal.find_arrived(conn, number)
    found = connection(enterprise, facts)
    return {
        "connection": {**asdict(found), **asdict(arrived), "domain": enterprise.integration().domain},
        "today": {
            "calls": today["calls"],
            "popups": facts.popups,
            "history": facts.rows,
            "deliveries": today["deliveries"],
        },
        "last_event_at": facts.last_event_at,
        "delays": delays,
        "attention": attention(enterprise, found, facts),
    }, 200


def connection(enterprise: Enterprise, facts: Facts) -> Connection:
    integration = enterprise.integration()
    if not integration.is_connected:
        return Connection(state="not_configured")
    if not integration.enabled:
        return Connection(state="disabled")
    if not _is_readable(enterprise):
        return Connection(state="misconfigured")
    return _by_what_was_answered(facts) or _by_what_arrived(enterprise, facts)


def _by_what_was_answered(facts: Facts) -> Connection | None:
    """What concerns everything that RetailCRM is told; None: nothing does."""
    last = facts.exchange
    found: dict[State, datetime | None] = {
        "key_refused": _key_refused_at(facts),
        "account_refused": _refused_since(facts),
        "crm_away": facts.away_since or _fault_at(last, facts.now),
        "module_inactive": last.at if last is not None and _says_module_is_off(last) else None,
    }
    for state, since in found.items():
        if since is not None:
            return Connection(state=state, message=_words(last), since=since)
    return None


def _is_readable(enterprise: Enterprise) -> bool:
    """Whether what is saved leads to an account; else nothing can be asked of one."""
    try:
        account_of(enterprise)
    except ConfigError:
        return False
    return True


def _by_what_arrived(enterprise: Enterprise, facts: Facts) -> Connection:
    if not any(enterprise.integration().user_extensions.values()):
        return Connection(state="nobody_mapped")
    if facts.popups.get("failed") and not facts.popups.get("delivered"):
        return Connection(state="nothing_shown")
    if facts.rows.get("failed") and not facts.rows.get("delivered"):
        return Connection(state="nothing_stored")
    return Connection(state="connected")


def _key_refused_at(facts: Facts) -> datetime | None:
    """By the last exchange, or by a command that came to it later."""
    last, command = facts.exchange, facts.command
    if last is not None and last.status != "success" and last.http_status in {401, 403}:
        return last.at
    if command is None or command.code != "key_refused" or command.finished_at is None:
        return None
    return command.finished_at if last is None or last.at <= command.finished_at else None


def _words(last: Exchange | None) -> str | None:
    """RetailCRM's own: of an exchange without an answer there are none."""
    if last is None or last.status == "success" or not isinstance(last.body, dict):
        return None
    return client.own_words(last.body) or None


def _fault_at(last: Exchange | None, now: datetime) -> datetime | None:
    """When the CRM gave no answer or a server error, if that was the last exchange and recent."""
    if last is None or last.status == "success":
        return None
    is_fault = last.http_status is None or last.http_status >= 500 or last.http_status in {408, 425, 429}
    return last.at if is_fault and now - last.at < timedelta(hours=AWAY_HOURS) else None


def _refused_since(facts: Facts) -> datetime | None:
    """Since when the account takes nothing; a module that is switched off has words and a remedy of its own."""
    last, waiting = facts.exchange, facts.waiting
    if last is not None and last.status == "success":
        return None
    if last is not None and _says_module_is_off(last):
        return None
    if waiting is not None and waiting.reason == "account_refused":
        return waiting.since
    return last.at if last is not None and last.http_status in client.OF_THE_ACCOUNT else None


def _says_module_is_off(last: Exchange) -> bool:
    return client.NO_TELEPHONY in (last.error or "").lower()


def _waiting(conn: db.Connection, enterprise: Enterprise) -> Waiting | None:
    with suppress(ConfigError):
        account = account_of(enterprise)
        key = gates.Key(enterprise_number=enterprise.number, credentials=account.credentials)
        return gates.find_waiting(conn, account.base_url, key)
    return None


def _away_since(conn: db.Connection, enterprise: Enterprise) -> datetime | None:
    """Since when the breaker of the account is open, after failures in a row."""
    with suppress(ConfigError):
        extra_hosts = config.current(config.RetailCRM).retailcrm_extra_hosts
        return gates.find_away_since(conn, address.base_url(enterprise.integration().domain or "", extra_hosts))
    return None


def attention(enterprise: Enterprise, found: Connection, facts: Facts) -> list[dict[str, Any]]:
    """
    Items that need attention, the worst first: each with a `code` for the page, its facts, and an action that helps.
    """
    if found.state == "not_configured":
        return [_item("not_configured", "RetailCRM is not connected yet", _OPEN_CONNECTION)]
    return [
        *_of_connection(found),
        *_of_module(facts),
        *_of_people(enterprise, facts.unknown),
        *_of_clicks(enterprise, facts.over_limit),
        *_of_silence(facts.silence),
        *_of_calls(facts, is_enabled=found.state != "disabled"),
    ]


def _of_connection(found: Connection) -> Iterator[dict[str, Any]]:
    words = {"words": found.message, "since": found.since}
    match found.state:
        case "disabled":
            yield _item("disabled", "The integration is switched off: nothing is sent", {"kind": "register"})
        case "misconfigured":
            yield _item("misconfigured", "The address or the API key that is saved cannot be used", _OPEN_CONNECTION)
        case "key_refused":
            message = f"RetailCRM refuses the API key: {found.message}"
            yield _item("key_refused", message, _OPEN_CONNECTION, **words)
        case "account_refused":
            message = f"RetailCRM takes nothing from this account: {found.message}"
            yield _item("account_refused", message, _OPEN_CONNECTION, **words)
        case "crm_away":
            message = f"RetailCRM does not answer as it should: {found.message}"
            yield _item("crm_away", message, _OPEN_CONNECTION, **words)


def _of_module(facts: Facts) -> Iterator[dict[str, Any]]:
    command, last = facts.command, facts.exchange
    if last is not None and _says_module_is_off(last):
        message = f"The module is switched off in RetailCRM: {last.error}"
        yield _item("module_inactive", message, {"kind": "register"}, words=_words(last), since=last.at)
    if command is None:
        yield _item("not_registered", "The module was never registered from here", {"kind": "register"})
    elif command.state in {"failed", "retry"}:
        action = {"kind": "sync" if command.action == "push_mapping" else command.action}
        message = command.message or "RetailCRM did not do what was asked"
        found = next((step["trouble"] for step in command.steps if step.get("trouble")), None)
        yield _item("command_failed", message, action, command=command.action, reason=command.code, trouble=found)


def _of_people(enterprise: Enterprise, unknown: Sequence[Unknown]) -> Iterator[dict[str, Any]]:
    mapping = enterprise.integration().user_extensions
    managers = {"kind": "open", "screen": "managers"}
    if not any(mapping.values()):
        yield _item("nobody_mapped", "No manager has an extension: nobody sees a pop-up", managers)
    for item in unknown:
        action = {"kind": "sync"} if item.kind == "extension" and item.value in mapping.values() else managers
        message = f"RetailCRM does not know {item.kind} {item.value}"
        yield _item("unknown_to_crm", message, action, **asdict(item))


def _of_clicks(enterprise: Enterprise, over_limit: tuple[int, datetime] | None) -> Iterator[dict[str, Any]]:
    if over_limit:
        calls, since = over_limit
        message = f"The calls by click of a day are spent: {calls} were refused within an hour"
        yield _item("clicks_stopped", message, {"kind": "open", "screen": "settings"}, calls=calls, since=since)
    if options.accepts_number_as_client_id(enterprise.integration()):
        message = "Whoever knows the number of the enterprise can make its phones ring, until the module is registered"
        yield _item("number_rings", message, {"kind": "register"})


def _of_silence(seen: Silence | None) -> Iterator[dict[str, Any]]:
    """What was accepted and led to nothing, with a way to the first of each kind."""
    if seen is None:
        return
    host = {"kind": "open", "screen": "host"}
    for deaf in seen.hosts:
        of_whom = f"{deaf.source} {deaf.name}".strip()
        message = f"None of {deaf.calls} calls of {of_whom} led to anything in RetailCRM"
        facts = {"source": deaf.source, "name": deaf.name, "calls": deaf.calls, "since": deaf.since}
        yield _item("host_without_effect", message, host, **facts, unique_id=deaf.unique_id)
    if seen.events:
        message = f"{seen.events} events of the last hour led to nothing in RetailCRM"
        because = [asdict(one) for one in seen.because]
        if seen.rejected:
            facts = {"calls": 0, "events": seen.rejected.count, "unique_id": None, "at": seen.rejected.at}
            because.append({"reason": "rejected", **facts})
        yield _item("led_to_nothing", message, host, events=seen.events, calls=seen.calls, because=because)


def _of_calls(facts: Facts, *, is_enabled: bool) -> Iterator[dict[str, Any]]:
    if facts.backlog and is_enabled:
        message = f"Events come faster than they are worked on: {facts.backlog.events} wait"
        yield _item("behind", message, None, events=facts.backlog.events, since=facts.backlog.since)
    if facts.recovered and is_enabled:
        message = f"Recovered events are worked on beside live calls: {facts.recovered.events} wait"
        yield _item("recovering", message, None, events=facts.recovered.events, since=facts.recovered.since)
    if facts.failed and is_enabled:
        since = facts.failed[0][1]
        message = f"RetailCRM did not get the history of calls: {len(facts.failed)}"
        action = {"kind": "replay", "since": since}
        yield _item("history_failed", message, action, calls=len(facts.failed), since=since)
    if facts.is_quiet and facts.last_event_at and is_enabled:
        message = "The telephony reports no calls, though at this time of day there usually are some"
        yield _item("no_events", message, None, since=facts.last_event_at)
    if facts.unknown_lines:
        message = f"Calls came over lines that the enterprise does not have: {', '.join(facts.unknown_lines)}"
        yield _item("lines_missing", message, {"kind": "open", "screen": "lines"}, lines=list(facts.unknown_lines))
    lag = facts.clock.lag_seconds if facts.clock else None
    if lag is not None and abs(lag) > CLOCK_SECONDS:
        message = f"The clock of the telephone host differs from ours by {round(lag)} s"
        yield _item("clock_wrong", message, None, seconds=round(lag))


def _item(code: str, message: str, action: Mapping[str, Any] | None, **facts: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **facts, **({"action": action} if action else {})}


def _by_outcome(counted: Sequence[Mapping[str, Any]], effect: str) -> dict[str, int]:
    states = {"delivered": ("delivered",), "waiting": _WAITING, "failed": _FAILED}
    return {
        name: sum(item["count"] for item in counted if item["effect"] == effect and item["state"] in those)
        for name, those in states.items()
    }


_ACTION: Final = record(
    {
        "kind": one_of("open", "register", "deactivate", "sync", "replay"),
        "screen": one_of("connection", "managers", "lines", "host", "settings"),
        "since": MOMENT,
    },
    optional=("screen", "since"),
)
_BECAUSE: Final = record(
    {
        "reason": one_of(*REASONS, "too_many_events", "rejected"),
        "calls": COUNT,
        "events": COUNT,
        "unique_id": MAYBE_TEXT,
        "at": MOMENT,
    }
)
_ITEM: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": one_of(
            "not_configured",
            "misconfigured",
            "disabled",
            "key_refused",
            "account_refused",
            "crm_away",
            "module_inactive",
            "not_registered",
            "command_failed",
            "nobody_mapped",
            "unknown_to_crm",
            "clicks_stopped",
            "number_rings",
            "history_failed",
            "no_events",
            "lines_missing",
            "clock_wrong",
            "behind",
            "recovering",
            "led_to_nothing",
            "host_without_effect",
        ),
        "message": TEXT,
        "action": _ACTION,
        "words": MAYBE_TEXT,
        "command": TEXT,
        "reason": MAYBE_TEXT,
        "trouble": troubles.MAYBE_TROUBLE,
        **UNKNOWN,
        "since": MAYBE_MOMENT,
        "lines": listed(TEXT),
        "seconds": NUMBER,
        "events": COUNT,
        "source": one_of("enterprise", "system", "line"),
        "name": TEXT,
        "unique_id": MAYBE_TEXT,
        "because": listed(_BECAUSE),
    },
    "additionalProperties": False,
}
_COUNTED: Final = record({"delivered": COUNT, "waiting": COUNT, "failed": COUNT})
STATS: Final = record(
    {
        "connection": record(
            {
                "state": one_of(*get_args(State)),
                "message": MAYBE_TEXT,
                "since": MAYBE_MOMENT,
                "domain": MAYBE_TEXT,
                "shown_at": MAYBE_MOMENT,
                "stored_at": MAYBE_MOMENT,
            }
        ),
        "today": record(
            {
                "calls": mapped(COUNT),
                "popups": _COUNTED,
                "history": _COUNTED,
                "deliveries": listed(record({"effect": EFFECT, "state": STATE, "count": COUNT})),
            }
        ),
        "last_event_at": MAYBE_MOMENT,
        "delays": listed(record({"at": MOMENT, "count": COUNT, "p50_ms": MAYBE_NUMBER, "worst_ms": MAYBE_NUMBER})),
        "attention": listed(_ITEM),
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/stats/{number}",
        summary="Is it connected, numbers of today, the delay of the last hour, what needs attention",
        handle=show,
        gives=STATS,
    ),
)
