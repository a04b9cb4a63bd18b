"""
The API is as its own description says, whatever is sent: no error of ours, nothing that is not described, nothing
of another enterprise.
"""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, seed, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from lib.admin.api import OPERATIONS
from lib.admin.document import document
from tests.conftest import OPERATOR_TOKEN
from tests.contract.conftest import OF_BOTH, SEED, Door, is_of, unique_id
from tests.harness.described import differences, operation_of
from tests.harness.page import API, PASSWORD

DESCRIBED = json.loads(json.dumps(document(OPERATIONS)))


def without_security(described: dict[str, Any]) -> dict[str, Any]:
    """Who may ask is asked below: here everybody is signed in, and the name of the cookie depends on the address."""
    found: dict[str, Any] = json.loads(json.dumps(described))
    del found["components"]["securitySchemes"]
    for path in found["paths"].values():
        for operation in path.values():
            del operation["security"]
    return found


SCHEMA = schemathesis.openapi.from_dict(without_security(DESCRIBED))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
BOUNDED = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True
)


def ask(door: Door, case: Case, number: str, *, of: str) -> Response:
    """With the session of `of`; what would reach a real CRM, or wait for nothing, is put right."""
    parameters: dict[str, Any] = case.path_parameters or {}
    body: Any = case.body
    if "number" in parameters:
        parameters["number"] = number
    if len(str(parameters.get("unique_id", ""))) % 2:
        parameters["unique_id"] = unique_id(number)
    if isinstance(body, dict):
        if isinstance(body.get("domain"), str) and 0 < len(body["domain"]) <= 255:
            body["domain"] = door.crm.url
        if isinstance(body.get("seconds"), int) and 0 <= body["seconds"] <= 10:
            body["seconds"] = 0
    cookies = {} if case.path == "/session" and case.method == "DELETE" else door.cookies[of]
    answer = case.call(base_url=door.base, cookies=cookies, headers=door.headers, timeout=60)
    if answer.status_code == 401:
        door.sign_in(of)
    return answer


def test_what_is_served_is_what_is_asked_here(door):
    assert requests.get(f"{door.base}/openapi.json", timeout=30).json() == DESCRIBED


@seed(SEED)
@SCHEMA.parametrize()
@BOUNDED
def test_every_answer_is_as_described_to_either_enterprise(door, case):
    for mine, other in permutations(OF_BOTH):
        answer = ask(door, case, mine, of=mine)

        case.validate_response(answer, checks=CHECKS)
        assert not is_of(other, answer.text)


@seed(SEED)
@SCHEMA.include(path_regex="number").parametrize()
@settings(BOUNDED, max_examples=4)
def test_another_enterprise_is_out_of_reach_whatever_is_sent(door, case):
    for mine, other in permutations(OF_BOTH):
        for number in (other, "9999"):
            answer = ask(door, case, number, of=mine)

            is_there = case.method.lower() in DESCRIBED["paths"][case.path]
            assert answer.status_code in ({403, 404} if is_there else {405}), answer.text
            assert not any(is_of(each, answer.text) for each in OF_BOTH)


WALK: list[tuple[str, str, Any]] = [
    ("GET", "openapi.json", None),
    ("GET", "logo.svg", None),
    ("POST", "session", {"enterprise_number": "0367", "login": "admin", "password": PASSWORD}),
    ("GET", "session", None),
    ("GET", "config/{number}", None),
    ("PUT", "config/{number}", {"version": None, "settings": {"settle_seconds": 5}}),
    ("POST", "config/{number}/test", {}),
    ("GET", "managers/{number}", None),
    ("GET", "internal-phones/{number}", None),
    ("GET", "user-extensions/{number}", None),
    ("POST", "save-extensions/{number}", {"user_extensions": {"18": "150", "19": "152"}}),
    ("POST", "sync-extensions/{number}", {}),
    ("GET", "alive", None),
    ("GET", "shops/{number}", None),
    ("GET", "lines/{number}?raw=291111111&line_id=belline1", None),
    ("PUT", "lines/{number}", {"lines": [{"line_id": "0001301", "name": "Shop"}]}),
    ("POST", "register/{number}", {}),
    ("GET", "register/{number}", None),
    ("DELETE", "register/{number}", None),
    ("GET", "stats/{number}", None),
    ("GET", "doctor/{number}", None),
    ("GET", "calls/{number}", None),
    ("GET", "report/{number}", None),
    ("GET", "callbacks/{number}", None),
    ("POST", "callbacks/{number}", {"unique_id": unique_id("0367"), "state": "taken"}),
    ("GET", "calls/{number}/{unique_id}", None),
    ("POST", "calls/{number}/{unique_id}/replay", {}),
    ("POST", "replay/{number}", {"since": "2020-01-01T00:00:00Z"}),
    ("GET", "logs/{number}", None),
    ("GET", "situations/{number}", None),
    ("POST", "preview/{number}", {"situation": "incoming-transfer"}),
    ("POST", "test-popup/{number}", {"user_id": 18, "seconds": 0}),
    ("GET", "active-enterprises", None),
    ("POST", "config-cache/refresh/{number}", None),
    ("POST", "config-cache/refresh-all", None),
    ("DELETE", "config/{number}", None),
    ("DELETE", "session/link", None),
    ("DELETE", "session", None),
]


def test_every_route_of_either_enterprise_is_closed_to_the_other(door):
    asked = set()
    for mine, other in permutations(OF_BOTH):
        for method, path, body in WALK:
            if "{number}" not in path:
                continue
            where = path.format(number=other, unique_id=unique_id(other))
            answer = requests.request(
                method, f"{door.base}/{where}", json=body, cookies=door.cookies[mine], headers=door.headers, timeout=60
            )

            asked.add(operation_of(method, where))
            assert answer.status_code in {403, 404}, (mine, method, where, answer.text)
            assert not is_of(other, answer.text)
        for path in (
            "session",
            f"config/{mine}",
            f"calls/{mine}/{unique_id(mine)}",
        ):  # it is the session that is theirs
            answer = requests.get(f"{door.base}/{path}", cookies=door.cookies[mine], headers=door.headers, timeout=60)

            assert (answer.status_code, is_of(mine, answer.text), is_of(other, answer.text)) == (200, True, False)
    assert asked == {f"{operation.method} {operation.path}" for operation in OPERATIONS if "{number}" in operation.path}


def test_every_operation_succeeds_once_and_is_as_described(untouched_door):
    door = untouched_door
    cookies, known = door.cookies["0367"], {"number": "0367", "unique_id": unique_id("0367")}
    succeeded = set()
    for method, path, body in WALK:
        where = path.format(**known)
        if body is not None and "version" in body:
            body["version"] = requests.get(f"{door.base}/config/0367", cookies=cookies, timeout=30).json()["version"]
        headers = {**door.headers, "Authorization": f"Bearer {OPERATOR_TOKEN}"}
        answer = requests.request(
            method, f"{door.base}/{where}", json=body, cookies=cookies, headers=headers, timeout=60
        )

        assert 200 <= answer.status_code < 300, (method, path, answer.text)
        cookies |= dict(answer.cookies)
        found = differences(method, where, answer.status_code, answer.headers["Content-Type"], answer.text)
        assert found == []
        succeeded.add(operation_of(method, where))
    assert succeeded == {f"{operation.method} {operation.path}" for operation in OPERATIONS}


def test_the_api_is_where_the_gateway_says(door):
    assert requests.get(f"{door.url}{API}/session", timeout=30).status_code == 401
