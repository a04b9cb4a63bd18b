"""
Sends failed history rows and rejected messages again: `make replay …`. Without YES=1 it only lists them.

Rows of history that RetailCRM did not get: a call's (CALL), one (DELIVERY), or all since a time (SINCE), of an
enterprise (ENTERPRISE) or of all. Rejected messages: by id (REJECTED=1,2) or by the subscription that they came by
(SOURCE). The rows are entered and timed here; the sweep wakes their calls in steps, and each row passes the gate of
its CRM like any other, so a large replay neither floods a CRM nor delays what is new.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from infra import command
from infra.commands import person
from lib.ledger import replay
from lib.ledger.replay import Request
from lib.runtime import db, pubsub
from lib.runtime.errors import Conflict, InvalidPayload, NotFound, PermanentError
from lib.store import administrators, calls, integration_logs, rejected, replays
from lib.store.rejected import Chosen, Rejected
from lib.store.replays import GivenUp, Span

_STEP: Final = 200
_SHOWN: Final = 20
_POPUPS: Final = "Pop-ups and their ends are not sent again: they are news of seconds."


def main() -> int:
    given = _arguments()
    try:
        command.begin()
        request = Request(by=person.of(given.by), reason=given.reason.strip()[:500])
        if given.yes and not request.reason:
            raise InvalidPayload('Say why, for the record: REASON="…"')
        what = _what(given)
        if given.enterprise:
            with db.connection() as conn:
                if not administrators.has_enterprise(conn, given.enterprise):
                    raise NotFound(f"There is no enterprise {given.enterprise}")
        if what in {"REJECTED", "SOURCE"}:
            return _messages(given, request)
        if what in {"CALL", "DELIVERY"}:
            return _one_call(given, request)
        return _rows(given, request)
    except command.FAILURES as error:
        return command.fail("replay", error)
    finally:
        pubsub.close()
        db.close()


def _what(given: argparse.Namespace) -> str:
    """The one thing that is asked for. Raises InvalidPayload when another argument contradicts it."""
    asked = {
        "CALL": bool(given.call),
        "DELIVERY": given.delivery is not None,
        "REJECTED": bool(given.rejected),
        "SOURCE": bool(given.source),
        "SINCE": bool(given.since),
    }
    wanted = [name for name, is_asked in asked.items() if is_asked and (name != "SINCE" or not given.source)]
    if not wanted:
        raise InvalidPayload("What? CALL=…, DELIVERY=…, SINCE=2026-01-31T10:00 (or 2h, 3d), REJECTED=1,2 or SOURCE=…")
    if len(wanted) > 1:
        raise InvalidPayload(f"{' and '.join(wanted)} cannot be asked for together: one at a time")
    if given.enterprise and wanted[0] in {"REJECTED", "SOURCE"}:
        raise InvalidPayload(f"ENTERPRISE has no meaning with {wanted[0]}: a message that was rejected belongs to none")
    return wanted[0]


@dataclass(frozen=True, kw_only=True)
class _Found:
    number: str
    call_id: int
    unique_id: str


def _find_call(conn: db.Connection, given: argparse.Namespace) -> _Found:
    if given.delivery is not None:
        found = replays.find_call(conn, given.delivery)
        if found is None or given.enterprise not in {"", found[0]}:
            raise NotFound(f"There is no delivery {given.delivery}")
        number, call_id, unique_id = found
        return _Found(number=number, call_id=call_id, unique_id=unique_id)
    if not given.enterprise:
        raise InvalidPayload("Of which enterprise? CALL=… needs ENTERPRISE=…")
    known = calls.find_by_unique_id(conn, given.enterprise, given.call)
    if known is None:
        raise NotFound(f"Enterprise {given.enterprise} has no call {given.call}")
    return _Found(number=given.enterprise, call_id=known, unique_id=given.call)


def _one_call(given: argparse.Namespace, request: Request) -> int:
    with db.connection() as conn:
        call = _find_call(conn, given)
        ledger = replays.list_for_call(conn, call.number, call.call_id)
    chosen = [item for item in ledger if given.delivery in {None, item.id}]
    print(f"Call {call.unique_id} of enterprise {call.number}:")
    for item in chosen:
        because = replay.why_not(item)
        words = f"not sent again: {because}" if because else "to be sent again"
        print(f"  delivery {item.id}: {item.effect}, {item.state}{_because(item.reason)}: {words}")
    if all(replay.why_not(item) is not None for item in chosen):
        print("There is nothing to send again.")
        return 1
    if not given.yes:
        return _how_to_confirm()
    with db.transaction() as conn:
        again = replay.send_again(
            conn, request, enterprise_number=call.number, call_id=call.call_id, delivery_id=given.delivery
        )
        _remember(conn, call.number, request, again)
    print(f"Sent again as {_count(len(again), 'delivery', 'deliveries')} {', '.join(map(str, again))}: the next tick.")
    return 0


def _rows(given: argparse.Namespace, request: Request) -> int:
    with db.connection() as conn:
        now = db.now(conn)
    span = Span(since=command.moment(given.since, now), until=now, enterprise_number=given.enterprise or None)
    of_whom = f"enterprise {given.enterprise}" if given.enterprise else "all enterprises"
    print(f"Rows of history of {of_whom} that came to nothing since {span.since:%Y-%m-%d %H:%M:%S %Z}:")
    return _send_rows(span, request) if given.yes else _show_rows(span)


def _show_rows(span: Span) -> int:
    count = 0
    for page in _given_up(span):
        for item in page[: max(0, _SHOWN - count)]:
            ended = f"{item.finished_at:%Y-%m-%d %H:%M:%S}"
            print(f"  {item.enterprise_number} {item.unique_id}: {item.state}{_because(item.reason)}, {ended}")
        count += len(page)
    print(f"{_count(count, 'row', 'rows')} would be sent again. {_POPUPS}")
    return _how_to_confirm() if count else 0


def _send_rows(span: Span, request: Request) -> int:
    sent = others = 0
    for page in _given_up(span):
        for number in sorted({item.enterprise_number for item in page}):
            mine = [item for item in page if item.enterprise_number == number]
            again = _send_page(number, mine, request)
            sent, others = sent + len(again), others + len(mine) - len(again)
        print(f"  {sent} sent again, up to {page[-1].finished_at:%Y-%m-%d %H:%M:%S}")
    somebody = f" {_count(others, 'row was', 'rows were')} somebody else's at that moment." if others else ""
    print(f"{_count(sent, 'row goes', 'rows go')} out with the next ticks, as fast as each CRM allows.{somebody}")
    return 0


def _send_page(number: str, page: list[GivenUp], request: Request) -> list[int]:
    """Sends each row in a transaction of its own, so that no lock lasts for a whole page."""
    again: list[int] = []
    for item in page:
        try:
            with db.transaction() as conn:
                again += replay.send_again(
                    conn, request, enterprise_number=number, call_id=item.call_id, delivery_id=item.id
                )
        except (Conflict, NotFound):
            continue  # another replay sent it again meanwhile, or its call became part of another one
    if again:
        with db.connection() as conn:
            _remember(conn, number, request, again)
    return again


@dataclass(kw_only=True)
class _Tally:
    """Of rejected messages. `able`: published, or those that would be; `unable`: a replay has no meaning for them."""

    able: int = 0
    unable: int = 0
    failed: int = 0


def _messages(given: argparse.Namespace, request: Request) -> int:
    with db.connection() as conn:
        now = db.now(conn)
    chosen = Chosen(
        until=now,
        ids=_ids(given.rejected),
        source=given.source,
        since=command.moment(given.since, now) if given.since else None,
    )
    tally, missing = _Tally(), set(chosen.ids)
    for page in _rejected(chosen):
        for found in page:
            missing.discard(found.id)
            _one_message(found, request if given.yes else None, tally)
        if given.yes:
            print(f"  {tally.able} published, up to {page[-1].received_at:%Y-%m-%d %H:%M:%S}")
    if tally == _Tally():
        print("There is no such message, or all were replayed already.")
        return 1
    for message_id in sorted(missing):
        tally.failed += 1
        print(f"  message {message_id}: there is none")
    return _sum_up(tally, is_done=given.yes, are_named=bool(chosen.ids))


def _one_message(found: Rejected, request: Request | None, tally: _Tally) -> None:
    """Publishes it, or without a request says that it would be."""
    because = _why_not(found)
    if because:
        tally.unable += 1
        print(f"  message {found.id}: not replayed: {because}")
    elif request is None:
        tally.able += 1
        print(f"  message {found.id} of {found.source}: {found.reason[:80]}")
    else:
        try:
            replay.publish_again(found.id, request)
            tally.able += 1
        except PermanentError as error:
            tally.failed += 1
            print(f"  message {found.id}: not replayed: {error}")


def _sum_up(tally: _Tally, *, is_done: bool, are_named: bool) -> int:
    """`are_named`: the messages were asked for by their ids, so one that cannot be replayed is a failure."""
    able = _count(tally.able, "message", "messages")
    if not is_done:
        print(f"{able} would be published again, {tally.unable} cannot be.")
        return _how_to_confirm() if tally.able and not tally.failed else 1
    were = "was" if tally.able == 1 else "were"
    print(f"{able} {were} published again; what is rejected again gets a new id.")
    return 0 if tally.able and not tally.failed and not (tally.unable and are_named) else 1


def _why_not(found: Rejected) -> str | None:
    if found.replayed_at is not None:
        return f"it was, at {found.replayed_at:%Y-%m-%d %H:%M:%S}"
    try:
        replay.message_of(found)
    except InvalidPayload as error:
        return str(error)
    return None


def _given_up(span: Span) -> Iterator[list[GivenUp]]:
    after = None
    while True:
        with db.connection() as conn:
            page = replays.list_given_up(conn, span, after=after, limit=_STEP)
        if not page:
            return
        yield page
        after = page[-1].finished_at, page[-1].id


def _rejected(chosen: Chosen) -> Iterator[list[Rejected]]:
    after = None
    while True:
        with db.connection() as conn:
            page = rejected.list_messages(conn, chosen, after=after, limit=_STEP // 4)
        if not page:
            return
        yield page
        after = page[-1].received_at, page[-1].id


def _remember(conn: db.Connection, number: str, request: Request, again: list[int]) -> None:
    integration_logs.insert(
        conn,
        enterprise_number=number,
        event_type="replay",
        request={"by": request.by, "reason": request.reason, "deliveries": again},
        response={},
        error=None,
    )


def _how_to_confirm() -> int:
    print('Nothing was done. To do it: the same with YES=1 REASON="…".')
    return 0


def _ids(text: str) -> list[int]:
    words = [word for word in re.split(r"[ ,]+", text) if word]
    if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
        raise InvalidPayload(f"REJECTED={text}: must be ids, as 1,2,3")
    return [int(word) for word in words]


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make replay", description="Sends again what came to nothing")
    parser.add_argument("--enterprise", default="", help="its number; without one: all, with --since")
    parser.add_argument("--call", default="", help="the id of any channel of a call")
    parser.add_argument("--delivery", type=int, help="the id of a delivery")
    parser.add_argument("--since", default="", help="a time, or how long ago: 2h, 3d")
    parser.add_argument("--rejected", default="", help="ids of rejected messages")
    parser.add_argument("--source", default="", help="a subscription, or a part of its name")
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    parser.add_argument("--reason", default="", help="why")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
