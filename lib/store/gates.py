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

from psycopg import Cursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from lib.runtime import gate
from lib.runtime.db import Connection
from lib.runtime.gate import Answer, Breaker, Lane, Limits, Pause, Refusal

LaneName = Literal["telephony", "other"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Somebody was let through until then at most; `leave` gives the place back. `is_probe`: to find out whether the CRM
    is back; `tries_account`: whether the enterprise's key or account is good again.
    """

    account: str
    lane: LaneName
    until: datetime
    is_probe: bool = False
    tries_account: bool = False


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
    waiting: Sequence[Waiting] = ()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An enterprise whose deliveries wait for its key or its account; `until` its next probe."""

    enterprise_number: str
    reason: Refusal
    since: datetime
    until: datetime


@dataclass(frozen=True, kw_only=True)
class Entered:
    place: Place
    gate: Gate


@dataclass(frozen=True, kw_only=True)
class Left:
    """`is_back`: the answer shows that a CRM that was away is back."""

    gate: Gate
    is_back: bool


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The account's row while it is locked, at the database's time `now`. Its methods decide, and write nothing."""

    account: str
    lanes: Mapping[LaneName, Lane]
    breaker: Breaker
    pauses: Mapping[str, Pause]
    now: datetime

    def enter(
        self, limits: Limits, *, seconds: float, lane: LaneName = "telephony", key: Key | None
    ) -> Entered | PutOff:
        """
        One request is let through, for so many seconds at most, or why not and when to ask again.

        `key` None: what a person waits for; it is let through to a CRM that is away, too.
        """
        until = self.now + timedelta(seconds=seconds)
        after, tries = self, False
        if key is not None:
            tried = gate.may_try(self._pause(key), key.credentials, now=self.now, until=until)
            if isinstance(tried, tuple):
                return PutOff(reason=tried[0], seconds=tried[1])
            asked = gate.may_ask(self.breaker, now=self.now, until=until)
            if isinstance(asked, tuple):
                return PutOff(reason=asked[0], seconds=asked[1])
            tries = tried is not None and tried.credentials == key.credentials
            after = replace(self.with_pause(key, tried), breaker=asked)
        entered = gate.enter(self.lanes[lane], limits, now=self.now, until=until)
        if isinstance(entered, float):
            return PutOff(reason="crm_busy", seconds=entered)
        place = Place(
            account=self.account,
            lane=lane,
            until=until,
            is_probe=key is not None and after.breaker.is_probed,
            tries_account=tries,
        )
        return Entered(place=place, gate=replace(after, lanes={**self.lanes, lane: entered}))

    def leave(self, place: Place, limits: Limits, *, key: Key | None, answer: Answer | None) -> Left:
        """The place is given back; None: nothing was sent. With a key, what the answer says of the CRM is noted."""
        left = gate.leave(self.lanes[place.lane], limits, now=self.now, until=place.until, was_sent=answer is not None)
        after = replace(self, lanes={**self.lanes, place.lane: left})
        if key is not None:
            after = replace(after, breaker=gate.after(self.breaker, answer, now=self.now, was_probe=place.is_probe))
            if answer is not None:
                after = after.with_pause(key, gate.pause_after(self._pause(key), key.credentials, answer, now=self.now))
        return Left(gate=after, is_back=self.breaker.away_since is not None and after.breaker.away_since is None)

    def _pause(self, key: Key) -> Pause | None:
        return self.pauses.get(key.enterprise_number)

    def with_pause(self, key: Key, pause: Pause | None) -> Gate:
        others = {number: other for number, other in self.pauses.items() if number != key.enterprise_number}
        return replace(self, pauses=others | ({key.enterprise_number: pause} if pause else {}))


def enter(
    conn: Connection, account: str, limits: Limits, *, seconds: float, lane: LaneName = "telephony", key: Key | None
) -> Place | PutOff:
    """Lets one request through, or says why not and when to ask again (`Gate.enter`)."""
    entered = lock(conn, account).enter(limits, seconds=seconds, lane=lane, key=key)
    if isinstance(entered, PutOff):
        return entered
    write(conn, entered.gate)
    return entered.place


def leave(conn: Connection, place: Place, limits: Limits, *, key: Key | None, answer: Answer | None) -> bool:
    """Gives the place back (`Gate.leave`); whether the CRM was away and is back."""
    left = lock(conn, place.account).leave(place, limits, key=key, answer=answer)
    write(conn, left.gate)
    return left.is_back


def find_away_since(conn: Connection, account: str) -> datetime | None:
    """Since when the account does not answer as it should; None while it does."""
    row = conn.execute("SELECT away_since FROM crm_gates WHERE account = %s", [account]).fetchone()
    return row[0] if row else None


def find_waiting(conn: Connection, account: str, key: Key) -> Waiting | None:
    """Why this enterprise's deliveries wait, if they do; other credentials than those that were refused do not."""
    row = conn.execute(
        "SELECT pauses -> %s FROM crm_gates WHERE account = %s", [key.enterprise_number, account]
    ).fetchone()
    pause = _pause(row[0]) if row and row[0] else None
    return _waiting(key.enterprise_number, pause) if pause and pause.credentials == key.credentials else None


def list_accounts(conn: Connection) -> list[AccountState]:
    """Every account that was asked, those that are away first, and whose deliveries wait for a key or an account."""
    rows = conn.execute(
        """
        SELECT account, away_since, failures,
               (SELECT count(*) FROM unnest(telephony_under_way || other_under_way) until WHERE until > now()), pauses
        FROM crm_gates ORDER BY away_since, pauses = '{}', account LIMIT 1000
        """
    ).fetchall()
    return [
        AccountState(
            account=row[0],
            state="open" if row[1] else "closed",
            since=row[1],
            failures=row[2],
            under_way=row[3],
            waiting=[_waiting(number, _pause(pause)) for number, pause in sorted(row[4].items())],
        )
        for row in rows
    ]


def _waiting(number: str, pause: Pause) -> Waiting:
    return Waiting(enterprise_number=number, reason=pause.reason, since=pause.since, until=pause.until)


def ask(conn: Connection, account: str) -> Cursor[TupleRow]:
    """Locks the account's row, if it has one; `locked` reads it."""
    return conn.execute(
        """
        SELECT telephony_under_way, telephony_ended, other_under_way, other_ended, failures, away_since, ask_at,
               is_probed, probes_failed, pause_until, pauses, clock_timestamp()
        FROM crm_gates WHERE account = %s FOR UPDATE
        """,
        [account],
    )


def locked(conn: Connection, account: str, asked: Cursor[TupleRow]) -> Gate:
    found = asked.fetchone()
    while found is None:
        conn.execute("INSERT INTO crm_gates (account) VALUES (%s) ON CONFLICT DO NOTHING", [account])
        found = ask(conn, account).fetchone()
    return _gate(account, found)


def lock(conn: Connection, account: str) -> Gate:
    return locked(conn, account, ask(conn, account))


def _gate(account: str, found: Sequence[Any]) -> Gate:
    return Gate(
        account=account,
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
        pauses={number: _pause(pause) for number, pause in found[10].items()},
        now=found[11],
    )


def _pause(stored: Mapping[str, Any]) -> Pause:
    """One that was written before there were reasons is of a refused key."""
    return Pause(
        credentials=bytes.fromhex(stored["credentials"]),
        since=datetime.fromisoformat(stored["since"]),
        until=datetime.fromisoformat(stored["until"]),
        reason=stored.get("reason", "authentication"),
        refusals=stored.get("refusals", 1),
    )


def write(conn: Connection, row: Gate) -> None:
    telephony, other, breaker = row.lanes["telephony"], row.lanes["other"], row.breaker
    pauses = {
        number: {
            "credentials": pause.credentials.hex(),
            "since": pause.since.isoformat(),
            "until": pause.until.isoformat(),
            "reason": pause.reason,
            "refusals": pause.refusals,
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
            row.account,
        ],
    )
