from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from lib.enterprises import account_link
from lib.enterprises.account_link import Link
from lib.runtime import config
from tests.functions.conftest import ACCOUNT_LINK_SECRET
from tests.harness.page import API, PASSWORD

OTHER = "0368"


@pytest.fixture
def visitor(browser, provisioned):
    """The page before anybody has signed in."""
    provisioned()
    return browser()


def cookie_of(answer):
    [cookie] = [each for each in answer.headers.getlist("Set-Cookie") if "session=" in each]
    return cookie


def code(answer):
    return answer.status_code, answer.json["error"]["code"]


def test_a_login_and_its_password_open_a_session(visitor, sql):
    signed_in = visitor.sign_in()
    shown = visitor.get("session")

    assert (signed_in.status_code, signed_in.json["enterprise_number"]) == (200, "0367")
    assert (shown.status_code, shown.json["login"], shown.json["enterprise_name"]) == (200, "admin", "Demo")
    secret = cookie_of(signed_in).partition("=")[2].partition(";")[0]
    assert secret not in str(sql("SELECT * FROM sessions"))
    assert secret not in str(signed_in.json)


@pytest.mark.parametrize(
    ("number", "login", "password"),
    [("0367", "admin", "wrong"), ("0367", "nobody", PASSWORD), ("9999", "admin", PASSWORD), ("0367", "150", PASSWORD)],
)
def test_a_wrong_enterprise_login_or_password_gets_the_same_answer(visitor, number, login, password):
    answer = visitor.sign_in(number, login, password)

    assert code(answer) == (401, "wrong_credentials")
    assert answer.json["error"]["message"] == "The enterprise, the login or the password is wrong"
    assert "Set-Cookie" not in answer.headers


def test_a_user_who_is_no_administrator_is_refused_with_the_reason(visitor, sql):
    sql("UPDATE users SET is_admin = false WHERE login = 'admin' RETURNING 1")

    assert code(visitor.sign_in()) == (403, "not_an_administrator")


def test_guesses_wait_after_the_first_ten_and_are_told_for_how_long(visitor, sql):
    guesses = [visitor.sign_in(password=f"guess {n}") for n in range(10)]
    sql(
        "INSERT INTO sign_in_attempts (login_sha256, address) SELECT login_sha256, address FROM sign_in_attempts RETURNING 1"
    )
    right = visitor.sign_in()

    assert [answer.status_code for answer in guesses] == [401] * 10
    assert code(right) == (429, "rate_limited")
    assert 5 <= int(right.headers["Retry-After"]) <= 10


def test_an_address_that_tries_many_logins_waits(visitor, sql):
    sql(
        "INSERT INTO sign_in_attempts (login_sha256, address) SELECT '\\x00', '127.0.0.1' FROM generate_series(1, 40) RETURNING 1"
    )

    answer = visitor.sign_in()

    assert code(answer) == (429, "rate_limited")
    assert 5 <= int(answer.headers["Retry-After"]) <= 10


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor, process):
    local = cookie_of(visitor.sign_in())
    process.setenv("PUBLIC_URL", "https://telephony.example.com")
    config.current.cache_clear()
    public = cookie_of(visitor.sign_in())

    assert local.startswith("session=")
    assert "HttpOnly" in local
    assert "SameSite=Lax" in local
    assert "Secure" not in local
    assert public.startswith("__Host-session=")
    assert "HttpOnly" in public
    assert "SameSite=Lax" in public
    assert "Secure" in public
    assert "Path=/" in public


def test_signing_in_again_ends_the_session_before(visitor, sql):
    first = cookie_of(visitor.sign_in())
    second = cookie_of(visitor.sign_in())

    assert first != second
    assert sql("SELECT revoked_at IS NULL FROM sessions ORDER BY id") == [(False,), (True,)]


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(visitor):
    kept = cookie_of(visitor.sign_in()).partition(";")[0]

    left = visitor.delete("session")

    assert left.status_code == 200
    assert "Max-Age=0" in cookie_of(left)
    assert code(visitor.get("session")) == (401, "session_required")
    assert code(visitor.ask("GET", "session", headers={"Cookie": kept})) == (401, "session_required")


@pytest.mark.parametrize(
    "column_and_age", [("last_seen_at", "31 minutes"), ("created_at", "12 hours 1 minute")], ids=["idle", "absolute"]
)
def test_a_session_ends_by_itself(visitor, sql, column_and_age):
    column, age = column_and_age
    visitor.sign_in()
    sql(f"UPDATE sessions SET {column} = clock_timestamp() - interval '{age}' RETURNING 1")

    assert code(visitor.get("session")) == (401, "session_required")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://example.com"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_another_site_can_change_nothing(visitor, headers):
    visitor.sign_in()

    assert code(visitor.ask("DELETE", "session", headers=headers)) == (403, "cross_origin")
    assert visitor.get("session").status_code == 200


def test_the_pages_own_origin_is_enough_for_an_older_browser(visitor):
    answer = visitor.sign_in(headers={"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:8080"})

    assert answer.status_code == 200


def test_a_form_is_no_json(visitor):
    answer = visitor.ask("POST", "session", data={"login": "admin"})

    assert code(answer) == (400, "not_json")


def test_every_missing_field_is_named(visitor):
    answer = visitor.post("session", {"login": ""})
    unknown = visitor.post("session", {"login": "x", "colour": "red"})

    assert answer.json["error"]["fields"] == {
        "login": {
            "code": "length",
            "params": {"least": 1, "most": 200},
            "message": "must be text of 1 to 200 characters",
        }
    }
    assert unknown.json["error"]["fields"]["colour"]["code"] == "unknown_field"
    assert visitor.post("session").json["error"]["fields"].keys() == {"enterprise_number", "login", "password"}


def test_the_link_of_the_account_opens_a_session(visitor):
    token = account_link.issue(Link(enterprise_number="0367", version=0))

    answer = visitor.post("session", {"enterprise_number": "0367", "token": token})

    assert (answer.status_code, answer.json["login"]) == (200, None)
    assert visitor.get("session").json["enterprise_number"] == "0367"
    assert token not in answer.text


def test_a_link_is_worth_nothing_after_its_version_was_raised(visitor, sql):
    old = account_link.issue(Link(enterprise_number="0367", version=0))
    sql("UPDATE enterprises SET account_link_version = 1 RETURNING 1")

    assert code(visitor.post("session", {"token": old})) == (401, "link_revoked")


def claims(**changes):
    now = datetime.now(UTC)
    return {
        "enterprise_number": "0367",
        "source": "retailcrm",
        "version": 0,
        "iat": now,
        "exp": now + timedelta(days=1),
    } | changes


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), "another-secret-that-has-32-bytes-too", algorithm="HS256"),
        jwt.encode(claims(), ACCOUNT_LINK_SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), "", algorithm="none"),
        jwt.encode(claims(source="another"), ACCOUNT_LINK_SECRET, algorithm="HS256"),
        jwt.encode(claims(version="0"), ACCOUNT_LINK_SECRET, algorithm="HS256"),
        jwt.encode(claims(version=True), ACCOUNT_LINK_SECRET, algorithm="HS256"),
        jwt.encode({k: v for k, v in claims().items() if k != "exp"}, ACCOUNT_LINK_SECRET, algorithm="HS256"),
        jwt.encode(claims(exp=datetime.now(UTC) - timedelta(seconds=5)), ACCOUNT_LINK_SECRET, algorithm="HS256"),
        jwt.encode(claims(enterprise_number="9999"), ACCOUNT_LINK_SECRET, algorithm="HS256"),
        "x",
        "a.b.c",
    ],
    ids=["key", "hs512", "none", "source", "version text", "version bool", "no exp", "expired", "nobody", "x", "abc"],
)
def test_a_link_that_is_not_ours_opens_nothing(visitor, token):
    answer = visitor.post("session", {"token": token})

    assert answer.status_code == 401
    assert token not in answer.text or len(token) < 6


def test_a_link_is_for_one_enterprise(visitor):
    token = account_link.issue(Link(enterprise_number="0367", version=0))

    assert code(visitor.post("session", {"enterprise_number": OTHER, "token": token})) == (401, "link_invalid")


def test_without_a_strong_secret_no_link_opens_anything(visitor, process):
    token = account_link.issue(Link(enterprise_number="0367", version=0))
    process.setenv("ACCOUNT_LINK_SECRET", "short")
    config.current.cache_clear()

    answer = visitor.post("session", {"token": token})

    assert code(answer) == (500, "misconfigured")
    assert "ACCOUNT_LINK_SECRET" in answer.json["error"]["message"]


def test_a_session_comes_from_our_cookie_only(visitor):
    for cookie in ("session=", "session=x", "session=%00", "session=" + "a" * 5000):
        answer = visitor.client.get(f"{API}/session", headers={"Cookie": cookie})

        assert code(answer) == (401, "session_required")


def test_a_hash_from_before_lets_its_owner_in_and_is_made_anew_then(visitor, sql):
    salt = bytes(16)
    digest = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=2**14, r=8, p=1)
    before = f"scrypt$16384$8$1${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
    sql("UPDATE users SET password_hash = %s WHERE login = 'admin' RETURNING 1", before)

    wrong = visitor.sign_in(password="wrong")
    [(after_wrong,)] = sql("SELECT password_hash FROM users WHERE login = 'admin'")
    right = visitor.sign_in()
    [(after_right,)] = sql("SELECT password_hash FROM users WHERE login = 'admin'")
    again = visitor.sign_in()

    assert (wrong.status_code, right.status_code, again.status_code) == (401, 200, 200)
    assert after_wrong == before
    assert after_right.startswith("pbkdf2:sha256:")
    assert sql("SELECT password_hash FROM users WHERE login = 'admin'") == [(after_right,)]
