"""An operation of the API: method and path, who may use it, the schemas of request and answer, and its handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lib.runtime.http import Answer
from lib.runtime.json_schema import Schema
from lib.store.enterprises import Enterprise
from lib.store.sessions import Session

ROOT: Final = "/retailcrm-admin/api"
Access = Literal["anybody", "session", "operator"]
_NOTHING: Final[Schema] = {"type": "object", "properties": {}}


@dataclass(frozen=True, kw_only=True)
class AdminRequest:
    """
    A request to the API that has passed the guard. `enterprise` is that of the session, which a path that names an
    enterprise must name too, as the database has it now. `cookies`: secrets by their kind. `accept`: the header.
    """

    arguments: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    own_enterprise: Enterprise | None = None
    own_session: Session | None = None
    address: str = ""
    accept: str = ""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def enterprise(self) -> Enterprise:
        assert self.own_enterprise is not None  # noqa: S101  (the guard loads it with the session)
        return self.own_enterprise

    @property
    def session(self) -> Session:
        assert self.own_session is not None  # noqa: S101  (the guard refuses a request without one)
        return self.own_session


@dataclass(frozen=True, kw_only=True)
class Operation:
    """
    `path` below ROOT; `{number}` in it is the enterprise of the session. `query`: every property is text. `gives`:
    the schema of a successful answer in JSON (None: it is not JSON); `also`: other media types to ask for.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[AdminRequest], Answer]
    access: Access = "session"
    query: Schema = field(default_factory=lambda: _NOTHING)
    body: Schema = field(default_factory=lambda: _NOTHING)
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "Done"})
    gives: Schema | None
    also: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """As werkzeug writes it."""
        return f"{self.method} {ROOT}{self.path.replace('{', '<').replace('}', '>')}"
