"""
What of an enterprise is written: what is missing here is added, what is here stays, unless it shall be overwritten.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from infra.commands.moving.translate import Translated
from lib.retailcrm.options import NUMBER_ACCEPTED
from lib.store.integration import RETAILCRM

State = Literal["new", "changed", "kept", "same", "cannot"]

_PERSON: Final = ("is_admin", "first_name", "last_name", "personal_phone")
# The shop is chosen here: the old tables do not know its code.
_LINE: Final = ("name", "phone_number", "incoming_transform")
# Of a section that is here already: whether it is switched on, and by what RetailCRM knows us, is decided here.
_DECIDED_HERE: Final = frozenset({"enabled", NUMBER_ACCEPTED})


@dataclass(frozen=True, kw_only=True)
class Phone:
    """`login`: its person's, if it is somebody's."""

    id: int
    login: str | None


@dataclass(frozen=True, kw_only=True)
class Ours:
    """An enterprise as it is here. `sections`: with API keys in plain text, None for one that cannot be opened."""

    name: str
    token: str = field(repr=False)
    secret: str = field(repr=False)
    region: str
    timezone: str
    asterisk_url: str | None
    sections: Mapping[str, Any] = field(repr=False)
    users: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    phones: Mapping[str, Phone] = field(default_factory=dict)
    lines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Here:
    """
    `names`: tokens and secrets that are in use, and by whom; `phone_ids`: ids of extensions that are taken, and by
    which enterprise's extension.
    """

    enterprises: Mapping[str, Ours] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    phone_ids: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """
    `file`, `phone_ids`: for `provision`; `replaced`: extensions whose row gets another id. `added`: what is missing
    here; `different`: what is here in another way, and stays so but for `state` "changed" with overwriting.
    """

    number: str
    state: State
    file: Mapping[str, Any] = field(default_factory=dict, repr=False)
    phone_ids: Mapping[str, int] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @property
    def is_written(self) -> bool:
        return self.state in {"new", "changed"}


def decide(theirs: Translated, here: Here, *, overwrite: bool = False) -> Change:
    number, ours = theirs.number, here.enterprises.get(theirs.number)
    if theirs.cannot:
        return Change(number=number, state="cannot", cannot=theirs.cannot)
    file, phone_ids, behind = _with_free_ids(theirs, here)
    if (ours is None or overwrite) and (taken := _taken(theirs, here)):
        return Change(number=number, state="cannot", cannot=tuple(taken))
    if ours is None:
        return Change(number=number, state="new", file=file, phone_ids=phone_ids, behind=behind)
    missing = _missing(file, ours)
    different = tuple(_different(file, phone_ids, ours))
    added = tuple(_words(missing, ours))
    if overwrite and (different or added):
        moved = [name for name, row_id in phone_ids.items() if name in ours.phones and ours.phones[name].id != row_id]
        file, is_written = _over(file, ours), True
    else:
        moved, file, is_written = [], missing, bool(added)
    state: State = "changed" if is_written else "kept" if different else "same"
    return Change(
        number=number,
        state=state,
        file=file,
        phone_ids=phone_ids,
        replaced=tuple(moved),
        added=added,
        different=different,
        behind=behind,
    )


def _with_free_ids(theirs: Translated, here: Here) -> tuple[dict[str, Any], dict[str, int], tuple[str, ...]]:
    """
    Without the extensions whose id somebody else's has here: under another id smart redirect would send a caller to a
    dialplan that the host does not have, or has for somebody else.
    """
    taken = {
        name: here.phone_ids[row_id]
        for name, row_id in theirs.phone_ids.items()
        if here.phone_ids.get(row_id, (theirs.number, name)) != (theirs.number, name)
    }
    file = dict(theirs.file)
    file["internal_phones"] = [name for name in file["internal_phones"] if name not in taken]
    file["users"] = [
        {**user, "internal_phones": [name for name in user["internal_phones"] if name not in taken]}
        for user in file["users"]
    ]
    words = tuple(
        f"extension {name}: the dialplan knows it as {theirs.phone_ids[name]}, which is {other} of {enterprise} here"
        for name, (enterprise, other) in sorted(taken.items())
    )
    ids = {name: row_id for name, row_id in theirs.phone_ids.items() if name not in taken}
    return file, ids, (*theirs.behind, *words)


def _taken(theirs: Translated, here: Here) -> list[str]:
    return [
        f"its {word} is that of {here.names[name]} here"
        for word in ("token", "secret")
        if (name := theirs.file[word]) and here.names.get(name, theirs.number) != theirs.number
    ]


def _missing(file: Mapping[str, Any], ours: Ours) -> dict[str, Any]:
    """A file that adds to the enterprise what it does not have, and changes nothing of it."""
    users = []
    for user in file["users"]:
        new = [name for name in user["internal_phones"] if name not in ours.phones]
        known = ours.users.get(user["login"])
        if known is None or new:
            users.append({"login": user["login"], **(known or user), "internal_phones": new})
    return {
        "number": file["number"],
        "name": ours.name,
        "token": ours.token,
        "secret": ours.secret,
        "region": ours.region,
        "timezone": ours.timezone,
        "asterisk_url": ours.asterisk_url or file["asterisk_url"],
        "users": users,
        "internal_phones": [name for name in file["internal_phones"] if name not in ours.phones],
        "lines": [line for line in file["lines"] if line["line_id"] not in ours.lines],
        "integrations_config": {
            name: section for name, section in file["integrations_config"].items() if name not in ours.sections
        },
    }


def _words(missing: Mapping[str, Any], ours: Ours) -> Iterator[str]:
    """What a file of what is missing adds."""
    people = sum(user["login"] not in ours.users for user in missing["users"])
    extensions = len(missing["internal_phones"]) + sum(len(user["internal_phones"]) for user in missing["users"])
    counts = ((people, "people"), (extensions, "extensions"), (len(missing["lines"]), "lines"))
    yield from (f"{word}: {count}" for count, word in counts if count)
    if missing["asterisk_url"] != ours.asterisk_url:
        yield "the Asterisk service"
    yield from (f"integration {name}" for name in missing["integrations_config"])


def _different(file: Mapping[str, Any], phone_ids: Mapping[str, int], ours: Ours) -> Iterator[str]:
    """What is here in another way, by its name. What is empty on a side that may be is only missing there."""
    pairs = {
        "name": (file["name"], ours.name),
        "token": (file["token"] or ours.token, ours.token),
        "secret": (file["secret"], ours.secret),
        "asterisk_url": (file["asterisk_url"] or ours.asterisk_url, ours.asterisk_url or file["asterisk_url"]),
    }
    yield from (name for name, (theirs, here) in pairs.items() if theirs != here)
    for user in file["users"]:
        if _is_other(user, ours.users.get(user["login"]), _PERSON):
            yield f"person {user['login']}"
    yield from _different_phones(file, phone_ids, ours)
    for line in file["lines"]:
        if _is_other(line, ours.lines.get(line["line_id"]), _LINE):
            yield f"line {line['line_id']}"
    for name, section in file["integrations_config"].items():
        if name in ours.sections:
            yield from _different_section(name, section, ours.sections[name])


def _is_other(theirs: Mapping[str, Any], ours: Mapping[str, Any] | None, names: Sequence[str]) -> bool:
    return ours is not None and any((theirs.get(name) or "") != (ours[name] or "") for name in names)


def _different_phones(file: Mapping[str, Any], phone_ids: Mapping[str, int], ours: Ours) -> Iterator[str]:
    owners = {name: user["login"] for user in file["users"] for name in user["internal_phones"]}
    for name in (*owners, *file["internal_phones"]):
        known = ours.phones.get(name)
        if known is None:
            continue
        if known.login != owners.get(name):
            yield f"extension {name}: whose it is"
        if phone_ids.get(name, known.id) != known.id:
            yield f"extension {name}: the dialplan knows it as {phone_ids[name]}, smart redirect as {known.id}"


def _different_section(name: str, theirs: Mapping[str, Any], ours: object) -> Iterator[str]:
    known = ours if isinstance(ours, Mapping) else {}
    for key, value in theirs.items():
        is_ours = name == RETAILCRM and key in _DECIDED_HERE
        if not is_ours and known.get(key) != value:
            yield f"{name}.{key}"


def _over(file: Mapping[str, Any], ours: Ours) -> dict[str, Any]:
    """Their file, with what their tables do not say as it is here."""
    sections = {
        name: {key: value for key, value in section.items() if name != RETAILCRM or key not in _DECIDED_HERE}
        if isinstance(ours.sections.get(name), Mapping)
        else section
        for name, section in file["integrations_config"].items()
    }
    return {
        **file,
        "token": file["token"] or ours.token,
        "region": ours.region,
        "timezone": ours.timezone,
        "asterisk_url": file["asterisk_url"] or ours.asterisk_url,
        "lines": [{**_site(ours.lines.get(line["line_id"])), **line} for line in file["lines"]],
        "integrations_config": sections,
    }


def _site(line: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"site_code": line["site_code"]} if line and line["site_code"] else {}
