"""The person who runs a command, for the log of manual actions."""

from __future__ import annotations

import getpass

from lib.runtime.errors import InvalidPayload


def of(given: str) -> str:
    """`given`, or the user of the operating system. Raises InvalidPayload."""
    if given.strip():
        return given.strip()[:200]
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:
        raise InvalidPayload("Nobody knows who you are: say BY=your-name, without make --by your-name") from error
