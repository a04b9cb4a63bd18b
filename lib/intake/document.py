"""
The event API's own description, OpenAPI 3.1: of the schemas and bounds by which `forms`, `bodies` and `http` check.

The fields of a host's event are described, and never checked: what cannot be read there costs a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lib.intake import bodies, forms
from lib.runtime import http

_ALL: Final = forms.HOST_EVENT_TYPES
_RECORDS: Final = ("start", "dial", "hangup")
_CHANNELS: Final = ("bridge", "bridge_leave", "new_callerid")
_BRIDGES: Final = ("bridge_create", "bridge", "bridge_leave", "bridge_destroy")
_TEXT: Final = ["string"]
_TEXT_OR_NUMBER: Final = ["string", "integer"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """`of`: the events that have it; `types`: as hosts write it, though other forms are read too; `use`: what for."""

    of: tuple[str, ...] = _ALL
    types: list[str]
    use: str


NOT_USED: Final = "Kept as sent; nothing depends on it."

FIELDS: Final[Mapping[str, Field]] = {
    "UniqueId": Field(
        types=_TEXT,
        use="The channel, as Asterisk names it: `1758798777.27`. Events of one id are one channel; the seconds in it "
        "order events. Empty for `bridge_create` and `bridge_destroy`.",
    ),
    "CallType": Field(
        of=_RECORDS,
        types=_TEXT_OR_NUMBER,
        use="0 incoming, 1 outgoing, 2 internal. Direction of the call, by its `start` or first `dial`.",
    ),
    "Phone": Field(
        of=_RECORDS,
        types=_TEXT_OR_NUMBER,
        use="The number outside: who calls, or who is called. The customer of the call; any spelling is read, national "
        "ones by the enterprise's country.",
    ),
    "Extensions": Field(
        of=("dial", "hangup"),
        types=["array", "string"],
        use="Of `dial`: the telephones that ring now, whose managers see the card (of an outgoing call: who calls). Of "
        "`hangup`: who may have answered, where no bridge shows it.",
    ),
    "Trunk": Field(
        of=_RECORDS,
        types=_TEXT,
        use="The line: the shop of the row, `externalPhone`, and the rule for national numbers. Also read as "
        "`TrunkId` and `INCALL`.",
    ),
    "CallStatus": Field(
        of=("hangup",),
        types=_TEXT_OR_NUMBER,
        use="2 answered; 0 not answered, busy, cancelled; 1 no telephone rang; 5 talk. Believed where no bridge shows "
        "whether anybody talked.",
    ),
    "StartTime": Field(of=("hangup",), types=_TEXT, use="When the call came in, the host's wall clock. Date of a row."),
    "DateReceived": Field(
        of=("hangup",), types=_TEXT, use="Date of a row where `StartTime` is empty and no other event says it."
    ),
    "EndTime": Field(
        of=("hangup",), types=_TEXT, use="When it ended, the host's wall clock. Duration where bridges are missing."
    ),
    "Channel": Field(
        of=_CHANNELS,
        types=_TEXT,
        use="`SIP/151-0000001e`: whose telephone it is. `Local/…;1` and `;2` are two ends of one leg.",
    ),
    "BridgeUniqueid": Field(
        of=_BRIDGES, types=_TEXT, use="Channels that were in one bridge talk with each other: call, owner, talk time."
    ),
    "CallerIDNum": Field(of=_CHANNELS, types=_TEXT_OR_NUMBER, use="Whose channel it is, extension or number outside."),
    "ConnectedLineNum": Field(of=_CHANNELS, types=_TEXT_OR_NUMBER, use="Whom it is connected with, as Asterisk says."),
    "Exten": Field(of=_CHANNELS, types=_TEXT_OR_NUMBER, use="What the channel dialled."),
    "BridgeNumChannels": Field(
        of=("bridge_leave",), types=_TEXT_OR_NUMBER, use="How many channels are left: whether the conversation is over."
    ),
    "BridgeTechnology": Field(
        of=("bridge_create", "bridge_destroy"),
        types=_TEXT,
        use="`holding_bridge` is a queue or a place to park: who is in it talks with nobody.",
    ),
    "record_url": Field(
        of=("hangup",),
        types=_TEXT,
        use="The address of the recording, absolute, http or https. Beside `raw` in the envelope, or here.",
    ),
    "ExternalInitiated": Field(types=["boolean"], use=NOT_USED),
    "CallerIDName": Field(of=_CHANNELS, types=_TEXT, use=NOT_USED),
    "ConnectedLineName": Field(of=_CHANNELS, types=_TEXT, use=NOT_USED),
    "Context": Field(of=("new_callerid",), types=_TEXT, use=NOT_USED),
    "ExtPhone": Field(of=("dial",), types=_TEXT, use=NOT_USED),
    "ExtTrunk": Field(of=("dial",), types=_TEXT, use=NOT_USED),
    "BridgeType": Field(of=("bridge_create", "bridge_destroy"), types=_TEXT, use=NOT_USED),
    "BridgeCreator": Field(of=("bridge_create", "bridge_destroy"), types=_TEXT, use=NOT_USED),
    "BridgeName": Field(of=("bridge_create", "bridge_destroy"), types=_TEXT, use=NOT_USED),
}

_BRIDGE: Final = "77c13775-bede-4f37-886b-86a7dcf0b06a"
_INSIDE: Final = {"UniqueId": "1758798787.28", "Channel": "SIP/151-0000001e", "CallerIDNum": "151"}
EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "start": {"UniqueId": "1758798777.27", "CallType": 0, "Phone": "375291111111", "Trunk": "0001301"},
    "dial": {
        "UniqueId": "1758798777.27",
        "CallType": 0,
        "Phone": "375291111111",
        "Extensions": ["150", "151"],
        "Trunk": "0001301",
    },
    "new_callerid": {
        "UniqueId": "1758798777.27",
        "Channel": "SIP/0001301-0000001c",
        "CallerIDNum": "375291111111",
        "ConnectedLineNum": "<unknown>",
        "Exten": "0001301",
    },
    "bridge_create": {"UniqueId": "", "BridgeUniqueid": _BRIDGE, "BridgeTechnology": "simple_bridge"},
    "bridge": {**_INSIDE, "BridgeUniqueid": _BRIDGE, "ConnectedLineNum": "375291111111", "Exten": ""},
    "bridge_leave": {
        **_INSIDE,
        "BridgeUniqueid": _BRIDGE,
        "ConnectedLineNum": "375291111111",
        "BridgeNumChannels": "1",
    },
    "bridge_destroy": {"UniqueId": "", "BridgeUniqueid": _BRIDGE, "BridgeTechnology": "simple_bridge"},
    "hangup": {
        "UniqueId": "1758798777.27",
        "CallType": 0,
        "CallStatus": "2",
        "Phone": "375291111111",
        "Extensions": ["151"],
        "Trunk": "0001301",
        "StartTime": "2025-09-25 14:12:57",
        "DateReceived": "2025-09-25 14:12:57",
        "EndTime": "2025-09-25 14:13:18",
    },
}

_RAW: Final = {**EXAMPLES["hangup"]}
ENVELOPE_EXAMPLE: Final = {
    "uniqueId": _RAW["UniqueId"],
    "event_type": "hangup",
    "raw": _RAW,
    "record_url": "https://records.example.com/1758798777.27.wav",
}


def _host_event(kind: str | None = None) -> dict[str, Any]:
    """Of one type, or, inside the envelope, of any."""
    names = [name for name, field in FIELDS.items() if kind is None or kind in field.of]
    return {
        "type": "object",
        "properties": {name: {"type": FIELDS[name].types, "description": FIELDS[name].use} for name in names},
        "additionalProperties": True,
    }


def _record(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object of exactly these fields."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_YES: Final = {"type": "boolean", "const": True}
_TOKEN: Final = {
    "type": ["string", "integer"],
    "description": "The token of the enterprise, or its secret. It is not stored with the event.",
}
_SCHEMAS: Final[dict[str, Any]] = {
    "HostEvent": _host_event(),
    "Event": {
        **forms.ENVELOPE,
        "properties": {
            **forms.ENVELOPE["properties"],
            "uniqueId": {
                "type": _TEXT_OR_NUMBER,
                "description": "The channel's id, `UniqueId` of the host; empty where it has none.",
            },
            "raw": {
                "description": forms.ENVELOPE["properties"]["raw"]["description"],
                "anyOf": [{"$ref": "#/components/schemas/HostEvent"}, {"type": "string"}],
            },
            "record_url": {"type": ["string", "null"], "description": FIELDS["record_url"].use},
        },
    },
    "Accepted": _record({"success": _YES, "event_id": {"type": "string", "format": "uuid"}}),
    "Copy": _record(
        {"success": _YES, "status": {"const": "ignored"}, "reason": {"const": "duplicate"}},
    ),
    "Refused": _record(
        {"success": {"type": "boolean", "const": False}, "error": {"$ref": "#/components/schemas/ErrorBody"}}
    ),
    "Results": _record(
        {
            "success": {"type": "boolean", "description": "Whether every event was accepted."},
            "results": {
                "type": "array",
                "description": "One for each event, in their order.",
                "items": {
                    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Accepted", "Copy", "Refused")]
                },
            },
        }
    ),
    "ErrorBody": _record({"code": {"type": "string", "pattern": "^[a-z_]+$"}, "message": {"type": "string"}}),
    "Error": _record({"error": {"$ref": "#/components/schemas/ErrorBody"}}),
}


def _content(schema: Mapping[str, Any], example: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _refusals(size: str) -> dict[str, Any]:
    """Answers that every form has; `size`: what the bound of its body is."""
    words = {
        "400": "`invalid_payload`: no JSON object, no token, or a frame that is none; the message names the field. "
        "Do not send it again as it is",
        "403": "`network_not_allowed`: this enterprise's events may not come from this address",
        "404": "`unknown_token`: no enterprise has this token",
        "413": f"`too_large`: {size}, or over {bodies.MOST_VALUES} values",
        "429": "`rate_limited`: too much of this enterprise, or too many wrong tokens from this address. Send it again "
        "after `Retry-After` seconds",
        "503": "`unavailable`: neither stored nor published. Send it again",
        "default": "An error of ours (500), or of the gateway in front (408, 502, 504). Send it again",
    }
    found: dict[str, Any] = {
        status: {"description": said, "content": _content(_ref("Error"))} for status, said in words.items()
    }
    found["429"]["headers"] = {
        "Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}, "required": True}
    }
    return found


_ONE: Final = f"over {http.EVENT_BODY_BYTES // 1024} kB"


def _host_operation(kind: str) -> dict[str, Any]:
    schema = _host_event(kind)
    schema["properties"]["Token"] = _TOKEN
    return {
        "summary": f"A `{kind}` event, as the hosts post it",
        "operationId": f"post_{kind}",
        "security": [{"token": []}, {}],
        "requestBody": {"required": True, "content": _content(schema, EXAMPLES[kind])},
        "responses": {
            "200": {
                "description": "Stored or published; also for a copy of an event that is there",
                "content": _content(_record({"status": {"const": "ok"}})),
            },
            **_refusals(_ONE),
        },
    }


def _event_operation() -> dict[str, Any]:
    schema = _SCHEMAS["Event"]
    with_token = {
        **schema,
        "required": ["token", *schema["required"]],
        "properties": {"token": _TOKEN, **schema["properties"]},
    }
    return {
        "summary": "One event in an envelope",
        "operationId": "post_event",
        "security": [{}],
        "requestBody": {"required": True, "content": _content(with_token, {"token": "…", **ENVELOPE_EXAMPLE})},
        "responses": {
            "202": {"description": "Stored or published", "content": _content(_ref("Accepted"))},
            "200": {"description": "A copy of an event that is there already", "content": _content(_ref("Copy"))},
            **_refusals(_ONE),
        },
    }


def _batch_operation(batch_bytes: int) -> dict[str, Any]:
    properties = forms.BATCH["properties"]
    events = {**properties["events"], "items": _ref("Event")}
    schema = {**forms.BATCH, "properties": {"token": _TOKEN, **properties, "events": events}}
    return {
        "summary": "Many events, whose calls are not ringing any more",
        "description": "An event that is not as described is refused by itself, in its place of `results`. Of one "
        "enterprise one batch is taken at a time.",
        "operationId": "post_events",
        "security": [{"token": []}, {}],
        "requestBody": {
            "required": True,
            "content": _content(schema, {"origin": "download", "events": [ENVELOPE_EXAMPLE]}),
        },
        "responses": {
            "200": {"description": "What became of each", "content": _content(_ref("Results"))},
            **_refusals(
                f"over {batch_bytes // 1024} kB, or over {http.EVENT_BODY_BYTES // 1024} kB without the header"
            ),
        },
    }


def document(*, batch_bytes: int) -> dict[str, Any]:
    """`batch_bytes`: what a batch whose token stands in the header may have."""
    itself = {
        "summary": "This description",
        "operationId": "get_openapi",
        "security": [{}],
        "responses": {"200": {"description": "OpenAPI 3.1", "content": _content({"type": "object"})}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Event API of the telephony gateway",
            "version": "1",
            "description": "What call services and Asterisk hosts post. Types of fields are those that hosts write; "
            "what is written otherwise is read too, and what cannot be read costs that field, never the event.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/dispatch/call-event": {"post": _event_operation()},
            "/dispatch/call-events": {"post": _batch_operation(batch_bytes)},
            **{f"/{kind}": {"post": _host_operation(kind)} for kind in _ALL},
            "/dispatch/openapi.json": {"get": itself},
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Token",
                    "description": "The token of the enterprise; it may stand in the body instead",
                }
            },
        },
    }
