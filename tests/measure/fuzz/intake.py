"""The streams of cases through the real intake function, one by one and as batches; what it answers and stores."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import functions_framework
import psycopg
from flask.testing import FlaskClient
from psycopg.rows import class_row

from infra.commands import provision
from infra.deployment import migrate
from infra.stand_ins import postgres
from lib.calls.event import CallEvent
from lib.ledger import derive
from lib.store.events import StoredEvent
from tests.harness.enterprises import TOKEN, enterprise
from tests.harness.servers import Broker
from tests.measure.fuzz.case import Case
from tests.measure.fuzz.invariants import Finding
from tests.measure.fuzz.stream import Sent, path, read, wire

_ROOT = Path(__file__).resolve().parents[3]
_SOME_TIME = datetime.fromtimestamp(0, UTC)
_EVENTS: Final = """
    SELECT event_id::text, enterprise_number, unique_id, event_type, raw_data AS raw, record_url, data_source, received_at,
           call_id
    FROM call_events ORDER BY id
"""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """`conn`: in autocommit, to the database of that function."""

    client: FlaskClient
    conn: psycopg.Connection

    def findings(self, case: Case) -> Iterator[Finding]:
        """Of a posted stream, and of the same stream as one batch."""
        stream = case.stream
        if not stream:
            return
        taken = read(stream)
        self._forget()
        yield from self._one_by_one(stream)
        yield from self._as_read(taken.events, stream)
        self._forget()
        yield from self._as_batch([dataclasses.replace(sent, enveloped=True) for sent in stream])

    def _one_by_one(self, stream: Sequence[Sent]) -> Iterator[Finding]:
        for sent in stream:
            answer = self._post(path(sent), wire(sent, TOKEN))
            yield from _answered(answer.status_code, f"{path(sent)} {sent.tag}: {answer.get_data(as_text=True)[:200]}")

    def _as_batch(self, stream: Sequence[Sent]) -> Iterator[Finding]:
        bodies = [wire(sent, TOKEN).removeprefix(b"\xef\xbb\xbf") for sent in stream]
        body = b'{"token": "' + TOKEN.encode() + b'", "events": [' + b", ".join(bodies) + b"]}"
        answer = self._post("/dispatch/call-events", body)
        if answer.status_code != 200:
            yield from _answered(answer.status_code, f"a batch: {answer.get_data(as_text=True)[:200]}")
            yield Finding("a_batch_is_answered_for_each_event", f"{answer.status_code} for all {len(stream)}")
            return
        results = answer.get_json()["results"]
        if len(results) != len(stream):
            yield Finding("a_batch_is_answered_for_each_event", f"{len(results)} answers to {len(stream)} events")
        for sent, result in zip(stream, results, strict=False):
            if not result["success"]:
                yield Finding("nothing_is_refused", f"in a batch, {sent.kind} {sent.tag}: {result['error']}")

    def _as_read(self, events: Sequence[CallEvent], stream: Sequence[Sent]) -> Iterator[Finding]:
        with self.conn.cursor(row_factory=class_row(StoredEvent)) as cursor:
            stored = cursor.execute(_EVENTS).fetchall()
        if any(TOKEN in json.dumps(one.raw, default=str) for one in stored):
            yield Finding("no_token_is_stored", f"of {[sent.tag for sent in stream]}")
        # One that the database took too long for was published only, which is accepted too.
        read_as = {_bare(event) for event in events}
        for one in stored:
            if _bare(derive.parsed(one)) not in read_as:
                yield Finding("what_is_stored_is_what_was_read", f"{one.event_type} {json.dumps(one.raw)}")

    def _post(self, where: str, body: bytes) -> Any:
        # A batch of large events needs its token in the header.
        headers = {"Token": TOKEN} if where == "/dispatch/call-events" else {}
        return self.client.post(where, data=body, content_type="application/json", headers=headers)

    def _forget(self) -> None:
        self.conn.execute("TRUNCATE call_events CASCADE")


def _answered(status: int, says: str) -> Iterator[Finding]:
    if status >= 500:
        yield Finding("never_5xx", says)
    elif status not in (200, 202, 429):
        yield Finding("nothing_is_refused", f"{status} {says}")


def _bare(event: CallEvent) -> CallEvent:
    return dataclasses.replace(event, event_id="", received_at=_SOME_TIME)


@contextmanager
def running() -> Iterator[Intake]:
    """An intake of its own, in this process: PostgreSQL, broker and all."""
    with postgres.throwaway() as server, postgres.database(server) as url, Broker.started() as broker:
        os.environ.update(
            DATABASE_URL=url,
            GOOGLE_CLOUD_PROJECT="local",
            PUBSUB_EMULATOR_HOST=broker.host,
            OPERATOR_TOKEN="operator-token-of-the-fuzz",
            VAULT_KEYS="fuzz:" + base64.b64encode(bytes(32)).decode(),
            RETAILCRM_EXTRA_HOSTS="127.0.0.1:*",
            LOG_LEVEL="ERROR",
            # Faster than any host, and for hours.
            INTAKE_EVENTS_PER_SECOND="0",
            INTAKE_BYTES_PER_SECOND="0",
        )
        migrate.apply(url)
        broker.topic("call-events")
        from lib.runtime import db

        with db.transaction() as conn:
            provision.provision(conn, enterprise())
        app = functions_framework.create_app(
            "dispatch_call_event", str(_ROOT / "functions" / "dispatch-call-event" / "main.py")
        )
        with psycopg.connect(url, autocommit=True) as conn:
            yield Intake(client=app.test_client(), conn=conn)
