"""Whether anybody answers: the page asks while its screens are silent, so it costs nothing."""

from __future__ import annotations

from typing import Final

from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import FLAG, record
from lib.runtime.http import Answer


def show(_: AdminRequest) -> Answer:
    return {"alive": True}, 200


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/alive",
        summary="Whether the API answers; it looks at nothing else",
        handle=show,
        access="anybody",
        gives=record({"alive": FLAG}),
    ),
)
