"""Parses the name of a channel: `SIP/151-0000001e`, `IAX2/151-57`, `Local/152@dialexecute-00000000;2`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_NAME: Final = re.compile(r"^(?P<technology>[^/]+)/(?P<peer>.+?)(?:-[0-9A-Fa-f]{4,})?(?:;(?P<half>[12]))?$")
# IAX2 counts its calls in decimal and without leading zeros: `IAX2/151-57`.
_CALL_NUMBER: Final = re.compile(r"-\d{1,5}$", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    technology: str
    peer: str
    half: str
    pair: str

    @property
    def is_local(self) -> bool:
        """One end of a pair that Asterisk makes to call its own dialplan: a joint, never a person."""
        return self.technology == "local"


# What Asterisk makes is shorter; longer ones are read each time, so that nobody fills the memory with them.
_REMEMBERED_CHARACTERS: Final = 80


def channel_named(name: str) -> Channel:
    return _remembered(name) if len(name) <= _REMEMBERED_CHARACTERS else _read(name)


def _read(name: str) -> Channel:
    found = _NAME.match(name)
    if found is None:
        return Channel(technology="", peer=name, half="", pair=name)
    technology, peer = found["technology"].lower(), found["peer"]
    if technology == "iax2":
        peer = _CALL_NUMBER.sub("", peer)
    return Channel(
        technology=technology,
        peer=peer.partition("@")[0],
        half=found["half"] or "",
        pair=name.rpartition(";")[0] or name,
    )


_remembered = lru_cache(maxsize=20_000)(_read)
