"""Trying it out: a situation played at this enterprise, without anything being stored or sent."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from lib.admin import answers, configuration, picture, sandbox
from lib.admin.operation import Call, Operation, obj, text
from lib.admin.sandbox import Situation
from lib.calls.settings import Settings
from lib.enterprises.rules import directory
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.runtime.http import Answer


def list_situations(_: Call) -> Answer:
    return {"situations": [_shown(situation) for situation in sandbox.situations().values()]}, 200


def play(call: Call) -> Answer:
    """As if switched on: a sandbox that shows nothing teaches nothing."""
    situation = sandbox.situations().get(call.body["situation"])
    if situation is None:
        raise NotFound("There is no such situation", code="unknown_situation")
    enterprise = call.enterprise
    saved = Settings.from_config({**enterprise.integration().stored, **call.body.get("settings", {})})
    with db.connection() as conn:
        now = db.now(conn)
        seen = picture.faces(conn, enterprise)
    stories = sandbox.play(situation, directory(enterprise), dataclasses.replace(saved, enabled=True), at=now)
    return {
        "situation": _shown(situation),
        "is_enabled": saved.enabled and bool(enterprise.integration().api_key),
        "stories": [picture.drawn({**story, **_UNKNOWN_HERE}, seen) for story in stories],
    }, 200


# Of a real call these are known too.
_UNKNOWN_HERE: Final[dict[str, Any]] = {"click": None, "host_clock": None, "is_replayable": False}


def _shown(situation: Situation) -> dict[str, Any]:
    return {"id": situation.id, "kind": situation.kind, "title": situation.title, "what": situation.what}


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/situations/{number}",
        summary="Situations of calls that can be played",
        handle=list_situations,
        gives=answers.SITUATIONS,
    ),
    Operation(
        method="POST",
        path="/preview/{number}",
        summary="What RetailCRM would be told of a situation at this enterprise; nothing is stored or sent",
        handle=play,
        gives=answers.PREVIEW,
        body=obj(
            {"situation": text(60, least=1), "settings": obj(configuration.SETTINGS)},
            required=("situation",),
        ),
    ),
)
