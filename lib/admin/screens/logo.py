"""The picture of the module in RetailCRM, which takes SVG only."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Response

from lib.admin.operation import AdminRequest, Operation
from lib.runtime.http import Answer

_FILE: Final = Path(__file__).with_suffix(".svg")


def show(_: AdminRequest) -> Answer:
    headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(_FILE.read_bytes(), 200, headers, mimetype="image/svg+xml")


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/logo.svg",
        summary="The picture of the module",
        handle=show,
        access="anybody",
        gives=None,
        also={"image/svg+xml": {"type": "string"}},
    ),
)
