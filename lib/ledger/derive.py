"""
What the events of an enterprise come to: calls, each folded and planned again where something of it changed.

Everything is given: what is stored of the calls around the events that wait, each CRM's rules, the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from lib.calls import call as folding
from lib.calls import event as parsing
from lib.calls import linking
from lib.calls.decision import Decision
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.linking import Linked
from lib.calls.plan import CallRow, Plan, plan
from lib.calls.settings import Settings
from lib.ledger import codec
from lib.store.deliveries import Delivery
from lib.store.enterprises import Enterprise
from lib.store.events import NewEvent, StoredEvent
from lib.store.neighbourhood import CallChange, CallState, Found, Keys, NearCall, Turn
from lib.store.states import LIVE

# Bridges and channels that a decision names.
NAMED_AT_MOST: Final = 5
# From a number to as many ids of calls that nobody has yet.
NewIds = Callable[[int], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What one CRM's plan goes by."""

    crm: str
    directory: Directory
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    Everything about the calls around the events that wait. `linking`: the numbers of all CRMs, by which events are
    linked; `home`: the call that holds each stored event, None for one that waits.
    """

    enterprise: Enterprise
    linking: Directory
    rules: Sequence[Rules]
    turn: Turn
    found: Found
    calls: Mapping[int, NearCall]
    home: Mapping[str, int | None]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One CRM's plan for a call, and what that CRM was told of it."""

    rules: Rules
    call: folding.Call
    plan: Plan
    ledger: Sequence[Delivery]

    @property
    def wants_row(self) -> bool:
        return any(isinstance(notice, CallRow) for notice in self.plan.wanted)

    @property
    def wants_notice(self) -> bool:
        """One that the ledger did not hold yet."""
        return any(not isinstance(notice, CallRow) for notice in self.plan.wanted)

    @property
    def has_live_row(self) -> bool:
        return any(one.effect == "upload" and one.state in LIVE for one in self.ledger)

    @property
    def has_live_notice(self) -> bool:
        return any(one.effect != "upload" and one.state in LIVE for one in self.ledger)


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A call as it is to be stored. `ledger`: what every CRM was told of it."""

    change: CallChange
    planned: Sequence[Planned]
    ledger: Sequence[Delivery]

    @property
    def call_id(self) -> int:
        return self.change.call_id

    @property
    def has_rows(self) -> bool:
        return any(one.effect == "upload" for one in self.ledger)

    @property
    def crms_with_rows(self) -> list[str]:
        """Where a row of this call waits, or is to."""
        return [one.rules.crm for one in self.planned if one.wants_row or one.has_live_row]

    def wants_notice(self, crms: AbstractSet[str]) -> bool:
        return any(one.wants_notice for one in self.planned if one.rules.crm in crms)

    def may_have_notice(self, crms: AbstractSet[str]) -> bool:
        return any(one.wants_notice or one.has_live_notice for one in self.planned if one.rules.crm in crms)


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """`gone`: calls that became part of others; `crowded`: keys that tie nothing, as was not known before."""

    calls: Sequence[Derived]
    gone: AbstractSet[int]
    crowded: AbstractSet[str] = frozenset()

    @property
    def main_ids(self) -> list[str]:
        return [one.change.state.main_unique_id for one in self.calls]

    @property
    def leased(self) -> set[int]:
        """Calls, as they were read, with a delivery that somebody is at, or was."""
        return {told.call_id for one in self.calls for told in one.ledger if told.state == "leased"}


@dataclass(frozen=True, kw_only=True)
class _Group:
    """
    Events that belong to one call, and the row that holds it (None: a new one).

    `gained`: it has an event that no row held; `regrouped`: rows were joined, or one was split. `notes`: what is to be
    said of it beside its plan.
    """

    events: Sequence[CallEvent]
    call_id: int | None
    gained: bool
    regrouped: bool
    unread: Mapping[int, int] = field(default_factory=dict)
    shared: Sequence[str] = ()

    @property
    def notes(self) -> Iterator[Decision]:
        at, unread = self.events[-1].received_at, sum(self.unread.values())
        if self.shared:
            yield Decision(code="shared_by_many", params={"names": list(self.shared[:NAMED_AT_MOST])}, at=at)
        if unread:
            params = {"events": len(self.events) + unread, "unread": unread}
            yield Decision(code="too_many_events", params=params, at=at)


def derive(scene: Scene, *, awake: int | None, new_ids: NewIds) -> Derivation:
    """Every call that gained or lost an event, or woke."""
    stored = [event for call in scene.calls.values() for event in call.events]
    members = [parsed(event) for event in (*stored, *scene.found.waiting)]
    linked = linking.link(members, scene.linking, scene.found.crowded)
    groups = _place(linked, scene)
    ledger = _share(groups, scene)
    chosen = [
        index
        for index, group in enumerate(groups)
        if group.regrouped or group.gained or (awake is not None and group.call_id == awake)
    ]
    ids = iter(new_ids(sum(groups[index].call_id is None for index in chosen)))
    calls = [_derived(scene, groups[index], ledger[index], groups[index].call_id or next(ids)) for index in chosen]
    held = {group.call_id for group in groups}
    return Derivation(
        calls=calls,
        gone={call.id for call in scene.calls.values() if call.events} - held,
        crowded=linked.crowded - scene.found.crowded,
    )


def parsed(event: StoredEvent | NewEvent) -> CallEvent:
    """An event as the rules read it."""
    assert event.received_at is not None  # noqa: S101  (known as soon as it is stored)
    return parsing.parse(
        parsing.RawEvent(
            event_id=event.event_id,
            event_type=event.event_type,
            unique_id=event.unique_id,
            raw=event.raw,
            received_at=event.received_at,
            origin=event.data_source,
            record_url=event.record_url,
        )
    )


def keys_of(event: CallEvent, known: Directory) -> Keys:
    found = linking.link_keys(event, known)
    return Keys(exact=sorted(found.exact), weak=sorted(found.weak), sought=sorted(found.sought), moment=event.moment)


def _derived(scene: Scene, group: _Group, ledger: Sequence[Delivery], call_id: int) -> Derived:
    came_from = {scene.home[event.event_id] for event in group.events} - {None}
    decisions = [one for origin in came_from if origin for one in scene.calls[origin].decisions]
    planned = [_planned(scene, rules, group, ledger, codec.decisions_of(decisions, rules.crm)) for rules in scene.rules]
    fresh = [event for event in group.events if group.regrouped or scene.home[event.event_id] is None]
    change = CallChange(
        call_id=call_id,
        state=_state(planned, group),
        gained={
            event.event_id: scene.home[event.event_id]
            for event in group.events
            if scene.home[event.event_id] != call_id
        },
        keys=[keys_of(event, scene.linking) for event in fresh],
        forgets_links=group.regrouped,
        takes_over=sorted(group.unread.keys() - {call_id}),
    )
    return Derived(change=change, planned=planned, ledger=ledger)


def _planned(
    scene: Scene, rules: Rules, group: _Group, ledger: Sequence[Delivery], decided: Sequence[Decision]
) -> Planned:
    call = folding.assemble(group.events, rules.directory, rules.settings, scene.turn.now)
    mine = [delivery for delivery in ledger if delivery.crm == rules.crm]
    told = [codec.told(delivery) for delivery in mine]
    return Planned(rules=rules, call=call, plan=plan(call, told, scene.turn.now, rules.settings, decided), ledger=mine)


def _place(linked: Linked, scene: Scene) -> list[_Group]:
    """Which row holds which group: the one whose main id is in it, else the oldest of its rows that is free."""
    held_by = dict(_by_main_id(linked.groups, scene))
    taken = set(held_by.values())
    for index, members in enumerate(linked.groups):
        if index in held_by:
            continue
        homes = {scene.home[event.event_id] for event in members}
        if free := [row_id for row_id in homes if row_id is not None and row_id not in taken]:
            held_by[index] = min(free)
            taken.add(min(free))
    were: dict[int | None, set[str]] = {}
    for event_id, row_id in scene.home.items():
        were.setdefault(row_id, set()).add(event_id)
    groups = [_group(members, held_by.get(index), were, scene) for index, members in enumerate(linked.groups)]
    unread = _unread(linked.groups, held_by, scene)
    return [
        replace(group, unread=unread.get(index, {}), shared=linked.names_shared(group.events))
        for index, group in enumerate(groups)
    ]


def _unread(
    grouped: Sequence[Sequence[CallEvent]], held_by: Mapping[int, int], scene: Scene
) -> dict[int, dict[int, int]]:
    """How many events of which row nobody read: they stay with the row, or go where the first of its events went."""
    places = {row_id: index for index, row_id in held_by.items()}
    for index, members in enumerate(grouped):
        for event in members:
            if (row_id := scene.home[event.event_id]) is not None:
                places.setdefault(row_id, index)
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for row_id, index in places.items():
        if scene.calls[row_id].unread > 0:
            found[index][row_id] = scene.calls[row_id].unread
    return found


def _by_main_id(grouped: Sequence[Sequence[CallEvent]], scene: Scene) -> Iterator[tuple[int, int]]:
    for index, members in enumerate(grouped):
        rows = {
            row_id
            for event in members
            if (row_id := scene.home[event.event_id]) is not None
            and event.unique_id == scene.calls[row_id].main_unique_id
        }
        if rows:
            yield index, min(rows)


def _group(
    members: Sequence[CallEvent], row_id: int | None, were: Mapping[int | None, set[str]], scene: Scene
) -> _Group:
    """Regrouped is another set of stored events than the row held so far."""
    are = {event.event_id for event in members if scene.home[event.event_id] is not None}
    return _Group(
        events=members,
        call_id=row_id,
        gained=len(are) < len(members),
        regrouped=are != (were.get(row_id, set()) if row_id is not None else set()),
    )


def _share(groups: Sequence[_Group], scene: Scene) -> dict[int, list[Delivery]]:
    """What was told goes with the id it was told under; when that id is in no group, with the row's events."""
    shared: dict[int, list[Delivery]] = {index: [] for index in range(len(groups))}
    by_id: dict[str, int] = {}
    by_row: dict[int | None, int] = {}
    for index, group in enumerate(groups):
        for event in group.events:
            by_id.setdefault(event.unique_id, index)
            by_row.setdefault(scene.home[event.event_id], index)
    ledger = [delivery for call in scene.calls.values() for delivery in call.ledger]
    for delivery in sorted(ledger, key=lambda delivery: delivery.id):
        shared[by_id.get(delivery.external_id, by_row.get(delivery.call_id, 0))].append(delivery)
    return shared


def _state(planned: Sequence[Planned], group: _Group) -> CallState:
    """As the first CRM's rules see it; what each was decided for says so."""
    moments = [event.moment for event in group.events]
    call = planned[0].call
    wakes = [one.plan.wake_at for one in planned if one.plan.wake_at is not None]
    return CallState(
        main_unique_id=call.main_unique_id,
        kind=call.kind,
        customer=call.customer,
        line_id=call.line_id,
        result=call.result,
        owner_extension=call.owner_extension,
        started_at=call.started_at,
        first_event_at=min(moments),
        # A host whose clock is ahead says nothing of tomorrow.
        last_event_at=min(max(moments), max(event.received_at for event in group.events)),
        over_at=call.over_at,
        due_at=min(wakes, default=None),
        decisions=[
            codec.decision_as_json(decision, one.rules.crm)
            for one in planned
            for decision in (*one.plan.decisions, *group.notes, *one.call.warnings)
        ],
        events=len(group.events) + sum(group.unread.values()),
    )
