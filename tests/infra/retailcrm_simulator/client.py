"""A client of the simulator that knows valid requests, and what the simulator says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import requests

EVENT = "/api/v5/telephony/call/event"
UPLOAD = "/api/v5/telephony/calls/upload"
USERS = [
    {"id": 18, "first_name": "Анна", "last_name": "Первая"},
    {"id": 19, "first_name": "Борис", "last_name": "Второй"},
    {"id": 20, "first_name": "Вера", "last_name": "Третья", "status": "dinner"},
    {"id": 21, "first_name": "Глеб", "active": False, "online": False, "is_admin": True, "groups": ["director"]},
]
CODES = [{"user_id": 18, "code": "150"}, {"user_id": 19, "code": "151"}, {"user_id": 20, "code": "152"}]


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account, and its key in the hands of a client."""

    url: str
    name: str
    key: str

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return requests.get(self.url + path, params=parameters, headers={"X-API-KEY": self.key}, timeout=10)

    def post(self, path: str, **fields: Any) -> requests.Response:
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        return requests.post(self.url + path, data=form, headers={"X-API-KEY": self.key}, timeout=10)

    def event(self, **changes: Any) -> requests.Response:
        return self.post(EVENT, event=an_event(**changes))

    def upload(self, *calls: Any) -> requests.Response:
        return self.post(UPLOAD, calls=list(calls))

    def fault(self, mode: str, **options: Any) -> None:
        rule = {"mode": mode, "account": self.name, **options}
        assert requests.post(f"{self.url}/_sim/faults", json=rule, timeout=10).status_code == 201

    def told(self, path: str, **parameters: Any) -> Any:
        """What the control API says of this account."""
        answer = requests.get(f"{self.url}/_sim/{path}", params={"account": self.name, **parameters}, timeout=10)
        return answer.json()

    def ledger(self, **parameters: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.told("ledger", **parameters)["entries"]
        return entries

    def warnings(self) -> list[str]:
        """Of the last request."""
        warnings: list[str] = self.ledger()[-1]["warnings"]
        return warnings

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.told("stats")["accounts"][self.name]
        return stats

    def act(self, action: str, **what: Any) -> requests.Response:
        return requests.post(f"{self.url}/_sim/{action}", json={"account": self.name, **what}, timeout=10)


def an_event(**changes: Any) -> dict[str, Any]:
    """A valid one; a change to None leaves the field out."""
    event = {"phone": "+375291111111", "type": "in", "codes": ["150"], "callExternalId": "1.1", **changes}
    return {name: value for name, value in event.items() if value is not None}


def a_call(**changes: Any) -> dict[str, Any]:
    call = {
        "date": "2025-09-14 12:05:23",
        "type": "in",
        "phone": "375291111111",
        "code": "150",
        "userId": 18,
        "result": "answered",
        "duration": 47,
        "durationWaiting": 8,
        "externalId": "1757840723.6",
        **changes,
    }
    return {name: value for name, value in call.items() if value is not None}


def a_module(**changes: Any) -> dict[str, Any]:
    module = {
        "code": "acme-telephony",
        "integrationCode": "acme-telephony",
        "active": True,
        "name": "Acme Telephony",
        "logo": "https://pbx.example.com/logo.svg",
        "clientId": "0123456789abcdef",
        "baseUrl": "https://pbx.example.com",
        "accountUrl": "https://pbx.example.com/account",
        "actions": {"activity": "/retailcrm/activity"},
        "integrations": {"telephony": a_telephony()},
        **changes,
    }
    return {name: value for name, value in module.items() if value is not None}


def a_telephony(**changes: Any) -> dict[str, Any]:
    telephony = {
        "makeCallUrl": "https://pbx.example.com/make-call",
        "changeUserStatusUrl": "https://pbx.example.com/status",
        "allowEdit": False,
        "inputEventSupported": True,
        "outputEventSupported": True,
        "hangupEventSupported": True,
        "additionalCodes": [{"userId": 18, "code": "150"}],
        "externalPhones": [],
        **changes,
    }
    return {name: value for name, value in telephony.items() if value is not None}
