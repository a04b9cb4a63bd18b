"""
The gate of each account: one row, locked for a moment by whoever asks the CRM and by whoever has its answer.

It is locked behind calls and deliveries, and whoever holds it waits for nothing: what is taken after it is passed over
where somebody is at it. The database's clock decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg.types.json import Jsonb

from lib.runtime import gate
from lib.runtime.db import Connection
from lib.runtime.gate import Answer, Breaker, Lane, Limits, Pause, Refusal

LaneName = Literal["telephony", "other"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somebody was let through until then at most; `leave` gives the place back."""

    account: str
    lane: LaneName
    until: datetime
    is_probe: bool = False


@dataclass(frozen=True, kw_only=True)
class PutOff:
    reason: Refusal
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Key:
    """Whose deliveries wait while these credentials are refused."""

    enterprise_number: str
    credentials: bytes


@dataclass(frozen=True, kw_only=True)
class AccountState:
    account: str
    state: Literal["open", "closed"]
    since: datetime | None
    failures: int
    under_way: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    lanes: dict[LaneName, Lane]
    breaker: Breaker
    pauses: Mapping[str, Pause]
    now: datetime

    def pause(self, key: Key) -> Pause | None:
        return self.pauses.get(key.enterprise_number)

    def with_pause(self, key: Key, pause: Pause | None) -> _Row:
        others = {number: other for number, other in self.pauses.items() if number != key.enterprise_number}
        return replace(self, pauses=others | ({key.enterprise_number: pause} if pause else {}))


def enter(
    conn: Connection, account: str, limits: Limits, *, seconds: float, lane: LaneName = "telephony", key: Key | None
) -> Place | PutOff:
    """
    Lets one request through, for so many seconds at most, or says why not and when to ask again.

    `key` None: what a person waits for; it is let through to a CRM that is away, too.
    """
    row = _lock(conn, account)
    until = row.now + timedelta(seconds=seconds)
    after = row
    if key is not None:
        tried = gate.may_try(row.pause(key), key.credentials, now=row.now, until=until)
        if isinstance(tried, tuple):
            return PutOff(reason=tried[0], seconds=tried[1])
        asked = gate.may_ask(row.breaker, now=row.now, until=until)
        if isinstance(asked, tuple):
            return PutOff(reason=asked[0], seconds=asked[1])
        after = replace(row.with_pause(key, tried), breaker=asked)
    entered = gate.enter(row.lanes[lane], limits, now=row.now, until=until)
    if isinstance(entered, float):
        return PutOff(reason="crm_busy", seconds=entered)
    _write(conn, account, replace(after, lanes={**row.lanes, lane: entered}))
    return Place(account=account, lane=lane, until=until, is_probe=key is not None and after.breaker.is_probed)


def leave(conn: Connection, place: Place, limits: Limits, *, key: Key | None, answer: Answer | None) -> bool:
    """
    Gives the place back; None: nothing was sent. What the answer says of the CRM is noted if there is a key.

    Whether it shows that a CRM that was away is back.
    """
    row = _lock(conn, place.account)
    left = gate.leave(row.lanes[place.lane], limits, now=row.now, until=place.until, was_sent=answer is not None)
    after = replace(row, lanes={**row.lanes, place.lane: left})
    if key is not None:
        after = replace(after, breaker=gate.after(row.breaker, answer, now=row.now, was_probe=place.is_probe))
        if answer is not None:
            after = after.with_pause(key, gate.pause_after(row.pause(key), key.credentials, answer, now=row.now))
    _write(conn, place.account, after)
    return row.breaker.away_since is not None and after.breaker.away_since is None


def find_away_since(conn: Connection, account: str) -> datetime | None:
    """Since when the account does not answer as it should; None while it does."""
    row = conn.execute("SELECT away_since FROM crm_gates WHERE account = %s", [account]).fetchone()
    return row[0] if row else None


def list_accounts(conn: Connection) -> list[AccountState]:
    """Every account that was asked, those that are away first."""
    rows = conn.execute(
        """
        SELECT account, away_since, failures,
               (SELECT count(*) FROM unnest(telephony_under_way || other_under_way) until WHERE until > now())
        FROM crm_gates ORDER BY away_since, account LIMIT 1000
        """
    ).fetchall()
    return [
        AccountState(
            account=row[0], state="open" if row[1] else "closed", since=row[1], failures=row[2], under_way=row[3]
        )
        for row in rows
    ]


def _lock(conn: Connection, account: str) -> _Row:
    while True:
        found = conn.execute(
            """
            SELECT telephony_under_way, telephony_ended, other_under_way, other_ended, failures, away_since, ask_at,
                   is_probed, probes_failed, pause_until, pauses, clock_timestamp()
            FROM crm_gates WHERE account = %s FOR UPDATE
            """,
            [account],
        ).fetchone()
        if found is not None:
            return _row(found)
        conn.execute("INSERT INTO crm_gates (account) VALUES (%s) ON CONFLICT DO NOTHING", [account])


def _row(found: Sequence[Any]) -> _Row:
    return _Row(
        lanes={
            "telephony": Lane(under_way=found[0], ended=found[1]),
            "other": Lane(under_way=found[2], ended=found[3]),
        },
        breaker=Breaker(
            failures=found[4],
            away_since=found[5],
            ask_at=found[6],
            is_probed=found[7],
            probes_failed=found[8],
            pause_until=found[9],
        ),
        pauses={
            number: Pause(
                credentials=bytes.fromhex(pause["credentials"]),
                since=datetime.fromisoformat(pause["since"]),
                until=datetime.fromisoformat(pause["until"]),
            )
            for number, pause in found[10].items()
        },
        now=found[11],
    )


def _write(conn: Connection, account: str, row: _Row) -> None:
    telephony, other, breaker = row.lanes["telephony"], row.lanes["other"], row.breaker
    pauses = {
        number: {
            "credentials": pause.credentials.hex(),
            "since": pause.since.isoformat(),
            "until": pause.until.isoformat(),
        }
        for number, pause in row.pauses.items()
    }
    conn.execute(
        """
        UPDATE crm_gates
        SET telephony_under_way = %s, telephony_ended = %s, other_under_way = %s, other_ended = %s, failures = %s,
            away_since = %s, ask_at = %s, is_probed = %s, probes_failed = %s, pause_until = %s, pauses = %s
        WHERE account = %s
        """,
        [
            list(telephony.under_way),
            list(telephony.ended),
            list(other.under_way),
            list(other.ended),
            breaker.failures,
            breaker.away_since,
            breaker.ask_at,
            breaker.is_probed,
            breaker.probes_failed,
            breaker.pause_until,
            Jsonb(pauses),
            account,
        ],
    )
