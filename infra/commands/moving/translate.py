"""Enterprises of the old system as files that `provision` takes, and what of them cannot come. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import phonenumbers

from infra.commands import provision
from infra.commands.moving import integrations
from infra.commands.moving.integrations import problems_of
from infra.commands.moving.old import OldEnterprise, Row
from infra.commands.moving.values import shown, text, truth, whole
from lib.calls.e164 import e164

File = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What the old tables do not say: of every enterprise that is new here."""

    region: str = "BY"
    timezone: str = "Europe/Minsk"
    asterisk_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Translated:
    """
    `file`: as `provision` takes it; its people and their extensions are in `users`, the others in `internal_phones`.
    `phone_ids`: by which the dialplans of the hosts know the extensions. `cannot`: why nothing of it can come;
    `behind`: what of it does not. `is_skipped`: `cannot` names no mistake. `is_on`: RetailCRM is told of calls there.
    """

    number: str
    name: str
    file: File = field(repr=False)
    phone_ids: Mapping[str, int] = field(default_factory=dict, repr=False)
    behind: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()
    is_skipped: bool = False
    is_on: bool = False
    managers: int = 0


def translate_all(
    old: Sequence[OldEnterprise], *, defaults: Defaults, only: AbstractSet[str] = frozenset()
) -> list[Translated]:
    """`only`: these numbers, also of enterprises that are switched off there; empty: all that are not."""

    def is_wanted(one: OldEnterprise) -> bool:
        return one.number in only or truth(one.row.get("active")) is not False

    shared = shared_names(one.row for one in old if is_wanted(one))
    return [
        _translate(one, defaults, shared.get(one.number, ())) if is_wanted(one) else _skipped(one)
        for one in old
        if not only or one.number in only
    ]


@dataclass(frozen=True, kw_only=True)
class _Use:
    number: str
    word: str

    def is_taken_for(self, other: _Use) -> bool:
        """A number names nobody here: by one that is another one's token, that other one alone would be meant."""
        if self.word == "number":
            return other.word == "number"
        return self.number != other.number


def shared_names(rows: Iterable[Row]) -> dict[str, list[str]]:
    """By the enterprises' numbers: why one's token, secret or number does not tell it from another one."""
    uses: dict[str, list[_Use]] = defaultdict(list)
    for row in rows:
        for word, column in (("number", "number"), ("token", "name2"), ("secret", "secret")):
            if name := text(row.get(column)):
                uses[name].append(_Use(number=text(row.get("number")), word=word))
    reasons: dict[str, list[str]] = defaultdict(list)
    for same in uses.values():
        for one, other in permutations(same, 2):
            if one.is_taken_for(other):
                reasons[one.number].append(_shared(one.word, other.number, other.word))
    return reasons


def _shared(word: str, other: str, others_word: str) -> str:
    if word == others_word == "number":
        return f"two enterprises have the number {shown(other)}"
    return f"its {word} is the {others_word} of {shown(other)} too: which of them is meant cannot be told"


def _skipped(one: OldEnterprise) -> Translated:
    reason = f"it is switched off there (ONLY={shown(one.number)} brings it all the same)"
    return Translated(number=one.number, name=text(one.row.get("name")), file={}, cannot=(reason,), is_skipped=True)


def _translate(one: OldEnterprise, defaults: Defaults, shared: Sequence[str]) -> Translated:
    number, name = one.number, text(one.row.get("name"))
    behind: list[str] = []
    ids: dict[str, int] = {}
    users = _people(one.users, behind)
    phones = _phones(one.phones, users, behind, ids)
    found = integrations.translate(one.row.get("integrations_config"))
    lines = _lines(one, behind)
    behind += _of_other_countries(lines, defaults.region)
    file: dict[str, Any] = {
        "number": number,
        "name": name or number,
        "token": text(one.row.get("name2")) or None,
        "secret": text(one.row.get("secret")),
        "region": defaults.region,
        "timezone": defaults.timezone,
        "asterisk_url": defaults.asterisk_url,
        "users": list(users.values()),
        "internal_phones": phones,
        "lines": lines,
        "integrations_config": found.sections,
    }
    if not file["token"]:
        behind.append(
            f"name2 is empty: no host can post yet; make rotate-token ENTERPRISE={shown(number)} gives it a token"
        )
    cannot = [*dict.fromkeys(shared), *provision.check(file)]
    return Translated(
        number=number,
        name=name,
        file=file,
        phone_ids=ids,
        behind=(*behind, *found.behind),
        cannot=tuple(cannot),
        is_on=found.is_on,
        managers=found.managers,
    )


def _people(rows: Sequence[Row], behind: list[str]) -> dict[int, dict[str, Any]]:
    """By their ids, as they stand in a file. The login is the e-mail, or made of the id."""
    people: dict[int, dict[str, Any]] = {}
    logins: set[str] = set()
    for row in rows:
        user_id = whole(row.get("id"))
        if user_id is None:
            behind.append("a person without an id")
            continue
        email = text(row.get("email"))
        login = email
        if not email or email in logins:
            login = f"user-{user_id}"
        if email in logins:
            behind.append(f"person {shown(email)}: a second one of this e-mail comes as {login}")
        logins.add(login)
        people[user_id] = {
            "login": login,
            "is_admin": truth(row.get("is_admin")) is True,
            "first_name": text(row.get("first_name")),
            "last_name": text(row.get("last_name")),
            "personal_phone": text(row.get("personal_phone")) or None,
            "internal_phones": [],
        }
    return people


def _phones(
    rows: Sequence[Row], users: Mapping[int, dict[str, Any]], behind: list[str], ids: dict[str, int]
) -> list[str]:
    """
    Those of nobody; the others are entered into `users`, and the ids of all into `ids`. Of two rows of one extension
    the one with a person counts, else the first.
    """
    chosen: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: whole(row.get("user_id")) in users, reverse=True):
        extension = text(row.get("phone_number"))
        if not extension:
            behind.append(f"extension {shown(row.get('id'))}: has no number")
        elif problems_of(internal_phones=[extension]):
            behind.append(f"extension {shown(extension)!r}: is not one of 1 to 10 digits")
        elif extension in chosen:
            behind.append(f"extension {extension}: stands twice; the row {shown(row.get('id'))} does not come")
        else:
            chosen[extension] = row
    free = []
    for extension, row in sorted(chosen.items()):
        owner, row_id = users.get(whole(row.get("user_id")) or 0), whole(row.get("id"))
        if row_id is not None:
            ids[extension] = row_id
        if owner is not None:
            owner["internal_phones"].append(extension)
            continue
        free.append(extension)
        if row.get("user_id") is not None:
            behind.append(f"extension {extension}: its person {shown(row.get('user_id'))} is not of this enterprise")
    return free


def _lines(one: OldEnterprise, behind: list[str]) -> list[dict[str, Any]]:
    given = [
        {"line_id": row.get("line_id"), "name": row.get("line_name"), "phone_number": row.get("phone_number")}
        for row in one.gsm_lines
    ]
    given += [
        {
            "line_id": row.get("line_name"),
            "name": text(row.get("info")) or row.get("line_name"),
            "incoming_transform": row.get("incoming_transform"),
        }
        for row in one.sip_lines
    ]
    lines: dict[str, dict[str, Any]] = {}
    for fields in given:
        line = {name: cleaned for name, value in fields.items() if (cleaned := text(value))}
        line_id = line.get("line_id", "")
        if not line_id:
            behind.append(f"line {shown(fields['name'])!r}: has no id")
        elif line_id in lines:
            behind.append(f"line {shown(line_id)}: stands twice; the first one comes")
        else:
            lines[line_id] = _without_problems(line, behind)
    if shops := sorted({name for row in one.gsm_lines if (name := shown(row.get("shop")))}):
        behind.append(f"shops of lines ({', '.join(shops)}): RetailCRM's codes of them are chosen on the page, Lines")
    return list(lines.values())


def _without_problems(line: dict[str, Any], behind: list[str]) -> dict[str, Any]:
    problems = problems_of(lines=[line])
    behind.extend(f"line {shown(line['line_id'])}: {problem.partition('.')[2]}" for problem in problems)
    return {name: value for name, value in line.items() if name != "incoming_transform" or not problems}


def _of_other_countries(lines: Sequence[Mapping[str, Any]], region: str) -> list[str]:
    numbers = [found for line in lines if (found := e164(line.get("phone_number", ""), region))]
    countries = {phonenumbers.region_code_for_number(phonenumbers.parse(number, None)) for number in numbers}
    others = sorted(country for country in countries if country not in {None, region})
    if not others:
        return []
    return [
        f"its lines have numbers of {', '.join(others)}: numbers are read as in {region}, unless REGION says another"
    ]
