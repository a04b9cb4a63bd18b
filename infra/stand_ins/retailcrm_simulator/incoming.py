"""A request as it came in: its key, its query and its form, read the way PHP reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

_SECRET_HEADERS: Final = frozenset({"x-api-key", "authorization", "cookie"})
_MAX_FIELDS: Final = 1000
_EXCERPT: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """
    `form`: scalar fields; `non_scalar`: names of fields that came as arrays or objects; `unread`: the beginning of
    a body that is no form.
    """

    method: str
    path: str
    query: Mapping[str, str | list[str]]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    api_key: str = field(default="", repr=False)
    non_scalar: frozenset[str] = frozenset()
    unread: str = ""
    warnings: tuple[str, ...] = ()

    def queried(self, name: str) -> str:
        """A scalar query parameter; empty when absent."""
        value = self.query.get(name, "")
        return value if isinstance(value, str) else ""

    def parsed(self) -> dict[str, object]:
        """The form for the ledger: JSON strings decoded where they can be, the key left out."""
        return {name: _decoded(text) for name, text in self.form.items() if name != "apiKey"}


class NotJSON(ValueError):
    pass


def json_value(text: str) -> object:
    """Strictly JSON: no NaN, nothing endless. Raises NotJSON."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise NotJSON(str(exc)) from exc


def masked(secret: str) -> str:
    return f"…{secret[-4:]}" if len(secret) > 8 else "…"


async def read(request: web.Request) -> Incoming:
    """Raises web.HTTPRequestEntityTooLarge."""
    query = _pairs(request.rel_url.raw_query_string)
    try:
        form, non_scalar, unread, warnings = await _body(request)
    except (ConnectionError, web.RequestPayloadError):
        form, non_scalar, unread, warnings = {}, frozenset(), "", ["the body did not come whole"]
    scalars, arrays = _collect(query)
    key = request.headers.get("X-API-KEY", "") or form.get("apiKey", "") or str(scalars.get("apiKey", ""))
    if not request.headers.get("X-API-KEY") and key:
        warnings = [*warnings, "the key came as a parameter: access logs keep it"]
    shown: dict[str, str | list[str]] = {name: value for name, value in scalars.items() if name != "apiKey"}
    return Incoming(
        method=request.method,
        path=request.path,
        query={**shown, **arrays},
        form=form,
        headers={n: masked(v) if n.lower() in _SECRET_HEADERS else v for n, v in request.headers.items()},
        api_key=key,
        non_scalar=non_scalar,
        unread=unread,
        warnings=tuple(warnings),
    )


async def _body(request: web.Request) -> tuple[dict[str, str], frozenset[str], str, list[str]]:
    if request.method in {"GET", "HEAD"}:
        return {}, frozenset(), "", []
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _multipart(request)
    raw = await request.read()
    text = raw.decode("utf-8", "replace")
    if kind == "application/x-www-form-urlencoded":
        warnings = [] if raw.decode("utf-8", "ignore").encode() == raw else ["the body is not UTF-8"]
        scalars, arrays = _collect(_pairs(text))
        return scalars, frozenset(name.partition("[")[0] for name in arrays), "", warnings
    names = _nested_names(text) if kind == "application/json" else frozenset()
    return {}, names, text[:_EXCERPT], [f"the body is no form: {kind}"] if raw else []


def _nested_names(text: str) -> frozenset[str]:
    """The fields of a JSON object that are objects or lists."""
    try:
        value = json_value(text)
    except NotJSON:
        return frozenset()
    fields = value.items() if isinstance(value, dict) else ()
    return frozenset(name for name, item in fields if isinstance(item, dict | list))


async def _multipart(request: web.Request) -> tuple[dict[str, str], frozenset[str], str, list[str]]:
    try:
        fields = await request.post()
    except (ValueError, LookupError, AssertionError, RuntimeError):
        return {}, frozenset(), "", ["the multipart body is broken"]
    scalars, arrays = _collect((name, value) for name, value in fields.items() if isinstance(value, str))
    files = {name for name, value in fields.items() if not isinstance(value, str)}
    return scalars, frozenset({name.partition("[")[0] for name in arrays} | files), "", []


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS)
    except ValueError:
        return []


def _collect(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Scalars (the last one wins) and what is written with brackets, by its full name."""
    scalars: dict[str, str] = {}
    arrays: dict[str, list[str]] = {}
    for name, value in pairs:
        if "[" in name:
            arrays.setdefault(name, []).append(value)
        else:
            scalars[name] = value
    return scalars, arrays


def _decoded(text: str) -> object:
    if text[:1] not in {"{", "["}:
        return text
    try:
        return json_value(text)
    except NotJSON:
        return text


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError(f"{text} is out of range")
    return value
