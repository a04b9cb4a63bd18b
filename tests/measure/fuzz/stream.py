"""What hosts post in one case, as bytes on the wire and as the rules read it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lib.calls.event import CallEvent, RawEvent, parse
from lib.intake import bodies, forms
from lib.runtime.errors import InvalidPayload

Body = Mapping[str, object]

_NUMERAL = re.compile(r'"@@([-+.\w]*)@@"')


@dataclass(frozen=True)
class Numeral:
    """A JSON number with these very digits: `1761010900.30` stays `.30`."""

    digits: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """
    One event as it is posted. `tag`: of which call, and which of its events; a copy ends in `'`. `at`: the receipt, in
    seconds from the epoch. `enveloped`: posted to `/dispatch/call-event`, not in the hosts' own form.
    """

    tag: str
    at: float
    kind: str
    body: Body
    origin: str = "live"
    record_url: object = None
    enveloped: bool = False
    encoding: str = "ascii"

    @property
    def call(self) -> str:
        return self.tag.partition(".")[0]

    @property
    def original(self) -> str:
        """The tag of what this is a copy of."""
        return self.tag.rstrip("'")

    @property
    def unique_id(self) -> str:
        value = self.body.get("UniqueId", "")
        return value.digits if isinstance(value, Numeral) else str(value or "")

    def having(self, **changes: object) -> Sent:
        """With these values in the body; OUT takes a key out."""
        body = {name: value for name, value in {**self.body, **changes}.items() if value is not OUT}
        return dataclasses.replace(self, body=body)


OUT: Final = object()


def path(sent: Sent) -> str:
    return "/dispatch/call-event" if sent.enveloped else f"/{sent.kind}"


def posted(sent: Sent, token: str) -> dict[str, object]:
    """The JSON object of the request."""
    if not sent.enveloped:
        extra = {} if sent.record_url is None else {"record_url": sent.record_url}
        return {**sent.body, **extra, "Token": token}
    envelope: dict[str, object] = {
        "token": token,
        "uniqueId": sent.body.get("UniqueId", ""),
        "event_type": sent.kind,
        "raw": sent.body,
    }
    if sent.origin != "live":
        envelope["origin"] = sent.origin
    if sent.record_url is not None:
        envelope["record_url"] = sent.record_url
    return envelope


def wire(sent: Sent, token: str = "0") -> bytes:
    text = json.dumps(posted(sent, token), ensure_ascii=sent.encoding == "ascii", default=_numeral)
    text = _NUMERAL.sub(r"\1", text)
    match sent.encoding:
        case "bom":
            return b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass")
        case "cp1251":
            return text.encode("cp1251", "ignore")
        case "cut":
            return _cut(text.encode("utf-8", "surrogatepass"))
        case "nul":
            return text.replace("\\u0000", "\x00").encode("utf-8", "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def _numeral(value: object) -> str:
    assert isinstance(value, Numeral), value
    return f"@@{value.digits}@@"


def _cut(body: bytes) -> bytes:
    """Without the second half of the last letter of each name: where a buffer of the host ended."""
    return re.sub(rb'([\xd0\xd1])[\x80-\xbf]"', rb'\1"', body)


def parsed(sent: Sent) -> CallEvent:
    """By the same steps as intake and assembly. Raises InvalidPayload."""
    body = bodies.parse(wire(sent))
    if sent.enveloped:
        new = forms.from_envelope(body, enterprise_number="0")
    else:
        new = forms.from_host(sent.kind, body, enterprise_number="0")
    return parse(
        RawEvent(
            event_id=sent.tag,
            event_type=new.event_type,
            unique_id=new.unique_id,
            raw=new.raw,
            received_at=datetime.fromtimestamp(0, UTC) + timedelta(seconds=sent.at),
            origin=sent.origin,
            record_url=new.record_url,
        )
    )


@dataclass(frozen=True, kw_only=True)
class Read:
    """`refused`: what intake does not take, with its reason."""

    events: Sequence[CallEvent]
    refused: Sequence[tuple[Sent, str]]


def read(stream: Iterable[Sent]) -> Read:
    events, refused = [], []
    for sent in stream:
        try:
            events.append(parsed(sent))
        except InvalidPayload as error:
            refused.append((sent, str(error)))
    return Read(events=events, refused=refused)
