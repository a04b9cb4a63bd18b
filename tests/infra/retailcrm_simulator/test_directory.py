"""Users, groups, settings, and whose customer it is that calls."""

from __future__ import annotations

import pytest
import requests

MANAGER = "/api/v5/telephony/manager"
CUSTOMER = {
    "id": 7,
    "external_id": "c-7",
    "phones": ["+375291111111"],
    "first_name": "Мария",
    "manager_id": 19,
    "last_order_id": 70,
}


def ids(answer):
    return [user["id"] for user in answer.json()["users"]]


def test_a_user_is_told_as_the_service_tells_it(account):
    answer = account.get("/api/v5/users/18")

    assert answer.json() == {
        "success": True,
        "user": {
            "id": 18,
            "createdAt": "2024-01-15 09:00:00",
            "active": True,
            "email": "manager18@example.com",
            "firstName": "Анна",
            "lastName": "Первая",
            "status": "free",
            "online": True,
            "isAdmin": False,
            "isManager": True,
            "groups": [{"id": 25, "name": "Менеджеры", "code": "manager"}],
            "mgUserId": 10018,
        },
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [18, 19, 20, 21]),
        ({"filter[active]": 1}, [18, 19, 20]),
        ({"filter[active]": 0}, [21]),
        ({"filter[isAdmin]": 1}, [21]),
        ({"filter[online]": 0}, [21]),
        ({"filter[status]": "dinner"}, [20]),
        ({"filter[email]": "manager19@example.com"}, [19]),
        ({"filter[groups][]": ["director"]}, [21]),
        ({"filter[groups][]": ["25", "26"]}, [18, 19, 20, 21]),
        ({"filter[createdAtFrom]": "2025-01-01"}, []),
        ({"filter[active]": 1, "filter[status]": "free"}, [18, 19]),
    ],
)
def test_users_are_filtered(account, query, found):
    answer = account.get("/api/v5/users", **query)

    assert ids(answer) == found
    assert account.warnings() == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ({"filter[active]": "yes"}, {"active": "The value you selected is not a valid choice."}),
        ({"filter[status]": "dnd"}, {"status": "The value you selected is not a valid choice."}),
        ({"filter[createdAtTo]": "soon"}, {"createdAtTo": "This value is not valid"}),
        ({"limit": 30}, {"limit": "The value you selected is not a valid choice."}),
        ({"limit": 250}, {"limit": "The value you selected is not a valid choice."}),
        ({"page": 0}, {"page": "This value is not valid"}),
    ],
)
def test_a_wrong_filter_or_page_is_refused(account, query, errors):
    answer = account.get("/api/v5/users", **query)

    assert answer.status_code == 400
    assert answer.json() == {"success": False, "errorMsg": "Errors in the input parameters", "errors": errors}


def test_the_official_python_clients_empty_filter_is_accepted(account):
    answer = account.get("/api/v5/users", filter="None", limit=20, page=1)

    assert answer.status_code == 200
    assert account.warnings() == ["unknown parameter: filter"]


def test_users_come_in_pages(new_account):
    account = new_account(users=[{"id": number} for number in range(1, 46)], additional_codes=[])

    first, third = account.get("/api/v5/users", page=1), account.get("/api/v5/users", page=3)
    beyond = account.get("/api/v5/users", page=9, limit=50)

    assert first.json()["pagination"] == {"limit": 20, "totalCount": 45, "currentPage": 1, "totalPageCount": 3}
    assert (ids(first), ids(third), ids(beyond)) == (list(range(1, 21)), list(range(41, 46)), [])


def test_groups_are_listed(account):
    answer = account.get("/api/v5/user-groups", limit=20).json()

    assert [(group["id"], group["code"]) for group in answer["groups"]] == [(25, "manager"), (26, "director")]
    assert answer["pagination"]["totalCount"] == 2


def test_a_status_can_be_set(account):
    answer = account.post("/api/v5/users/18/status", status="break")

    assert answer.json() == {"success": True}
    assert account.get("/api/v5/users/18").json()["user"]["status"] == "break"


@pytest.mark.parametrize(
    ("user", "form", "status", "message"),
    [
        (18, {}, 400, "Parameter 'status' is missing"),
        (18, {"status": "dnd"}, 400, "Errors in the input parameters"),
        (18, {"status[]": "busy"}, 400, 'Input value "status" contains a non-scalar value'),
        (99, {"status": "busy"}, 404, "Not found"),
    ],
)
def test_a_wrong_status_is_refused(account, user, form, status, message):
    answer = account.post(f"/api/v5/users/{user}/status", **form)

    assert (answer.status_code, answer.json()["errorMsg"]) == (status, message)


def test_settings_hold_the_time_zone_and_the_working_hours(new_account):
    hours = [{"day_type": "Monday", "start_time": "08:00", "end_time": "20:30"}]
    account = new_account(timezone="Asia/Almaty", work_times=hours)

    settings = account.get("/api/v5/settings").json()["settings"]

    assert settings["timezone"]["value"] == "Asia/Almaty"
    assert settings["work_times"] == hours
    assert set(settings) == {"default_currency", "system_language", "timezone", "work_times"}


def test_the_responsible_manager_comes_with_customer_and_links(new_account):
    account = new_account(customers=[CUSTOMER])

    answer = account.get(MANAGER, phone="+375291111111", details=1, ignoreStatus=1)

    assert answer.json() == {
        "success": True,
        "manager": {
            "id": 19,
            "firstName": "Борис",
            "lastName": "Второй",
            "email": "manager19@example.com",
            "code": "151",
        },
        "customer": {"id": 7, "externalId": "c-7", "firstName": "Мария", "phones": [{"number": "+375291111111"}]},
        "links": {
            "newOrderLink": f"{account.url}/orders/add?customer=7",
            "lastOrderLink": f"{account.url}/orders/70/edit",
            "customerLink": f"{account.url}/customers/7",
        },
    }
    assert account.warnings() == []


@pytest.mark.parametrize("phone", ["375291111111", "80291111111", "8 (029) 111-11-11", "+375291111111"])
def test_a_customer_is_found_by_any_form_of_the_number(new_account, phone):
    account = new_account(customers=[CUSTOMER])

    answer = account.get(MANAGER, phone=phone, ignoreStatus=1)

    assert answer.json()["manager"]["id"] == 19


def test_a_manager_who_is_not_free_is_told_only_when_status_is_ignored(new_account):
    account = new_account(customers=[{**CUSTOMER, "manager_id": 20}])

    minding = account.get(MANAGER, phone="375291111111", ignoreStatus=0)
    ignoring = account.get(MANAGER, phone="375291111111", ignoreStatus=1)

    assert minding.json() == {"success": True}
    assert ignoring.json()["manager"]["id"] == 20


def test_nobody_is_responsible_for_an_unknown_number(new_account):
    account, other = new_account(), new_account(behaviour={"absent_manager": "null"})

    missing = account.get(MANAGER, phone="375293333333", details=1, ignoreStatus=1).json()
    null = other.get(MANAGER, phone="375293333333", ignoreStatus=1).json()

    assert missing == {
        "success": True,
        "links": {
            "newOrderLink": f"{account.url}/orders/add?phone=375293333333",
            "newCustomerLink": f"{account.url}/customers/add?phone=375293333333",
        },
    }
    assert null == {"success": True, "manager": None}


def test_a_lookup_without_a_phone_or_with_a_wrong_flag_is_refused(account):
    without = account.get(MANAGER, ignoreStatus=1)
    wrong = account.get(MANAGER, phone="375291111111", details="perhaps", ignoreStatus=1)

    assert (without.status_code, without.json()["errorMsg"]) == (400, "Parameter 'phone' is missing")
    assert wrong.json()["errors"] == {"details": "The value you selected is not a valid choice."}


def test_a_plus_that_was_not_escaped_is_noted(account):
    requests.get(
        f"{account.url}{MANAGER}?phone=+375291111111&ignoreStatus=True", headers={"X-API-KEY": account.key}, timeout=10
    )

    assert account.warnings() == [
        "phone begins with a space: the + was not escaped",
        "ignoreStatus=True: 0 or 1 is documented",
    ]
