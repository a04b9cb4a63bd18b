"""
Somebody makes the telephones of others ring, at their cost.

Tried: a foreign page whose picture is a click; the enterprise's number, which is no secret, in place of the clientId;
numbers that cost much; clicks without end; Asterisk services that never answer, so that nobody else's clicks are taken.
Must hold: nothing rings but by RetailCRM's server with the clientId, nothing is dialled that was not allowed, and the
click of a third enterprise is answered while two services hang.
"""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

from lib.runtime import config
from tests.harness.servers import Asterisk

CUSTOMER = "+375291111111"
OF_A_PICTURE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
BY_HAND = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
THREADS = 8


@pytest.fixture(scope="module")
def asterisk_server():
    with Asterisk.started() as started:
        yield started


@pytest.fixture
def asterisk(asterisk_server):
    asterisk_server.clear()
    return asterisk_server


@pytest.fixture
def enrol(provisioned, asterisk, sql):
    """Makes an enterprise whose orders go to a service, the simulator's unless told otherwise; its clientId."""

    def make(number="0367", *, url=None, **options):
        asterisk.enterprise(number, f"secret-of-{number}")
        provisioned(number, token=f"token-of-{number}", **options)
        address = url or asterisk.url
        return sql("UPDATE enterprises SET asterisk_url = %s WHERE number = %s RETURNING client_id", address, number)[
            0
        ][0]

    return make


@pytest.fixture
def make_call(function):
    return function("make-call")


@pytest.fixture
def logged(sql):
    def found(event_type="make_call"):
        return sql(
            "SELECT status, response_data, error_message FROM integration_logs WHERE event_type = %s ORDER BY id",
            event_type,
        )

    return found


def click(make_call, client_id, phone=CUSTOMER, headers=None, user=19):
    query = {"clientId": client_id, "phone": phone, "userId": user}
    return make_call.get("/retailcrm/make-call", query_string=query, headers=headers)


def dialled(asterisk):
    return [order["query"]["phone"] for order in asterisk.orders()]


@pytest.mark.parametrize("headers", [OF_A_PICTURE, BY_HAND], ids=["a picture", "an address"])
def test_no_page_of_anybody_rings_a_phone(*, enrol, make_call, asterisk, logged, headers):
    client_id = enrol()

    by_a_page = click(make_call, client_id, headers=headers)
    by_the_crm = click(make_call, client_id)

    assert (by_a_page.status_code, by_a_page.json["error"]["code"]) == (403, "from_a_browser")
    assert by_the_crm.status_code == 200
    assert dialled(asterisk) == [CUSTOMER]
    assert [(row[0], row[1].get("code")) for row in logged()] == [("error", "from_a_browser"), ("success", None)]


def test_a_page_that_knows_the_clientid_changes_nothing_either(enrol, make_call, sql):
    client_id = enrol()
    form = {"clientId": client_id, "activity": '{"active": false}', "userId": "19", "status": "dinner"}

    answers = [
        make_call.post(path, data=form, headers=OF_A_PICTURE) for path in ("/retailcrm/activity", "/retailcrm/status")
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert sql("SELECT integrations_config #> '{retailcrm,enabled}' FROM enterprises") == [(True,)]
    assert sql("SELECT * FROM user_statuses") == []


def test_the_enterprise_number_rings_where_the_setting_says_so_and_does_nothing_else(
    enrol, make_call, function, asterisk, sql
):
    enrol(accept_number_as_client_id=True)
    form = {"clientId": "0367", "activity": '{"active": false}', "userId": "19", "status": "dinner"}

    rung = click(make_call, "0367")
    switched = make_call.post("/retailcrm/activity", data=form)
    moved = make_call.post("/retailcrm/status", data=form)
    name = function("smart-redirect").post(
        "/retailcrm/api/smart-redirect", json={"enterprise_number": "0367", "phone": CUSTOMER}
    )

    assert [answer.status_code for answer in (rung, switched, moved, name)] == [200, 401, 401, 401]
    assert "register the module" in switched.json["error"]["message"]
    assert sql("SELECT integrations_config #> '{retailcrm,enabled}' FROM enterprises") == [(True,)]
    assert sql("SELECT * FROM user_statuses") == []


@pytest.mark.parametrize(
    ("phone", "code", "detail"),
    [
        ("+78091234567", "number_kind_not_allowed", {"kind": "premium"}),
        ("+375 902 123 45 67", "number_kind_not_allowed", {"kind": "premium"}),
        ("+447012345678", "number_kind_not_allowed", {"kind": "premium"}),
        ("+491801123456", "number_kind_not_allowed", {"kind": "shared_cost"}),
        ("+8816123456789", "number_kind_not_allowed", {"kind": "satellite"}),
        ("+870773123456", "number_kind_not_allowed", {"kind": "satellite"}),
        ("+882161234567", "number_kind_not_allowed", {"kind": "satellite"}),
        ("+79541234567", "number_kind_not_allowed", {"kind": "satellite"}),
        ("+5351234567", "country_not_allowed", {"country": "CU"}),
        ("+18765551234", "country_not_allowed", {"country": "JM"}),
        ("+252612345678", "country_not_allowed", {"country": "SO"}),
    ],
)
def test_a_number_that_costs_much_is_not_dialled_and_the_reason_is_told(
    *, enrol, make_call, asterisk, logged, phone, code, detail
):
    answer = click(make_call, enrol(), phone)

    error = answer.json["error"]
    assert (answer.status_code, error["code"]) == (403, code)
    assert error.items() >= detail.items()
    assert "an administrator allows" in error["message"]
    assert dialled(asterisk) == []
    assert logged() == [("error", {"http_status": 403, "code": code, **detail}, error["message"])]


@pytest.mark.parametrize("phone", ["+79161234567", "+78001234567", "+380501234567", "+77011234567", "+48221234567"])
def test_the_customers_of_a_shop_here_are_called_as_before(enrol, make_call, asterisk, phone):
    assert click(make_call, enrol(), phone).status_code == 200
    assert dialled(asterisk) == [phone]


@pytest.mark.parametrize(
    ("chosen", "phone", "status"),
    [
        ({"click_countries": ["CU"]}, "+5351234567", 200),
        ({"click_countries": ["CU"]}, CUSTOMER, 403),
        ({"click_countries": ["*"]}, "+18765551234", 200),
        ({"click_countries": ["*"]}, "+8816123456789", 403),
        ({"click_number_kinds": ["satellite"]}, "+8816123456789", 200),
        ({"click_number_kinds": ["premium"]}, "+78091234567", 200),
        ({"click_number_kinds": ["premium"]}, "+447012345678", 403),
    ],
)
def test_an_enterprise_allows_what_it_wants(*, enrol, make_call, chosen, phone, status):
    assert click(make_call, enrol(**chosen), phone).status_code == status


def test_clicks_of_a_day_end_at_the_limit(enrol, make_call, asterisk, logged, sql):
    client_id = enrol(click_daily_limit=2)
    phones = [f"+37529111111{digit}" for digit in range(4)]

    of_today = [click(make_call, client_id, phone) for phone in phones[:3]]
    sql("UPDATE clicks SET clicked_at = clicked_at - interval '25 hours' RETURNING 1")
    of_tomorrow = click(make_call, client_id, phones[3])

    assert [answer.status_code for answer in of_today] == [200, 200, 429]
    error = of_today[2].json["error"]
    assert (error["code"], error["limit"]) == ("daily_limit", 2)
    assert of_tomorrow.status_code == 200
    assert len(dialled(asterisk)) == 3
    assert logged()[2] == ("error", {"http_status": 429, "code": "daily_limit", "limit": 2}, error["message"])


def silent_service(servers):
    """An Asterisk service that takes connections and says nothing."""
    listening = servers.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_two_services_that_hang_do_not_delay_the_click_of_a_third_enterprise(enrol, make_call, process, asterisk):
    process.setenv("THREADS", str(THREADS))
    process.setenv("ASTERISK_TIMEOUT_SECONDS", "3")
    config.current.cache_clear()
    with ExitStack() as servers, ThreadPoolExecutor(THREADS) as threads:  # as many as the function's server has
        hanging = {number: enrol(number, url=silent_service(servers)) for number in ("0367", "0368")}
        third = enrol("0369")
        application = make_call.application

        def send(client_id, digit):
            return click(application.test_client(), client_id, f"+37529111111{digit}")

        stuck = [threads.submit(send, client_id, digit) for digit in range(4) for client_id in hanging.values()]
        answer = threads.submit(send, third, 9).result()
        under_way_still = [one for one in stuck if not one.done()]
        wait(stuck)

    assert answer.status_code == 200
    assert under_way_still
    refused = [one.result() for one in stuck if one.result().status_code == 429]
    assert refused
    assert dialled(asterisk) == ["+375291111119"]
    assert json.dumps(refused[0].json)


def test_a_service_that_hung_is_asked_by_one_click_at_a_time(enrol, make_call, process, asterisk):
    process.setenv("THREADS", "24")
    process.setenv("ASTERISK_TIMEOUT_SECONDS", "1")
    config.current.cache_clear()
    with ExitStack() as servers, ThreadPoolExecutor(5) as threads:
        client_id = enrol(url=silent_service(servers))
        application = make_call.application

        def send(digit):
            return click(application.test_client(), client_id, f"+37529111111{digit}")

        first = send(0)
        then = [one.json["error"]["code"] for one in threads.map(send, range(1, 6))]

    assert first.json["error"]["code"] == "asterisk_timeout"
    assert then.count("asterisk_timeout") == 1
    assert then.count("asterisk_busy") == 4
