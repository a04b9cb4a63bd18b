"""What the hosts of the enterprise do that has to be guessed at or loses calls, and what to change there."""

from __future__ import annotations

from typing import Final

from lib.admin import paging
from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import COUNT, FLAG, MOMENT, TEXT, listed, mapped, obj, one_of, record
from lib.calls.doctor.finding import WEIGHTS
from lib.ledger import checkup
from lib.runtime.http import Answer


def show(request: AdminRequest) -> Answer:
    return checkup.examine_host(
        request.enterprise.number,
        since=paging.moment(request.query, "since"),
        events_at_most=checkup.EVENTS_AT_MOST,
    ), 200


CHECKUP: Final = record(
    {
        "since": MOMENT,
        "until": MOMENT,
        "events": COUNT,
        "calls": COUNT,
        "is_capped": FLAG,
        "findings": listed(
            record(
                {
                    "code": one_of(*WEIGHTS),
                    "weight": one_of("loss", "guess"),
                    "count": COUNT,
                    "of": COUNT,
                    "facts": mapped({"type": ["number", "string"]}),
                    "examples": listed(record({"unique_id": TEXT, "value": TEXT, "count": COUNT})),
                }
            )
        ),
    }
)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/doctor/{number}",
        summary="What the hosts do that loses calls or has to be guessed at, since a time (a day), worst first",
        handle=show,
        gives=CHECKUP,
        query=obj({"since": paging.QUERY["since"]}),
    ),
)
