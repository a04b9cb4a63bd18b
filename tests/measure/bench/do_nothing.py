"""The floor: a function that answers and does nothing."""

from __future__ import annotations

import functions_framework
from flask import Request


@functions_framework.http
def do_nothing(_: Request) -> tuple[str, int]:
    return "", 204
