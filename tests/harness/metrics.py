"""Reads what `GET /metrics` says."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import OPERATOR_TOKEN

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


class Metrics:
    """Of one function, at one moment."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        self.values = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        self.names = {one.name for one in samples}

    @classmethod
    def of(cls, client: Any) -> Metrics:
        answer = client.get("/metrics", headers=OPERATOR)
        assert answer.status_code == 200
        return cls(answer.get_data(as_text=True))

    def __call__(self, name: str, **labels: str) -> float:
        """0 for what was not counted yet."""
        return self.values.get((name, frozenset(labels.items())), 0.0)
