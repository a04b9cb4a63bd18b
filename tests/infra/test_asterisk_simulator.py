"""The Asterisk service's simulator, over HTTP."""

from __future__ import annotations

import itertools
import time

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.stand_ins.postgres import free_port
from tests.harness.servers import process

CALL = {"code": "151", "phone": "+375291111111"}
TRANSFER = {"transfer_type": "blind", "from_ext": "151", "to_ext": "152"}
NUMBERS = itertools.count(3670)


@pytest.fixture(scope="module")
def service():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process("infra.stand_ins.asterisk_simulator", "--port", str(port), health=f"{url}/health"):
        yield url


@pytest.fixture
def enterprise(service):
    """Makes enterprises; what it returns asks the service with their secret."""

    class Enterprise:
        def __init__(self, **changes):
            self.number = f"{next(NUMBERS)}"
            self.secret = f"secret-of-{self.number}"
            data = {"number": self.number, "secret": self.secret, **changes}
            assert requests.post(f"{service}/_sim/enterprises", json=data, timeout=5).status_code == 201

        def call(self, **changes):
            return self.ask("makecallexternal", {**CALL, "clientId": self.secret, **changes})

        def transfer(self, **changes):
            return self.ask("transfer", {**TRANSFER, "clientId": self.secret, **changes})

        def ask(self, what, query):
            return requests.get(f"{service}/api/{what}", params=query, timeout=5)

        def fault(self, mode, **options):
            rule = {"enterprise": self.number, "mode": mode, **options}
            assert requests.post(f"{service}/_sim/faults", json=rule, timeout=5).status_code == 201

        def orders(self):
            return requests.get(f"{service}/_sim/ledger", params={"enterprise": self.number}, timeout=5).json()[
                "orders"
            ]

    return Enterprise


def test_it_is_healthy(service):
    assert requests.get(f"{service}/health", timeout=5).json() == {"status": "healthy"}


def test_an_accepted_order_is_answered_in_the_services_words(enterprise):
    known = enterprise()

    answer = known.call()

    body = answer.json()
    assert answer.status_code == 200
    assert isinstance(body.pop("response_time_ms"), int)
    assert body == {
        "success": True,
        "message": "Call initiated successfully: 151 -> +375291111111",
        "enterprise_number": known.number,
        "from_ext": "151",
        "to_phone": "+375291111111",
    }
    [order] = known.orders()
    assert (order["accepted"], order["status"], order["endpoint"]) == (True, 200, "makecall")
    assert order["query"] == {**CALL, "clientId": f"…{known.secret[-4:]}"}


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"code": None}, 400, "Missing parameter: code"),
        ({"phone": ""}, 400, "Missing parameter: phone"),
        ({"clientId": None}, 400, "Missing parameter: clientId"),
        ({"clientId": "0367"}, 401, "Invalid clientId"),
        ({"code": "1; reboot"}, 400, "Invalid parameter: code"),
        ({"code": "1"}, 400, "Invalid parameter: code"),
        ({"code": "1234567"}, 400, "Invalid parameter: code"),
        ({"phone": "$(reboot)"}, 400, "Invalid parameter: phone"),
        ({"phone": " 375291111111"}, 400, "Invalid parameter: phone"),
        ({"phone": "1" * 16}, 400, "Invalid parameter: phone"),
        ({"phone": "١٢٣٤٥"}, 400, "Invalid parameter: phone"),
    ],
)
def test_a_wrong_order_is_refused(enterprise, changes, status, detail):
    known = enterprise()

    answer = known.call(**changes)

    assert (answer.status_code, answer.json()) == (status, {"detail": detail})
    assert not any(order["accepted"] for order in known.orders())


def test_an_enterprise_without_a_host_cannot_call(enterprise):
    answer = enterprise(host=None).call()

    assert (answer.status_code, answer.json()) == (500, {"detail": "Host IP not configured for this enterprise"})


def test_values_that_once_reached_a_shell_are_noted(enterprise):
    known = enterprise()

    known.call(phone="1234'; reboot")

    assert known.orders()[0]["warnings"] == ["phone holds more than digits and +"]


def test_a_transfer_needs_a_call_that_goes_on(enterprise):
    known = enterprise()

    before = known.transfer()
    known.call()
    attended, blind = known.transfer(transfer_type="attended"), known.transfer()
    after = known.transfer()

    assert (before.status_code, before.json()) == (404, {"detail": "Active channel for extension 151 not found"})
    assert (attended.status_code, blind.status_code, after.status_code) == (200, 200, 404)
    assert blind.json()["message"] == "Transfer initiated successfully: 151 -> 152"


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"transfer_type": "rough"}, 400, "Invalid parameter: transfer_type"),
        ({"from_ext": "x1"}, 400, "Invalid parameter: from_ext"),
        ({"to_ext": "`id`"}, 400, "Invalid parameter: to_ext"),
        ({"to_ext": None}, 400, "Missing parameter: to_ext"),
        ({"clientId": "nobody"}, 401, "Invalid clientId"),
    ],
)
def test_a_wrong_transfer_is_refused(enterprise, changes, status, detail):
    answer = enterprise(channels=["151"]).transfer(**changes)

    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_a_slow_service_answers_late(enterprise):
    known = enterprise()
    known.fault("slow", delay_ms=300)

    started = time.monotonic()
    answer = known.call()

    assert time.monotonic() - started >= 0.3
    assert answer.json()["response_time_ms"] >= 300


def test_a_refusing_host_is_a_500_once(enterprise):
    known = enterprise()
    known.fault("refuse", requests=1)

    first, second = known.call(), known.call()

    assert (first.status_code, first.json()) == (500, {"detail": "Failed to connect to the Asterisk host"})
    assert second.status_code == 200
    assert [(order["fault"], order["accepted"]) for order in known.orders()] == [("refuse", False), (None, True)]


@pytest.mark.parametrize("mode", ["drop", "hang"])
def test_a_connection_that_ends_without_an_answer(enterprise, mode):
    known = enterprise()
    known.fault(mode, hang_seconds=0.2, endpoint="makecall", apply=True)

    with pytest.raises(requests.ConnectionError):
        known.call()

    [order] = known.orders()
    assert (order["accepted"], order["status"]) == (True, None)
    assert known.transfer().status_code == 200


def test_faults_and_orders_are_taken_back(enterprise, service):
    known = enterprise()
    known.fault("refuse")

    requests.delete(f"{service}/_sim/faults", params={"enterprise": known.number}, timeout=5)
    answer = known.call()
    requests.delete(f"{service}/_sim/enterprises", params={"number": known.number}, timeout=5)

    assert answer.status_code == 200
    assert known.call().json() == {"detail": "Invalid clientId"}


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("enterprises", {"number": "x", "secret": "s"}, "number: must be digits"),
        ("enterprises", {"number": "1"}, "secret: This value should not be blank"),
        ("enterprises", {"enterprises": 7}, "enterprises: a list is expected"),
        ("faults", {"mode": "explode"}, "mode: must be one of ok, slow, refuse, hang, drop"),
    ],
)
def test_wrong_control_is_refused(service, path, data, message):
    answer = requests.post(f"{service}/_sim/{path}", json=data, timeout=5)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.text(max_size=8), phone=st.text(max_size=20))
def test_any_text_is_refused_or_is_a_number(enterprise, service, code, phone):
    query = {"code": code, "phone": phone, "clientId": "nobody"}

    answer = requests.get(f"{service}/api/makecallexternal", params=query, timeout=5)

    assert answer.status_code in {400, 401}
