"""The partition, and the promise about keys on which the store's index stands."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.linking import LinkKeys, group, link_keys
from tests.unit.calls import playback
from tests.unit.calls.renaming import Renaming, customer_of
from tests.unit.calls.streams import CUSTOMER, MOBILE, Stream

ENTERPRISE, SCENARIOS = playback.load()
DIRECTORY = playback.directory_of(ENTERPRISE)


def parts(stream: Stream, main: str) -> list[set[str]]:
    groups = group(playback.parsed(stream.scenario(main)), DIRECTORY)
    return [{event.unique_id for event in members if event.unique_id} for members in groups]


def step(one: CallEvent, other: CallEvent, keys: dict[str, LinkKeys]) -> bool:
    mine, theirs = keys[one.event_id], keys[other.event_id]
    if mine.exact & theirs.exact:
        return True
    return any(s.key in theirs.weak and s.since <= other.moment <= s.until for s in mine.sought)


def unconnected(members: Sequence[CallEvent], directory: Directory = DIRECTORY) -> set[str]:
    """The events of a group that no chain of keys leads to from its first one."""
    keys = {event.event_id: link_keys(event, directory) for event in members}
    reached, frontier = {members[0].event_id}, [members[0]]
    while frontier:
        event = frontier.pop()
        for other in members:
            if other.event_id not in reached and (step(event, other, keys) or step(other, event, keys)):
                reached.add(other.event_id)
                frontier.append(other)
    return {event.event_id for event in members} - reached


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_keys_lead_to_every_event_of_a_call(scenario):
    for members in group(playback.parsed(scenario), DIRECTORY):
        assert unconnected(members) == set()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(range(len(SCENARIOS))), min_size=1, max_size=4),
    st.lists(st.integers(-30, 60), min_size=4, max_size=4),
    st.booleans(),
    st.data(),
)
def test_keys_lead_to_every_event_of_a_call_in_any_mix(chosen, offsets, same_customer, data):
    events = mixed(chosen, offsets, same_customer=same_customer)
    lost = data.draw(st.sets(st.integers(0, len(events) - 1), max_size=6))
    events = [event for number, event in enumerate(events) if number not in lost]

    for members in group(events, DIRECTORY):
        assert unconnected(members) == set()


def mixed(chosen: Sequence[int], offsets: Sequence[int], *, same_customer: bool) -> list[CallEvent]:
    """Scenarios of one host at one time: channels and bridges are their own, extensions and mobiles the same."""
    events = []
    for number, (index, offset) in enumerate(zip(chosen, offsets, strict=False)):
        scenario = SCENARIOS[index]
        customer = customer_of(scenario)
        names = {} if same_customer or customer is None else {customer: f"3752933{number:05}"}
        shift = 1_760_500_000 + offset - playback.base_of(scenario)
        renaming = Renaming(names=names, shift=shift, tag=number + 1)
        events += playback.parsed(renaming.scenario(scenario), tag=f"{number}-")
    return events


class Store:
    """Keeps what was grouped, and regroups what two steps of the keys lead to from each new event."""

    def __init__(self, directory: Directory = DIRECTORY) -> None:
        self.directory = directory
        self.calls: dict[int, list[CallEvent]] = {}
        self._call_of: dict[str, int] = {}
        self._exact: dict[str, set[str]] = defaultdict(set)
        self._weak: dict[str, list[tuple[str, datetime]]] = defaultdict(list)

    def add(self, event: CallEvent) -> None:
        near = self._found_by([event])
        near |= self._found_by([other for call in near for other in self.calls[call]])
        members = [event, *(other for call in near for other in self.calls.pop(call))]
        for grouped in group(members, self.directory):
            number = max([*self.calls, *self._call_of.values()], default=0) + 1
            self.calls[number] = list(grouped)
            self._call_of |= {member.event_id: number for member in grouped}
        keys = link_keys(event, self.directory)
        for key in keys.exact:
            self._exact[key].add(event.event_id)
        for key in keys.weak:
            self._weak[key].append((event.event_id, event.moment))

    def _found_by(self, events: Sequence[CallEvent]) -> set[int]:
        found: set[str] = set()
        for keys in (link_keys(event, self.directory) for event in events):
            for key in keys.exact:
                found |= self._exact[key]
            for key, since, until in keys.sought:
                found |= {event_id for event_id, moment in self._weak[key] if since <= moment <= until}
        return {self._call_of[event_id] for event_id in found}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(range(len(SCENARIOS))), min_size=1, max_size=5),
    st.lists(st.integers(-30, 200), min_size=5, max_size=5),
    st.booleans(),
    st.floats(0, 30),
    st.randoms(),
)
def test_adding_one_event_after_another_gives_the_same_calls_as_all_at_once(
    chosen, offsets, same_customer, delay, random
):
    events = mixed(chosen, offsets, same_customer=same_customer)
    store = Store()

    for event in sorted(events, key=lambda event: event.received_at.timestamp() + random.uniform(0, delay)):
        store.add(event)

    whole = {frozenset(event.event_id for event in members) for members in group(events, DIRECTORY)}
    assert {frozenset(event.event_id for event in members) for members in store.calls.values()} == whole


def test_every_key_that_is_sought_is_the_other_side_of_one_that_is_stored():
    sides = {f"{kind}<": f"{kind}>" for kind in "cmexr"} | {f"{kind}>": f"{kind}<" for kind in "cmexr"} | {"l:": "l:"}
    for scenario in SCENARIOS:
        for event in playback.parsed(scenario):
            keys = link_keys(event, DIRECTORY)
            assert {sides[key[:2]] + key[2:] for key in keys.weak} == {sought.key for sought in keys.sought}
            assert all(sought.since <= event.moment <= sought.until for sought in keys.sought)


def test_a_telephone_is_found_by_its_extension_and_by_no_name_that_is_none():
    stream = Stream().joins(5, Stream().id(1), "PJSIP/ACME-152-0000001e", "B", "152", CUSTOMER)

    [event] = playback.parsed(stream.scenario(stream.id(1)))

    assert link_keys(event, DIRECTORY).weak == {"e<152", f"c>+{CUSTOMER}"}


# A leg in the name of 151 looks wherever 151 talks; an answered leg's hangup names no customer, only its mobile.
LOOKING_AROUND = {"2-23-capture", "2-25", "2-14"}


@pytest.mark.parametrize(
    "scenario",
    [s for s in SCENARIOS if customer_of(s) and s["id"] not in LOOKING_AROUND],
    ids=lambda scenario: scenario["id"],
)
def test_two_of_a_thousand_calls_at_the_same_telephones_do_not_find_each_other(scenario):
    """Ring group, talkers and mobile are the same; customers and channels are not."""
    first, second = (
        playback.parsed(
            Renaming(names={customer_of(scenario) or "": f"37529444444{tag}"}, tag=tag).scenario(scenario),
            tag=f"{tag}-",
        )
        for tag in (1, 2)
    )
    keys = {event.event_id: link_keys(event, DIRECTORY) for event in (*first, *second)}

    related = [(one, other) for one, other in itertools.product(first, second) if step(one, other, keys)]

    assert related == []


def test_1_1_and_1_2_ids_and_bridges_join_and_nothing_else_does():
    stream = Stream()
    stream.joins(1, stream.id(1), "SIP/150-0001", "B1", "150", "152").joins(
        2, stream.id(2), "SIP/152-0002", "B1", "152", "150"
    )
    stream.joins(1, stream.id(3), "SIP/150-0003", "B2", "150", "153").joins(
        2, stream.id(4), "SIP/153-0004", "B2", "153", "150"
    )

    assert sorted(map(sorted, parts(stream, stream.id(1)))) == [
        [stream.id(1), stream.id(2)],
        [stream.id(3), stream.id(4)],
    ]


@pytest.mark.parametrize(("apart", "together"), [(0, True), (3600, True), (3601, False)])
def test_1_3_the_halves_of_a_local_channel_within_the_same_hour(apart, together):
    stream = Stream()
    one, two = stream.id(1), stream.id(2, apart)
    stream.callerid(1, one, "Local/152@dialexecute-00000000;1", "152", "999")
    stream.callerid(apart + 1, two, "Local/152@dialexecute-00000000;2", "999", "152")

    assert (len(parts(stream, one)) == 1) == together


@pytest.mark.parametrize(
    ("over_since", "extensions", "together"),
    [
        (None, [CUSTOMER], True),
        (None, [""], True),
        (50, [CUSTOMER], True),
        (70, [CUSTOMER], False),
        (None, ["375299999999"], False),
        (None, ["150"], False),
    ],
)
def test_1_4_a_mobile_leg_of_a_call_that_rings_or_is_hardly_over(over_since, extensions, together):
    stream = Stream()
    main, leg = stream.id(0), stream.id(1, 100)
    stream.start(0, main).dial(1, main, ["150", "375293333333"])
    if over_since is not None:
        stream.hangup(100 - over_since, main, 0, "0", [""], ended=100 - over_since)
    stream.dial_out(101, leg, extensions, "375293333333")

    assert (len(parts(stream, main)) == 1) == together


@pytest.mark.parametrize(
    ("shown", "together"),
    [
        ("Local/375293333333@ctx-0001;2", True),
        ("SIP/151-0000000f", False),
        ("SIP/0001302-0000000f", False),
        (None, False),
    ],
)
def test_1_5_a_follow_me_leg_is_told_from_a_call_by_its_channel(shown, together):
    stream = Stream()
    main, desk, leg = stream.id(0), stream.id(1), stream.id(2, 20)
    stream.start(0, main).joins(5, main, "SIP/0001301-0001", "B", CUSTOMER, "151")
    stream.joins(6, desk, "SIP/151-0002", "B", "151", CUSTOMER).dial_out(20, leg, ["151"], "375293333333")
    if shown:
        stream.callerid(21, leg, shown, "151", "300")

    assert (len(parts(stream, main)) == 1) == together


def test_1_4_a_leg_to_the_mobile_that_rings_but_for_another_customer_is_no_leg_of_this_call():
    stream = Stream()
    main, leg = stream.id(0), stream.id(1, 3)
    stream.start(0, main).dial(1, main, ["150", "375293333333"])
    stream.dial_out(3, leg, ["375294444444"], "375293333333")

    assert parts(stream, main) == [{main}, {leg}]


def test_1_4_a_leg_that_names_a_living_calls_customer_though_its_mobile_was_not_seen_to_ring():
    stream = Stream()
    main, leg, stranger = stream.id(0), stream.id(1, 3), stream.id(2, 4)
    stream.start(0, main).dial(1, main, ["150"])
    stream.dial_out(3, leg, [CUSTOMER], MOBILE).dial_out(4, stranger, ["375299999999"], MOBILE)
    stream.hangup(20, main, 0, "0", [""])

    assert {main, leg} in parts(stream, main)
    assert {stranger} in parts(stream, main)


@pytest.mark.parametrize(("over_at", "together"), [(None, True), (15, False)])
def test_1_5_only_while_the_other_call_is_not_over(over_at, together):
    stream = Stream()
    main, desk, leg = stream.id(0), stream.id(1), stream.id(2, 20)
    stream.start(0, main).joins(5, main, "SIP/0001301-0001", "B", CUSTOMER, "151").joins(
        6, desk, "SIP/151-0002", "B", "151", CUSTOMER
    )
    if over_at:
        stream.hangup(over_at, main, 0, "2", ["151"], ended=over_at)
    stream.dial_out(20, leg, ["151"], MOBILE)

    assert (len(parts(stream, main)) == 1) == together


@pytest.mark.parametrize(
    ("apart", "extension", "party", "together"),
    [
        (59, "151", CUSTOMER, True),
        (60, "151", "<unknown>", True),
        (61, "151", CUSTOMER, False),
        (5, "152", CUSTOMER, False),
        (5, "151", "375299999999", False),
        (5, "151", "152", False),
    ],
)
def test_1_6_a_managers_own_leg(apart, extension, party, together):
    stream = Stream()
    main, leg = stream.id(1, 100), stream.id(2, 100 - apart)
    stream.joins(100 - apart, leg, f"SIP/{extension}-0001", "A", extension, party).dial_out(100, main, ["151"])

    assert (len(parts(stream, main)) == 1) == together


def test_1_6_a_group_with_a_start_of_its_own_is_never_joined():
    stream = Stream()
    out, main = stream.id(1), stream.id(2, 30)
    stream.dial_out(0, out, ["151"]).start(30, main).joins(35, main, "SIP/0001301-0001", "B", CUSTOMER, "151")
    stream.joins(36, stream.id(3, 30), "SIP/151-0002", "B", "151", CUSTOMER)

    assert parts(stream, out) == [{out}, {main, stream.id(3, 30)}]


@pytest.mark.parametrize(
    ("apart", "caller", "together"), [(60, CUSTOMER, True), (61, CUSTOMER, False), (5, "375299999999", False)]
)
def test_1_7_the_lines_channel_of_a_click_to_call(apart, caller, together):
    stream = Stream()
    main, line = stream.id(1), stream.id(2, apart)
    stream.dial_out(0, main, ["151"]).callerid(apart, line, "SIP/0001301-0001", caller, "151")

    assert (len(parts(stream, main)) == 1) == together


@pytest.mark.parametrize(
    ("extension", "party", "together"),
    [("151", CUSTOMER, True), ("153", CUSTOMER, False), ("151", "375299999999", False)],
)
def test_1_8_a_bridge_of_a_telephone_that_the_customers_call_rings(extension, party, together):
    stream = Stream()
    main, desk = stream.id(0), stream.id(1, 20)
    stream.start(0, main).dial(1, main, ["150", "151"]).joins(25, desk, f"SIP/{extension}-0001", None, extension, party)

    assert (len(parts(stream, main)) == 1) == together


def test_types_and_statuses_neither_join_nor_part():
    stream = Stream()
    main = stream.id(0)
    stream.start(0, main).hangup(20, main, 2, "0", ["152"]).hangup(
        21, stream.id(5), 2, "0", ["152"], "151", started=None
    )

    assert parts(stream, main) == [{main}, {stream.id(5)}]


@pytest.mark.parametrize(
    ("sequel", "together"),
    [(("recording", "live"), False), (("hangup", "download"), False), (("bridge", "live"), True)],
)
def test_what_comes_late_about_a_call_does_not_bring_it_to_life(sequel, together):
    """A recording, or a hangup that recovery sent again, is no sign of a conversation; a bridge is."""
    event_type, origin = sequel
    stream = Stream()
    out, leg = stream.id(0), stream.id(5, 3600)
    stream.dial_out(0, out, ["151"]).joins(3, out, "SIP/151-0001", "B", "151", "<unknown>", CUSTOMER)
    stream.leaves(20, out, "SIP/151-0001", "B", "151", CUSTOMER, 0).hangup(22, out, 1, "2", ["151"], ended=20)
    stream.add(3601, event_type, out, Channel="SIP/151-0001", BridgeUniqueid="B" if event_type == "bridge" else "")
    stream.events[-1]["origin"] = origin
    stream.dial_out(3600, leg, ["151"], MOBILE)

    assert (len(parts(stream, out)) == 1) == together


def test_1_5_in_a_call_that_the_telephone_itself_dialled():
    """Its other party is unknown there; the call has a dial of its own, so it is no leg of this dial."""
    stream = Stream()
    out, leg = stream.id(0), stream.id(5, 20)
    stream.dial_out(0, out, ["151"]).joins(3, out, "SIP/151-0001", "B", "151", "<unknown>").dial_out(
        20, leg, ["151"], MOBILE
    )

    assert len(parts(stream, out)) == 1


def test_1_6_an_internal_call_with_a_dial_of_its_own_is_never_joined():
    stream = Stream()
    out, internal = stream.id(0), stream.id(5, 30)
    stream.dial_out(0, out, ["151"]).dial(30, internal, ["152"], "151", CallType=2, Trunk="")
    stream.joins(35, internal, "SIP/151-0001", "B", "151", "<unknown>").joins(
        36, stream.id(6, 30), "SIP/152-0002", "B", "152", "151"
    )

    assert parts(stream, out) == [{out}, {internal, stream.id(6, 30)}]


def test_1_8_and_the_other_way_round():
    stream = Stream()
    main, line = stream.id(0), stream.id(1, 20)
    stream.start(0, main).dial(1, main, ["150", "151"]).joins(25, line, "SIP/0001302-0001", "X", CUSTOMER, "151")
    stranger = stream.id(2, 20)
    stream.joins(25, stranger, "SIP/0001302-0002", "Y", "375299999999", "151")

    assert parts(stream, main) == [{main, line}, {stranger}]


def test_a_secondary_hangup_joins_its_customers_call_while_that_lives():
    stream = Stream()
    main = stream.id(0)
    stream.start(0, main).dial(1, main, ["151"]).hangup(30, main, 0, "2", ["151"], ended=28)
    inside, after, later = (stream.id(number, at) for number, at in ((5, 20), (6, 88), (7, 89)))
    for unique_id in (inside, after, later):
        stream.hangup(95, unique_id, 2, "2", ["152"], started=None)

    assert parts(stream, main) == [{main, inside, after}, {later}]


def test_1_4_a_leg_is_no_younger_calls_though_that_is_nearer_and_rings_the_same_mobile():
    """Its customer was answered at the mobile by a cascade, with no hangup of the main id, and calls again at once."""
    stream = Stream()
    first, leg, again = stream.id(0), stream.id(3, 40), stream.id(5, 70)
    stream.start(0, first).dial(1, first, ["150"]).dial(39, first, ["150", MOBILE])
    stream.dial_out(41, leg, [CUSTOMER], MOBILE).hangup(62, leg, 1, "2", [""], MOBILE, started=40, ended=60)
    stream.start(70, again).dial(71, again, ["150", MOBILE]).hangup(90, again, 0, "0", [""], started=70)

    assert parts(stream, first) == [{first, leg}, {again}]


def test_a_secondary_hangup_is_no_younger_calls_though_that_is_nearer():
    stream = Stream()
    first, part, again = stream.id(0), stream.id(3, 45), stream.id(5, 70)
    stream.start(0, first).dial(1, first, ["150"]).hangup(50, part, 2, "2", ["152"], started=None)
    stream.hangup(62, first, 0, "2", ["150"], ended=60).start(70, again).dial(71, again, ["150"])

    assert parts(stream, first) == [{first, part}, {again}]


@pytest.mark.parametrize("dialled_at", [-20, 25], ids=["before", "after"])
def test_1_5_a_call_that_the_telephone_dialled_to_that_mobile_leaves_the_follow_me_leg_with_its_call(dialled_at):
    """It was put through to the same number within the minute, but by a call with a dial of its own."""
    stream = Stream()
    main, desk, leg, own = stream.id(0), stream.id(1), stream.id(2, 20), stream.id(3, dialled_at)
    stream.start(0, main).joins(5, main, "SIP/0001301-0001", "B", CUSTOMER, "151")
    stream.joins(6, desk, "SIP/151-0002", "B", "151", CUSTOMER).dial_out(20, leg, ["151"], MOBILE)
    stream.callerid(20, leg, "Local/375292222222@ctx-0001;2", "151", "300").hangup(
        24, leg, 1, "0", ["151"], MOBILE, started=20
    )
    stream.dial_out(dialled_at, own, ["151"], MOBILE)
    stream.joins(dialled_at + 3, own, "SIP/151-0003", "C", "151", "<unknown>", MOBILE)

    assert sorted(map(sorted, parts(stream, main))) == sorted(map(sorted, [{main, desk, leg}, {own}]))


def test_a_call_that_was_passed_on_to_another_number_keeps_its_customer():
    """The blind transfer dials out on the main id; a part that names the customer still belongs to the call."""
    stream = Stream()
    main, part = stream.id(0), stream.id(3, 30)
    stream.start(0, main).dial(1, main, ["151"]).dial_out(40, main, ["151"], "375293333333")
    stream.hangup(45, part, 2, "2", ["152"], started=None).hangup(60, main, 1, "0", ["151"], "375293333333")

    assert parts(stream, main) == [{main, part}]


def test_1_4_only_what_the_calls_own_dial_rang_is_its_mobile():
    """Neither whom its hangup names, nor the customer in whose name its legs are dialled."""
    stream, other = Stream(), "375293333333"
    main, leg, named, called_back = stream.id(0), stream.id(1, 3), stream.id(2, 25), stream.id(3, 40)
    stream.start(0, main).dial(1, main, ["150", MOBILE]).dial_out(3, leg, [CUSTOMER], MOBILE)
    stream.hangup(20, main, 0, "2", [other]).dial_out(25, named, [""], other).dial_out(40, called_back, [""], CUSTOMER)

    assert parts(stream, main) == [{main, leg}, {named}, {called_back}]


@pytest.mark.parametrize("named", [[""], [MOBILE]], ids=["", "the other's hangup names it"])
def test_1_4_of_two_calls_of_a_customer_the_leg_is_of_the_one_that_rings_the_mobile(named):
    stream = Stream()
    first, second, leg = stream.id(0), stream.id(3, 20), stream.id(5, 35)
    stream.start(0, first).dial(1, first, ["150", MOBILE]).start(20, second, Trunk="0001302")
    stream.dial(21, second, ["150"], Trunk="0001302").hangup(30, second, 0, "0", named, started=20)
    stream.dial_out(35, leg, [CUSTOMER], MOBILE)

    assert parts(stream, first) == [{first, leg}, {second}]


def test_1_4_the_number_that_a_call_was_passed_on_to_is_not_its_customer():
    stream = Stream()
    main, leg = stream.id(0), stream.id(3, 50)
    stream.start(0, main).dial(1, main, ["151"]).dial_out(40, main, ["151"], "375293333333")
    stream.dial_out(50, leg, ["375293333333"], MOBILE)

    assert parts(stream, main) == [{main}, {leg}]


def test_1_5_a_call_that_is_over_hides_no_other_one_of_the_telephone():
    """It is nearer to the leg."""
    stream = Stream()
    main, desk, other, second_desk, leg = (stream.id(n, at) for n, at in ((0, 0), (1, 0), (5, 20), (6, 21), (9, 60)))
    for at, call, telephone, customer in ((0, main, desk, CUSTOMER), (20, other, second_desk, "375294444444")):
        stream.start(at, call, customer).joins(at + 5, call, f"SIP/0001301-{at:04}", f"B{at}", customer, "151")
        stream.joins(at + 5, telephone, f"SIP/151-{at:04}", f"B{at}", "151", customer)
    stream.hangup(40, other, 0, "2", ["151"], "375294444444", started=20, ended=40)
    stream.dial_out(60, leg, ["151"], MOBILE)

    assert parts(stream, main) == [{main, desk, leg}, {other, second_desk}]


@pytest.mark.parametrize(("silent_for", "together"), [(90, True), (91, False)])
def test_1_5_an_outgoing_call_that_hung_up_while_its_customer_talks_lives_until_it_is_silent(silent_for, together):
    stream = Stream()
    out, leg = stream.id(0), stream.id(5, 22 + silent_for)
    stream.dial_out(0, out, ["151"]).joins(3, stream.id(1), "SIP/0001301-0001", "B", CUSTOMER, "151")
    stream.joins(4, out, "SIP/151-0001", "B", "151", "<unknown>", CUSTOMER)
    stream.leaves(20, out, "SIP/151-0001", "B", "151", CUSTOMER, 1).hangup(22, out, 1, "2", ["151"], ended=20)
    stream.dial_out(22 + silent_for, leg, ["151"], MOBILE)

    assert (len(parts(stream, out)) == 1) == together


def test_1_6_a_second_click_takes_its_own_leg_though_the_first_call_goes_on():
    stream = Stream()
    first, leg, second = stream.id(0), stream.id(3, 40), stream.id(4, 45)
    stream.dial_out(0, first, ["151"]).joins(40, leg, "SIP/151-0001", "A", "151", CUSTOMER)
    stream.dial_out(45, second, ["151"])

    assert parts(stream, first) == [{first}, {leg, second}]


def test_1_6_a_leg_whose_own_call_was_lost_owns_nothing():
    stream = Stream()
    leg, desk = stream.id(0), stream.id(1, 1)
    stream.callerid(0, leg, f"Local/{MOBILE}@ctx-0001;2", "153").dial_out(0, leg, [CUSTOMER], MOBILE)
    stream.joins(3, desk, "SIP/153-0001", "B", "153", MOBILE)

    assert parts(stream, leg) == [{leg}, {desk}]


def test_1_7_a_lines_channel_that_names_no_extension_is_of_no_click():
    """Nor of one whose dial was lost, so that nobody knows who clicked."""
    stream = Stream()
    out, line = stream.id(0), stream.id(1, 5)
    stream.callerid(5, line, "SIP/0001301-0001", CUSTOMER).hangup(30, out, 1, "0", [""])

    assert sorted(map(sorted, parts(stream, out))) == [[out], [line]]


def test_a_secondary_hangup_of_the_second_in_which_a_call_began_is_of_that_call():
    stream = Stream()
    first, again, part = stream.id(0), stream.id(3, 70), stream.id(4, 70)
    stream.start(0, first).dial(1, first, ["150"]).start(70, again).dial(71, again, ["150"])
    stream.hangup(90, part, 2, "2", ["152"], started=None)

    assert parts(stream, first) == [{first}, {again, part}]


@pytest.mark.parametrize(
    ("call_type", "started", "trunk", "is_a_call"),
    [(0, None, "", True), (2, 20, "", True), (2, None, "0001301", True), (2, None, "", False)],
    ids=["type 0", "a start time", "a line", "none of these"],
)
def test_a_hangup_that_came_alone_is_a_call_by_its_type_its_start_or_its_line(call_type, started, trunk, is_a_call):
    """Another call of the customer goes on meanwhile."""
    stream = Stream()
    first, lone = stream.id(0), stream.id(3, 20)
    stream.start(0, first).dial(1, first, ["150"])
    stream.hangup(40, lone, call_type, "0", ["152"], started=started, Trunk=trunk)

    assert (parts(stream, first) == [{first}, {lone}]) == is_a_call


def test_1_6_a_telephone_that_a_dial_without_a_type_calls_from_has_its_own_leg():
    """Only its caller id says that it is an outgoing call."""
    stream = Stream()
    leg, main = stream.id(1), stream.id(2, 5)
    stream.joins(2, leg, "SIP/150-0001", "A", "150", "<unknown>")
    stream.add(6, "dial", main, Phone=CUSTOMER, CallerIDNum="150", Extensions=[""], Trunk="0001301")

    assert parts(stream, main) == [{leg, main}]
