"""What holds for every operation, whatever it does."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra import routes
from lib.admin.api import OPERATIONS
from lib.admin.operation import ROOT
from tests.conftest import OPERATOR_TOKEN
from tests.harness.page import API

NAMES = [f"{operation.method} {operation.path}" for operation in OPERATIONS]
OF_AN_ENTERPRISE = [o for o in OPERATIONS if o.access == "session" and "{number}" in o.path]
OF_THE_OPERATOR = [o for o in OPERATIONS if o.access == "operator"]


def path(operation, number="0367"):
    return operation.path.removeprefix("/").format(number=number, unique_id="1758798777.27")


@pytest.mark.parametrize("operation", OF_AN_ENTERPRISE, ids=lambda o: f"{o.method} {o.path}")
def test_another_enterprise_does_not_exist_for_a_session(page, provisioned, operation, sql):
    provisioned("0368", token="375290000002")
    before = sql("SELECT * FROM enterprises WHERE number = '0368'")

    for number in ("0368", "9999"):
        answer = page.ask(operation.method, path(operation, number), {})
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_enterprise")
    assert sql("SELECT * FROM enterprises WHERE number = '0368'") == before


@pytest.mark.parametrize("operation", OF_AN_ENTERPRISE, ids=lambda o: f"{o.method} {o.path}")
def test_without_a_session_nothing_is_told(browser, operation):
    answer = browser().ask(operation.method, path(operation), {})

    assert (answer.status_code, answer.json["error"]["code"]) == (401, "session_required")


@pytest.mark.parametrize(
    "operation", [o for o in OF_AN_ENTERPRISE if o.method != "GET"], ids=lambda o: f"{o.method} {o.path}"
)
def test_another_site_changes_nothing(page, operation):
    answer = page.ask(operation.method, path(operation), {}, headers={"Sec-Fetch-Site": "cross-site"})

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("operation", OF_THE_OPERATOR, ids=lambda o: f"{o.method} {o.path}")
def test_a_session_is_no_operator(page, process, operation):
    from lib.runtime import config

    assert page.ask(operation.method, path(operation)).status_code == 403
    process.setenv("OPERATOR_TOKEN", "")
    config.current.cache_clear()
    closed = page.ask(operation.method, path(operation), headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})
    assert closed.status_code == 403


def test_every_operation_is_described_as_it_is_checked(browser):
    described = browser().get("openapi.json").json

    assert described["openapi"] == "3.1.0"
    assert {f"{method.upper()} {name}" for name, item in described["paths"].items() for method in item} == set(NAMES)
    for operation in OPERATIONS:
        shown = described["paths"][operation.path][operation.method.lower()]
        if "requestBody" in shown:
            schema = shown["requestBody"]["content"]["application/json"]["schema"]
            assert schema == json.loads(json.dumps(operation.body))
        named = {parameter["name"] for parameter in shown["parameters"] if parameter["in"] == "query"}
        assert named == set(operation.query["properties"])
    assert len({shown["operationId"] for item in described["paths"].values() for shown in item.values()}) == len(NAMES)


def test_the_gateway_leads_here():
    assert any(route.path == f"{ROOT}/" and route.function == "admin-api" for route in routes.ROUTES)
    assert ROOT == API


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def shaped(operation, part):
    """Objects with the names that are known, so that what is behind the door is reached too."""
    names = list(getattr(operation, part)["properties"]) or ["nothing"]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), JUNK, max_size=4)


# But one: whoever signs out asks nothing more.
ASKED = [o for o in OPERATIONS if (o.method, o.path) != ("DELETE", "/session")]


@pytest.mark.parametrize("operation", ASKED, ids=lambda o: f"{o.method} {o.path}")
def test_no_request_however_odd_is_an_error_of_ours(page, operation):
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=shaped(operation, "body"), query=shaped(operation, "query"), unique_id=st.text(min_size=1, max_size=12))
    def ask(body, query, unique_id):
        where = operation.path.removeprefix("/").format(
            number="0367", unique_id=unique_id.replace("/", "_").replace("?", "_").replace("#", "_")
        )
        answer = page.ask(
            operation.method, where, body, query_string={name: str(value) for name, value in query.items()}
        )

        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json["error"]["code"]

    ask()


@pytest.mark.parametrize("body", ["", "[]", "{", '"x"', '{"a": NaN}', "\x00", '{"version": 1e999}'])
def test_a_body_that_is_no_object_is_refused(page, body):
    answer = page.ask("PUT", "config/0367", data=body.encode(), content_type="application/json")

    assert answer.status_code == 400


def test_a_body_that_is_too_large_is_refused(page):
    answer = page.ask("PUT", "config/0367", data=b"[" * 300_000, content_type="application/json")

    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")
