"""The page that a manager would see, and that nothing at any address makes the simulator stumble."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.stand_ins.retailcrm_simulator import app
from tests.infra.retailcrm_simulator.client import EVENT, UPLOAD

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_page_and_everything_that_it_refers_to_is_served(simulator):
    seen, waiting, types = set(), ["/"], {}
    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = requests.get(urljoin(simulator, address), timeout=10)
        assert answer.status_code == 200, address
        types[address] = answer.headers["Content-Type"].partition(";")[0]
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        found = re.findall(r'(?:src=|href=|from )"(/[^"]+)"', answer.text)
        waiting += [each for each in found if each not in seen]

    on_disk = {f"/page/{path.name}" for path in app._PAGE.iterdir()} - {"/page/index.html"}
    assert seen == on_disk | {"/"}
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for address, kind in types.items():
        assert kind == kinds.get(address[address.rfind(".") :], "text/html"), address


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere():
    for path in app._PAGE.iterdir():
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path.name
        addresses = re.findall(r"https?://[^\s\"'/]+", text)
        assert set(addresses) <= {"http://www.w3.org"}, path.name
    page = (app._PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)


def test_every_text_exists_in_both_languages():
    texts = (app._PAGE / "texts.js").read_text()
    parts = re.findall(r"const (?:RU|EN) = \{(.*?)\n\};", texts, re.DOTALL)
    names = [re.findall(r'^\s+("?[\w ]+"?):', part, re.MULTILINE) for part in parts]
    used = set(re.findall(r'data-text="(\w+)"', (app._PAGE / "index.html").read_text()))

    assert len(parts) == 2
    assert names[0] == names[1]
    assert used <= set(names[0])


@pytest.mark.parametrize("path", ["/page/", "/page/nothing.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/app.py"])
def test_nothing_else_is_served(simulator, path):
    assert requests.get(simulator + path, timeout=10).status_code == 404


@pytest.fixture
def session():
    with requests.Session() as session:
        yield session


@FUZZ
@given(body=st.binary(max_size=300), path=st.sampled_from([EVENT, UPLOAD]))
def test_any_bytes_as_an_event_are_answered_without_a_5xx(account, session, body, path):
    name = "event" if path == EVENT else "calls"

    answer = session.post(account.url + path, data={name: body}, headers={"X-API-KEY": account.key}, timeout=10)

    assert answer.status_code in {200, 400}
    assert answer.json()["success"] in {True, False}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["phone", "type", "codes", "userIds", "site", "callExternalId", "webAnalyticsData"])


@FUZZ
@given(changes=st.dictionaries(NAMES, ANY_JSON, max_size=3))
def test_any_json_in_any_field_is_answered_without_a_5xx(account, changes):
    assert account.event(**changes).status_code in {200, 400}


@FUZZ
@given(
    body=st.binary(max_size=100),
    kind=st.sampled_from(
        ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain; charset=nope", "/"]
    ),
    path=st.sampled_from([EVENT, "/api/v5/users/18/status", "/api/v5/integration-modules/x/edit", "/api/%ff/%00"]),
)
def test_any_body_of_any_type_is_answered_without_a_5xx(account, session, body, kind, path):
    headers = {"X-API-KEY": account.key, "Content-Type": kind}

    answer = session.post(account.url + path, data=body, headers=headers, timeout=10)

    assert answer.status_code in {400, 404}


@FUZZ
@given(
    text=st.text(max_size=40),
    path=st.sampled_from(["/api/v5/users", "/api/v5/telephony/manager", "/_sim/ledger", "/_sim/faults"]),
    name=st.sampled_from(["limit", "page", "phone", "filter[active]", "filter[groups][]", "since", "account"]),
)
def test_any_query_is_answered_without_a_5xx(account, session, text, path, name):
    answer = session.get(account.url + path, params={name: text}, headers={"X-API-KEY": account.key}, timeout=10)

    assert answer.status_code < 500
