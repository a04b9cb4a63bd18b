"""Spoilings of whole streams: clocks, ids, copies, losses, orders and delays."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from tests.measure.fuzz import spellings
from tests.measure.fuzz.bodies import Dice
from tests.measure.fuzz.sources import Source
from tests.measure.fuzz.stream import OUT, Numeral, Sent

_ID: Final = re.compile(r"(\d{1,10})(\.\d+)")
_WALLS: Final = ("StartTime", "EndTime", "DateReceived")
_MOVES: Final = ("bridge", "bridge_leave")
_CROSSING: Final = 1.0
_OTHER_WORDS: Final[Sequence[Mapping[str, object]]] = (
    {"Extensions": ["150"]},
    {"Extensions": ["152", "375292222222"]},
    {"Extensions": [""]},
    {"CallStatus": "0"},
    {"CallStatus": "2"},
    {"CallStatus": "5"},
    {"EndTime": OUT},
    {"Again": 1},
)


# Clocks


def utc(_dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """A host on UTC in an enterprise of Minsk."""
    return _walls(stream, timedelta(hours=-3), source)


def hour_off(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    return _walls(stream, timedelta(hours=dice("hours").choice((-1, 1, 2, 12))), source)


def minutes_off(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    return _walls(stream, timedelta(minutes=dice("minutes").choice((-9, -2, 3, 9))), source)


def nineteen_seventy(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """A host without a battery: its ids and its wall clock begin at nothing, perhaps on UTC."""
    ids = [found for sent in stream if sent.unique_id and (found := _ID.fullmatch(sent.unique_id))]
    if source.fixed or not ids or any(sent.unique_id and not _ID.fullmatch(sent.unique_id) for sent in stream):
        return list(stream)
    back = min(int(found[1]) for found in ids) - 87
    moved = [
        sent.having(UniqueId=_ID.sub(lambda found: f"{int(found[1]) - back}{found[2]}", sent.unique_id))
        if sent.unique_id
        else sent
        for sent in stream
    ]
    return _walls(moved, timedelta(seconds=-back, hours=dice("zone").choice((0, -3))), source)


def wrong_epochs(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """The whole host is off: ids and wall alike."""
    off = dice("off").choice((-86_400, -3600, -300, 300, 3600))
    if source.fixed:
        return list(stream)
    moved = [
        sent.having(UniqueId=_ID.sub(lambda found: f"{int(found[1]) + off}{found[2]}", sent.unique_id))
        for sent in stream
    ]
    return _walls(moved, timedelta(seconds=off), source)


def _walls(stream: Sequence[Sent], off: timedelta, source: Source) -> list[Sent]:
    """Only where ids say what time it is: nothing else could."""
    if source.fixed or not all(_ID.fullmatch(sent.unique_id) for sent in stream if sent.unique_id):
        return list(stream)
    return [
        sent.having(**{name: _moved(sent.body[name], off) for name in _WALLS if name in sent.body}) for sent in stream
    ]


def _moved(value: object, off: timedelta) -> object:
    try:
        return (datetime.fromisoformat(str(value).strip()) + off).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return value


# Copies, losses, orders


def copies(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Within seconds; a late copy that finds its channel elsewhere is none by its definition."""
    found = list(stream)
    for sent in stream:
        random = dice(sent.tag)
        after = random.choice((0, 0, 0.2, 1, 3))
        if random.random() < 0.3 and not _comes_back(stream, sent, after):
            found.append(dataclasses.replace(sent, tag=f"{sent.tag}'", at=sent.at + after))
    return _in_order(found)


def _comes_back(stream: Sequence[Sent], sent: Sent, after: float) -> bool:
    return sent.kind in _MOVES and any(
        other is not sent and _channel(other) == _channel(sent) and sent.at <= other.at <= sent.at + after
        for other in stream
    )


def _channel(sent: Sent) -> tuple[str, object]:
    """Whatever a host makes of the names and the types of fields."""
    body = {name.lower(): value for name, value in sent.body.items()}
    unique_id = body.get("uniqueid", "")
    return (unique_id.digits if isinstance(unique_id, Numeral) else str(unique_id)).strip(), body.get("channel")


def repeats(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Said again, seconds to hours later, in other words."""
    found = list(stream)
    for sent in stream:
        random = dice(sent.tag)
        if random.random() < 0.3:
            changes = random.choice(_OTHER_WORDS)
            again = dataclasses.replace(sent.having(**changes), tag=f"{sent.tag}'")
            found.append(dataclasses.replace(again, at=sent.at + random.choice((0.1, 4, 30, 7200))))
    return _in_order(found)


def losses(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    share = dice("share").choice((0.1, 0.3, 0.6))
    return [sent for sent in stream if dice(sent.tag).random() > share]


def lost_kinds(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """A listener that never sends these."""
    kinds = sorted({sent.kind for sent in stream})
    lost = set(dice("kinds").sample(kinds, min(len(kinds), dice("many").randint(1, 2))))
    return [sent for sent in stream if sent.kind not in lost]


def swaps(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Two that follow each other closely cross on the way."""
    found = list(stream)
    for place in range(1, len(found)):
        one, other = found[place - 1], found[place]
        if other.at - one.at <= _CROSSING and dice(other.tag).random() < 0.3:
            found[place - 1] = dataclasses.replace(other, at=one.at)
            found[place] = dataclasses.replace(one, at=other.at)
    return found


def shuffles(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    times = [sent.at for sent in stream]
    shuffled = sorted(stream, key=lambda sent: dice(sent.tag).random())
    return [dataclasses.replace(sent, at=at) for sent, at in zip(shuffled, times, strict=True)]


def delays(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """A queue of the host stands still: some come late, or everything from one event on."""
    seconds = dice("seconds").choice((1, 7, 30, 100, 700))
    begins = dice("begins").choice(stream).tag if stream and dice("tail").random() < 0.5 else None
    found = [
        dataclasses.replace(sent, at=sent.at + seconds)
        if (sent.tag >= begins if begins else dice(sent.tag).random() < 0.2)
        else sent
        for sent in stream
    ]
    return _in_order(found)


def recovered(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Read from the host's log hours later: some events, or the hangups."""
    origin, hours = dice("origin").choice(("download", "backfill")), dice("hours").choice((0.01, 1, 5, 30))
    only_hangups = dice("only").random() < 0.5
    found = [
        dataclasses.replace(sent, at=sent.at + hours * 3600, origin=origin, enveloped=True)
        if (sent.kind == "hangup" if only_hangups else dice(sent.tag).random() < 0.5)
        else sent
        for sent in stream
    ]
    return _in_order(found)


def strange_ids(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Ids that are cut, that have a host's name before them, or none."""
    change: Callable[[str], object] = dice("how").choice(
        (
            lambda name: f"pbx1-{name}",
            lambda name: name.partition(".")[0],
            lambda name: name[:-1],
            lambda name: f"{name}.0",
            lambda _name: dice("what").choice(spellings.GARBAGE),
        )
    )
    everywhere = dice("everywhere").random() < 0.5
    return [
        sent.having(UniqueId=change(sent.unique_id))
        if sent.unique_id and (everywhere or dice(sent.tag).random() < 0.2)
        else sent
        for sent in stream
    ]


def _in_order(stream: Sequence[Sent]) -> list[Sent]:
    return sorted(stream, key=lambda sent: (sent.at, sent.tag))
