"""The event API answers what its own description says, and each answer that is described is one that it gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import openapi_spec_validator
import pytest

from infra import routes
from infra.stand_ins.postgres import free_port
from lib.intake import document, forms
from lib.runtime import config, db, pubsub
from tests.harness.enterprises import TOKEN
from tests.infra.test_gateway import ask, running_gateway

DESCRIPTION = "/dispatch/openapi.json"
EVENT, BATCH = "/dispatch/call-event", "/dispatch/call-events"
POSTED = (EVENT, BATCH, *(f"/{kind}" for kind in forms.HOST_EVENT_TYPES))


@pytest.fixture
def dispatch(function, provisioned, broker, process):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    broker.topic("recovered-events")
    provisioned()
    return function("dispatch-call-event")


@pytest.fixture
def described(function) -> dict[str, Any]:
    found: dict[str, Any] = function("dispatch-call-event").get(DESCRIPTION).json
    return found


def operation(described, path):
    return described["paths"][path]["post"]


def body_of(described, path, *, token: object = TOKEN) -> dict[str, Any]:
    """The example of the description, with a token in it."""
    example = operation(described, path)["requestBody"]["content"]["application/json"]["example"]
    return {**example, "Token" if path not in {EVENT, BATCH} else "token": token}


def check(described, path, status, answer) -> None:
    """The answer has this status and is as described."""
    assert answer.status_code == status, (path, answer.text)
    found = (
        operation(described, path)["responses"].get(str(status)) or operation(described, path)["responses"]["default"]
    )
    schema = found["content"]["application/json"]["schema"] | {"components": described["components"]}
    assert [str(error) for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(answer.json)] == []
    for name in found.get("headers", ()):
        assert int(answer.headers[name]) >= 1


def test_it_is_openapi_and_describes_every_route_of_events(dispatch, described):
    openapi_spec_validator.validate(described)

    assert set(described["paths"]) == {*POSTED, DESCRIPTION}
    assert described == json.loads(json.dumps(document.document(batch_bytes=4_096_000)))
    assert described["servers"] == [{"url": "/"}]
    assert dispatch.get(DESCRIPTION).mimetype == "application/json"


def test_the_gateway_leads_to_every_path_of_it(described):
    for path in described["paths"]:
        [function] = {
            route.function
            for route in routes.ROUTES
            if route.path == path or (route.path.endswith("/") and path.startswith(route.path))
        }
        assert function == "dispatch-call-event", path


def test_every_example_is_accepted_as_a_new_event(dispatch, described, sql):
    for path in POSTED:
        answer = dispatch.post(path, json=body_of(described, path))
        assert answer.status_code in {200, 202}, answer.text
        assert ("duplicate" in answer.text) == (path == BATCH), path  # its event is the envelope's
    [(stored,)] = sql("SELECT count(*) FROM call_events")
    assert stored == len(forms.HOST_EVENT_TYPES) + 1  # the envelope brings a recording, which no host does


# What makes each path answer so, and how often one has to ask.
ARRANGED: dict[str, Callable[..., Any]] = {}


def arranged(status: str):
    def keep(make):
        ARRANGED[status] = make
        return make

    return keep


@arranged("200")
def _(dispatch, described, path, **_):
    if path == EVENT:
        dispatch.post(path, json=body_of(described, path))
    return dispatch.post(path, json=body_of(described, path))


@arranged("202")
def _(dispatch, described, path, **_):
    return dispatch.post(path, json=body_of(described, path))


@arranged("400")
def _(dispatch, described, path, **_):
    return dispatch.post(path, json=body_of(described, path, token=None))


@arranged("403")
def _(dispatch, described, path, sql, **_):
    sql("UPDATE enterprises SET host_networks = '{198.51.100.0/24}' RETURNING number")
    return dispatch.post(path, json=body_of(described, path))


@arranged("404")
def _(dispatch, described, path, **_):
    return dispatch.post(path, json=body_of(described, path, token="nobody"))


@arranged("413")
def _(dispatch, described, path, **_):
    return dispatch.post(path, json=body_of(described, path) | {"x": "x" * 70_000})


@arranged("429")
def _(dispatch, described, path, **_):
    for wrong in range(10):
        dispatch.post(path, json=body_of(described, path, token=f"wrong-{wrong}"))
    return dispatch.post(path, json=body_of(described, path, token="wrong-10"))


@arranged("503")
def _(dispatch, described, path, process, **_):
    db.close()
    pubsub.close()
    process.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:9/none")
    process.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    config.current.cache_clear()
    return dispatch.post(path, json=body_of(described, path))


def test_an_answer_is_arranged_for_whatever_is_described(described):
    for path in POSTED:
        statuses = set(operation(described, path)["responses"]) - {"default"}
        assert statuses == set(ARRANGED) - (set() if path == EVENT else {"202"}), path


@pytest.mark.parametrize(
    "case",
    [
        (path, status)
        for path in (EVENT, BATCH, "/start", "/hangup")
        for status in ARRANGED
        if path == EVENT or status != "202"
    ],
    ids=" ".join,
)
def test_each_answer_that_is_described_is_given(dispatch, described, process, sql, case):
    path, status = case

    answer = ARRANGED[status](dispatch=dispatch, described=described, path=path, process=process, sql=sql)

    check(described, path, int(status), answer)


@pytest.mark.parametrize("path", POSTED)
def test_what_is_described_as_default_is_an_error_of_ours_and_of_the_gateway(dispatch, described, monkeypatch, path):
    def broken(_):
        raise RuntimeError

    monkeypatch.setattr("lib.intake.bodies.parse", broken)

    check(described, path, 500, dispatch.post(path, json=body_of(described, path)))


def test_the_gateway_without_a_function_answers_in_the_same_form(described):
    upstreams = {"dispatch-call-event": f"http://127.0.0.1:{free_port()}"}
    with running_gateway(upstreams, patience_seconds=0.2) as port:
        for path in POSTED:
            answer = ask(port, "POST", path, json.dumps(body_of(described, path)).encode())

            schema = operation(described, path)["responses"]["default"]["content"]["application/json"]["schema"]
            validator = jsonschema_rs.Draft202012Validator(schema | {"components": described["components"]})
            assert answer.status == 502
            assert validator.is_valid(json.loads(answer.body)), answer.body


def test_a_batch_tells_each_outcome_as_described(dispatch, described):
    event = document.ENVELOPE_EXAMPLE
    other = {**event, "uniqueId": "1758798999.1", "raw": {**event["raw"], "UniqueId": "1758798999.1"}}

    answer = dispatch.post(
        BATCH, json={"token": TOKEN, "events": [event, event, {**other, "origin": "guess"}, other, 7]}
    )

    check(described, BATCH, 200, answer)
    shapes = [frozenset(one) for one in answer.json["results"]]
    assert shapes == [
        {"success", "event_id"},
        {"success", "status", "reason"},
        {"success", "error"},
        {"success", "event_id"},
        {"success", "error"},
    ]
    assert answer.json["success"] is False


def test_what_the_description_refuses_the_function_refuses(dispatch, described):
    """Of the frame: everything else is accepted in any form."""
    content = operation(described, EVENT)["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator(content | {"components": described["components"]})
    right = body_of(described, EVENT)
    for wrong in (
        {name: value for name, value in right.items() if name != "uniqueId"},
        {name: value for name, value in right.items() if name != "raw"},
        {name: value for name, value in right.items() if name != "event_type"},
        {name: value for name, value in right.items() if name != "token"},
        {**right, "event_type": "ring"},
        {**right, "origin": "guess"},
        {**right, "raw": [1]},
        {**right, "token": True},
    ):
        answer = dispatch.post(EVENT, json=wrong)
        assert not validator.is_valid(wrong), wrong
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_payload"), wrong
    assert validator.is_valid(right)
    assert validator.is_valid({**right, "origin": None, "raw": json.dumps(right["raw"])})
    assert dispatch.post(EVENT, json={**right, "origin": None, "raw": json.dumps(right["raw"])}).status_code == 202
