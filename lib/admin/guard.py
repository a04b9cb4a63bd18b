"""
The checks in front of every operation: the session, the origin of the request, and its schema.

A session belongs to one enterprise: the path of another one does not exist for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Request

from lib.admin import cookies
from lib.admin.operation import AdminRequest, Operation
from lib.runtime import config, db, log_context
from lib.runtime.auth import require_operator, token_sha256
from lib.runtime.client_address import client_address
from lib.runtime.errors import Forbidden, InvalidPayload, NotFound, Unauthorized
from lib.runtime.http import Answer, Handler, read_json_object
from lib.runtime.json_schema import Problem, Schema, problems
from lib.store import enterprises, sessions
from lib.store.enterprises import Enterprise
from lib.store.sessions import Session

log = logging.getLogger(__name__)

BODY_BYTES: Final = 256 * 1024


def guarded(operation: Operation) -> Handler:
    def answer(request: Request, **arguments: str) -> Answer:
        session = enterprise = None
        if operation.access == "operator":
            require_operator(request.headers.get("Authorization", ""))
        elif request.method not in {"GET", "HEAD"}:
            _require_same_origin(request)
        if operation.access == "session":
            session, enterprise = _signed_in(request, arguments.get("number"))
            log_context.bind(enterprise=enterprise.number)
        query = dict(request.args.items())
        _require(query, operation.query)
        body = _body(request) if request.method in {"POST", "PUT"} and operation.access != "operator" else {}
        _require(body, operation.body)
        asked = AdminRequest(
            arguments=arguments,
            query=query,
            body=body,
            own_enterprise=enterprise,
            own_session=session,
            address=client_address(request),
            accept=request.headers.get("Accept", ""),
            cookies=cookies.read(request),
        )
        return operation.handle(asked)

    return answer


def refuse(found: Mapping[str, Problem]) -> None:
    """Raises InvalidPayload with every problem beside its field, if there are any."""
    if found:
        message = "; ".join(f"{name}: {problem.message}" for name, problem in list(found.items())[:20])
        fields = {name: asdict(problem) for name, problem in found.items()}
        raise InvalidPayload(message, code="invalid_fields", details={"fields": fields})


def _require_same_origin(request: Request) -> None:
    """Browsers send where a request comes from; a request without that may change nothing."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = urlsplit(config.current(config.Public).public_url)
    is_ours = site == "same-origin" if site else origin == f"{ours.scheme}://{ours.netloc}"
    if not is_ours:
        raise Forbidden("Changes are accepted from the page of the gateway only", code="cross_origin")


def live_session(conn: db.Connection, secret: str) -> Session | None:
    """The session of this cookie, seen now; None when there is none, or it is over."""
    limits = config.current(config.Sessions)
    return sessions.touch_session(
        conn,
        token_sha256(secret),
        idle_minutes=limits.session_idle_minutes,
        absolute_hours=limits.session_absolute_hours,
    )


def _signed_in(request: Request, number: str | None) -> tuple[Session, Enterprise]:
    secret = cookies.read(request)[cookies.SESSION]
    with db.connection() as conn:
        session = live_session(conn, secret)
        if session is None:
            if secret:
                log.info("session refused", extra={"address": client_address(request)})
            raise Unauthorized("Sign in first", code="session_required")
        if number is not None and number != session.enterprise_number:
            where = {"enterprise": session.enterprise_number, "address": client_address(request)}
            log.warning("session of another enterprise refused", extra=where)
            raise NotFound("There is no such enterprise", code="unknown_enterprise")
        enterprise = enterprises.find_enterprise(conn, session.enterprise_number)
    if enterprise is None:
        raise Unauthorized("Sign in first", code="session_required")
    return session, enterprise


def _body(request: Request) -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise InvalidPayload("The body must be JSON (Content-Type: application/json)", code="not_json")
    return read_json_object(request, limit=BODY_BYTES)


def _require(value: object, schema: Schema) -> None:
    refuse(problems(value, schema))
