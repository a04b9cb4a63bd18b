"""RetailCRM opens the page: the token becomes a cookie, which the page exchanges for a session, and is gone from the address."""

from __future__ import annotations

import time

import jwt
import pytest

from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from tests.functions.conftest import ACCOUNT_LINK_SECRET
from tests.harness.page import Page


@pytest.fixture
def admin(function, administered, provisioned):
    provisioned()
    return function("admin-api")


def page_of(client):
    return Page(client=client)


@pytest.fixture
def token(admin):
    return account_link.issue(Link(enterprise_number="0367", version=1))


@pytest.mark.parametrize("way", ["GET", "POST with a form", "POST with a query"])
def test_a_valid_link_signs_in_and_leaves_an_address_without_the_token(admin, token, way):
    given = {"enterprise_number": "0367", "token": token}
    if way == "POST with a form":
        answer = admin.post("/retailcrm-admin/", data=given)
    else:
        answer = admin.open("/retailcrm-admin/", method=way[:4].strip(), query_string=given)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/retailcrm-admin/#/?opened=1")
    assert answer.headers["Cache-Control"] == "no-store"
    assert token not in answer.headers["Set-Cookie"]
    page = page_of(admin)
    assert page.get("session").status_code == 401
    assert page.post("session", {"opened": True}).json["enterprise_number"] == "0367"
    assert page.get("session").json["enterprise_number"] == "0367"
    assert admin.get_cookie("link") is None


def test_the_cookie_of_an_opened_link_is_out_of_reach_of_scripts_and_lives_for_minutes(admin, token):
    admin.post("/retailcrm-admin/", data={"token": token})

    cookie = admin.get_cookie("link")

    assert (cookie.http_only, cookie.same_site, cookie.path, cookie.max_age) == (True, "Lax", "/", 600)


def test_a_link_that_is_not_valid_opens_the_page_with_the_reason(admin):
    expired = jwt.encode({"exp": time.time() - 60}, ACCOUNT_LINK_SECRET, algorithm="HS256")

    answer = admin.post("/retailcrm-admin/", data={"enterprise_number": "0367", "token": expired})

    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/retailcrm-admin/#/?refused=link_")
    assert "Set-Cookie" not in answer.headers


def test_without_a_token_the_page_is_all_there_is(admin):
    answer = admin.post("/retailcrm-admin/", data={"clientId": "x"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/retailcrm-admin/")
    assert "Set-Cookie" not in answer.headers


def test_a_form_without_end_is_refused(admin):
    answer = admin.post("/retailcrm-admin/", data=b"token=" + b"x" * 20_000)

    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")
