"""One stored event of a host, in every form in which hosts were seen to send it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from lib.calls import spelling

EVENT_TYPES: Final = (
    "start",
    "dial",
    "new_callerid",
    "bridge_create",
    "bridge",
    "bridge_leave",
    "bridge_destroy",
    "hangup",
    "recording",
)

CHANNEL_EVENTS: Final = ("bridge", "bridge_leave", "new_callerid")

# Within one instant: what opens before what closes.
_RANK: Final = {event_type: rank for rank, event_type in enumerate(EVENT_TYPES)}
_UNKNOWN: Final = frozenset({"", "<unknown>", "unknown", "<хрен>", "<none>", "none", "null"})
_EPOCH: Final = re.compile(r"(?:^|-)(\d{1,10})(?:\.\d+)?$")
_SEPARATORS: Final = re.compile(r"[&,;|]+")
_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")
_TECHNOLOGY: Final = re.compile(r"^[A-Za-z][A-Za-z0-9]*/")
_LIST_MARKS: Final = re.compile(r"[\[\](){}'\"]+")
_NUMBER_WITH_BLANKS: Final = re.compile(r"\+\d{1,6}[\s(-]", re.ASCII)
_PLACE: Final = re.compile(r"\d{1,9}", re.ASCII)
_PRINTED_FLOAT: Final = re.compile(r"^(\d+)\.0+$", re.ASCII)
# The codes into which the hosts fold what Asterisk calls DIALSTATUS.
_STATUSES: Final = {
    **dict.fromkeys(("answer", "answered"), "2"),
    **dict.fromkeys(("cancel", "canceled", "cancelled", "noanswer", "noanswered"), "0"),
    **dict.fromkeys(("busy", "congestion", "chanunavail", "failed"), "0"),
    **dict.fromkeys(("other", "dontcall", "torture", "invalidargs"), "1"),
    **dict.fromkeys(("talk", "talking"), "5"),
}
# Longer than anything that a switch names; link keys and caches are made of these.
_MOST_CHARACTERS: Final = 255
_MOST_EXTENSIONS: Final = 500
_DEEPEST_LIST: Final = 3
# Fewer digits are an extension; a group of so many is a number without the others.
_LEAST_DIGITS: Final = 7
_WHOLE_NUMBER: Final = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class CallEvent:
    """
    `phone`, `caller_id`, `connected_line` and `exten` are the number that is written there, as sent where none can be
    read, or empty where the host said that it does not know. `record_url` is as sent, an address or not.
    """

    event_id: str
    event_type: str
    unique_id: str
    received_at: datetime
    origin: str = "live"
    record_url: str | None = None
    call_type: int | None = None
    status: str = ""
    phone: str = ""
    extensions: tuple[str, ...] = ()
    trunk: str = ""
    channel: str = ""
    exten: str = ""
    caller_id: str = ""
    connected_line: str = ""
    bridge_id: str = ""
    bridge_channels: int | None = None
    bridge_technology: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    date_received: datetime | None = None
    epoch: int | None = None
    external_initiated: bool = False
    fingerprint: str = ""
    # The record has a field for the external number, be it an empty one.
    has_phone: bool = True
    # Of an id that the host gave before: which time this is (see `restarts`).
    again: int = 0

    @property
    def live(self) -> bool:
        return self.origin == "live"

    @property
    def sent_id(self) -> str:
        """The id as the host wrote it: `unique_id` tells apart what has the same id (see `restarts`)."""
        return self.unique_id.removesuffix(f"_{self.again}") if self.again else self.unique_id

    @property
    def moment(self) -> datetime:
        """When its channel began, by the host's clock; the receipt, where the id does not say."""
        return self.received_at if self.epoch is None else datetime.fromtimestamp(self.epoch, UTC)

    @property
    def order(self) -> tuple[datetime, int, str, str]:
        """Events are always looked at in this order, whatever the order in which they came to us."""
        return self.received_at, _RANK.get(self.event_type, len(_RANK)), self.fingerprint, self.event_id


def in_order(events: Iterable[CallEvent]) -> list[CallEvent]:
    return sorted(events, key=lambda event: event.order)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawEvent:
    """An event as it is stored: `raw` is the body that the host sent."""

    event_id: str
    event_type: str
    unique_id: str
    raw: Mapping[str, object]
    received_at: datetime
    origin: str = "live"
    record_url: str | None = None


def parse(event: RawEvent) -> CallEvent:
    """Whatever the body holds: fields that cannot be understood are as if they had not been sent."""
    fields = _Fields(event.raw)
    unique_id = _text(event.unique_id) or fields.text("uniqueid")
    bridge = fields.text("bridgeuniqueid")
    return CallEvent(
        event_id=event.event_id,
        event_type=event.event_type,
        unique_id="" if unique_id.lower() in _UNKNOWN else unique_id,
        received_at=event.received_at,
        origin=event.origin,
        record_url=_record_url(event.record_url, fields.any("record_url"), fields.any("recordurl")),
        call_type=_small_int(fields.text("calltype"), most=2),
        status=_status(fields.text("callstatus")),
        phone=spelling.plain(fields.known("phone")),
        extensions=_first_names(fields.any("extensions") or fields.any("extension")),
        trunk=_PRINTED_FLOAT.sub(r"\1", fields.known("trunk", "trunkid", "incall")),
        channel=fields.known("channel"),
        exten=spelling.plain(fields.known("exten")),
        caller_id=spelling.plain(fields.known("calleridnum")),
        connected_line=spelling.plain(fields.known("connectedlinenum")),
        bridge_id="" if bridge.lower() in _UNKNOWN else bridge,
        bridge_channels=_small_int(fields.text("bridgenumchannels"), most=10_000),
        bridge_technology=fields.text("bridgetechnology").lower(),
        start_time=_local_time(fields.text("starttime")),
        end_time=_local_time(fields.text("endtime")),
        date_received=_local_time(fields.text("datereceived")),
        epoch=epoch_of(unique_id),
        external_initiated=fields.text("externalinitiated").lower() == "true",
        fingerprint=_fingerprint(event.raw),
        has_phone=fields.has("phone"),
    )


def epoch_of(unique_id: str) -> int | None:
    """The seconds in `1758798777.27`, also in `test-1758798777`; UTC by construction."""
    found = _EPOCH.search(unique_id)
    if found is None or not unique_id.isascii():
        return None
    return int(found[1]) if "." in unique_id or len(found[1]) >= 9 else None


class _Fields:
    """A body whose keys may differ in case; the spelling with more capitals, the hosts' own, wins."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self._values = {
            key.lower(): raw[key] for key in sorted((key for key in raw if isinstance(key, str)), reverse=True)
        }

    def has(self, name: str) -> bool:
        return name in self._values

    def any(self, name: str) -> object:
        return self._values.get(name)

    def text(self, name: str) -> str:
        value = _text(self._values.get(name))
        return value if len(value) <= _MOST_CHARACTERS else ""

    def known(self, *names: str) -> str:
        for name in names:
            value = self.text(name)
            if value and value.lower() not in _UNKNOWN:
                return value
        return ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        try:
            return str(value)
        except ValueError:  # an integer of thousands of digits
            return ""
    return ""


def _record_url(*sent: object) -> str | None:
    """The first text; what is no text is shown as it is, so that the rules can say that it is no address."""
    texts_first = sorted(sent, key=lambda value: not isinstance(value, str))
    return next((text for value in texts_first if (text := _plain(value).strip())), None)


def _small_int(text: str, *, most: int) -> int | None:
    digits = text.removesuffix(".0")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 6:
        return None
    number = int(digits)
    return number if number <= most else None


def _first_names(value: object) -> tuple[str, ...]:
    """Of so many words, however many of them are names: each of them takes time to read."""
    return tuple(dict.fromkeys(filter(_is_a_name, islice(_words_of(value), _MOST_EXTENSIONS))))


def _words_of(value: object, depth: int = 0) -> Iterator[str]:
    items = _items(value)
    if items is not None:
        for item in items if depth < _DEEPEST_LIST else ():
            yield from _words_of(item, depth + 1)
        return
    text = _text(value)
    if text.isascii() and text.isdecimal():
        yield text
    elif depth and (number := _one_number(text)):
        yield number
    else:
        for part in _SEPARATORS.split(text):
            yield from map(_bare_name, _words_in(part))


def _items(value: object) -> Iterable[object] | None:
    """Of a list, also of one with gaps, which PHP prints as an object of places."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) and _PLACE.fullmatch(key) for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return None


def _one_number(element: str) -> str | None:
    """The number that this element of a list is as a whole, if it is not a list of its own."""
    spelled = None if _TECHNOLOGY.match(element) else spelling.read(element)
    if spelled is None or len(spelled.number.removeprefix("+")) < _LEAST_DIGITS:
        return None
    if spelled.extension or any(map(str.isalpha, element)) or not _may_be_several(element.split()):
        return spelled.number
    return None


def _may_be_several(groups: Sequence[str]) -> bool:
    """Extensions with blanks between them, or a number beside something else."""
    lengths = [sum(map(str.isdigit, group)) for group in groups]
    if len(groups) > 1 and max(lengths) >= _WHOLE_NUMBER:
        return True
    return all(map(str.isdigit, groups)) and (len(set(lengths)) == 1 < len(groups) or min(lengths) > 2)


def _words_in(part: str) -> list[str]:
    """A number with blanks in it, or with its owner's name, is one; else each word, but a parameter `rn=…`, is."""
    if _NUMBER_WITH_BLANKS.match(part.strip()) or "<" in part:
        return [part.strip()]
    return [word for word in _LIST_MARKS.sub(" ", part).split() if "=" not in word]


def _bare_name(word: str) -> str:
    return spelling.plain(_TECHNOLOGY.sub("", word).partition("@")[0].partition("/")[0])


def _is_a_name(word: str) -> bool:
    return word.lower() not in _UNKNOWN and "<" not in word and len(word) <= _MOST_CHARACTERS


def _status(text: str) -> str:
    return _STATUSES.get(_BETWEEN_WORDS.sub("", text).lower(), text.removesuffix(".0"))


def _local_time(text: str) -> datetime | None:
    """The wall clock of the host. An offset, never seen so far, is believed where it is sent."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if 1970 <= time.year <= 2100 else None


def _fingerprint(raw: Mapping[str, object]) -> str:
    """Equal for copies of one event; recovery repeats an event with another token."""
    pairs = sorted(
        (key, _plain(value)) for key, value in raw.items() if isinstance(key, str) and key.lower() != "token"
    )
    return hashlib.blake2b(repr(pairs).encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "[" + "|".join(_plain(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + "|".join(sorted(f"{key}={_plain(item)}" for key, item in value.items())) + "}"
    return _text(value)
