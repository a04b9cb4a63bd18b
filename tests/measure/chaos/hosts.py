"""
Invented calls, posted as the hosts post them: one queue and one sender a host, in order, 3 s for an answer, never twice.

Every call has a customer's number of its own, so that the CRM's ledger says what became of it.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 3.0
LINE: Final = "0001301"
KINDS: Final = ("missed", "answered", "out", "out-unanswered")
_ZONE: Final = timedelta(hours=3)  # Europe/Minsk
_phones = itertools.count(1_000_000)


@dataclass(frozen=True, kw_only=True)
class Enterprise:
    number: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """`after`: seconds after the one before; `lasted`: seconds that the call took, for its hangup."""

    after: float
    path: str
    body: Mapping[str, Any] = field(repr=False)
    lasted: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """`unique_ids`: of all its channels, the main one first; `result` and `extension` are what its row should say."""

    number: str
    unique_ids: tuple[str, ...]
    phone: str
    kind: str
    events: tuple[Event, ...] = field(repr=False)
    result: str
    extension: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """`status`: 0 when there was no answer."""

    call: Call
    path: str
    unique_id: str
    bridge: str
    sent_at: float
    answered_at: float
    status: int

    @property
    def is_acknowledged(self) -> bool:
        return self.status in {200, 202}


class Host:
    """A host of one enterprise: it makes calls, `lanes` at a time, until it is told to hang up."""

    def __init__(self, url: str, enterprise: Enterprise, *, lanes: int, pause_seconds: float, seed: object) -> None:
        self.sent: list[Sent] = []
        self._netloc = urlsplit(url).netloc
        self._enterprise = enterprise
        self._lanes, self._pause_seconds = lanes, pause_seconds
        self._chance = random.Random(f"{seed} {enterprise.number}")
        self._over = threading.Event()
        self._channels = itertools.count(1)
        self._thread = threading.Thread(target=self._work, name=f"host-{enterprise.number}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new calls; those that go on are hung up in their time."""
        self._over.set()

    def join(self) -> None:
        self._thread.join()

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT_SECONDS)
        order = itertools.count()
        due: list[tuple[float, int, Iterator[tuple[Call, Event]], Call, Event]] = []

        def push(at: float, events: Iterator[tuple[Call, Event]]) -> None:
            following = next(events, None)
            if following is not None:
                call, event = following
                heapq.heappush(due, (at + event.after, next(order), events, call, event))

        for lane in range(self._lanes):
            push(time.time() + self._chance.uniform(0, self._pause_seconds), self._calls(lane))
        while due:
            at, _, events, call, event = heapq.heappop(due)
            time.sleep(max(0.0, at - time.time()))
            self.sent.append(self._post(connection, call, event))
            push(max(at, time.time() - 1), events)
        connection.close()

    def _calls(self, lane: int) -> Iterator[tuple[Call, Event]]:
        while not self._over.is_set():
            call = self._call(lane)
            for event in call.events:
                yield call, event

    def _call(self, lane: int) -> Call:
        kind = self._chance.choice(KINDS)
        first, second = (("150", "151"), ("152", "153"))[lane % 2]
        make = _incoming if kind in {"missed", "answered"} else _outgoing
        return make(
            self._enterprise,
            ids=[f"{int(time.time())}.{next(self._channels)}" for _ in range(2)],
            extensions=(first, second),
            is_answered=kind in {"answered", "out"},
            kind=kind,
            pauses=[self._chance.uniform(0.2, 1.0) * self._pause_seconds for _ in range(3)],
        )

    def _post(self, connection: http.client.HTTPConnection, call: Call, event: Event) -> Sent:
        body = {**event.body, "Token": self._enterprise.token, **_times(event)}
        sent_at = time.time()
        try:
            headers = {"Content-type": "application/json", "Token": self._enterprise.token}
            connection.request("POST", event.path, json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        return Sent(
            call=call,
            path=event.path,
            unique_id=event.body["UniqueId"],
            bridge=event.body.get("BridgeUniqueid", ""),
            sent_at=sent_at,
            answered_at=time.time(),
            status=status,
        )


def _times(event: Event) -> dict[str, str]:
    if event.path != "/hangup":
        return {}
    now = datetime.now(UTC) + _ZONE
    begun = (now - timedelta(seconds=event.lasted + 1)).strftime("%Y-%m-%d %H:%M:%S")
    return {"StartTime": begun, "DateReceived": begun, "EndTime": now.strftime("%Y-%m-%d %H:%M:%S")}


def _incoming(
    enterprise: Enterprise,
    *,
    ids: Sequence[str],
    extensions: tuple[str, str],
    is_answered: bool,
    kind: str,
    pauses: Sequence[float],
) -> Call:
    phone = f"37529{next(_phones)}"
    main, leg = ids
    common = {"UniqueId": main, "Phone": phone, "CallType": 0, "Trunk": LINE}
    dial = {**common, "Extensions": list(extensions), "ExtTrunk": "", "ExtPhone": phone}
    events = [
        Event(after=pauses[0], path="/start", body=common),
        Event(after=0.1, path="/dial", body=dial),
        *(_talk(main, leg, extensions[1], phone, after=pauses[1]) if is_answered else []),
        Event(
            after=pauses[2],
            path="/hangup",
            body={
                **common,
                "Extensions": [extensions[1] if is_answered else ""],
                "CallStatus": "2" if is_answered else "0",
            },
            lasted=pauses[1] + pauses[2],
        ),
    ]
    return Call(
        number=enterprise.number,
        unique_ids=(main, leg),
        phone=phone,
        kind=kind,
        events=tuple(events),
        result="answered" if is_answered else "no answer",
        extension=extensions[1] if is_answered else extensions[0],
    )


def _outgoing(
    enterprise: Enterprise,
    *,
    ids: Sequence[str],
    extensions: tuple[str, str],
    is_answered: bool,
    kind: str,
    pauses: Sequence[float],
) -> Call:
    phone = f"37529{next(_phones)}"
    main, leg = ids
    common = {"UniqueId": main, "Phone": phone, "CallType": 1, "Trunk": LINE, "Extensions": [extensions[0]]}
    events = [
        Event(after=pauses[0], path="/dial", body={**common, "ExtTrunk": "", "ExtPhone": ""}),
        *(_talk(main, leg, extensions[0], phone, after=pauses[1], is_out=True) if is_answered else []),
        Event(
            after=pauses[2],
            path="/hangup",
            body={**common, "CallStatus": "2" if is_answered else "0"},
            lasted=pauses[1] + pauses[2],
        ),
    ]
    return Call(
        number=enterprise.number,
        unique_ids=(main, leg),
        phone=phone,
        kind=kind,
        events=tuple(events),
        result="answered" if is_answered else "no answer",
        extension=extensions[0],
    )


def _talk(main: str, leg: str, extension: str, phone: str, *, after: float, is_out: bool = False) -> list[Event]:
    """Both channels enter a bridge and leave it; the main one is the line's on the way in, the telephone's on the way out."""
    tag = uuid.uuid4().hex[:8]
    bridge = str(uuid.uuid4())
    telephone, trunk = (main, leg) if is_out else (leg, main)
    sides = (
        {
            "UniqueId": telephone,
            "Channel": f"SIP/{extension}-{tag}",
            "CallerIDNum": extension,
            "ConnectedLineNum": phone,
        },
        {"UniqueId": trunk, "Channel": f"SIP/{LINE}-{tag}", "CallerIDNum": phone, "ConnectedLineNum": extension},
    )
    create = {"BridgeType": "", "BridgeTechnology": "simple_bridge", "BridgeName": "<unknown>"}
    return [
        Event(
            after=after,
            path="/bridge_create",
            body={**create, "UniqueId": "", "BridgeUniqueid": bridge, "BridgeNumChannels": "0"},
        ),
        *(Event(after=0.05, path="/bridge", body={**side, "BridgeUniqueid": bridge, "Exten": ""}) for side in sides),
    ]
