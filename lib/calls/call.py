"""Folds the events of one group into a call: its parties, line, rings, talks and end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from lib.calls import clock, recording
from lib.calls.channels import channel_named
from lib.calls.conversation import ChannelKey, Stay, Talk
from lib.calls.decision import Decision
from lib.calls.directory import Directory
from lib.calls.ending import Ending, Pending, ending
from lib.calls.event import CallEvent
from lib.calls.outcome import Outcome, Result, outcome
from lib.calls.picture import Picture, picture
from lib.calls.roles import Kind, Roles
from lib.calls.settings import Settings

ChannelRole = Literal["customer", "phone", "line", "local"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ring:
    """
    Telephones that begin to ring. `people` are the mapped extensions to notify, `unmapped` what nobody is mapped to,
    `devices` the numbers that stand for another extension.
    `synthetic`: told by the hangup alone; `happened_at` is then when the host says that the call ended.
    """

    at: datetime
    event_id: str
    origin: str
    extensions: tuple[str, ...]
    people: tuple[str, ...]
    unmapped: tuple[str, ...]
    devices: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    happened_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """A channel of the call, for the picture."""

    channel: str
    unique_id: str
    role: ChannelRole
    leg: str | None
    number: str
    stays: tuple[tuple[str, datetime, datetime | None], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    at: datetime
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Instants are aware; `date_local` is the start on the wall of the CRM account. Durations are whole seconds."""

    main_unique_id: str
    unique_ids: tuple[str, ...]
    kind: Kind
    customer: str | None
    line_id: str | None
    external_phone: str | None
    site: str | None
    started_at: datetime
    date_local: datetime | None
    rings: tuple[Ring, ...]
    talks: tuple[Talk, ...]
    customer_intervals: tuple[tuple[datetime, datetime], ...]
    legs: tuple[Leg, ...]
    transfers: tuple[Transfer, ...]
    answered: bool
    answered_by_status: bool
    duration_seconds: int
    duration_is_estimate: bool
    waiting_seconds: int | None
    result: Result
    hangup_status: str
    owner_extension: str | None
    owner_user_id: int | None
    record_url: str | None
    over: bool
    over_at: datetime | None
    pending: tuple[Pending, ...]
    recovered: bool
    upload_due_at: datetime | None
    wake_at: datetime | None
    first_event_at: datetime
    last_event_at: datetime
    hung_up_at: datetime | None
    clock: clock.Clock
    decisions: tuple[Decision, ...]
    warnings: tuple[Decision, ...]

    @property
    def goes_to_crm(self) -> bool:
        return self.kind in ("in", "out") and self.customer is not None


def assemble(events: Sequence[CallEvent], directory: Directory, settings: Settings, now: datetime) -> Call:
    """`events`: one group of `linking.group`, in any order; at least one."""
    seen = picture(events, directory)
    found = seen.roles
    result = outcome(seen, settings)
    ended = ending(seen, settings, now)
    observed = clock.observe(found.main_events, directory.zone)
    goes = found.kind in ("in", "out") and found.customer is not None
    upload_due_at = _upload_due_at(seen, result, ended, settings) if goes else None
    return Call(
        main_unique_id=found.main_id,
        unique_ids=tuple(sorted(found.by_id)),
        kind=found.kind,
        customer=found.customer,
        line_id=found.line_id,
        external_phone=found.line.phone_number if found.line else None,
        site=found.line.site_code if found.line else None,
        started_at=clock.counting_from(found.main_events) or seen.events[0].received_at,
        date_local=_date(seen),
        rings=tuple(_rings(found, directory)),
        talks=result.talks,
        customer_intervals=result.customer_intervals,
        legs=tuple(_legs(seen)),
        transfers=tuple(_transfers(result.talks)),
        answered=result.answered,
        answered_by_status=result.by_status,
        duration_seconds=result.duration_seconds,
        duration_is_estimate=result.duration_is_estimate,
        waiting_seconds=result.waiting_seconds,
        result=result.result,
        hangup_status="answered" if result.answered else "no answered",
        owner_extension=result.owner,
        owner_user_id=directory.extension_users.get(result.owner) if result.owner else None,
        record_url=_record_url(seen),
        over=ended.over_at is not None,
        over_at=ended.over_at,
        pending=ended.pending,
        recovered=any(not event.live for event in seen.events),
        upload_due_at=upload_due_at,
        wake_at=(upload_due_at if ended.over_at is not None else ended.due_at) if goes else None,
        first_event_at=seen.events[0].received_at,
        last_event_at=seen.last_news_at,
        hung_up_at=found.main_hangup.received_at if found.main_hangup else None,
        clock=observed,
        decisions=tuple(_decisions(seen, result, goes=goes, over=ended.over_at is not None)),
        warnings=tuple(_warnings(found, directory, observed)),
    )


def _rings(found: Roles, directory: Directory) -> Iterator[Ring]:
    """
    Every `dial` of the main id of an incoming call; of an outgoing one the first that names its caller: a line that
    fails over is the same call. Where the hangup came before any dial, it stands in for one.
    """
    hangup, dials = found.main_hangup, found.main_dials
    if found.kind not in ("in", "out"):
        return
    if hangup is not None and not any(dial.order < hangup.order for dial in dials):
        stand_in = _ring(hangup, directory, found)
        if stand_in is not None:
            yield stand_in
    for dial in dials:
        ring = _ring(dial, directory, found)
        if ring is not None:
            yield ring
            if found.kind == "out":
                return


def _ring(event: CallEvent, directory: Directory, found: Roles) -> Ring | None:
    names = _rung_names(event, directory, found)
    if not names:
        return None
    people = {name: found.telephones.person(name) for name in names}
    mapped = [person for person in people.values() if person is not None and directory.is_mapped(person)]
    synthetic = event.event_type == "hangup"
    return Ring(
        at=event.received_at,
        event_id=event.event_id,
        origin=event.origin,
        extensions=tuple(names),
        people=tuple(dict.fromkeys(mapped)),
        unmapped=tuple(name for name, person in people.items() if person is None or not directory.is_mapped(person)),
        devices={name: person for name, person in people.items() if person is not None and person != name},
        synthetic=synthetic,
        happened_at=_happened_at(event) if synthetic else None,
    )


def _rung_names(event: CallEvent, directory: Directory, found: Roles) -> list[str]:
    """Of an outgoing call the caller; a device of nobody known is named too, for somebody did call."""
    names = [name for name in event.extensions if name != event.trunk and name not in directory.lines]
    if found.kind != "out":
        return names
    callers = [name for name in names if directory.is_extension(name) or name in found.telephones.devices]
    return (callers or [name for name in names if name and directory.valid_number(name) is None])[:1]


def _happened_at(hangup: CallEvent) -> datetime | None:
    """Recovery replays hangups hours later in the live form; this is by the epoch, whatever the zone."""
    if hangup.epoch is None or hangup.start_time is None or hangup.end_time is None:
        return None
    if hangup.moment < clock.NEVER_SET_BEFORE:
        return None
    if (hangup.start_time.tzinfo is None) != (hangup.end_time.tzinfo is None):
        return None
    return hangup.moment + max(hangup.end_time - hangup.start_time, timedelta(0))


def _upload_due_at(seen: Picture, result: Outcome, ended: Ending, settings: Settings) -> datetime | None:
    """
    An incoming call at once, if nothing is pending; every other after the settle time without news. What a hangup
    says alone, or in place of bridge events, waits as well, and so does a missed call that rang nobody: in the usual
    order there is more to come.
    """
    if ended.over_at is None:
        return None
    hangup = seen.roles.main_hangup
    alone = hangup is not None and all(event.event_type == "hangup" for event in seen.roles.main_events)
    recovered = hangup is not None and not hangup.live
    never_rang = not result.answered and not seen.roles.main_dials
    if seen.roles.kind == "out" or ended.pending or result.by_status or alone or recovered or never_rang:
        return max(ended.over_at, seen.last_news_at + settings.settle)
    return ended.over_at


def _date(seen: Picture) -> datetime | None:
    """
    `StartTime` of the main id in the host's zone, if the epoch of its id agrees; else that epoch, else `DateReceived`.
    Our own clock only for a host whose clock was never set: the receipt of the first live event.
    """
    events, directory = seen.roles.main_events, seen.directory
    zone = directory.zone
    start = next((time for event in events if (time := clock.started_at(event, zone)) is not None), None)
    if start is None and events and events[0].epoch is not None:
        start = events[0].moment
    if start is None:
        known = [time for event in events for time in (event.date_received, event.end_time) if time is not None]
        start = clock.to_utc(known[0], zone) if known else None
    if start is not None and start < clock.NEVER_SET_BEFORE:
        start = next((event.received_at for event in seen.events if event.live), None)
    return start.astimezone(directory.crm_zone).replace(tzinfo=None) if start is not None else None


def _record_url(seen: Picture) -> str | None:
    """The main id's own recording before that of any other channel, the first before later ones."""
    found = (recording.address(event.record_url or "") for event in _with_recording(seen))
    return next((address for address in found if address is not None), None)


def _with_recording(seen: Picture) -> list[CallEvent]:
    sent = [event for event in seen.events if event.record_url]
    return [*(event for event in sent if event.unique_id == seen.roles.main_id), *sent]


def _legs(seen: Picture) -> Iterator[Leg]:
    shown: dict[ChannelKey, CallEvent] = {}
    for event in seen.events:
        if event.channel:
            shown.setdefault(ChannelKey(event.unique_id, event.channel), event)
    stays: dict[ChannelKey, list[Stay]] = defaultdict(list)
    for stay in seen.conversation.stays:
        stays[stay.key].append(stay)
    for key, event in shown.items():
        yield Leg(
            channel=key.channel,
            unique_id=key.unique_id,
            role=_role(key, seen),
            leg=seen.roles.legs.get(key.unique_id),
            number=event.caller_id,
            stays=tuple((stay.bridge, stay.since, stay.until) for stay in stays[key]),
        )


def _role(key: ChannelKey, seen: Picture) -> ChannelRole:
    if key in seen.customer:
        return "customer"
    if channel_named(key.channel).is_local:
        return "local"
    return "phone" if key in seen.roles.telephones.at else "line"


def _transfers(talks: Sequence[Talk]) -> Iterator[Transfer]:
    for before, after in pairwise(talks):
        if before.person != after.person:
            yield Transfer(
                at=after.since,
                before=before.person.extension or before.person.number,
                after=after.person.extension or after.person.number,
            )


def _decisions(seen: Picture, result: Outcome, *, goes: bool, over: bool) -> Iterator[Decision]:
    found, last = seen.roles, seen.events[-1].received_at
    for event in seen.events:
        params = {"unique_id": event.unique_id, "event_type": event.event_type}
        if event.event_id in seen.copies:
            yield Decision(code="duplicate", params=params, at=event.received_at)
        elif event.unique_id in found.legs and event.event_type in ("dial", "hangup"):
            params["leg"] = found.legs[event.unique_id]
            yield Decision(code="leg_of_another_call", params=params, at=event.received_at)
    if found.kind == "internal":
        yield Decision(code="internal", at=last)
    elif found.kind == "unknown" and not found.has_records:
        yield Decision(code="only_channels", at=last)
    elif not goes and found.main_id not in found.legs:
        yield Decision(code="no_phone", at=last)
    if goes and over and result.owner is None:
        yield Decision(code="no_owner", at=last)
    yield from _departures(seen, last, is_answered=goes and result.answered)


def _departures(seen: Picture, last: datetime, *, is_answered: bool) -> Iterator[Decision]:
    """Where the row says something else than the host did."""
    sent = _with_recording(seen)
    if is_answered and sent and _record_url(seen) is None:
        yield Decision(code="no_link_to_recording", params={"sent": str(sent[0].record_url)[:100]}, at=last)
    if again := next((event for event in seen.roles.main_events if event.again), None):
        params = {"unique_id": again.sent_id, "external_id": seen.roles.main_id}
        yield Decision(code="id_began_again", params=params, at=again.received_at)


def _warnings(found: Roles, directory: Directory, observed: clock.Clock) -> Iterator[Decision]:
    at = found.main_events[0].received_at if found.main_events else None
    if observed.zone_is_wrong:
        params = {"seconds": round(observed.wall_seconds or 0), "timezone": directory.timezone}
        yield Decision(code="host_zone_looks_wrong", params=params, at=at)
    if observed.clock_is_wrong:
        yield Decision(code="host_clock_looks_wrong", params={"seconds": round(observed.lag_seconds or 0)}, at=at)
    if found.line_id and found.line is None and found.kind in ("in", "out"):
        yield Decision(code="unknown_line", params={"line": found.line_id}, at=at)
