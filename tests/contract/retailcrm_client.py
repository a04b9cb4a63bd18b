"""
Asks a server as the official client does, method by method: `python retailcrm_client.py URL KEY`, JSON comes out.

Runs in a virtual environment of its own; nothing of ours is imported.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import retailcrm  # type: ignore[import-not-found]  # in the environment that this runs in

MODULE = {
    "code": "vochi-telephony",
    "integrationCode": "vochi-telephony",
    "active": True,
    "name": "Vochi-CRM",
    "logo": "https://telephony.example.com/logo.svg",
    "clientId": "0123456789abcdef",
    "baseUrl": "https://telephony.example.com",
    "actions": {"activity": "/retailcrm/activity"},
    "availableCountries": ["BY"],
    "accountUrl": "https://telephony.example.com/retailcrm-admin/",
    "integrations": {
        "telephony": {
            "makeCallUrl": "https://telephony.example.com/retailcrm/make-call",
            "changeUserStatusUrl": "https://telephony.example.com/retailcrm/status",
            "allowEdit": False,
            "inputEventSupported": True,
            "outputEventSupported": True,
            "hangupEventSupported": True,
            "additionalCodes": [{"userId": 18, "code": "150"}, {"userId": 999, "code": "151"}],
            "externalPhones": [{"siteCode": "main", "externalPhone": "+375290000101"}],
        }
    },
}
RING = {
    "phone": "+375291111111",
    "type": "in",
    "codes": ["150", "159"],
    "callExternalId": "1758798777.27",
    "externalPhone": "+375290000101",
}
ROW = {
    "date": "2026-01-01 10:00:00",
    "type": "in",
    "phone": "375291111111",
    "code": "150",
    "result": "answered",
    "duration": 61,
    "durationWaiting": 7,
    "externalId": "1758798777.27",
    "recordUrl": "https://records.example.com/1.mp3",
    "externalPhone": "+375290000101",
}


def main(url: str, key: str) -> None:
    client = retailcrm.v5(url, key)
    asked = {
        "versions": client.api_versions,
        "credentials": client.api_credentials,
        "settings": client.settings,
        "module before": lambda: client.integration_module("vochi-telephony"),
        "module edit": lambda: client.integration_module_edit(MODULE),
        "module": lambda: client.integration_module("vochi-telephony"),
        "users": lambda: client.users({"active": 1}, limit=20, page=1),
        "users, page 2": lambda: client.users({"active": 1}, limit=20, page=2),
        "user": lambda: client.user(18),
        "user groups": lambda: client.user_groups(limit=20, page=1),
        "ring": lambda: client.telephony_call_event(RING),
        "hangup": lambda: client.telephony_call_event({**RING, "type": "hangup", "hangupStatus": "answered"}),
        "upload": lambda: client.telephony_calls_upload([ROW]),
        "upload again": lambda: client.telephony_calls_upload([ROW]),
        "upload, refused": lambda: client.telephony_calls_upload([{**ROW, "result": "perhaps"}]),
        "manager": lambda: client.telephony_manager("+375291111111", 1, 0),
        "manager of nobody": lambda: client.telephony_manager("+375293333333", 1, 1),
        "user status": lambda: client.user_status(18, "busy"),
        "manager who is busy": lambda: client.telephony_manager("+375291111111", 1, 0),
        "wrong key": lambda: retailcrm.v5(url, "wrong").users(),
        "no such method": lambda: client.get("/no-such-method"),
    }
    told: dict[str, Any] = {}
    for name, ask in asked.items():
        answer = ask()
        told[name] = {
            "status": answer.get_status_code(),
            "is_successful": answer.is_successful(),
            "answer": answer.get_response(),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
