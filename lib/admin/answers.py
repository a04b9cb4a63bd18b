"""What answers look like, as JSON Schema: for the description of the API, and for the test that holds it true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]


def record(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object of exactly these fields; all but the optional ones are always there."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required, "additionalProperties": False}


def listed(items: Schema) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapped(values: Schema) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def maybe(schema: Schema) -> dict[str, Any]:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "number"}
COUNT: Final = {"type": "integer", "minimum": 0}
ID: Final = {"type": "integer", "minimum": 1}
FLAG: Final = {"type": "boolean"}
MOMENT: Final = {"type": "string", "format": "date-time"}
ANYTHING: Final[dict[str, Any]] = {}
DATA: Final = mapped(ANYTHING)
MAYBE_TEXT: Final = maybe(TEXT)
MAYBE_NUMBER: Final = maybe(NUMBER)
MAYBE_MOMENT: Final = maybe(MOMENT)
MAYBE_ID: Final = maybe(ID)
WORDS: Final = record({"ru": TEXT, "en": TEXT})
SUCCESS: Final = record({"success": FLAG})

ERROR: Final = record(
    {
        "error": record(
            {
                "code": {"type": "string", "pattern": "^[a-z_]+$"},
                "message": TEXT,
                "fields": mapped(TEXT),
                "current": DATA,
            },
            optional=("fields", "current"),
        )
    }
)

SESSION: Final = record(
    {
        "enterprise_number": TEXT,
        "enterprise_name": TEXT,
        "login": MAYBE_TEXT,
        "signed_in_at": MOMENT,
        "idle_minutes": COUNT,
    },
    optional=("signed_in_at",),
)
CONFIG: Final = record(
    {
        "enterprise": record({"number": TEXT, "name": TEXT, "region": TEXT, "timezone": TEXT}),
        "version": COUNT,
        "enabled": FLAG,
        "domain": MAYBE_TEXT,
        "api_key": record({"is_set": FLAG, "is_readable": FLAG, "last_four": MAYBE_TEXT}),
        "settings": DATA,
        "defaults": DATA,
        "problems": listed(TEXT),
        "unserved": listed(TEXT),
        "last_sync": MAYBE_TEXT,
        "crm_timezone": MAYBE_TEXT,
    }
)
CHECK: Final = record(
    {
        "name": one_of("settings", "credentials", "scopes", "versions", "timezone", "module"),
        "state": one_of("ok", "warning", "failed"),
        "message": TEXT,
        "latency_ms": MAYBE_NUMBER,
        "facts": DATA,
    }
)
CHECKS: Final = record({"success": FLAG, "checks": listed(CHECK)})

COMMAND: Final = record(
    {
        "id": ID,
        "action": one_of("register", "deactivate", "push_mapping"),
        "state": one_of("ready", "leased", "retry", "done", "failed", "superseded"),
        "steps": listed(record({"name": TEXT, "state": one_of("done", "warning", "failed"), "message": TEXT})),
        "code": MAYBE_TEXT,
        "message": MAYBE_TEXT,
        "attempts_made": COUNT,
        "retry_at": MAYBE_MOMENT,
        "created_at": MOMENT,
        "finished_at": MAYBE_MOMENT,
    }
)
BEGUN: Final = record({"command": COMMAND})
MODULE: Final = record({"module": record({"code": TEXT, "name": TEXT}), "is_busy": FLAG, "commands": listed(COMMAND)})

_UNKNOWN: Final = {
    "kind": one_of("extension", "manager"),
    "value": TEXT,
    "since": MOMENT,
    "last_at": MOMENT,
    "calls": COUNT,
}
MANAGERS: Final = record(
    {
        "crm": record({"is_available": FLAG, "message": MAYBE_TEXT, "is_registered": FLAG}),
        "managers": listed(
            record(
                {
                    "user_id": ID,
                    "first_name": MAYBE_TEXT,
                    "last_name": MAYBE_TEXT,
                    "email": MAYBE_TEXT,
                    "is_active": maybe(FLAG),
                    "is_in_crm": maybe(FLAG),
                    "extension": MAYBE_TEXT,
                    "crm_extension": MAYBE_TEXT,
                    "status": MAYBE_TEXT,
                }
            )
        ),
        "differences": listed(
            record(
                {
                    "kind": one_of("not_in_crm", "not_ours", "other", "no_such_number"),
                    "user_id": ID,
                    "ours": MAYBE_TEXT,
                    "crm": MAYBE_TEXT,
                }
            )
        ),
        "unknown_to_crm": listed(record(_UNKNOWN)),
    }
)
PHONES: Final = record(
    {
        "internal_phones": listed(
            record(
                {
                    "extension": TEXT,
                    "login": MAYBE_TEXT,
                    "first_name": MAYBE_TEXT,
                    "last_name": MAYBE_TEXT,
                    "manager_user_id": MAYBE_ID,
                }
            )
        )
    }
)
MAPPING: Final = record(
    {
        "user_extensions": mapped(MAYBE_TEXT),
        "version": COUNT,
        "last_sync": MAYBE_TEXT,
        "command": maybe(COMMAND),
        "taken": listed(record({"extension": TEXT, "from_user_id": ID, "to_user_id": ID})),
    },
    optional=("taken",),
)
LINES: Final = record(
    {
        "lines": listed(
            record(
                {
                    "line_id": TEXT,
                    "name": MAYBE_TEXT,
                    "phone_number": MAYBE_TEXT,
                    "site_code": MAYBE_TEXT,
                    "incoming_transform": MAYBE_TEXT,
                }
            )
        ),
        "test": record({"raw": TEXT, "with_rule": MAYBE_TEXT, "without_rule": MAYBE_TEXT}),
    },
    optional=("test",),
)

_ACTION: Final = record(
    {
        "kind": one_of("open", "switch_on", "register", "deactivate", "sync", "replay"),
        "screen": one_of("connection", "managers", "lines"),
        "since": MOMENT,
    },
    optional=("screen", "since"),
)
_ITEM: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": one_of(
            "not_configured",
            "disabled",
            "key_refused",
            "crm_away",
            "module_inactive",
            "not_registered",
            "command_failed",
            "nobody_mapped",
            "unknown_to_crm",
            "history_failed",
            "no_events",
            "lines_missing",
            "clock_wrong",
        ),
        "message": TEXT,
        "action": _ACTION,
        "words": MAYBE_TEXT,
        "command": TEXT,
        "reason": MAYBE_TEXT,
        **_UNKNOWN,
        "since": MAYBE_MOMENT,
        "lines": listed(TEXT),
        "seconds": NUMBER,
    },
    "additionalProperties": False,
}
_COUNTED: Final = record({"delivered": COUNT, "waiting": COUNT, "failed": COUNT})
_EFFECT: Final = one_of("popup", "hangup", "upload")
_STATE: Final = one_of(
    "ready", "leased", "retry", "in_doubt", "delivered", "failed", "expired", "superseded", "held", "preview"
)
STATS: Final = record(
    {
        "connection": record(
            {
                "state": one_of("connected", "not_configured", "disabled", "key_refused", "crm_away"),
                "message": MAYBE_TEXT,
                "since": MAYBE_MOMENT,
                "domain": MAYBE_TEXT,
            }
        ),
        "today": record(
            {
                "calls": mapped(COUNT),
                "popups": _COUNTED,
                "history": _COUNTED,
                "deliveries": listed(record({"effect": _EFFECT, "state": _STATE, "count": COUNT})),
            }
        ),
        "last_event_at": MAYBE_MOMENT,
        "delays": listed(record({"at": MOMENT, "count": COUNT, "p50_ms": MAYBE_NUMBER, "worst_ms": MAYBE_NUMBER})),
        "attention": listed(_ITEM),
    }
)

_KIND: Final = one_of("in", "out", "internal", "unknown")
_RESULT: Final = one_of("answered", "no answer", "not allowed", "unknown")
_DECISION: Final = record({"code": TEXT, "params": DATA, "at": MAYBE_TEXT})
_OUTCOME: Final = {"state": one_of("delivered", "waiting", "failed", "none"), "reason": MAYBE_TEXT}
CALLS: Final = record(
    {
        "calls": listed(
            record(
                {
                    "id": ID,
                    "unique_id": TEXT,
                    "kind": _KIND,
                    "customer": MAYBE_TEXT,
                    "started_at": MOMENT,
                    "over_at": MAYBE_MOMENT,
                    "is_over": FLAG,
                    "line_id": MAYBE_TEXT,
                    "line_name": MAYBE_TEXT,
                    "result": maybe(_RESULT),
                    "owner_extension": MAYBE_TEXT,
                    "owner_user_id": MAYBE_ID,
                    "owner_name": MAYBE_TEXT,
                    "talk_seconds": maybe(COUNT),
                    "waiting_seconds": maybe(COUNT),
                    "has_recording": maybe(FLAG),
                    "popup": record({**_OUTCOME, "extensions": listed(TEXT)}),
                    "upload": record(_OUTCOME),
                    "reasons": listed(TEXT),
                    "decisions": listed(_DECISION),
                    "deliveries": listed(
                        record({"effect": _EFFECT, "state": _STATE, "reason": MAYBE_TEXT, "extensions": listed(TEXT)})
                    ),
                }
            )
        ),
        "next": MAYBE_TEXT,
    }
)

_ATTEMPT: Final = record(
    {
        "started_at": MOMENT,
        "finished_at": MAYBE_MOMENT,
        "at": NUMBER,
        "outcome": MAYBE_TEXT,
        "http_status": maybe(COUNT),
        "error": MAYBE_TEXT,
        "request": DATA,
        "response": MAYBE_TEXT,
    }
)
_TOLD: Final = record(
    {
        "id": MAYBE_ID,
        "effect": _EFFECT,
        "state": _STATE,
        "reason": MAYBE_TEXT,
        "external_id": TEXT,
        "extensions": listed(TEXT),
        "at": MAYBE_NUMBER,
        "managers": listed(record({"extension": TEXT, "name": MAYBE_TEXT, "user_id": MAYBE_ID})),
        "is_replayable": FLAG,
        "generation": COUNT,
        "requested_by": MAYBE_TEXT,
        "requested_at": MAYBE_MOMENT,
        "attempts": listed(_ATTEMPT),
    },
    optional=("is_replayable", "generation", "requested_by", "requested_at"),
)
_BAR: Final = record({"kind": one_of("wait", "hold", "ring", "dial", "talk"), "since": NUMBER, "until": MAYBE_NUMBER})
STORY: Final = record(
    {
        "unique_id": TEXT,
        "kind": _KIND,
        "customer": MAYBE_TEXT,
        "line_id": MAYBE_TEXT,
        "line_name": MAYBE_TEXT,
        "external_phone": MAYBE_TEXT,
        "site": MAYBE_TEXT,
        "started_at": MOMENT,
        "date": MAYBE_TEXT,
        "answered": FLAG,
        "answered_by_status": FLAG,
        "result": _RESULT,
        "owner": MAYBE_TEXT,
        "owner_user_id": MAYBE_ID,
        "duration_seconds": COUNT,
        "duration_is_estimate": FLAG,
        "waiting_seconds": maybe(COUNT),
        "record_url": MAYBE_TEXT,
        "over_at": MAYBE_MOMENT,
        "pending": listed(TEXT),
        "wake_at": MAYBE_MOMENT,
        "ends_at": MAYBE_NUMBER,
        "lanes": listed(
            record(
                {
                    "number": TEXT,
                    "role": one_of("customer", "extension", "outside"),
                    "name": MAYBE_TEXT,
                    "user_id": MAYBE_ID,
                    "bars": listed(_BAR),
                }
            )
        ),
        "rang": listed(
            record(
                {
                    "at": NUMBER,
                    "extensions": listed(TEXT),
                    "people": listed(TEXT),
                    "unmapped": listed(TEXT),
                    "synthetic": FLAG,
                }
            )
        ),
        "talked": listed(record({"person": TEXT, "since": NUMBER, "until": NUMBER, "channel": TEXT, "seen": FLAG})),
        "transfers": listed(record({"at": NUMBER, "from": MAYBE_TEXT, "to": MAYBE_TEXT})),
        "legs": listed(
            record(
                {
                    "channel": TEXT,
                    "unique_id": TEXT,
                    "role": one_of("customer", "phone", "line", "local"),
                    "leg": MAYBE_TEXT,
                    "number": TEXT,
                    "stays": listed(record({"bridge": TEXT, "since": NUMBER, "until": MAYBE_NUMBER})),
                }
            )
        ),
        "decisions": listed(_DECISION),
        "warnings": listed(_DECISION),
        "timeline": listed(
            record(
                {
                    "at": NUMBER,
                    "received_at": MOMENT,
                    "event_id": TEXT,
                    "event_type": TEXT,
                    "unique_id": TEXT,
                    "origin": TEXT,
                    "says": TEXT,
                }
            )
        ),
        "told": listed(_TOLD),
        "click": maybe(
            record(
                {
                    "clicked_at": MOMENT,
                    "user_id": MAYBE_ID,
                    "extension": TEXT,
                    "phone": TEXT,
                    "http_status": maybe(COUNT),
                    "message": MAYBE_TEXT,
                }
            )
        ),
        "host_clock": maybe(record({"lag_seconds": MAYBE_NUMBER, "wall_seconds": MAYBE_NUMBER, "observed_at": MOMENT})),
        "is_replayable": FLAG,
    }
)
REPLAYED: Final = record({"success": FLAG, "deliveries": listed(ID)})
REPLAYED_SINCE: Final = record({"success": FLAG, "calls": COUNT, "deliveries": listed(ID), "is_all": FLAG})
LOGS: Final = record(
    {
        "logs": listed(
            record(
                {
                    "id": ID,
                    "event_type": TEXT,
                    "status": one_of("success", "error"),
                    "error_message": MAYBE_TEXT,
                    "request_data": ANYTHING,
                    "response_data": ANYTHING,
                    "created_at": MOMENT,
                }
            )
        ),
        "next": MAYBE_TEXT,
    }
)
SITUATION: Final = record({"id": TEXT, "kind": _KIND, "title": WORDS, "what": WORDS})
SITUATIONS: Final = record({"situations": listed(SITUATION)})
PREVIEW: Final = record({"situation": SITUATION, "is_enabled": FLAG, "stories": listed(STORY)})
POPUP: Final = record(
    {
        "accepted": FLAG,
        "code": one_of("accepted", "not_exist_codes", "refused"),
        "message": TEXT,
        "extension": TEXT,
        "phone": TEXT,
        "steps": listed(
            record(
                {
                    "name": one_of("ring", "hangup"),
                    "outcome": TEXT,
                    "http_status": maybe(COUNT),
                    "error": MAYBE_TEXT,
                    "request": DATA,
                    "response": TEXT,
                }
            )
        ),
    }
)
ACTIVE: Final = record(
    {
        "enterprises": listed(
            record(
                {
                    "enterprise_number": TEXT,
                    "name": TEXT,
                    "domain": MAYBE_TEXT,
                    "managers": COUNT,
                    "last_sync": MAYBE_TEXT,
                }
            )
        ),
        "count": COUNT,
    }
)
REFRESHED: Final = record({"success": FLAG, "enterprise_number": TEXT})
ALL_REFRESHED: Final = record({"success": FLAG, "enterprises": COUNT})
DESCRIPTION: Final = {"type": "object", "required": ["openapi", "paths"]}
