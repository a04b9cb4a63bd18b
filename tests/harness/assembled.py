"""Events as intake stored them, what assembly made of them, and what the pure rules make of the same events."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import Composable

from lib.calls import call as folding
from lib.calls.directory import Directory
from lib.calls.linking import group, link_keys
from lib.calls.plan import CallRow, plan, row_content
from lib.crms import CRMS, RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.enterprises.rules import directory, settings
from lib.intake.messages import WakeCall
from lib.ledger.assemble import assemble
from lib.ledger.derive import parsed
from lib.ledger.send_rows import send_due
from lib.ledger.wake import wake
from lib.runtime import db
from lib.runtime.errors import Unavailable
from lib.store import events as event_store
from lib.store.events import NewEvent, StoredEvent
from lib.store.rows import Lane
from tests.harness import roles
from tests.harness.outcomes import differences
from tests.unit.calls.playback import base_of
from tests.unit.calls.renaming import Renaming

Message = NewEvent | WakeCall
_LANE_LOOKS = 15


@dataclass(frozen=True, kw_only=True)
class Held:
    """A call as the table holds it, or as the rules see it."""

    main: str
    kind: str
    customer: str | None
    result: str | None
    owner: str | None
    over_at: datetime | None
    events: frozenset[str]


def ended(
    scenario: Mapping[str, Any], *, ago: float, tag: int = 0, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The scenario as if its last event came `ago` seconds ago."""
    last = max(event["at"] for event in scenario["events"])
    shift = int(time.time() - ago - last) - base_of(scenario)
    return Renaming(shift=shift, tag=tag, names=names or {}).scenario(scenario)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One enterprise: stores, assembles, looks; what functions do, under their roles."""

    number: str
    sql: Callable[..., list[tuple[Any, ...]]]
    failures: Counter[str] = field(default_factory=Counter)

    def messages(self, scenario: Mapping[str, Any], *numbers: int) -> list[NewEvent]:
        """The events of a scenario (all, or some), in order, each with its time of receipt; nothing is stored."""
        chosen = [event for number, event in enumerate(scenario["events"]) if not numbers or number in numbers]
        return [
            NewEvent(
                event_id=str(uuid4()),
                enterprise_number=self.number,
                unique_id=event["body"].get("UniqueId", ""),
                event_type=event["endpoint"].strip("/"),
                raw=event["body"],
                received_at=datetime.fromtimestamp(scenario["base"] + event["at"], UTC),
            )
            for event in sorted(chosen, key=lambda event: event["at"])
        ]

    def store(self, scenario: Mapping[str, Any], *numbers: int) -> list[NewEvent]:
        """As intake does."""
        messages = self.messages(scenario, *numbers)
        with roles.taken_by("dispatch-call-event"), db.transaction() as conn:
            for message in messages:
                event_store.insert_event(conn, message)
        return messages

    def assemble(self, message: Message, *, deliver: bool = True) -> None:
        """As the pushes of an event and of its rows do: what is given back comes again."""
        for _ in range(20):
            try:
                with roles.taken_by("retailcrm-deliver"):
                    if deliver:
                        wake(message, crm=RETAILCRM, crms=CRMS)
                    else:
                        assemble(message, crm=None, crms=CRMS)
                if deliver:
                    self.send_rows()
            except Unavailable as error:
                self.failures[str(error)] += 1
                time.sleep(random.uniform(0.01, 0.1))
            else:
                return
        raise AssertionError(f"{message} was given back again and again: {self.failures}")

    def assemble_all(self, messages: Iterable[Message], *, threads: int = 1, deliver: bool = True) -> None:
        if threads == 1:
            for message in messages:
                self.assemble(message, deliver=deliver)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda message: self.assemble(message, deliver=deliver), messages))

    def lost(self) -> list[Message]:
        """Events that are part of no call yet: their messages were handed on, or came while another was at work."""
        return [
            NewEvent(
                event_id=event.event_id,
                enterprise_number=self.number,
                unique_id=event.unique_id,
                event_type=event.event_type,
                raw=event.raw,
                record_url=event.record_url,
                data_source=event.data_source,
                received_at=event.received_at,
            )
            for event in self.stored()
            if event.call_id is None
        ]

    def wakes(self) -> list[Message]:
        found = self.sql("SELECT id FROM calls WHERE enterprise_number = %s ORDER BY id", self.number)
        return [WakeCall(enterprise_number=self.number, call_id=call_id) for (call_id,) in found]

    def wake(self) -> None:
        """As the sweep does, once for every event whose message was lost, every call, and the lane."""
        self.assemble_all(self.lost())
        self.assemble_all(self.wakes())
        # A lane that sent as much as the account takes in a second is put off for the rest of it.
        for _ in range(_LANE_LOOKS):
            self.send_rows()
            if not self.sql(
                "SELECT FROM deliveries WHERE enterprise_number = %s AND effect = 'upload' AND state = 'ready' "
                "AND reason = 'crm_busy'",
                self.number,
            ):
                return
            time.sleep(0.1)

    def send_rows(self) -> None:
        with roles.taken_by("retailcrm-upload"):
            send_due(Lane(enterprise_number=self.number, crm=RETAILCRM.name), crm=RETAILCRM)

    def held(self) -> set[Held]:
        rows = self.sql(
            "SELECT c.main_unique_id, c.kind, c.customer, c.result, c.owner_extension, c.over_at, "
            "  array_agg(e.event_id::text) FILTER (WHERE e.id IS NOT NULL) "
            "FROM calls c LEFT JOIN call_events e ON e.call_id = c.id WHERE c.enterprise_number = %s GROUP BY c.id",
            self.number,
        )
        return {
            Held(
                main=row[0],
                kind=row[1],
                customer=row[2],
                result=row[3],
                owner=row[4],
                over_at=row[5],
                events=frozenset(row[6] or ()),
            )
            for row in rows
        }

    def stored(self) -> list[StoredEvent]:
        rows = self.sql(
            "SELECT event_id::text, unique_id, event_type, raw_data, record_url, data_source, received_at, call_id "
            "FROM call_events WHERE enterprise_number = %s",
            self.number,
        )
        return [
            StoredEvent(
                event_id=row[0],
                enterprise_number=self.number,
                unique_id=row[1],
                event_type=row[2],
                raw=row[3],
                record_url=row[4],
                data_source=row[5],
                received_at=row[6],
                call_id=row[7],
            )
            for row in rows
        ]

    def directory(self) -> Directory:
        return directory(enterprise_cache().by_number(self.number))

    def judged(self, only: Iterable[NewEvent] | None = None) -> tuple[set[Held], dict[str, Mapping[str, object]]]:
        """By the pure rules, long after all events (or only these): the calls, and the rows by their ids."""
        ids = {event.event_id for event in only} if only is not None else None
        events = [parsed(event) for event in self.stored() if ids is None or event.event_id in ids]
        known, policy, now = self.directory(), settings(enterprise_cache().by_number(self.number)), datetime.now(UTC)
        calls: set[Held] = set()
        rows: dict[str, Mapping[str, object]] = {}
        for members in group(events, known):
            call = folding.assemble(members, known, policy, now)
            calls.add(
                Held(
                    main=call.main_unique_id,
                    kind=call.kind,
                    customer=call.customer,
                    result=call.result,
                    owner=call.owner_extension,
                    over_at=call.over_at,
                    events=frozenset(event.event_id for event in members),
                )
            )
            for wanted in plan(call, [], now, policy).wanted:
                if isinstance(wanted, CallRow):
                    rows[wanted.external_id] = row_content(wanted)
        return calls, rows

    def uploads(self) -> dict[str, Mapping[str, object]]:
        return dict(
            self.sql(
                "SELECT external_id, content FROM deliveries WHERE enterprise_number = %s AND effect = 'upload'",
                self.number,
            )
        )

    def decisions(self) -> set[str]:
        found = self.sql("SELECT decisions FROM calls WHERE enterprise_number = %s", self.number)
        return {decision["code"] for (decisions,) in found for decision in decisions}

    def disorder(self) -> list[str]:
        """What must never be, whatever came in whichever order: loose ends between the tables."""
        wrong: list[str] = []
        for text, query in _LOOSE_ENDS.items():
            found = self.sql(query, self.number)
            if found:
                wrong.append(f"{text}: {found}")
        known = self.directory()
        should: dict[tuple[int | None, str], list[datetime]] = defaultdict(list)
        for event in map(parsed, stored := self.stored()):
            keys = link_keys(event, known)
            home = next(one.call_id for one in stored if one.event_id == event.event_id)
            for key in {*keys.exact, *keys.weak}:
                should[home, key].append(event.moment)
        links = self.sql(
            "SELECT call_id, key, first_at, last_at FROM call_links WHERE enterprise_number = %s", self.number
        )
        if {(row[0], row[1]): row[2:] for row in links} != {
            place: (min(moments), max(moments)) for place, moments in should.items()
        }:
            wrong.append("the links are not those of the events")
        return wrong


_LOOSE_ENDS = {
    "events without a call": "SELECT event_type FROM call_events WHERE enterprise_number = %s AND call_id IS NULL",
    "calls without events": "SELECT main_unique_id FROM calls c WHERE enterprise_number = %s "
    "AND NOT EXISTS (SELECT 1 FROM call_events WHERE call_id = c.id)",
    "calls without their main id": "SELECT main_unique_id FROM calls c WHERE enterprise_number = %s "
    "AND main_unique_id <> '' AND NOT EXISTS "
    "(SELECT 1 FROM call_events WHERE call_id = c.id AND unique_id = c.main_unique_id)",
    "ids in several calls": "SELECT unique_id FROM call_events WHERE enterprise_number = %s AND unique_id <> '' "
    "GROUP BY unique_id HAVING count(DISTINCT call_id) > 1",
    "deliveries beside their call": "SELECT external_id FROM deliveries d WHERE enterprise_number = %s "
    "AND NOT EXISTS (SELECT 1 FROM call_events WHERE call_id = d.call_id AND unique_id = d.external_id)",
    "deliveries that wait without a timer": "SELECT d.external_id FROM deliveries d JOIN calls c ON c.id = d.call_id "
    "WHERE d.enterprise_number = %s AND d.effect <> 'upload' AND d.state IN ('ready', 'retry', 'leased') "
    "AND c.next_wake_at IS NULL",
    "rows that wait without a timer": "SELECT d.external_id FROM deliveries d WHERE d.enterprise_number = %s "
    "AND d.effect = 'upload' AND d.state IN ('ready', 'retry', 'leased') AND NOT EXISTS (SELECT 1 FROM row_timers t "
    "WHERE t.enterprise_number = d.enterprise_number AND t.crm = d.crm AND t.wake_at IS NOT NULL)",
}


def row_differences(scenario: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows alone: of old events nothing pops up."""
    return differences({**scenario["expected"], "popups": [], "hangup": None}, [], rows)


def with_copies(messages: Sequence[Message], chance: random.Random) -> list[Message]:
    """In any order, a third of them several times."""
    again = [message for message in messages for _ in range(chance.choice((1, 1, 2, 3)))]
    chance.shuffle(again)
    return again


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`cursor` knows how many rows it read or wrote as soon as the answer is there, in a pipeline later than here."""

    text: str
    parameters: Any
    cursor: psycopg.Cursor[Any]

    @property
    def rows(self) -> int:
        return max(self.cursor.rowcount, 0)

    @property
    def is_boundary(self) -> bool:
        """Begins or ends a transaction."""
        return self.text.split()[0] in {"BEGIN", "COMMIT", "ROLLBACK"}


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Iterator[list[Statement]]:
    """The statements that this process sends, each with the rows that it read or wrote."""
    sent: list[Statement] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, parameters: Any = None, **options: Any) -> Any:
        answer = execute(self, query, parameters, **options)
        if query:  # an empty one is the pool, which looks whether the connection lives
            text = query.as_string() if isinstance(query, Composable) else str(query)
            sent.append(Statement(text=text, parameters=parameters, cursor=self))
        return answer

    with patch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", counting)
        yield sent
