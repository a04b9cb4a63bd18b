"""Holds answers against what the API says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from lib.admin.api import OPERATIONS
from lib.admin.document import document


@cache
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document(OPERATIONS)))
    return found


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$"), path) for path in described()["paths"]]


def operation_of(method: str, path: str) -> str | None:
    """As `GET /stats/{number}`; None for what is not in the description."""
    where = "/" + path.split("?", maxsplit=1)[0].strip("/")
    found = next((known for pattern, known in _patterns() if pattern.match(where)), None)
    return f"{method} {found}" if found and method.lower() in described()["paths"][found] else None


def differences(method: str, path: str, status: int, content_type: str, text: str) -> list[str]:
    """What is not as described; a path that is not in the description is held against nothing."""
    known = operation_of(method, path)
    if known is None:
        return []
    responses = described()["paths"][known.partition(" ")[2]][method.lower()]["responses"]
    if str(status) not in responses and status < 500:
        return [f"{known} answered {status}, which is not described"]
    content: Mapping[str, Any] = responses.get(str(status), responses["default"])["content"]
    media = content_type.partition(";")[0]
    if media not in content:
        return [f"{known} answered {status} as {media}, described is {', '.join(content)}"]
    if media != "application/json":
        return []
    schema = content[media]["schema"] | {"components": described()["components"]}
    return [
        f"{known} {status}: {'.'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(json.loads(text))
    ]
