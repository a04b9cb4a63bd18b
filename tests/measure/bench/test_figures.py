from __future__ import annotations

import pytest

from tests.measure.bench import capacity
from tests.measure.bench.capacity import Rung
from tests.measure.bench.figures import median, percentile, table, with_ratio
from tests.measure.bench.usage import Used


@pytest.mark.parametrize(
    ("values", "rank", "expected"),
    [([], 50, None), ([7.0], 99, 7.0), ([1.0, 2.0, 3.0], 50, 2.0), (list(range(101)), 99, 99.0)],
)
def test_a_percentile_is_interpolated_and_nothing_has_none(values, rank, expected):
    assert percentile(values, rank) == expected


def test_the_median_is_of_the_rounds_that_were_measured():
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([None]) is None


def test_a_value_is_shown_with_its_ratio_to_the_gateways():
    assert with_ratio(12.5, 10.0, " ms") == "12.5 ms (1.25×)"
    assert with_ratio(12.5, None, " ms") == "12.5 ms"
    assert with_ratio(None, 10.0) == "—"


def test_a_table_is_markdown():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_rung_says_what_came_in_time_and_what_never_came():
    gateway = rung("this gateway", delays_ms=[10.0, 20.0, 30.0])
    behind = rung("a peer", delays_ms=[20.0, 4000.0], rows=2)

    lines = capacity.report([gateway, behind]).splitlines()

    assert lines[2].startswith("| 50 | this gateway | 3 of 3 | 3 | 20.0 ms (1.00×) |")
    assert lines[3].startswith("| 50 | a peer | 1 of 3 | 2 | 2010.0 ms (100.50×) |")
    assert "2 of 3" in lines[3]
    assert gateway.has_all
    assert not behind.has_all


def test_what_an_event_costs_is_shown_by_part():
    assert "| 3.00 ms | worker 2.00, intake 1.00 |" in capacity.report_usage([rung("a peer", delays_ms=[1.0])])


def rung(name, *, delays_ms, rows=3):
    used = Used(parts={"intake": 0.01, "worker": 0.02}, machine=1.0, seconds=1.0)
    return Rung(
        name=name,
        rate=50.0,
        due=3,
        delays_ms=delays_ms,
        rows=rows,
        hangups=3,
        refused=0,
        late_ms=0.0,
        used=used,
        events=10,
        busy_cores=0.5,
    )
