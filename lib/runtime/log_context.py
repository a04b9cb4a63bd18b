"""
What every log line of a request says of it: whose it is, which event and call, which message, which trace.

A request begins with the trace of whoever asked (`traceparent`, W3C), or with one of its own. Messages carry the trace
on, so that the lines of all functions that an event went through share it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

TRACEPARENT: Final = "traceparent"
# Of one line: a batch, or an assembly that takes along a backlog, may be of hundreds.
IDS_AT_MOST: Final = 50

_FORM: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=_NOTHING)
# The id of the trace and its flags.
_trace: ContextVar[tuple[str, str] | None] = ContextVar("log_trace", default=None)


@contextmanager
def request(traceparent: str) -> Iterator[None]:
    """One request, with the trace of its header; one that is missing or malformed is replaced by a new one."""
    fields, trace = _fields.set(_NOTHING), _trace.set(_parsed(traceparent) or (secrets.token_hex(16), "00"))
    try:
        yield
    finally:
        _fields.reset(fields)
        _trace.reset(trace)


def follow(traceparent: str) -> None:
    """The request is about a message that carries this trace; a malformed one changes nothing."""
    if parsed := _parsed(traceparent):
        _trace.set(parsed)


def bind(**fields: object) -> None:
    """From here on every line of this request has these fields, too."""
    _fields.set({**_fields.get(), **fields})


def add(name: str, values: Iterable[str]) -> None:
    """The same of a list, which grows: what it has already, and what is beyond IDS_AT_MOST, is left out."""
    present = _fields.get().get(name, ())
    assert isinstance(present, tuple)  # noqa: S101  (nobody binds this name)
    bind(**{name: tuple(dict.fromkeys((*present, *values)))[:IDS_AT_MOST]})


def fields() -> Mapping[str, object]:
    return _fields.get()


def trace_id() -> str | None:
    """32 hexadecimal digits; None outside of a request."""
    trace = _trace.get()
    return trace[0] if trace else None


def carried() -> dict[str, str]:
    """What a message takes along."""
    trace = _trace.get()
    return {TRACEPARENT: f"00-{trace[0]}-{secrets.token_hex(8)}-{trace[1]}"} if trace else {}


def _parsed(traceparent: str) -> tuple[str, str] | None:
    found = _FORM.fullmatch(traceparent)
    return (found[1], found[2]) if found else None
