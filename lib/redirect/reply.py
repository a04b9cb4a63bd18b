"""
The answer in the form that the dialplan reads. It reads by position, so one comma in a name could stop every call.

The answer is always compact JSON of two keys, without commas, quotes or markup in its values.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

SHORTEST_NAME: Final = 3
LONGEST_NAME: Final = 80
UNKNOWN: Final = "unknown"
_SEPARATOR: Final = " | "
_TAG: Final = re.compile(r"<[^<>]*>")
_LINE: Final = re.compile(r"[0-9A-Za-z.-]{1,40}", re.ASCII)


def clean(text: str) -> str:
    """Keeps letters, digits, spaces and `-.+`: no character with a meaning in JSON, HTML, SQL or a dialplan."""
    plain = _TAG.sub(" ", unicodedata.normalize("NFC", text))
    kept = "".join(character if character.isalnum() or character in "-.+" else " " for character in plain)
    return " ".join(kept.split())


def name_of(parts: Iterable[str], *, caller: str) -> str:
    """The parts joined; where the result is too short, with the caller's number."""
    joined = _SEPARATOR.join(filter(None, map(clean, parts)))[:LONGEST_NAME].rstrip(" |")
    if len(joined) >= SHORTEST_NAME:
        return joined
    number = "".join(re.findall(r"[0-9+]", caller))[:20]
    return _SEPARATOR.join(filter(None, (joined, number if len(number) >= SHORTEST_NAME else UNKNOWN)))


def dial_plan(phone_id: int, line_id: str) -> str | None:
    """None for a line whose name would shift the fields; the usual scheme applies then."""
    return f"mngr{phone_id}_{line_id}_1" if _LINE.fullmatch(line_id) else None


def compact(name: str, plan: str | None) -> str:
    """`name` from `name_of`: that makes at least 30 characters, which the dialplan expects."""
    return json.dumps({"Name": name, "DialPlan": plan}, ensure_ascii=False, separators=(",", ":"))
