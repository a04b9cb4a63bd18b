"""The judge of the chaos run: what the CRM's ledger must show, or the verdict is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.measure.chaos.__main__ import too_little
from tests.measure.chaos.hosts import Call, Event, Sent
from tests.measure.chaos.trouble import DATABASE_AWAY, PROMISED, Injection
from tests.measure.chaos.verdict import Request, Row, Stored, Verdict, decide, read_requests, summary, table

CALLS = 30
PATHS = ("/start", "/dial", "/bridge", "/hangup")
TROUBLE = Injection(fault="kill at delivery_claimed", begin=0.0, end=10_000.0)
OUTAGE = Injection(fault=DATABASE_AWAY, begin=0.0, end=10_000.0)


def test_a_ledger_that_holds_everything_once_keeps_the_promises():
    sent = hosts()

    verdict = judged(sent)

    assert not verdict.broken, summary(verdict)
    assert verdict.shown_share == 1.0
    assert verdict.acknowledged == CALLS * len(PATHS)


def test_an_empty_ledger_is_broken_whatever_our_own_tables_say():
    sent = hosts()

    verdict = judged(sent, received=[], rows=[], stored=stored_of(sent, []))

    assert verdict.broken
    assert len(verdict.lost) == CALLS


def test_a_row_is_missed_unless_the_crm_itself_refused_it():
    sent = hosts()
    calls = calls_of(sent)
    refused = replace(upload(calls[0]), is_applied=False, is_refused=True)
    unanswered = replace(upload(calls[1]), is_applied=False)
    received = [*popups(calls), *map(hangup, calls), refused, unanswered, *map(upload, calls[2:])]

    verdict = judged(sent, received=received, rows=[row(call) for call in calls[2:]])

    assert [said.partition(" ")[0] for said in verdict.lost] == [calls[1].phone]
    assert verdict.without_row.total() == 1


def test_pop_ups_that_were_never_shown_break_the_promise():
    sent = hosts()
    calls = calls_of(sent)

    verdict = judged(sent, received=[*map(hangup, calls), *map(upload, calls)], injections=[TROUBLE])

    assert verdict.broken
    assert verdict.shown_share == 0.0


def test_one_pop_up_that_is_missing_while_nothing_was_wrong_breaks_the_promise():
    sent = hosts()
    calls = calls_of(sent)
    received = [*popups(calls[1:]), *map(hangup, calls), *map(upload, calls)]

    assert judged(sent, received=received, injections=[]).unexplained
    assert not judged(sent, received=received, injections=[TROUBLE]).broken


@pytest.mark.parametrize("change", [{"result": "failed"}, {"extension": "199"}])
def test_a_row_that_says_something_else_than_what_was_acknowledged_breaks_the_promise(change: dict[str, Any]):
    sent = hosts()
    rows = [row(call) for call in calls_of(sent)]

    verdict = judged(sent, rows=[replace(rows[0], **change), *rows[1:]], injections=[TROUBLE])

    assert len(verdict.wrong) == 1
    assert verdict.broken


def test_a_row_of_another_direction_breaks_the_promise_whatever_was_acknowledged():
    sent = [replace(one, status=0) if one.path == "/bridge" else one for one in hosts()]
    rows = [row(call) for call in calls_of(sent)]

    assert judged(sent, rows=[replace(rows[0], direction="out"), *rows[1:]], injections=[OUTAGE]).contrary


def test_a_row_of_events_that_were_not_all_acknowledged_may_say_less():
    sent = [replace(one, status=0) if one.path == "/bridge" else one for one in hosts()]
    rows = [replace(row(call), result="no answer") for call in calls_of(sent)]

    assert not judged(sent, rows=rows).broken


def test_rows_told_otherwise_while_the_database_was_away_are_excused_up_to_a_share():
    sent = hosts()
    rows = [row(call) for call in calls_of(sent)]
    other = [replace(one, result="no answer") for one in rows]

    assert not judged(sent, rows=[other[0], *rows[1:]], injections=[OUTAGE]).broken
    assert judged(sent, rows=other, injections=[OUTAGE]).broken


@pytest.mark.parametrize("phone", ["375291111111", ""])
def test_a_row_of_a_call_that_no_host_made_breaks_the_promise(phone: str):
    sent = hosts()
    rows = [row(call) for call in calls_of(sent)]

    verdict = judged(sent, rows=[*rows, replace(rows[0], phone=phone)])

    assert len(verdict.foreign) == 1
    assert verdict.broken


def test_a_request_of_a_call_that_no_host_made_breaks_the_promise():
    sent = hosts()
    foreign = replace(popup(calls_of(sent)[0]), call_id="1760000000.1")

    verdict = judged(sent, received=[*everything(sent), foreign])

    assert len(verdict.foreign) == 1
    assert verdict.broken


@pytest.mark.parametrize("effect", ["popup", "hangup"])
@pytest.mark.parametrize("is_other_id", [False, True])
def test_what_a_person_sees_twice_breaks_the_promise(effect: str, *, is_other_id: bool):
    sent = hosts()
    call = calls_of(sent)[0]
    again = popup(call) if effect == "popup" else hangup(call)
    again = replace(again, call_id=call.unique_ids[1]) if is_other_id else again

    verdict = judged(sent, received=[*everything(sent), again])

    assert len(verdict.doubled) == 1
    assert verdict.broken


@pytest.mark.parametrize("rows_more", [{"times": 2}, {"external_id": "leg"}])
def test_a_row_that_is_there_twice_breaks_the_promise(rows_more: dict[str, Any]):
    sent = hosts()
    rows = [row(call) for call in calls_of(sent)]
    if "external_id" in rows_more:
        rows.append(replace(rows[0], external_id=calls_of(sent)[0].unique_ids[1]))
    else:
        rows[0] = replace(rows[0], **rows_more)

    assert judged(sent, rows=rows).doubled


def test_a_pop_up_is_late_by_the_time_at_which_its_event_was_sent():
    sent = [replace(one, answered_at=one.sent_at + 3) for one in hosts()]
    calls = calls_of(sent)
    late = replace(popup(calls[0]), received_at=popup(calls[0]).received_at + 19.1)
    received = [late, *popups(calls[1:]), *map(upload, calls)]

    assert len(judged(sent, received=received).late) == 1


def test_a_pop_up_after_its_end_breaks_the_promise():
    sent = hosts()
    calls = calls_of(sent)
    early = replace(hangup(calls[0]), received_at=popup(calls[0]).received_at - 0.01)
    received = [*popups(calls), early, *map(upload, calls)]

    assert judged(sent, received=received).after_end


def test_a_request_that_was_not_written_down_and_an_answer_that_nobody_gave_break_the_promise():
    sent = hosts()
    written = everything(sent)

    silent = judged(sent, stored=stored_of(sent, written[1:]))
    unfounded = judged(sent, received=written[1:], stored=stored_of(sent, written), injections=[TROUBLE])

    assert len(silent.silent) == 1
    assert len(unfounded.unfounded) == 1


def test_an_acknowledged_event_that_we_do_not_hold_breaks_the_promise_although_the_row_is_there():
    sent = hosts()

    assert judged(sent, stored=stored_of(sent[1:], everything(sent))).lost


def test_a_run_in_which_nothing_was_acknowledged_proves_nothing():
    sent = [replace(one, status=0) for one in hosts()]

    assert judged(sent, received=[], rows=[]).broken


@pytest.mark.parametrize(
    ("status", "body", "rows", "is_refused"),
    [
        (200, {"success": False}, 1, True),
        (400, {"success": False}, 1, True),
        (404, {"success": False}, 2, True),
        (302, None, 2, True),
        (200, {"success": False}, 2, False),
        (200, {"success": True}, 1, False),
        (200, None, 1, False),
        (403, {"success": False}, 1, False),
        (429, {"success": False}, 1, False),
        (503, {"success": False}, 1, False),
    ],
)
def test_only_a_whole_answer_that_says_no_for_good_of_this_row_is_a_refusal(
    status: int, body: dict[str, bool] | None, rows: int, *, is_refused: bool
):
    calls = [{"externalId": f"1.{index}", "phone": "+375291111111"} for index in range(rows)]
    entry = {
        "account": "C0",
        "kind": "upload",
        "fields": {"calls": calls},
        "applied": None,
        "received_at": 1.0,
        "fault": None,
        "warnings": [],
        "answer": {"status": status, "body": body},
    }

    found = read_requests([entry, {**entry, "answer": None}], ["C0"])

    assert [one.is_refused for one in found] == [is_refused] * rows + [False] * rows


def test_the_table_says_what_never_happened():
    verdict = judged(hosts())

    lines = table(verdict, [TROUBLE], ["kill at delivery_claimed", "stop at attempt_committed"]).splitlines()

    assert [line.split()[:4] for line in lines[1:3]] == [
        ["kill", "at", "delivery_claimed", "1"],
        ["stop", "at", "attempt_committed", "0"],
    ]


def test_a_long_run_promises_every_kind_of_trouble_and_enough_kills():
    kills, each = Counter({"kill at request_read": 2000}), Counter(PROMISED)

    assert too_little(kills + each, [], 1800) == []
    assert too_little(kills, [], 60) == []
    assert "never hit: kill at wakes_published" in too_little(kills, [], 1800)
    assert too_little(each + Counter({"SIGTERM of sweep-calls": 5000}), [], 1800)


def test_trouble_that_could_not_be_made_fails_a_run_of_any_length():
    assert too_little(Counter(), ["the thread of _work died"], 60)


def hosts() -> list[Sent]:
    return [
        Sent(
            call=call,
            path=path,
            unique_id=call.unique_ids[0],
            bridge="bridge" if path == "/bridge" else "",
            sent_at=float(call.unique_ids[0]) * 10 + step,
            answered_at=float(call.unique_ids[0]) * 10 + step + 0.1,
            status=200,
        )
        for call in map(made, range(CALLS))
        for step, path in enumerate(PATHS)
    ]


def made(index: int) -> Call:
    return Call(
        number="C0",
        unique_ids=(f"{index}.1", f"{index}.2"),
        phone=f"37529{1_000_000 + index}",
        kind="answered",
        events=tuple(Event(after=0, path=path, body={}) for path in PATHS),
        result="answered",
        extension="151",
    )


def calls_of(sent: Sequence[Sent]) -> list[Call]:
    return [one.call for one in sent if one.path == "/dial"]


def popup(call: Call) -> Request:
    return told(call, "popup", 1.5)


def popups(calls: Sequence[Call]) -> list[Request]:
    return [popup(call) for call in calls]


def hangup(call: Call) -> Request:
    return told(call, "hangup", 3.5)


def upload(call: Call) -> Request:
    return replace(told(call, "upload", 4.5), codes=())


def told(call: Call, effect: str, after: float) -> Request:
    return Request(
        number=call.number,
        effect=effect,
        call_id=call.unique_ids[0],
        phone=call.phone,
        codes=("150", "151"),
        received_at=float(call.unique_ids[0]) * 10 + after,
        is_applied=True,
    )


def row(call: Call) -> Row:
    return Row(
        number=call.number,
        external_id=call.unique_ids[0],
        phone=call.phone,
        direction="in",
        result=call.result,
        extension=call.extension,
    )


def everything(sent: Sequence[Sent]) -> list[Request]:
    return [make(call) for call in calls_of(sent) for make in (popup, hangup, upload)]


def stored_of(sent: Sequence[Sent], requests: Sequence[Request]) -> Stored:
    events = {(one.call.number, one.unique_id, one.path.strip("/"), one.bridge): one.sent_at for one in sent}
    attempts = Counter(one.key for one in requests)
    return Stored(events=events, attempts=attempts, answered=attempts)


def judged(
    sent: Sequence[Sent],
    *,
    received: Sequence[Request] | None = None,
    rows: Sequence[Row] | None = None,
    stored: Stored | None = None,
    injections: Sequence[Injection] = (),
) -> Verdict:
    """Everything as it should be, but for what is given."""
    requests = everything(sent) if received is None else received
    return decide(
        received=requests,
        rows=[row(call) for call in calls_of(sent)] if rows is None else rows,
        sent=sent,
        stored=stored or stored_of(sent, requests),
        injections=injections,
    )
