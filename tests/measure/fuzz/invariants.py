"""What holds of every stream, however it was spoiled (docs/calls.md)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lib.calls.channels import channel_named
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.explain import as_text, explain
from lib.calls.plan import CallRow, EndNotice, RingNotice
from tests.measure.fuzz.outcomes import Outcome
from tests.measure.fuzz.stream import Sent

# A wall clock is believed this far from the epoch of the id, so an estimate may be wrong by as much.
_CLOCK: Final = timedelta(minutes=10)
_ROUNDING: Final = timedelta(seconds=2)
_SANE: Final = timedelta(days=2)
_EPOCH: Final = re.compile(r"(\d{1,10})\.\d+")
_DIGITS: Final = re.compile(r"\d+")
_RESULTS: Final = {"answered", "no answer", "not allowed", "unknown"}
# Why a call that is over has no row: nothing of it is for the CRM, or it has a customer and no time. That an event of it
# is a copy says nothing.
_NOT_FOR_THE_CRM: Final = {"internal", "no_phone", "only_channels", "leg_of_another_call", "integration_disabled"}
_NO_TIME: Final = {"no_date"}


@dataclass(frozen=True)
class Finding:
    invariant: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """
    `is_coherent`: every channel has one id, no id stands for two, and no field says what it never was. Each call has a
    customer of its own. `customers`: as E.164, of the calls of which a record of the main id is left; where none is,
    each leg and each consultation may be a call.
    """

    stream: Sequence[Sent]
    events: Sequence[CallEvent]
    outcome: Outcome
    directory: Directory
    is_coherent: bool
    customers: frozenset[str]


def findings(seen: Seen) -> Iterator[Finding]:
    for check in _CHECKS:
        for says in check(seen):
            yield Finding(check.__name__.strip("_"), says)


def _every_event_is_in_one_call(seen: Seen) -> Iterator[str]:
    held = Counter(event.event_id for members in seen.outcome.groups for event in members)
    if held != Counter(event.event_id for event in seen.events):
        yield f"{held}"


def _one_row_for_a_call(seen: Seen) -> Iterator[str]:
    """No second row of a customer, and none of somebody who is nobody's customer here."""
    for phone, count in Counter(row.phone for row in seen.outcome.rows).items():
        if count > 1 and seen.is_coherent and phone in seen.customers:
            yield f"{count} rows for {phone}"
    ids = Counter(row.external_id for row in seen.outcome.rows)
    if max(ids.values(), default=0) > 1:
        yield f"two rows under one id: {ids}"


def _a_row_or_a_reason(seen: Seen) -> Iterator[str]:
    """The row may have gone out under the id that was the main one then."""
    told = {row.external_id for row in seen.outcome.rows} | {row.phone for row in seen.outcome.rows}
    for call, reasons in zip(seen.outcome.calls, seen.outcome.reasons, strict=True):
        if call.goes_to_crm and {call.main_unique_id, call.customer} & told:
            continue
        if not reasons & (_NO_TIME if call.goes_to_crm else _NOT_FOR_THE_CRM):
            yield f"call {call.main_unique_id!r} of {call.customer} ({call.kind}) has no row, but: {set(reasons)}"


def _an_owner_has_evidence(seen: Seen) -> Iterator[str]:
    """The owner of a row, and everybody who saw a card, was rung, talked or called, by his number or his phone."""
    people = {extension for event in seen.events for extension in _people(event, seen.directory)}
    for row in seen.outcome.rows:
        if row.extension is not None and row.extension not in people:
            yield f"owner {row.extension} of {row.external_id}"
        if row.user_id is not None and row.user_id != seen.directory.extension_users.get(row.extension or ""):
            yield f"user {row.user_id} is not at {row.extension}"
    for ring in seen.outcome.rings:
        if not set(ring.extensions) <= people:
            yield f"card for {ring.extensions}"


def _people(event: CallEvent, directory: Directory) -> set[str]:
    """Whole values as they are read: digits inside of one are nobody's number."""
    named = {*event.extensions, event.caller_id, event.connected_line, event.exten, event.phone}
    named.add(channel_named(event.channel).peer)
    return {person for name in named - {""} if (person := directory.person(directory.extension_named(name)))}


def _owner_of_a_missed_call_was_rung(seen: Seen) -> Iterator[str]:
    rung = {
        person
        for event in seen.events
        if event.event_type in ("dial", "hangup")
        for name in event.extensions
        for person in (seen.directory.person(name), *_DIGITS.findall(name))
    }
    for row in seen.outcome.rows:
        if row.direction == "in" and row.result != "answered" and row.extension and row.extension not in rung:
            yield f"{row.extension} of {row.external_id}"


def _no_duration_is_longer_than_its_call(seen: Seen) -> Iterator[str]:
    for call, members in zip(seen.outcome.calls, seen.outcome.groups, strict=True):
        span = _span(members)
        most_talk = span + (_CLOCK if call.duration_is_estimate else _ROUNDING)
        # Of an unanswered call it ends with a time of the host's wall clock.
        most_waiting = span + (_ROUNDING if call.answered else _CLOCK)
        talk, waiting = timedelta(seconds=call.duration_seconds), timedelta(seconds=call.waiting_seconds or 0)
        if talk < timedelta(0) or waiting < timedelta(0):
            yield f"{call.main_unique_id}: talk {talk}, waiting {waiting}"
        elif talk > most_talk or waiting > most_waiting or talk + waiting > span + _CLOCK:
            yield f"{call.main_unique_id}: talk {talk}, waiting {waiting}, the call {span}"
        if not call.answered and call.duration_seconds:
            yield f"{call.main_unique_id}: {call.duration_seconds} s with nobody"


def _span(members: Sequence[CallEvent]) -> timedelta:
    """From the first moment to the last: of receipt, and of ids that a clock of this century made."""
    last = max(event.received_at for event in members)
    moments = [event.moment for event in members if abs(last - event.moment) < _SANE]
    return last - min(*moments, *(event.received_at for event in members), last)


def _no_row_and_no_card_for_a_number_of_ours(seen: Seen) -> Iterator[str]:
    directory = seen.directory
    ours = {line.phone_number for line in directory.lines.values()} | directory.internal_phones | set(directory.lines)
    for notice in _told(seen):
        if notice.phone in ours or notice.phone.removeprefix("+") in ours:
            yield f"{type(notice).__name__} for {notice.phone}"


def _told(seen: Seen) -> list[CallRow | RingNotice]:
    return [*seen.outcome.rows, *seen.outcome.rings]


def _a_number_has_evidence(seen: Seen) -> Iterator[str]:
    """What is told of was sent: its last digits stand somewhere in the bodies."""
    digits = {"".join(_DIGITS.findall(str(text))) for sent in seen.stream for text in _leaves(sent.body)}
    for notice in _told(seen):
        if not any(notice.phone[-7:] in text for text in digits):
            yield f"{type(notice).__name__} for {notice.phone}"


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _rows_are_well_formed(seen: Seen) -> Iterator[str]:
    for row in seen.outcome.rows:
        url = row.record_url
        if row.result not in _RESULTS or row.direction not in ("in", "out") or not row.phone.startswith("+"):
            yield f"{row}"
        if url is not None and (row.result != "answered" or not re.match(r"https?://[!-~]+$", url, re.IGNORECASE)):
            yield f"recording {url!r} of {row.external_id} ({row.result})"
        if row.result != "answered" and row.duration:
            yield f"{row.duration} s of {row.result}"


def _a_row_has_the_date_of_its_call(seen: Seen) -> Iterator[str]:
    """Near the epoch of its id, where a clock of this century made that; else near something that was received."""
    for call in seen.outcome.calls:
        if call.date_local is None or not call.goes_to_crm:
            continue
        date = call.date_local.replace(tzinfo=seen.directory.crm_zone).astimezone(UTC)
        if date.year < 2000:
            yield f"{call.main_unique_id}: {call.date_local}"
        epoch = _EPOCH.fullmatch(call.main_unique_id)
        if epoch is None or int(epoch[1]) < 946_684_800:
            continue
        began = datetime.fromtimestamp(int(epoch[1]), UTC)
        if abs(date - began) > _CLOCK + _ROUNDING:
            yield f"{call.main_unique_id}: {call.date_local}, began {began:%Y-%m-%d %H:%M:%S} UTC"


def _no_card_after_its_end(seen: Seen) -> Iterator[str]:
    """Neither after the hangup that was told, nor after the host's own, which alone may stand in for a ring."""
    ended: set[str] = set()
    hangups = {event.unique_id: event.received_at for event in reversed(seen.events) if event.event_type == "hangup"}
    for row in seen.outcome.ledger:
        notice = row.notice
        if isinstance(notice, EndNotice):
            if notice.call_id in ended:
                yield f"two ends of {notice.call_id}"
            ended.add(notice.call_id)
        elif isinstance(notice, RingNotice):
            if notice.call_id in ended:
                yield f"a card of {notice.call_id} after its end"
            if row.at > notice.expires_at:
                yield f"a card of {notice.call_id} {row.at - notice.expires_at} after it was news"
            over = hangups.get(notice.call_id)
            if seen.is_coherent and over is not None and row.at > over and not notice.synthetic:
                yield f"a card of {notice.call_id} {row.at - over} after the hangup"


def _a_card_is_shown_once_and_to_the_mapped(seen: Seen) -> Iterator[str]:
    shown: Counter[tuple[str, str]] = Counter()
    for ring in seen.outcome.rings:
        shown.update((ring.call_id, extension) for extension in ring.extensions)
        if not ring.extensions or not all(map(seen.directory.is_mapped, ring.extensions)):
            yield f"{ring}"
    if max(shown.values(), default=0) > 1:
        yield f"{shown}"
    cards = {ring.call_id for ring in seen.outcome.rings}
    if any(end.call_id not in cards for end in seen.outcome.ends) and seen.is_coherent and not _regrouped(seen):
        yield f"an end without a card: {[end.call_id for end in seen.outcome.ends]}, cards {cards}"


def _regrouped(seen: Seen) -> bool:
    """Whether a main id changed when more came."""
    mains = {call.main_unique_id for call in seen.outcome.calls}
    return any(row.notice.call_id not in mains for row in seen.outcome.ledger if isinstance(row.notice, RingNotice))


def _every_call_can_be_explained(seen: Seen) -> Iterator[str]:
    outcome = seen.outcome
    decided = [one.decisions for one in outcome.plans] or [call.decisions for call in outcome.calls]
    for call, members, decisions in zip(outcome.calls, outcome.groups, decided, strict=True):
        story = explain(call, members, decisions=decisions)
        if not all(as_text(story, language) for language in ("ru", "en")):
            yield call.main_unique_id


_CHECKS: Final[Sequence[Callable[[Seen], Iterator[str]]]] = (
    _every_event_is_in_one_call,
    _one_row_for_a_call,
    _a_row_or_a_reason,
    _an_owner_has_evidence,
    _owner_of_a_missed_call_was_rung,
    _no_duration_is_longer_than_its_call,
    _no_row_and_no_card_for_a_number_of_ours,
    _a_number_has_evidence,
    _rows_are_well_formed,
    _a_row_has_the_date_of_its_call,
    _no_card_after_its_end,
    _a_card_is_shown_once_and_to_the_mapped,
    _every_call_can_be_explained,
)
