"""`integrations_config` of the old system as the sections of ours, and what of it stays behind. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from infra.commands import provision
from infra.commands.moving.values import shown, storable, text, truth, unwrapped, without_secrets
from lib.redirect.settings import PREFIX
from lib.retailcrm.options import NUMBER_ACCEPTED
from lib.store.integration import RETAILCRM

SMART: Final = "smart"
# Ours begin anew, are set here, or are looked at one by one.
_OWN_WAY: Final = frozenset(
    {"enabled", "domain", "api_key", "user_extensions", "last_sync", "version", NUMBER_ACCEPTED}
)
_NAMES: Final = ("line", "shop", "customer")
_USER_ID_DIGITS: Final = 18
# An enterprise of which nothing but one part is looked at.
_SHELL: Final = {"number": "0", "name": "one", "secret": "one"}


@dataclass(frozen=True, kw_only=True)
class Integrations:
    """
    `sections`: by their names, as a provisioning file has them; RetailCRM's is switched off. `behind`: what does not
    come, and why. `is_on`: RetailCRM was told of calls by the old system. `managers`: how many have an extension.
    """

    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    behind: tuple[str, ...] = ()
    is_on: bool = False
    managers: int = 0


def problems_of(**part: Any) -> list[str]:
    """What `provision` says against this part of a file."""
    return provision.check({**_SHELL, **part})


def translate(config: object) -> Integrations:
    behind: list[str] = []
    found = _object(config, "integrations_config", behind)
    given = {name: _object(section, name, behind) for name, section in found.items()}
    smart = given.pop(SMART, {})
    sections: dict[str, dict[str, Any]] = {}
    for name, section in given.items():
        if section and name != RETAILCRM:
            kept = _of_another_crm(name, section, behind)
            sections |= {name: kept} if kept is not None else {}
    if not given.get(RETAILCRM):
        if smart:
            behind.append("smart: routing of an enterprise without RetailCRM")
        return Integrations(sections=sections, behind=tuple(behind))
    ours = _retailcrm(given[RETAILCRM], behind)
    ours |= _smart(smart, behind)
    sections[RETAILCRM] = ours
    is_connected = bool(ours.get("domain") and ours.get("api_key"))
    return Integrations(
        sections=sections,
        behind=tuple(behind),
        is_on=is_connected and truth(given[RETAILCRM].get("enabled")) is True,
        managers=sum(1 for extension in ours["user_extensions"].values() if extension),
    )


def _object(value: object, where: str, behind: list[str]) -> dict[str, Any]:
    """Empty for what is no object, which is said."""
    try:
        found = storable(unwrapped(value))
    except ValueError:
        behind.append(f"{shown(where)}: is no JSON that can be read")
        return {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        behind.append(f"{shown(where)}: is no object")
        return {}
    return found


def _of_another_crm(name: str, section: dict[str, Any], behind: list[str]) -> dict[str, Any] | None:
    """As it is, with an API key as the only secret; nothing here serves it."""
    dropped: list[str] = []
    kept: dict[str, Any] = without_secrets(section, name, dropped)
    if (key := section.get("api_key")) not in (None, "") and isinstance(key, str):
        kept["api_key"] = key
        dropped.remove(f"{name}.api_key")
    if "enabled" in kept:
        kept["enabled"] = truth(kept["enabled"]) is True
    kept.pop("version", None)
    behind.extend(
        f"{place}: nothing but an api_key is sealed here, so that other secrets stay there" for place in dropped
    )
    if problems := problems_of(integrations_config={name: kept}):
        behind.extend(problems)
        return None
    return kept


def _retailcrm(section: dict[str, Any], behind: list[str]) -> dict[str, Any]:
    """The section, switched off until the enterprise is switched over."""
    ours: dict[str, Any] = {"enabled": False, "user_extensions": _mapping(section.get("user_extensions"), behind)}
    ours |= _domain(section.get("domain"), behind)
    ours |= _api_key(section.get("api_key"), behind)
    dropped: list[str] = []
    others = {name: value for name, value in section.items() if name not in _OWN_WAY}
    for name, value in without_secrets(others, RETAILCRM, dropped).items():
        if problems := _against(**{name: value}):
            behind.extend(problems)
        else:
            ours[name] = value
    behind.extend(
        f"{place}: nothing but the api_key is sealed here, so that other secrets stay there" for place in dropped
    )
    if ours.get("domain") and ours.get("api_key"):
        # As RetailCRM knows the enterprise until the module is registered anew.
        ours[NUMBER_ACCEPTED] = True
    return ours


def _against(**settings: Any) -> list[str]:
    return [
        problem.removeprefix("integrations_config.")
        for problem in problems_of(integrations_config={RETAILCRM: settings})
    ]


def _domain(value: object, behind: list[str]) -> dict[str, str]:
    """
    The address of the account. A page's path, a user or plain http in it stood in nobody's way there: the account is
    the same without.
    """
    given = text(value)
    if not given:
        behind.append("retailcrm.domain: is empty")
        return {}
    # What has a path comes last.
    for address in sorted((given, *_shorter(given)), key=lambda one: "/" in one.rpartition("://")[2]):
        if not _against(domain=address):
            return {"domain": address}
    behind.extend(_against(domain=given))
    return {}


def _shorter(address: str) -> list[str]:
    """Without a path and a user; then without a port too, and by https."""
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return []
    host = (parts.hostname or "").rstrip(".")
    return [f"{parts.scheme}://{host}{port}", f"https://{host}"]


def _api_key(value: object, behind: list[str]) -> dict[str, str]:
    key = text(value)
    if not key:
        behind.append("retailcrm.api_key: is empty")
        return {}
    if problems := _against(api_key=key):
        behind.extend(problems)
        return {}
    return {"api_key": key}


def _mapping(value: object, behind: list[str]) -> dict[str, str | None]:
    """As the old service read it: one extension of a user, one user of an extension, and the last one wins."""
    mapping: dict[str, str | None] = {}
    owners: dict[str, str] = {}
    for name, held in _object(value, "retailcrm.user_extensions", behind).items():
        user, extension = name.strip(), text(held)
        if problems := _against(user_extensions={user: extension or None}):
            behind.extend(problems)
            continue
        if not extension and held not in (None, ""):
            behind.append(f"retailcrm.user_extensions.{user}: is neither an extension nor null")
            continue
        mapping[user] = extension or None
        if not extension:
            continue
        if extension in owners and owners[extension] != user:
            before = owners[extension]
            mapping[before] = None
            behind.append(f"retailcrm.user_extensions.{before}: {extension} is user {user}'s too, who is the last one")
        owners[extension] = user
    return mapping


def _smart(smart: dict[str, Any], behind: list[str]) -> dict[str, Any]:
    """The enterprise's choices of smart redirect, and those of its lines."""
    if not smart:
        return {}
    primary = text(smart.get("primary"))
    if primary not in {"", RETAILCRM}:
        behind.append(f"smart.primary: {shown(primary)} decides there, and is served by nobody here: routing is off")
        return {f"{PREFIX}mode": "off"}
    chosen = _checked({f"{PREFIX}mode": smart.get("mode")}, behind)
    lines: dict[str, dict[str, Any]] = {}
    for name, value in _object(smart.get("lines"), "smart.lines", behind).items():
        line = _object(value, f"smart.lines.{name}", behind)
        line_id = name.rpartition(":")[2].strip()
        if line and line_id:
            wanted = _of_line(line, text(smart.get("mode")))
            checked = _checked({f"{PREFIX}{key}": item for key, item in wanted.items()}, behind, f"of line {line_id}: ")
            lines[line_id] = {key.removeprefix(PREFIX): item for key, item in checked.items()}
    return chosen | ({f"{PREFIX}lines": lines} if lines else {})


def _of_line(line: dict[str, Any], mode: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {"algorithm": line.get("algorithm")}
    if truth(line.get("enabled")) is False:
        wanted["mode"] = "off"
    elif truth(line.get("do_routing")) is False and mode == "routing+name":
        wanted["mode"] = "name-only"
    shown_names = [name for name in _NAMES if truth(line.get(f"send_{name}_name"))]
    if any(f"send_{name}_name" in line for name in _NAMES):
        wanted["names"] = sorted(shown_names, key=lambda name: _order(line.get(f"{name}_name_order")))
    return wanted


def _order(value: object) -> int:
    digits = text(value)
    return int(digits) if digits.isascii() and digits.isdecimal() else len(_NAMES) + 1


def _checked(settings: dict[str, Any], behind: list[str], where: str = "") -> dict[str, Any]:
    """Those of the settings that can be meant."""
    kept = {}
    for name, value in settings.items():
        if value is None or value == "":
            continue
        if problems := _against(**{name: value}):
            behind.extend(f"{where}{problem}" for problem in problems)
        else:
            kept[name] = value
    return kept
