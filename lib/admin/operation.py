"""One thing that can be asked for: its address, who may, what the request must look like, and what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lib.runtime.http import Answer
from lib.runtime.json_schema import Shape
from lib.store.enterprises import Enterprise
from lib.store.sessions import Session

ROOT: Final = "/retailcrm-admin/api"
Access = Literal["anybody", "session", "operator"]
_NOTHING: Final[Shape] = {"type": "object", "properties": {}}


@dataclass(frozen=True, kw_only=True)
class Call:
    """
    A request that has passed the door. `enterprise` is the one of the path, where there is one, as the database has
    it now; `session` is that of the cookie. `cookie` is its secret. `accept`: the header.
    """

    arguments: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    own_enterprise: Enterprise | None = None
    own_session: Session | None = None
    address: str = ""
    accept: str = ""
    cookie: str = field(default="", repr=False)

    @property
    def enterprise(self) -> Enterprise:
        assert self.own_enterprise is not None  # noqa: S101  (the door loads it for every path that names one)
        return self.own_enterprise

    @property
    def session(self) -> Session:
        assert self.own_session is not None  # noqa: S101  (the door refuses without one)
        return self.own_session


@dataclass(frozen=True, kw_only=True)
class Operation:
    """
    `path` below ROOT; `{number}` in it is the enterprise of the session. `query`: every property is text. `gives`:
    what a success looks like, JSON (None: there is none); `also`: the same in other media types, for who asks.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[Call], Answer]
    access: Access = "session"
    query: Shape = field(default_factory=lambda: _NOTHING)
    body: Shape = field(default_factory=lambda: _NOTHING)
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "Done"})
    gives: Shape | None
    also: Mapping[str, Shape] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """As werkzeug writes it."""
        return f"{self.method} {ROOT}{self.path.replace('{', '<').replace('}', '>')}"


def text(most: int, *, least: int = 0, **further: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most, **further}


def obj(properties: Mapping[str, Shape], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return shape | ({"required": list(required)} if required else {})
