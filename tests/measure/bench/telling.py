"""What the simpler services tell the CRM, and when: a pop-up for a dial, a history row for a hangup. No more."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TOLD: Final = frozenset({"dial", "hangup"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """A POST of one form field."""

    path: str
    fields: Mapping[str, str]


def request_for(event_type: str, body: Mapping[str, Any]) -> Request:
    extensions = [extension for extension in body.get("Extensions") or [] if extension]
    if event_type == "dial":
        event = {"type": "in", "phone": f"+{body['Phone']}", "codes": extensions, "callExternalId": body["UniqueId"]}
        return Request(path="/api/v5/telephony/call/event", fields={"event": json.dumps(event)})
    row = {
        "date": body["StartTime"],
        "type": "in",
        "phone": body["Phone"],
        "result": "answered" if body["CallStatus"] == "2" else "no answer",
        **({"code": extensions[0]} if extensions else {}),
        "externalId": body["UniqueId"],
    }
    return Request(path="/api/v5/telephony/calls/upload", fields={"calls": json.dumps([row])})


def crm_url() -> str:
    return os.environ["CRM_URL"]


def headers() -> dict[str, str]:
    return {"X-API-KEY": os.environ["CRM_KEY"]}
