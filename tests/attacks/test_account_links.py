"""
Tried: a foreign page posts another enterprise's account link, so that the browser of somebody who is at work becomes the
other enterprise's unnoticed; links that are not valid; a link that was opened once, used twice or late.

Holds: a session is exchanged for another enterprise's only when its owner says which one they leave. What was opened waits in a
cookie of its own, once and for minutes; the token is in no address and no log.
"""

from __future__ import annotations

import json

import pytest

from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from tests.attacks.test_sign_in import logged  # noqa: F401  (a fixture)

OTHER = "0368"
ATTACKER = {"X-Forwarded-For": "192.0.2.66"}


@pytest.fixture
def token(page, provisioned):
    """Of another enterprise than that of the page's administrator."""
    provisioned(OTHER, token="375290000002")
    return account_link.issue(Link(enterprise_number=OTHER, version=0))


@pytest.fixture
def posted(page, browser, token):
    """A foreign page has posted the link: the browser brings none of its cookies, and keeps the one that it is given."""
    foreign = browser()
    answer = foreign.client.post(
        "/retailcrm-admin/", data={"enterprise_number": OTHER, "token": token}, headers=ATTACKER
    )
    for cookie in answer.headers.getlist("Set-Cookie"):
        name, _, value = cookie.partition(";")[0].partition("=")
        page.client.set_cookie(name, value)
    return answer


def at_work(page):
    return page.get("session").json["enterprise_number"]


def test_a_link_that_a_foreign_page_posts_leaves_somebody_at_work_where_they_are(page, posted):
    assert posted.headers["Location"] == "/retailcrm-admin/#/?opened=1"
    assert at_work(page) == "0367"

    asked = page.post("session", {"opened": True})

    assert (asked.status_code, asked.json["error"]["code"]) == (409, "other_enterprise")
    assert asked.json["error"]["other"] == {"enterprise_number": OTHER, "enterprise_name": "Demo"}
    assert "Set-Cookie" not in asked.headers
    assert at_work(page) == "0367"


def test_so_does_a_token_that_the_page_found_in_its_own_address(page, token):
    asked = page.post("session", {"token": token, "enterprise_number": OTHER})

    assert (asked.status_code, asked.json["error"]["code"]) == (409, "other_enterprise")
    assert at_work(page) == "0367"


def test_who_says_yes_goes_over_and_leaves_no_session_behind(page, posted, sql):
    before = page.client.get_cookie("session").value
    gone = page.post("session", {"opened": True, "leave": "0367"})

    assert gone.status_code == 200
    assert at_work(page) == OTHER
    assert page.client.get_cookie("link") is None
    page.client.set_cookie("session", before)
    assert page.get("session").status_code == 401
    assert sql("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == [(1,)]


def test_who_says_no_stays_and_the_link_is_worth_nothing_any_more(page, posted):
    kept = page.client.get_cookie("link").value
    declined = page.delete("session/link")
    page.client.set_cookie("link", kept)
    again = page.post("session", {"opened": True, "leave": "0367"})

    assert declined.status_code == 200
    assert (again.status_code, again.json["error"]["code"]) == (401, "link_waited")
    assert at_work(page) == "0367"


def test_leaving_another_enterprise_than_one_works_in_is_no_yes(page, posted):
    for left in (OTHER, "9999", " 0367"):
        assert page.post("session", {"opened": True, "leave": left}).status_code == 409
    assert at_work(page) == "0367"


def test_who_is_not_at_work_comes_in_at_once(page, posted):
    page.delete("session")

    let_in = page.post("session", {"opened": True})

    assert (let_in.status_code, let_in.json["login"]) == (200, None)
    assert at_work(page) == OTHER


def test_a_session_that_is_over_is_not_asked_for(page, posted, sql):
    sql(
        "UPDATE sessions SET last_seen_at = clock_timestamp() - interval '31 minutes' WHERE user_id IS NOT NULL RETURNING 1"
    )

    assert page.post("session", {"opened": True}).status_code == 200


def test_the_link_of_ones_own_enterprise_opens_as_before(page, browser, sql):
    own = account_link.issue(Link(enterprise_number="0367", version=0))

    page.client.post("/retailcrm-admin/", data={"token": own})

    assert page.post("session", {"opened": True}).status_code == 200
    assert page.get("session").json["login"] is None


def test_what_was_opened_is_used_once(page, browser, posted):
    kept = page.client.get_cookie("link").value
    page.post("session", {"opened": True, "leave": "0367"})
    thief = browser()
    thief.client.set_cookie("link", kept)

    assert thief.post("session", {"opened": True}).json["error"]["code"] == "link_waited"
    thief.client.set_cookie("session", kept)
    assert thief.get("session").status_code == 401


def test_what_was_opened_waits_for_minutes(page, posted, sql):
    sql(
        "UPDATE sessions SET last_seen_at = clock_timestamp() - interval '11 minutes' WHERE user_id IS NULL RETURNING 1"
    )

    late = page.post("session", {"opened": True, "leave": "0367"})

    assert (late.status_code, late.json["error"]["code"]) == (401, "link_waited")


def test_a_link_that_was_revoked_meanwhile_opens_nothing(page, posted, sql):
    sql("UPDATE sessions SET revoked_at = clock_timestamp() WHERE enterprise_number = %s RETURNING 1", OTHER)

    assert page.post("session", {"opened": True}).status_code == 401


@pytest.mark.parametrize("spoiled", ["signature", "version"])
def test_a_link_that_is_not_valid_names_nobody_and_is_in_the_log(page, token, spoiled, sql, logged):  # noqa: F811
    if spoiled == "version":
        sql("UPDATE enterprises SET account_link_version = 5 WHERE number = %s RETURNING 1", OTHER)
    given = token if spoiled == "version" else token[:-4] + "AAAA"

    opened = page.client.post("/retailcrm-admin/", data={"token": given}, headers=ATTACKER)
    asked = page.ask("POST", "session", {"token": given, "leave": "0367"}, headers=ATTACKER)

    code = {"signature": "link_invalid", "version": "link_revoked"}[spoiled]
    assert opened.headers["Location"] == f"/retailcrm-admin/#/?refused={code}"
    assert "Set-Cookie" not in opened.headers
    assert (asked.status_code, asked.json["error"].keys()) == (401, {"code", "message"})
    refused = [json.loads(line) for line in logged if '"link refused"' in line]
    known = OTHER if spoiled == "version" else None
    assert [(line["enterprise"], line["address"], line["code"]) for line in refused] == [
        (known, "192.0.2.66", code)
    ] * 2
    assert given not in "".join(logged)


def test_a_link_over_the_session_of_somebody_else_is_in_the_log(page, posted, logged, token):  # noqa: F811
    page.ask("POST", "session", {"opened": True}, headers=ATTACKER)

    [line] = [json.loads(line) for line in logged if '"link of another enterprise"' in line]

    assert (line["enterprise"], line["session_of"], line["address"]) == (OTHER, "0367", "192.0.2.66")
    assert token not in "".join(logged)
