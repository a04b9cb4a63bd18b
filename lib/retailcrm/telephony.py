"""
The requests to RetailCRM's telephony API: pop-ups and history rows.

The rest of the gateway speaks of rings, ends and rows (`lib.calls.plan`). Facts: docs/retailcrm.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.calls.plan import CallRow, EndNotice, RingNotice
from lib.retailcrm.client import Form


def ring_form(notice: RingNotice) -> Form:
    """Where the notice names users, to these alone: a code that the CRM knows after all would show a second card."""
    event = {
        "phone": notice.phone,
        "type": notice.direction,
        **({"userIds": list(notice.user_ids)} if notice.user_ids else {"codes": list(notice.extensions)}),
        "callExternalId": notice.call_id,
        **_optional(externalPhone=notice.line_number, site=notice.site),
    }
    return Form(path="/api/v5/telephony/call/event", name="event", value=event)


def end_form(notice: EndNotice, extensions: Sequence[str], user_ids: Sequence[int] = ()) -> Form:
    """`extensions`: those to which the pop-up was really sent; `user_ids`: those who were told by these."""
    people: dict[str, object] = {"codes": list(extensions), "userIds": list(user_ids)}
    event = {
        "phone": notice.phone,
        "type": "hangup",
        **{name: value for name, value in people.items() if value},
        "hangupStatus": notice.status,
        "callExternalId": notice.call_id,
        **_optional(externalPhone=notice.line_number, site=notice.site),
    }
    return Form(path="/api/v5/telephony/call/event", name="event", value=event)


def upload_form(rows: Sequence[CallRow]) -> Form:
    """RetailCRM takes at most 50 rows at once."""
    return Form(path="/api/v5/telephony/calls/upload", name="calls", value=[_row(row) for row in rows])


def _row(row: CallRow) -> dict[str, object]:
    return {
        "date": row.date.strftime("%Y-%m-%d %H:%M:%S"),
        "type": row.direction,
        "phone": row.phone.removeprefix("+"),
        "result": row.result,
        "duration": row.duration,
        "externalId": row.external_id,
        **_optional(
            code=row.extension,
            userId=row.user_id,
            durationWaiting=row.waiting,
            recordUrl=row.record_url,
            externalPhone=row.line_number,
            site=row.site,
        ),
    }


def _optional(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
