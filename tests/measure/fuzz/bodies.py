"""Spoilings of single bodies: what a host writes into a field, or leaves out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from lib.calls.channels import channel_named
from tests.measure.fuzz import spellings
from tests.measure.fuzz.sources import Source
from tests.measure.fuzz.stream import OUT, Numeral, Sent

# From a tag to numbers of its own, so that the same event is spoiled in the same way whatever becomes of the others.
Dice = Callable[[str], Random]

RECORDS: Final = ("start", "dial", "hangup")
_ID: Final = re.compile(r"\d{1,10}\.\d+")
_SPELLED: Final = ("Phone", "CallerIDNum", "ConnectedLineNum")
_FIELDS: Final = (
    *("CallType", "Phone", "Trunk", "Extensions", "CallStatus", "StartTime", "EndTime", "DateReceived"),
    *("UniqueId", "Channel", "CallerIDNum", "ConnectedLineNum", "Exten", "ExternalInitiated"),
    *("BridgeUniqueid", "BridgeNumChannels", "BridgeTechnology"),
)


def _some(dice: Dice, stream: Sequence[Sent], change: Callable[[Random, Sent], Sent]) -> list[Sent]:
    """Changes some of the events, or all."""
    share = dice("share").choice((0.2, 0.5, 1.0))
    return [change(dice(sent.tag), sent) if dice(sent.tag + "?").random() < share else sent for sent in stream]


def names(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        shown = {name: random.choice(spellings.NAMES) for name in ("CallerIDName", "ConnectedLineName")}
        return sent.having(**shown)

    return _some(dice, stream, change)


def encodings(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        encoding = random.choice(("bom", "cp1251", "cut", "nul", "utf-8"))
        name = "Ив\u0000ан" if encoding == "nul" else random.choice(("Иван", "Іван Ў", "Я"))
        return dataclasses.replace(sent.having(CallerIDName=name), encoding=encoding)

    return _some(dice, stream, change)


def numbers(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        found = {name: sent.body[name] for name in _SPELLED if isinstance(sent.body.get(name), str)}
        return sent.having(**{name: spellings.number(random, str(value)) for name, value in found.items()})

    return _some(dice, stream, change)


def lists(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        listed = sent.body.get("Extensions")
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            return sent
        if len(listed) == 1 and random.random() < 0.2:
            return sent.having(Extensions=OUT, Extension=listed[0])
        return sent.having(Extensions=spellings.names(random, [name for name in listed if name]))

    return _some(dice, stream, change)


def types(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        return sent.having(**{name: _retyped(random, name, value) for name, value in sent.body.items()})

    return _some(dice, stream, change)


def _retyped(random: Random, name: str, value: object) -> object:
    text = value if isinstance(value, str) else str(value)
    if name in ("CallType", "BridgeNumChannels") and text.isdecimal():
        return random.choice((text, int(text), float(text), f"{text}.0", f" {text} "))
    if name == "CallStatus":
        return random.choice((value, *spellings.STATUSES.get(text, ())))
    if name == "UniqueId" and _ID.fullmatch(text):
        return random.choice((text, Numeral(text), f" {text} "))
    if name in ("StartTime", "EndTime", "DateReceived") and len(text) == 19:
        return random.choice((text, text.replace(" ", "T"), f" {text} "))
    if value == "" and name != "Phone":
        return random.choice(("", None, " ", "<unknown>" if name.endswith("Num") else ""))
    return value


def keys(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        case = random.choice((str.lower, str.upper, str.capitalize, str))
        body = {case(name): value for name, value in sent.body.items()}
        junk = {"Privilege": "call,all", "ChanVariable": {"a": [1, {"b": None}]}, "SystemName": "a\u0000b"}
        listed = [*body.items(), *random.sample(sorted(junk.items(), key=str), random.randrange(3))]
        return dataclasses.replace(sent, body=dict(random.sample(listed, len(listed))))

    return _some(dice, stream, change)


def recordings(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        if sent.kind != "hangup":
            return sent
        url = random.choice(spellings.RECORDINGS)
        if sent.enveloped and random.random() < 0.5:
            return dataclasses.replace(sent, record_url=url)
        return sent.having(**{random.choice(("record_url", "recordUrl", "RecordURL")): url})

    return _some(dice, stream, change)


def envelopes(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """Posted by a call service in its own envelope."""
    return _some(dice, stream, lambda _random, sent: dataclasses.replace(sent, enveloped=True))


def technologies(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """The same telephones and lines by another driver of Asterisk, under the names that it gives them."""
    renamed = {name: _renamed(dice(name), name, stream, source) for name in _channels(stream)}
    return [
        sent.having(Channel=renamed[str(sent.body["Channel"])]) if sent.body.get("Channel") in renamed else sent
        for sent in stream
    ]


def _channels(stream: Sequence[Sent]) -> dict[str, None]:
    return dict.fromkeys(name for sent in stream if isinstance(name := sent.body.get("Channel"), str) and name)


def _renamed(random: Random, name: str, stream: Sequence[Sent], source: Source) -> str:
    channel = channel_named(name)
    identity = name.rpartition("-")[2]
    if channel.technology != "sip" or len(identity) < 4:
        return name
    plain = [
        f"PJSIP/{channel.peer}-{identity}",
        f"IAX2/{channel.peer}-{int(identity[-4:], 16) % 9999 + 1}",
        f"pjsip/{channel.peer}-{identity}",
    ]
    if source.directory.knows(channel.peer) and _says_who_it_is(name, channel.peer, stream):
        plain += [
            f"PJSIP/ACME-{channel.peer}-{identity}",
            f"PJSIP/91{channel.peer}-{identity}",
            f"DAHDI/{int(identity[-4:], 16) % 30 + 1}-1",
        ]
    return random.choice(plain)


def _says_who_it_is(name: str, extension: str, stream: Sequence[Sent]) -> bool:
    shown = [sent.body.get("CallerIDNum") for sent in stream if sent.body.get("Channel") == name]
    return bool(shown) and all(number == extension for number in shown)


def second_devices(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """A manager calls from the second device 91151 of 151: the dial and the channel say 91151, the caller id 151."""
    dials = [sent for sent in stream if sent.kind == "dial" and str(sent.body.get("CallType")) == "1"]
    mains = {sent.unique_id for sent in dials}
    callers = {name for sent in dials for name in _listed(sent) if source.directory.knows(name)}
    channels = [
        name
        for name in _channels(stream)
        if channel_named(name).peer in callers
        and _says_who_it_is(name, channel_named(name).peer, stream)
        and any(sent.body.get("Channel") == name and sent.unique_id in mains for sent in stream)
    ]
    if len(mains) != 1 or len(callers) != 1 or len(channels) != 1:
        return list(stream)
    [extension], [channel] = callers, channels
    return [_from_second_device(sent, extension, channel, mains) for sent in stream]


def _from_second_device(sent: Sent, extension: str, channel: str, mains: set[str]) -> Sent:
    if sent.body.get("Channel") == channel:
        return sent.having(Channel=channel.replace(f"/{extension}-", f"/91{extension}-"))
    if sent.kind == "dial" and sent.unique_id in mains:
        return sent.having(Extensions=[f"91{name}" if name == extension else name for name in _listed(sent)])
    return sent


def _listed(sent: Sent) -> list[str]:
    listed = sent.body.get("Extensions")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def lines_as_numbers(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    """`Trunk` went through a number, and lost its leading zeros."""

    def change(random: Random, sent: Sent) -> Sent:
        trunk = sent.body.get("Trunk")
        if not isinstance(trunk, str) or not trunk.isdecimal() or not trunk.startswith("0"):
            return sent
        return sent.having(Trunk=random.choice((Numeral(trunk.lstrip("0")), trunk.lstrip("0"))))

    return _some(dice, stream, change)


def founding_form(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """Records without `Phone`, and perhaps without `CallType`: the parties stand where the channels' do."""
    records = [sent for sent in stream if sent.kind in RECORDS]
    phones = {sent.body.get("Phone") for sent in records}
    if len({sent.unique_id for sent in records}) != 1 or len(phones) != 1 or not source.customer:
        return list(stream)
    phone = phones.pop()
    if not isinstance(phone, str) or source.directory.outside(phone) is None:
        return list(stream)
    fields = _parties(records, phone, source)
    if fields is None:
        return list(stream)
    if dice("type").random() < 0.5:
        fields["CallType"] = OUT
    return [sent.having(Phone=OUT, ExtPhone=OUT, **fields) if sent.kind in RECORDS else sent for sent in stream]


def _parties(records: Sequence[Sent], phone: str, source: Source) -> dict[str, object] | None:
    if records[0].kind == "start" or str(records[0].body.get("CallType")) == "0":
        return {"CallerIDNum": phone, "ConnectedLineNum": ""}
    callers = [name for name in _listed(records[0]) if source.directory.knows(name)]
    return {"CallerIDNum": callers[0], "ConnectedLineNum": phone} if records[0].kind == "dial" and callers else None


def missing_keys(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    everywhere = dice("everywhere").random() < 0.4
    lost = dice("lost").sample(_FIELDS, dice("lost").randint(1, 4))

    def change(random: Random, sent: Sent) -> Sent:
        names = lost if everywhere else random.sample(_FIELDS, random.randint(1, 3))
        return sent.having(**dict.fromkeys(names, OUT))

    return [change(dice(sent.tag), sent) for sent in stream] if everywhere else _some(dice, stream, change)


def garbage(dice: Dice, stream: Sequence[Sent], _: Source) -> list[Sent]:
    def change(random: Random, sent: Sent) -> Sent:
        return sent.having(**{name: random.choice(spellings.GARBAGE) for name in random.sample(_FIELDS, 2)})

    return _some(dice, stream, change)


def own_numbers(dice: Dice, stream: Sequence[Sent], source: Source) -> list[Sent]:
    """The provider sends a number of ours as the caller's, or somebody calls one."""
    directory = source.directory
    ours = [line.phone_number for line in directory.lines.values() if line.phone_number]
    ours += [*directory.lines, *sorted(directory.internal_phones)]
    own = dice("own").choice(ours)
    digits = {str(sent.body.get("Phone", "")).lstrip("+") for sent in stream if sent.kind in RECORDS} - {""}

    def other(value: object) -> object:
        if isinstance(value, list):
            return [other(item) for item in value]
        return own if isinstance(value, str) and value.lstrip("+") in digits else value

    return [dataclasses.replace(sent, body=_mapped(sent.body, other)) for sent in stream]


def _mapped(body: Mapping[str, object], change: Callable[[object], object]) -> dict[str, object]:
    return {name: change(value) for name, value in body.items()}
