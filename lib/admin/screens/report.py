"""The report of a day, a week or a month: calls by hour or day and by manager, beside the period before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final
from zoneinfo import ZoneInfo

from lib.admin import exports, paging, report_periods
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, MAYBE_NUMBER, MAYBE_TEXT, TEXT, listed, obj, one_of, record, text
from lib.admin.screens import drawn_story
from lib.admin.screens.drawn_story import Faces
from lib.runtime import db
from lib.runtime.http import Answer
from lib.store import reports
from lib.store.reports import Counted

_NUMBERS: Final = ("incoming", "answered", "missed", "outgoing", "reached", "talk_seconds", "wait_seconds")
_COLUMNS: Final = ("owner_extension", "owner_name", *_NUMBERS)


def show(request: AdminRequest) -> Answer:
    number, timezone = request.enterprise.number, request.enterprise.timezone
    zone, span = ZoneInfo(timezone), request.query.get("span", "day")
    with db.connection() as conn:
        now = db.now(conn)
        period = report_periods.period(span, paging.day(request.query, "date") or now.astimezone(zone).date())  # type: ignore[arg-type]
        earlier = report_periods.before(span, period)  # type: ignore[arg-type]
        since, until = period.moments(zone)
        found = reports.count(conn, number, since=since, until=until, timezone=timezone, step=period.step)
        since, until = report_periods.as_far(period, earlier, now, zone)
        past = reports.count(conn, number, since=since, until=until, timezone=timezone, step=period.step)
        seen = drawn_story.faces(conn, request.enterprise)
    owners = _owners(found, seen)
    if request.query.get("format") == "csv":
        rows = [[row[name] for name in _COLUMNS] for row in owners]
        whole = exports.Export(of="report", columns=_COLUMNS, count=len(rows), page=lambda _after, _limit: (rows, None))
        return exports.answer(request, whole)
    return {
        "span": span,
        "step": period.step,
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "today": now.astimezone(zone).date().isoformat(),
        "before": {"since": earlier.since.isoformat(), "until": earlier.until.isoformat(), "total": _total(past)},
        "total": _total(found),
        "parts": [{"at": item.part.isoformat(), **_numbers(item)} for item in found if item.part is not None],
        "owners": owners,
    }, 200


def _total(found: Sequence[Counted]) -> dict[str, Any]:
    return next(_numbers(item) for item in found if item.grouping == "all")


def _owners(found: Sequence[Counted], seen: Faces) -> list[dict[str, Any]]:
    """Who had most calls first."""
    owners = [item for item in found if item.grouping == "owner"]
    owners.sort(key=lambda item: -(item.incoming + item.outgoing))
    return [
        {
            "owner_extension": item.owner_extension,
            "owner_name": seen.of(item.owner_extension)["name"],
            **_numbers(item),
        }
        for item in owners
    ]


def _numbers(item: Counted) -> dict[str, Any]:
    every = asdict(item)
    return {name: every[name] for name in _NUMBERS}


_COUNTED: Final = {
    "incoming": COUNT,
    "answered": COUNT,
    "missed": COUNT,
    "outgoing": COUNT,
    "reached": COUNT,
    "talk_seconds": COUNT,
    "wait_seconds": MAYBE_NUMBER,
}
REPORT: Final = record(
    {
        "span": one_of("day", "week", "month"),
        "step": one_of("hour", "day"),
        "since": TEXT,
        "until": TEXT,
        "today": TEXT,
        "before": record({"since": TEXT, "until": TEXT, "total": record(_COUNTED)}),
        "total": record(_COUNTED),
        "parts": listed(record({"at": TEXT, **_COUNTED})),
        "owners": listed(record({"owner_extension": MAYBE_TEXT, "owner_name": MAYBE_TEXT, **_COUNTED})),
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/report/{number}",
        summary="Calls of a day, a week or a month by hour or day and by manager, beside the period before",
        handle=show,
        gives=REPORT,
        also=exports.CSV,
        query=obj(
            {
                "span": {"type": "string", "enum": ["day", "week", "month"]},
                "date": text(10, pattern=r"^\d{4}-\d\d-\d\d$", description="a day of the period; without it today"),
                "language": exports.LANGUAGE,
                "format": {"type": "string", "enum": ["json", "csv"]},
            }
        ),
    ),
)
