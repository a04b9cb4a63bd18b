"""The API's own description, OpenAPI 3.1: made of the schemas that the guard checks, so it cannot differ from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from lib.admin.operation import ROOT, AdminRequest, Operation
from lib.admin.schemas import DATA, TEXT, mapped, record
from lib.runtime.http import Answer

_ERROR: Final = record(
    {
        "error": record(
            {
                "code": {"type": "string", "pattern": "^[a-z_]+$"},
                "message": TEXT,
                "fields": mapped(record({"code": TEXT, "params": DATA, "message": TEXT})),
                "current": DATA,
                "other": DATA,
            },
            optional=("fields", "current", "other"),
        )
    }
)
_ERROR_CONTENT: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "session": [{"session": []}],
    "operator": [{"operator": []}],
    "anybody": [],
}


def served(others: Sequence[Operation]) -> Operation:
    """The operation that answers with the description of the others and of itself."""

    def show(_: AdminRequest) -> Answer:
        return described, 200

    itself = Operation(
        method="GET",
        path="/openapi.json",
        summary="This description",
        handle=show,
        access="anybody",
        gives={"type": "object", "required": ["openapi", "paths"]},
    )
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
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.query["properties"].items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    done = {media: {"schema": schema} for media, schema in operation.also.items()}
    if operation.gives is not None:
        done["application/json"] = {"schema": operation.gives}
    found: dict[int, str] = _refusals(operation) | dict(operation.answers)
    return {
        **{
            str(status): {"description": words, "content": done if status < 400 else _ERROR_CONTENT}
            for status, words in sorted(found.items())
        },
        "default": {"description": "An error of ours, or nothing works at this moment", "content": _ERROR_CONTENT},
    }


def _refusals(operation: Operation) -> dict[int, str]:
    """The refusals of the guard, which are the same for every operation."""
    found = {400: "Something that was sent cannot be meant, or is not known here; `fields` says what"}
    if operation.access == "session":
        found[401] = "Nobody is signed in, or not any more"
    if operation.access == "operator" or operation.method != "GET":
        found[403] = "Not from the page of the gateway, or not the operator"
    if "{" in operation.path:
        found[404] = "Another enterprise, or not there"
    if operation.method in {"POST", "PUT"}:
        found[413] = "The body is too large"
    return found
