"""Which CRMs are served here: those that have a package in lib, a function and a subscription."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from lib.store.integration import RETAILCRM

SERVED: Final = (RETAILCRM,)


def unserved(integrations: Iterable[str]) -> list[str]:
    """Integrations that are kept for an enterprise, though nobody here works for them."""
    return sorted(set(integrations) - set(SERVED))
