"""One integration of an enterprise with a CRM: what `integrations_config` holds of it, read once into types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from lib.calls.directory import zone_named
from lib.calls.settings import Settings

RETAILCRM: Final = "retailcrm"
# Every integration has these, whichever CRM it is with; the settings of calls stand beside them.
_TYPED: Final = frozenset(
    {"enabled", "domain", "api_key", "user_extensions", "crm_timezone", "version", "last_sync", *Settings.names()}
)
_LONGEST_VERSION: Final = 15


@dataclass(frozen=True, kw_only=True)
class Integration:
    """
    `stored`: everything as it stands in the database, for forms, which save what they did not show as it was.

    `user_extensions`: the CRM's user id to the user's extension, or None. `api_key` is sealed. `crm_timezone` None: the
    CRM did not say. What cannot be meant leaves the default, and is named in `problems`.
    """

    name: str
    enabled: bool = False
    domain: str | None = None
    api_key: str | None = field(default=None, repr=False)
    user_extensions: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    crm_timezone: str | None = None
    version: int = 0
    last_sync: str | None = None
    settings: Settings = field(default_factory=Settings)
    problems: tuple[str, ...] = ()
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_config(cls, name: str, section: object) -> Integration:
        """Never raises: one value that cannot be meant must not take the others away."""
        if section is None:
            return absent(name)
        if not isinstance(section, dict):
            return cls(name=name, settings=Settings(enabled=False), problems=(f"{name}: must be an object",))
        settings = Settings.from_config(section)
        problems = list(settings.problems)
        return cls(
            name=name,
            enabled=settings.enabled,
            domain=_text(section, "domain", problems),
            api_key=_text(section, "api_key", problems, is_secret=True),
            user_extensions=_user_extensions(section.get("user_extensions"), problems),
            crm_timezone=_timezone(section, problems),
            version=version_of(section),
            last_sync=_text(section, "last_sync", problems),
            settings=settings,
            problems=tuple(problems),
            stored=section,
        )

    @property
    def is_connected(self) -> bool:
        """The CRM can be asked: its address and our key are there."""
        return bool(self.domain and self.api_key)

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """What belongs to the package of this CRM alone, as stored."""
        return {name: value for name, value in self.stored.items() if name not in _TYPED}

    @cached_property
    def extension_users(self) -> Mapping[str, int]:
        """The other way round: extension to user id."""
        return {extension: int(user) for user, extension in self.user_extensions.items() if extension}


def absent(name: str) -> Integration:
    """What an enterprise has that never heard of this CRM."""
    return Integration(name=name, settings=Settings(enabled=False))


def version_of(section: Mapping[str, Any]) -> int:
    """How often the section was saved; 0 for what is no number."""
    value = section.get("version")
    text = str(value)
    is_number = isinstance(value, int | str) and not isinstance(value, bool) and text.isascii() and text.isdecimal()
    return int(text) if is_number and len(text) <= _LONGEST_VERSION else 0


def _text(section: Mapping[str, Any], name: str, problems: list[str], *, is_secret: bool = False) -> str | None:
    value = section.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    problems.append(f"{name} must be text" if is_secret else f"{name} cannot be {value!r:.60}")
    return None


def _timezone(section: Mapping[str, Any], problems: list[str]) -> str | None:
    name = _text(section, "crm_timezone", problems)
    if name is None or zone_named(name).key == name:
        return name
    problems.append(f"crm_timezone cannot be {name!r:.60}")
    return None


def _user_extensions(value: object, problems: list[str]) -> Mapping[str, str | None]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append("user_extensions must map users to extensions")
        return {}
    mapping: dict[str, str | None] = {}
    for user, extension in value.items():
        held = str(extension) if isinstance(extension, int) and not isinstance(extension, bool) else extension
        if not (user.isascii() and user.isdecimal()):
            problems.append(f"user_extensions: {user!r:.40} is not a user id")
        elif held is not None and not isinstance(held, str):
            problems.append(f"user_extensions.{user:.40} cannot be {extension!r:.40}")
        else:
            mapping[user] = held or None
    problems += _shared_extensions(mapping)
    return mapping


def _shared_extensions(mapping: Mapping[str, str | None]) -> list[str]:
    owners: dict[str, str] = {}
    return [
        f"user_extensions: {held:.40} belongs to {owners[held]:.40} and to {user:.40}"
        for user, held in mapping.items()
        if held and owners.setdefault(held, user) != user
    ]
