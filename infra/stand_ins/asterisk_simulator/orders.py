"""Orders to call and to transfer: which are accepted, with which answers, and what they change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infra.stand_ins.asterisk_simulator.enterprises import Enterprise, Enterprises


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`enterprise` is how it is afterwards, None when the order was refused."""

    status: int
    body: Mapping[str, object]
    enterprise: Enterprise | None = None


def call(query: Mapping[str, str], enterprises: Enterprises) -> Outcome:
    """Rings the extension first, then dials the phone; from then on the extension has a channel."""
    enterprise = _admitted(query, ("code", "phone", "clientId"), enterprises)
    if isinstance(enterprise, Outcome):
        return enterprise
    code, phone = query["code"], query["phone"]
    if not is_extension(code):
        return _refused(400, "Invalid parameter: code")
    if not is_phone(phone):
        return _refused(400, "Invalid parameter: phone")
    if enterprise.host is None:
        return _refused(500, "Host IP not configured for this enterprise")
    body = {
        "success": True,
        "message": f"Call initiated successfully: {code} -> {phone}",
        "enterprise_number": enterprise.number,
        "from_ext": code,
        "to_phone": phone,
    }
    ringing = replace(enterprise, channels=enterprise.channels | {code})
    return Outcome(status=200, body=body, enterprise=ringing)


def transfer(query: Mapping[str, str], enterprises: Enterprises) -> Outcome:
    enterprise = _admitted(query, ("transfer_type", "from_ext", "to_ext", "clientId"), enterprises)
    if isinstance(enterprise, Outcome):
        return enterprise
    kind, from_extension, to_extension = query["transfer_type"], query["from_ext"], query["to_ext"]
    valid = {
        "transfer_type": kind in {"blind", "attended"},
        "from_ext": is_extension(from_extension),
        "to_ext": is_extension(to_extension) or is_phone(to_extension),
    }
    wrong = next((name for name, is_valid in valid.items() if not is_valid), None)
    if wrong is not None:
        return _refused(400, f"Invalid parameter: {wrong}")
    if enterprise.host is None:
        return _refused(500, "Host IP not configured for this enterprise")
    if from_extension not in enterprise.channels:
        return _refused(404, f"Active channel for extension {from_extension} not found")
    body = {
        "success": True,
        "message": f"Transfer initiated successfully: {from_extension} -> {to_extension}",
        "enterprise_number": enterprise.number,
        "transfer_type": kind,
        "from_ext": from_extension,
        "to_ext": to_extension,
    }
    # After a blind transfer the extension is out of the call.
    left = enterprise.channels - {from_extension} if kind == "blind" else enterprise.channels
    return Outcome(status=200, body=body, enterprise=replace(enterprise, channels=left))


def is_extension(text: str) -> bool:
    return re.fullmatch("[0-9]{2,6}", text) is not None


def is_phone(text: str) -> bool:
    return re.fullmatch(r"\+?[0-9]{3,15}", text) is not None


def unsafe(query: Mapping[str, str], secret_names: Sequence[str] = ("clientId",)) -> list[str]:
    """Values that once reached a remote shell must not hold more than `[0-9+]`."""
    named = (name for name in query if name not in {*secret_names, "transfer_type"})
    return [f"{name} holds more than digits and +" for name in named if re.search("[^0-9+]", query[name])]


def _admitted(query: Mapping[str, str], names: Sequence[str], enterprises: Enterprises) -> Enterprise | Outcome:
    missing = next((name for name in names if not query.get(name)), None)
    if missing is not None:
        return _refused(400, f"Missing parameter: {missing}")
    return enterprises.with_secret(query["clientId"]) or _refused(401, "Invalid clientId")


def _refused(status: int, detail: str) -> Outcome:
    return Outcome(status=status, body={"detail": detail})
