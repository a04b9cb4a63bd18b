"""Why something is told, or not: a code with its facts; `explain` makes the sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    code: str
    params: Mapping[str, object] = field(default_factory=dict)
    at: datetime | None = None
