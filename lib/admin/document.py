"""The API's own description, OpenAPI 3.1: made of the shapes that the door checks, so it cannot differ from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from lib.admin.operation import ROOT, Call, Operation
from lib.http import Answer

_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "fields": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }
    },
}
_ERROR_CONTENT: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "session": [{"session": []}],
    "operator": [{"operator": []}],
    "anybody": [],
}


def served(others: Sequence[Operation]) -> Operation:
    """The operation that answers with the description of the others and of itself."""

    def show(_: Call) -> Answer:
        return described, 200

    itself = Operation(method="GET", path="/openapi.json", summary="This description", handle=show, access="anybody")
    described = document([*others, itself])
    return itself


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Administrators' API of the telephony gateway", "version": "1"},
        "servers": [{"url": ROOT}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
                "operator": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip("_"),
        "security": _SECURITY[operation.access],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": _responses(operation),
    }
    if operation.method in {"POST", "PUT"} and operation.access != "operator":
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    return found


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": shape}
        for name, shape in operation.query["properties"].items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, description in operation.answers.items():
        if status >= 400:
            found[str(status)] = {"description": description, "content": _ERROR_CONTENT}
        else:
            found[str(status)] = {"description": description}
    found["default"] = {"description": "Refused, with the reason", "content": _ERROR_CONTENT}
    return found
