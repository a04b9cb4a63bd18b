"""
A telephone number as people and switches write it: which part of a text is the number, and what only stands around it.

Nothing is known here of numbering plans (`e164` does); what can be meant in two ways is not read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

# A SIP address with a name and all its parameters fits; nothing longer is looked at.
MOST_CHARACTERS: Final = 255
# 810 and the fifteen digits of E.164, and two to spare.
MOST_DIGITS: Final = 20
# Fewer digits are an extension, or belong to a name.
_LEAST_DIGITS: Final = 7

_PLAIN: Final = re.compile(rf"\+?\d{{1,{MOST_DIGITS}}}", re.ASCII)
_PRINTED_FLOAT: Final = re.compile(r"(\+?\d+)\.0+", re.ASCII)

_SCIENTIFIC: Final = re.compile(r"(\d)[.,](\d+)[eE]\+?(\d{1,2})", re.ASCII)

# What a character means, by its category in Unicode, and of those that look alike.
_MEANINGS: Final = {"Cf": "", "Zs": " ", "Zl": " ", "Zp": " ", "Pd": "-", "Ps": "(", "Pe": ")", "Pi": '"', "Pf": '"'}
_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
_LOOKALIKES: Final = {
    **dict.fromkeys("\t\n\v\f\r\u2800\u1160\u115f", " "),
    **dict.fromkeys("~\u2212\u2043\u02d7\u2053\u2500\u2501\u30fc\u223c", "-"),
    **dict.fromkeys("\u2795\u02d6", "+"),
    **dict.fromkeys("\u00b7\u2022\u2027\u2219\u22c5\u3002", "."),
    **dict.fromkeys("\\\u2044\u2215\u29f8\u29f9", "/"),
    **dict.fromkeys("[{", "("),
    **dict.fromkeys("]}", ")"),
    **dict.fromkeys("'`\u00b4", '"'),
    **dict.fromkeys(("\u034f", "\u20e3", *map(chr, range(0xFE00, 0xFE10))), ""),
    "\u00d7": "x",
}

_SCHEME: Final = re.compile(r"^[\W_]*(?:tel|sips?|callto|phone)\s*:(?://)?", re.IGNORECASE)
_BRACKETED: Final = re.compile(r"<([^<>]*)>")
_UNKNOWN: Final = frozenset({"", "unknown", "none", "null", "anonymous"})
_PARAMETER: Final = re.compile(
    r';\s*(?!ext(?:ension)?\b)[a-z][\w.-]*\s*(?:=\s*(?:"[^"]*"|[^;>@\s,]*))?', re.IGNORECASE | re.ASCII
)
_HOST: Final = re.compile(r"@[^\s;,>]*")
_HEADERS: Final = re.compile(r"\?\S*")
_QUOTED: Final = re.compile(r'"([^"]*)"')
_SERVICE_PREFIX: Final = re.compile(r"^(\D*?)[*#]{1,2}\d{1,3}#(?=[\s(]*\+?\s*\d)")
# What was cut leaves a mark: what stood on its two sides is not one number.
_CUT: Final = "|"

_CHUNK: Final = re.compile(r"(?:\+[+ \-.()/]*+)?\d[\d \-.()/]*", re.ASCII)
# The number of a shop or a line in a list, as it may stand before a number.
_COUNT: Final = re.compile(r"([1-9]\d{0,2})([ \-.()/]+)", re.ASCII)
_PREFIXES: Final = ("00", "810")
# Whole with what announces it: eleven digits behind 8 or 7, twelve behind 375.
_ANNOUNCED: Final = re.compile(r"[87]\d{10}|375\d{9}", re.ASCII)
_ANNOUNCEMENT: Final = re.compile(r"8|7|375|80\d\d", re.ASCII)
# A group behind a whole number, of one digit, or set apart from groups with dashes: what it is, is not said.
_TRAILING: Final = re.compile(r"\d{9}[ \-.()/]+\d|[ \-.()/]\d$|\d-\d+ [ (]*\d{1,3}$", re.ASCII)
_WORD: Final = re.compile(r"[^\W\d_]+")
_TO_EXTENSION: Final = re.compile(r"[wpxх]+|wait|pause|ext|extension|доб|добавочный|вн|внутр|внутренний", re.IGNORECASE)
_TO_NUMBER: Final = re.compile(r"tel|phone|mob|fax|no?|t|тел|моб|факс|номер|т", re.IGNORECASE)
_PAUSES: Final = frozenset(",;*#")
_OF_A_LIST: Final = frozenset(",;&")


@dataclass(frozen=True, slots=True)
class Spelled:
    """
    `number`: digits, behind a plus if one is written. `extension`: what is dialled when that number has answered, at
    most six digits (several, with a comma between them, where several pauses are written), or empty.
    """

    number: str
    extension: str = ""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Digits, with what may stand between those of one number; `before`: what stands between the last chunk and it."""

    text: str
    before: str

    @property
    def digits(self) -> str:
        return "".join(filter(str.isdigit, self.text))

    @property
    def is_long(self) -> bool:
        return len(self.digits) >= _LEAST_DIGITS

    @property
    def names_something(self) -> bool:
        """A word stands before it: its digits are that word's."""
        return any(letter.isalpha() or letter == _BROKEN for letter in self.before)


def read(raw: str) -> Spelled | None:
    """The one number in this text. None: there is none, or more than one, or it cannot be told where it ends."""
    text = raw.strip()
    if not text or len(text) > MOST_CHARACTERS:
        return None
    if _PLAIN.fullmatch(text):
        return Spelled(text)
    if printed := _SCIENTIFIC.fullmatch(text):
        return _whole(printed[1], printed[2], int(printed[3]))
    text = unicodedata.normalize("NFKC", unquote(_HEADERS.sub(_CUT, text)))
    if len(text) > MOST_CHARACTERS:  # a ligature becomes up to eighteen letters
        return None
    text = _unwrapped(_in_plain_characters(text))
    return None if _touches_a_word(text) else _of_chunks(*_chunks(text))


def _whole(first: str, rest: str, exponent: int) -> Spelled | None:
    """`3.75291111111E+11`; None where digits were rounded away."""
    return Spelled(first + rest[:exponent]) if len(rest.rstrip("0")) <= exponent <= len(rest) else None


def number_in(raw: str) -> str | None:
    """The number in this text, without its extension; None as `read`."""
    if _PLAIN.fullmatch(raw):
        return raw
    spelled = read(raw)
    return None if spelled is None else spelled.number


def plain(raw: str) -> str:
    """The number in this text; the text itself, where no number can be read."""
    return number_in(raw) or raw


def _in_plain_characters(text: str) -> str:
    return "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    if character in _LOOKALIKES:
        return _LOOKALIKES[character]
    if character.isascii():
        return character
    category = unicodedata.category(character)
    return _BROKEN if category in ("Cs", "Co", "Cn") else _MEANINGS.get(category, character)


def _unwrapped(text: str) -> str:
    """Without scheme, host, parameters, service prefix, and names in quotes; of what has a name, what stands in <…>."""
    bracketed = _BRACKETED.findall(text)
    if any(any(map(str.isdigit, inside)) for inside in bracketed):
        text = _CUT.join(bracketed)
    elif any(inside.strip().lower() in _UNKNOWN for inside in bracketed):
        return ""
    text = _BRACKETED.sub(_CUT, text)
    text = _SCHEME.sub("", text)
    text = _PARAMETER.sub(_CUT, text)
    text = _HOST.sub(_CUT, text)
    text = _QUOTED.sub(_without_name, text).replace('"', _CUT)
    text = re.sub(rf"(?<=[\d)]){_BROKEN}+(?=[\d(])", " ", text)
    return _SERVICE_PREFIX.sub(r"\1", text)


def _without_name(quoted: re.Match[str]) -> str:
    inside = quoted[1]
    is_name = any(map(str.isalpha, inside)) and sum(map(str.isdigit, inside)) < _LEAST_DIGITS
    return _CUT if is_name else f"{_CUT}{inside}{_CUT}"


def _chunks(text: str) -> tuple[list[_Chunk], str]:
    """The chunks of digits, and what stands behind the last one."""
    chunks, end = [], 0
    for found in _CHUNK.finditer(text):
        chunks.append(_Chunk(found[0].rstrip(" -.()/"), text[end : found.start()]))
        end = found.end()
    return chunks, text[end:]


def _touches_a_word(text: str) -> bool:
    """A letter among digits may be a digit mistyped, but for the words that stand before numbers and extensions."""
    before = {word.end(): word[0] for word in _WORD.finditer(text)}
    for found in _CHUNK.finditer(text):
        name = None if found[0].startswith("+") else before.get(found.start())
        if name and not _TO_NUMBER.fullmatch(name) and not _TO_EXTENSION.fullmatch(name):
            return True
        word = _WORD.match(text, found.end())
        if word and text[found.end() - 1].isdigit() and not _TO_EXTENSION.fullmatch(word[0]):
            return True
    return False


def _of_chunks(chunks: Sequence[_Chunk], behind: str) -> Spelled | None:
    long = [place for place, chunk in enumerate(chunks) if chunk.is_long]
    if not long:
        return _short(chunks, behind)
    if len(long) > 1 or not _is_name(chunks[: long[0] + 1]):
        return None
    whole, extension = _behind_a_count(chunks[long[0]]), _extension(chunks[long[0] + 1 :])
    number = None if whole is None else _number(whole)
    return None if number is None or extension is None else Spelled(number, extension)


def _short(chunks: Sequence[_Chunk], behind: str) -> Spelled | None:
    """An extension, alone: with words around it, it is part of a name."""
    if len(chunks) != 1 or (chunks[0].before + behind).strip(f"{_CUT} ()"):
        return None
    printed = _PRINTED_FLOAT.fullmatch(chunks[0].text)
    number = printed[1] if printed else chunks[0].text
    return Spelled(number) if number.isdigit() else None


def _is_name(chunks: Sequence[_Chunk]) -> bool:
    """Whether what stands before the last of these is a name with digits in it, rather than another number."""
    return len(chunks) == 1 or (
        all(chunk.names_something for chunk in chunks[:-1]) and not _OF_A_LIST.intersection(chunks[-1].before)
    )


def _behind_a_count(chunk: _Chunk) -> str | None:
    """Without the digits of a name, where a whole number follows them. None: they may be the number's as well."""
    count = _COUNT.match(chunk.text)
    if count is None or count[1] in _PREFIXES or not _is_whole(chunk.text[count.end() :], alone=len(count[1]) > 1):
        return chunk.text
    is_closed = ")" in count[2] and "(" not in chunk.before + count[2]
    return chunk.text[count.end() :] if " " in count[2] and (chunk.names_something or is_closed) else None


def _is_whole(text: str, *, alone: bool) -> bool:
    """`alone`: what stands before it may be a country code, so its own beginning stands alone, or nothing is apart."""
    groups = re.findall(r"\d+", text)
    if not _ANNOUNCED.fullmatch("".join(groups)):
        return False
    return not alone or len(groups) == 1 or _ANNOUNCEMENT.fullmatch(groups[0]) is not None


def _number(chunk: str) -> str | None:
    """The digits of one number, and its plus."""
    if printed := _PRINTED_FLOAT.fullmatch(chunk):
        chunk = printed[1]
    runs = re.findall(r"\d+", chunk)
    if len([run for run in runs if len(run) >= _LEAST_DIGITS]) > 1 and not chunk.startswith(_PREFIXES):
        return None
    if not chunk.startswith(("+", *_PREFIXES)) and _TRAILING.search(chunk):
        return None
    plus = re.match(r"[+ ]*", chunk)
    assert plus is not None  # noqa: S101  (it matches nothing, too)
    digits = "".join(runs)
    if "+" in chunk[plus.end() :] or not digits or len(digits) > MOST_DIGITS:
        return None
    return ("+" if "+" in plus[0] else "") + digits


def _extension(chunks: Sequence[_Chunk]) -> str | None:
    """What is dialled behind the number. None: these digits may be another number's."""
    found = []
    for chunk in chunks:
        words = _WORD.findall(chunk.before)
        if "&" in chunk.before:
            return None
        if _TO_EXTENSION.fullmatch(words[-1]) if words else _PAUSES.intersection(chunk.before):
            digits = chunk.text.strip()
            if printed := _PRINTED_FLOAT.fullmatch(digits):
                digits = printed[1]
            if not digits.isdigit():
                return None
            found.append(digits)
        elif not chunk.names_something:
            return None
    return ",".join(found)
