"""Parses and checks the order that a click asks for: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lib.calls import spelling
from lib.calls.directory import Directory
from lib.calls.numbers import normalize
from lib.runtime.errors import InvalidPayload

_EXTENSION: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_USER_ID: Final = re.compile(r"([0-9]{1,18})(?:\.0+)?", re.ASCII)
_SHOWN_CHARACTERS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Order:
    """
    Ring the extension, then dial the phone, in E.164. `user_id`: the manager in RetailCRM who clicked. `not_dialled`:
    the extension behind the phone, which the manager dials when somebody answers; empty, if there is none.
    """

    extension: str
    phone: str
    user_id: int | None
    not_dialled: str = ""


def read(given: Mapping[str, str], directory: Directory) -> Order:
    """Raises InvalidPayload: `invalid_phone`, `no_extension`, or a parameter of a wrong form."""
    user_id = user_id_of(given)
    phone = given.get("phone", "")
    spelled = spelling.read(phone)
    return Order(
        extension=extension_of(given.get("code", ""), user_id, directory),
        phone=dialled(phone, directory),
        user_id=user_id,
        not_dialled=spelled.extension if spelled else "",
    )


def user_id_of(given: Mapping[str, str]) -> int | None:
    text = given.get("userId", "").strip()
    if not text:
        return None
    found = _USER_ID.fullmatch(text)
    if found is None:
        raise InvalidPayload("userId: must be the number of a RetailCRM user")
    return int(found[1])


def extension_of(code: str, user_id: int | None, directory: Directory) -> str:
    """The code, if it is an extension of the enterprise; else the extension that is mapped to the manager."""
    code = code.strip()
    if _EXTENSION.fullmatch(code) and directory.knows(code):
        return code
    mapped = (
        extension for extension, user in directory.extension_users.items() if user is not None and user == user_id
    )
    extension = next(mapped, "")
    if _EXTENSION.fullmatch(extension):
        return extension
    if user_id is not None:
        raise InvalidPayload(f"No extension configured for user {user_id}", code="no_extension")
    raise InvalidPayload("No extension configured: neither code nor userId leads to one", code="no_extension")


def dialled(phone: str, directory: Directory) -> str:
    """The number in E.164. An unescaped plus has become a space."""
    if not phone.strip():
        raise InvalidPayload("phone: is missing", code="invalid_phone")
    with_plus = normalize("+" + phone.strip(), directory) if phone.startswith(" ") else None
    number = with_plus or normalize(phone, directory)
    if number is not None:
        return number
    if directory.is_extension(spelling.plain(phone)):
        raise InvalidPayload("phone: is an extension; a click calls numbers outside", code="invalid_phone")
    raise InvalidPayload("phone: is not one number that can be called", code="invalid_phone")


def as_log(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters as they may be shown: without the clientId, printable, and short."""
    return {
        name: "".join(filter(str.isprintable, given[name]))[:_SHOWN_CHARACTERS]
        for name in ("userId", "code", "phone", "externalPhone", "status")
        if given.get(name)
    }
