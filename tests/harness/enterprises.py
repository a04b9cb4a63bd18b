"""The enterprise of the scenarios, as a provisioning file."""

from __future__ import annotations

from typing import Any

TOKEN = "375290000001"


def enterprise(
    number: str = "0367", *, token: str = TOKEN, domain: str = "http://127.0.0.1:9", **retailcrm: Any
) -> dict[str, Any]:
    return {
        "number": number,
        "name": "Demo",
        "token": token,
        "secret": f"secret-of-{number}",
        "region": "BY",
        "timezone": "Europe/Minsk",
        "asterisk_url": "http://127.0.0.1:9",
        "users": [
            {"login": "admin", "password": "a-password-of-the-tests", "is_admin": True, "internal_phones": []},
            {"login": "150", "first_name": "Anna", "internal_phones": ["150"]},
            {"login": "151", "first_name": "Boris", "internal_phones": ["151"]},
            {"login": "152", "first_name": "Vera", "internal_phones": ["152"]},
            {"login": "153", "first_name": "Gleb", "personal_phone": "+375292222222", "internal_phones": ["153"]},
        ],
        "internal_phones": ["150", "151", "152", "153", "109", "117"],
        "lines": [
            {"line_id": "0001301", "phone_number": "+375290000101"},
            {"line_id": "0001302", "phone_number": "+375290000102"},
            {"line_id": "3000001", "phone_number": "+375170000103"},
            {"line_id": "belline1", "phone_number": "+375170000104", "incoming_transform": "+375{9}"},
        ],
        "integrations_config": {
            "retailcrm": {
                "enabled": True,
                "domain": domain,
                "api_key": f"key-of-{number}",
                "user_extensions": {"18": "150", "19": "151", "20": "152", "21": "153"},
                **retailcrm,
            }
        },
    }
