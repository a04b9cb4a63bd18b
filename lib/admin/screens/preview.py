"""Preview: plays a situation with this enterprise's data; nothing is stored or sent."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from lib.admin.operation import AdminRequest, Operation
from lib.admin.schemas import FLAG, TEXT, listed, obj, record, text
from lib.admin.screens import configuration, drawn_story, sandbox
from lib.admin.screens.drawn_story import KIND, STORY
from lib.admin.screens.sandbox import Situation
from lib.calls.settings import Settings
from lib.enterprises.rules import directory
from lib.runtime import db
from lib.runtime.errors import NotFound
from lib.runtime.http import Answer


def list_situations(_: AdminRequest) -> Answer:
    return {"situations": [_shown(situation) for situation in sandbox.situations().values()]}, 200


def play(request: AdminRequest) -> Answer:
    """Plays it as if the integration were switched on: otherwise the preview would show nothing."""
    situation = sandbox.situations().get(request.body["situation"])
    if situation is None:
        raise NotFound("There is no such situation", code="unknown_situation")
    enterprise = request.enterprise
    saved = Settings.from_config({**enterprise.integration().stored, **request.body.get("settings", {})})
    with db.connection() as conn:
        now = db.now(conn)
        seen = drawn_story.faces(conn, enterprise)
    stories = sandbox.play(situation, directory(enterprise), dataclasses.replace(saved, enabled=True), at=now)
    return {
        "situation": _shown(situation),
        "is_enabled": saved.enabled and bool(enterprise.integration().api_key),
        "stories": [drawn_story.drawn({**story, **_UNKNOWN_HERE}, seen) for story in stories],
    }, 200


# Fields that only a real call has.
_UNKNOWN_HERE: Final[dict[str, Any]] = {"click": None, "host_clock": None, "is_replayable": False}


def _shown(situation: Situation) -> dict[str, Any]:
    return {"id": situation.id, "kind": situation.kind, "title": situation.title, "what": situation.what}


WORDS: Final = record({"ru": TEXT, "en": TEXT})
SITUATION: Final = record({"id": TEXT, "kind": KIND, "title": WORDS, "what": WORDS})
SITUATIONS: Final = record({"situations": listed(SITUATION)})
PREVIEW: Final = record({"situation": SITUATION, "is_enabled": FLAG, "stories": listed(STORY)})

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/situations/{number}",
        summary="Situations of calls that can be played",
        handle=list_situations,
        gives=SITUATIONS,
    ),
    Operation(
        method="POST",
        path="/preview/{number}",
        summary="What RetailCRM would be told of a situation at this enterprise; nothing is stored or sent",
        handle=play,
        gives=PREVIEW,
        body=obj(
            {"situation": text(60, least=1), "settings": obj(configuration.SETTINGS)},
            required=("situation",),
        ),
    ),
)
