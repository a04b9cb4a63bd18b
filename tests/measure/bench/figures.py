"""What is said about measured values: percentiles, medians of rounds, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], rank: int) -> float | None:
    """None without values."""
    if not values:
        return None
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]


def median(values: Sequence[float | None]) -> float | None:
    """Of those that were measured."""
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def with_ratio(value: float | None, base: float | None, unit: str = "", *, digits: int = 1) -> str:
    """`12.5 ms (1.25×)`; a dash for what was not measured, no ratio without a base."""
    if value is None:
        return "—"
    ratio = f" ({value / base:.2f}×)" if base else ""
    return f"{value:.{digits}f}{unit}{ratio}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
