"""
Tried: a caller, a line or somebody in the CRM bears a name that a spreadsheet takes for a formula, when an administrator opens an
exported list; a list is taken along and nobody knows by whom.

Holds: no cell of an export is a formula, whichever way a spreadsheet separates cells; numbers stay readable. Every export is in the
log that the page shows.
"""

from __future__ import annotations

import csv
import io

import pytest

CUSTOMER = "+375291111111"
FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\tx",
    " =1+1",
    "Shop;=1+1",
    'Shop;"=1+1"',
    "Shop; @SUM(1)",
    "Shop\t-1+1",
    "Shop\n=1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(1)",
    "Shop;＝1+1",
    "a;b;=1+1;+375291111111;@x",
)
DANGEROUS = set("=+-@\t\r＝＋－＠")


@pytest.fixture
def named(page, sql):
    """A call by a line of this name."""
    sql(
        "INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, line_id, started_at, first_event_at, last_event_at) "
        "VALUES ('0367', '1758798777.27', 'in', %s, '0001301', now(), now(), now()) RETURNING 1",
        CUSTOMER,
    )

    def name(text):
        sql("UPDATE lines SET name = %s WHERE line_id = '0001301' RETURNING 1", text)

    return name


def cells(text, delimiter):
    """As a spreadsheet reads them: it takes quotes off and does without spaces around."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter)
    return [cell for row in rows for cell in row]


def is_number(cell):
    return cell.removeprefix("+").isdigit()


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula_however_cells_are_separated(page, named, formula):
    named(formula)

    text = page.get("calls/0367", format="csv").get_data(as_text=True)

    for delimiter in ",;\t":
        for cell in cells(text, delimiter):
            bare = cell.strip(" \n\"'") if cell[:1] in ' \n"' else cell
            assert not bare or bare[0] not in DANGEROUS or is_number(bare), (delimiter, cell)


def test_what_is_no_formula_stays_as_it_is(page, named):
    for text in ("Shop", "Shop; second", "Shop – north", "a=b", "151", "+375290000101", "Shop;+375290000101"):
        named(text)

        found = cells(page.get("calls/0367", format="csv").get_data(as_text=True), ";")

        assert text in found
        assert "375 29 111-11-11" in found


def test_every_export_is_in_the_log_with_who_what_and_how_much(page, named):
    page.get("calls/0367", format="csv", phone="1111111", kind="in")
    page.get("calls/0367", format="csv", phone="5555555")
    page.get("calls/0367", phone="1111111")
    page.get("logs/0367", format="csv", status="error")

    told = page.get("logs/0367", event_type="export").json["logs"]

    assert [entry["request_data"] for entry in reversed(told)] == [
        {"by": "admin", "of": "calls", "filter": {"phone": "1111111", "kind": "in"}, "rows": 1},
        {"by": "admin", "of": "calls", "filter": {"phone": "5555555"}, "rows": 0},
        {"by": "admin", "of": "log", "filter": {"status": "error"}, "rows": 0},
    ]
    assert {entry["status"] for entry in told} == {"success"}


def test_an_export_by_the_manager_who_is_nobody_is_one_too(page):
    page.get("calls/0367", format="csv", manager="999")

    [told] = page.get("logs/0367", event_type="export").json["logs"]

    assert told["request_data"] == {"by": "admin", "of": "calls", "filter": {"manager": "999"}, "rows": 0}
