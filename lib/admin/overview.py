"""Is it working? Numbers of today, the delay of the last hour, and what needs somebody's attention."""

from __future__ import annotations

from typing import Any, Final

from lib import db
from lib.admin.operation import Call, Operation
from lib.http import Answer
from lib.store import host_clocks, journal, module_commands, people
from lib.store.enterprises import Enterprise
from lib.store.host_clocks import HostClock
from lib.store.module_commands import Command
from lib.store.people import Unknown

CLOCK_SECONDS: Final = 60.0


def show(call: Call) -> Answer:
    enterprise = call.enterprise
    number = enterprise.number
    with db.connection() as conn:
        today = journal.count_today(conn, number, timezone=enterprise.timezone)
        delays = journal.list_delays(conn, number)
        clock = host_clocks.find(conn, number)
        commands = module_commands.list_commands(conn, number, limit=1)
        unknown = people.list_unknown_to_crm(conn, number)
        refusal = journal.find_last_refusal(conn, number)
    return {
        "today": {"calls": today["calls"], "deliveries": today["deliveries"]},
        "last_event_at": today["last_event_at"],
        "delays": delays,
        "attention": attention(
            enterprise, clock=clock, command=commands[0] if commands else None, unknown=unknown, refusal=refusal
        ),
    }, 200


def attention(
    enterprise: Enterprise,
    *,
    clock: HostClock | None,
    command: Command | None,
    unknown: list[Unknown],
    refusal: str | None,
) -> list[dict[str, Any]]:
    """The worst first; each with a `code` for the page and its facts."""
    section = enterprise.retailcrm
    found: list[dict[str, Any]] = []
    if not section.get("domain") or not section.get("api_key"):
        return [{"code": "not_configured", "message": "RetailCRM is not connected yet"}]
    if section.get("enabled") is False:
        found.append({"code": "disabled", "message": "The integration is switched off: nothing is sent"})
    if refusal:
        found.append({"code": "key_refused", "message": f"RetailCRM refuses the API key: {refusal}"})
    if command is None:
        found.append({"code": "not_registered", "message": "The module was never registered from here"})
    elif command.state in {"failed", "retry"}:
        found.append({"code": "command_failed", "message": command.message or "", "action": command.action})
    if not any((section.get("user_extensions") or {}).values()):
        found.append({"code": "nobody_mapped", "message": "No manager has an extension: nobody sees a pop-up"})
    found += [
        {
            "code": "unknown_to_crm",
            "message": f"RetailCRM does not know {item.kind} {item.value}",
            "kind": item.kind,
            "value": item.value,
            "since": item.since,
            "calls": item.calls,
        }
        for item in unknown
    ]
    if clock and abs(clock.lag_seconds or 0) > CLOCK_SECONDS:
        seconds = round(clock.lag_seconds or 0)
        message = f"The clock of the telephone host differs from ours by {seconds} s"
        found.append({"code": "clock_wrong", "message": message, "seconds": seconds})
    return found


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/stats/{number}",
        summary="Numbers of today, the delay of the last hour, what needs attention",
        handle=show,
    ),
)
