"""How people and switches write one number, one list, one name (docs/calls.md, "Direction, customer, line")."""

from __future__ import annotations

import json
from random import Random
from typing import Final

from tests.measure.fuzz.stream import Numeral

# `{}` is the number with its plus, `<>` its digits alone.
_NUMBERS: Final = (
    "{}",
    "sip:{}@10.0.0.5",
    "<sip:{}@10.0.0.5:5060;user=phone>",
    "tel:{}",
    "{};npdi;rn=+375290000000",
    "{};phone-context=+375",
    "{};ext=101",
    '"Ivan" <{}>',
    "Иван <{}>",
    "\u202a{}\u202c",
    "\u2066{}\u2069",
    "\ufeff{}",
    " {}\u00a0",
    "{},101",
    "{} x 9",
    "{}w101",
    "{}*227",
    "{} доб. 101",
    "#31#<>",
    "*31#<>",
    "<>#",
    "<>.0",
    "00<>",
)
_GROUPED: Final = (
    "{} {} {}",
    "{}-{}-{}",
    "{}\u2011{}\u2013{}",
    "{}.{}.{}",
    "{}\u00a0{}\u2009{}",
    "{}/{}/{}",
    "{} ({}) {}",
)
_PLUSES: Final = ("+", "\uff0b", "\ufe62", "")
_LISTS: Final = ("&", ",", ";", " ", ", ")
NAMES: Final = (
    "Ива\udcd0",
    "Ива\ud83d",
    "Ив\u0000ан",
    "\ufeffИван",
    '"Иван" <b>',
    "\\",
    "Іван, ТАА «Ромашка»",
    "🙂" * 60,
    "я" * 400,
    "\u202eнаВИ",
    "<script>alert(1)</script>",
    "Ива\r\nEvent: Hangup",
)
RECORDINGS: Final = (
    None,
    "None",
    "null",
    "/records/1.wav",
    "records/1.wav",
    "ftp://10.0.0.5/1.wav",
    "javascript:alert(1)",
    "http://",
    "https:///1.wav",
    "//host/1.wav",
    "https://records.example/Иван Петров.wav",
    "https://records.example/a b.wav",
    "https://records.example/" + "a" * 3000,
    "https://records.example/\u0000.wav",
    "https://records.example/\ud83d.wav",
    "HTTPS://records.example/1.wav",
    "https://user:password@records.example/1.wav",
    True,
    17,
    ["https://records.example/1.wav"],
    {"url": "https://records.example/1.wav"},
    "",
    " ",
)
# The hosts fold the words into the codes.
STATUSES: Final = {
    "2": ("ANSWER", "ANSWERED", "Answer", 2, 2.0, "2.0"),
    "0": ("NO ANSWER", "NOANSWER", "BUSY", "CANCEL", "CONGESTION", "CHANUNAVAIL", 0, 0.0, "0.0"),
    "1": (1, 1.0, "1.0"),
    "5": (5, "5.0"),
}
GARBAGE: Final = (
    None,
    "",
    " ",
    [],
    {},
    True,
    False,
    -1,
    0,
    1.5,
    10**40,
    Numeral("1e999"),
    Numeral("-0"),
    [[["150"]]],
    [None],
    {"a": {"b": 1}},
    "<unknown>",
    "Anonymous",
    "s",
    "x" * 300,
    "\u0000",
    "\ud83d",
    "150",
    "151&152",
    "375291111111",
    "0001301",
    "1970-01-01 00:00:00",
    "9999-12-31 23:59:59",
    "2025-02-30 25:61:61",
    "SIP/151-0000001e",
    "Local/152@dialexecute-00000000;1",
    "Local/;2",
    "/",
    "-",
    ";",
)


def number(random: Random, plain: str) -> object:
    """Another way to write the same number; a national one keeps its prefix."""
    digits = plain.removeprefix("+")
    if not digits.isdecimal() or len(digits) < 9:
        return plain
    national = not plain.startswith("+") and digits.startswith("8")
    match random.randrange(5):
        case 0:
            return _grouped(random, digits, "" if national else random.choice(_PLUSES))
        case 1:
            return random.choice((Numeral(digits), Numeral(digits + ".0"), digits + ".0"))
    written = random.choice(_NUMBERS)
    if national and written.startswith(("00", "#31#", "*31#")):
        return plain
    return written.replace("<>", digits).format(digits if national else f"+{digits}")


def _grouped(random: Random, digits: str, plus: str) -> str:
    parts = (digits[:3], digits[3:5], digits[5:])
    return plus + random.choice(_GROUPED).format(*parts)


def names(random: Random, listed: list[str]) -> object:
    """A list of extensions in another form that hosts send; of external numbers only the plain forms."""
    if not listed:
        return random.choice(([], [""], ""))
    ways: list[object] = [
        random.choice(_LISTS).join(listed),
        [random.choice(("&", ",")).join(listed)],
        str(listed),
        json.dumps(listed),
        [[name] for name in listed],
        [f"{random.choice(('SIP', 'PJSIP', 'IAX2'))}/{name}" if len(name) < 6 else name for name in listed],
        [f" {name} " for name in listed],
        [*listed, *listed],
        [*listed, ""],
    ]
    if all(name.isdecimal() and not name.startswith("0") for name in listed):
        ways.append([Numeral(name) for name in listed])
        ways.append([Numeral(f"{name}.0") for name in listed])
        ways.append([f"{name}.0" for name in listed])
        if len(listed) == 1:
            ways.append(Numeral(listed[0]))
    return random.choice(ways)
