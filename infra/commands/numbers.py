"""Numbers of enterprises as an operator gives them to a command."""

from __future__ import annotations

import re


def read(given: str) -> list[str]:
    """Separated by commas or blanks, each of them once."""
    return list(dict.fromkeys(filter(None, re.split(r"[\s,;]+", given))))
