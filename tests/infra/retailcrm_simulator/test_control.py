"""Accounts as tests and runs make them, and what the CRM does toward the module."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tests.infra.retailcrm_simulator.client import a_call, a_telephony


class Module:
    """The module's side: remembers what it is asked, answers 200."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Module]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                running.asked.append(
                    (self.command, self.path, dict(parse_qsl(urlsplit(self.path).query)), dict(parse_qsl(body)))
                )
                content = b'{"success": true}'
                self.send_response(302 if "account" in self.path else 200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-Range", self.headers.get("Range", ""))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815  (http.server's names)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running = cls(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture(scope="module")
def module_server():
    with Module.running() as module:
        yield module


@pytest.fixture
def module(module_server):
    module_server.asked.clear()
    return module_server


@pytest.fixture
def linked(new_account, module):
    """An account whose module lives at our server."""
    telephony = a_telephony(
        makeCallUrl=f"{module.url}/make-call?v=1", changeUserStatusUrl=f"{module.url}/status", additionalCodes=None
    )
    return new_account(
        module={
            "clientId": "the-client-id",
            "baseUrl": f"{module.url}/crm/",
            "actions": {"activity": "/activity"},
            "accountUrl": f"{module.url}/account",
            "integrations": {
                "telephony": {**telephony, "additionalCodes": [{"userId": 18, "code": "150"}]},
            },
        },
        additional_codes=None,
    )


def test_a_click_calls_the_module_with_a_plus_that_is_not_escaped(linked, module):
    answer = linked.act("click", user_id=18, phone="+375291111111")

    assert (answer.json()["status"], answer.json()["body"]) == (200, '{"success": true}')
    [(method, path, query, _)] = module.asked
    assert method == "GET"
    assert path == "/make-call?v=1&clientId=the-client-id&code=150&phone=+375291111111&userId=18"
    assert query["phone"] == " 375291111111"


def test_a_click_can_escape_the_plus_and_can_come_from_somebody_without_an_extension(linked, module):
    linked.act("click", user_id=21, phone="+375291111111", escape_plus=True, external_phone="+375290000101")

    [(_, path, query, _)] = module.asked
    assert "phone=%2B375291111111" in path
    assert query["externalPhone"] == "+375290000101"
    assert "code" not in query


def test_a_changed_status_is_told_to_the_module(linked, module):
    linked.act("status", user_id=18, status="dinner")

    [(method, _, query, _)] = module.asked
    assert method == "GET"
    assert query == {"clientId": "the-client-id", "code": "150", "userId": "18", "status": "dinner"}
    assert linked.get("/api/v5/users/18").json()["user"]["status"] == "dinner"


def test_a_module_that_is_switched_off_is_told_and_gets_no_events(linked, module):
    linked.act("activity", active=False, system_url="https://demo.retailcrm.ru")

    [(method, path, _, form)] = module.asked
    assert (method, path) == ("POST", "/crm/activity")
    assert form == {
        "clientId": "the-client-id",
        "activity": '{"active": false, "freeze": false}',
        "systemUrl": "https://demo.retailcrm.ru",
    }
    assert linked.event().json()["errorMsg"] == "Telephony not enabled"


def test_the_account_page_is_opened_by_post_and_redirects_are_shown(linked, module):
    answer = linked.act("open-account")

    [(method, path, _, form)] = module.asked
    assert (method, path, form) == ("POST", "/account", {"clientId": "the-client-id"})
    assert answer.json()["status"] == 302


def test_a_recording_is_listened_to(linked, module):
    linked.upload(a_call(externalId="1", recordUrl=f"{module.url}/1.mp3"), a_call(externalId="2"))

    heard = linked.act("listen", external_id="1", range="bytes=0-99")
    silent = linked.act("listen", external_id="2")

    assert heard.json()["headers"]["x-range"] == "bytes=0-99"
    assert (silent.status_code, silent.json()["error"]["code"]) == (404, "not_found")


def test_a_module_that_does_not_answer_is_an_outcome_not_an_error(new_account):
    account = new_account(module={"integrations": {"telephony": {"makeCallUrl": "http://127.0.0.1:9/"}}})

    answer = account.act("click", user_id=18, phone="1")

    assert (answer.status_code, answer.json()["status"]) == (200, None)
    assert answer.json()["error"].startswith("ClientConnectorError")


@pytest.mark.parametrize(
    ("action", "what", "status", "message"),
    [
        ("click", {"user_id": 18, "phone": "1"}, 404, "no active module with a makeCallUrl"),
        ("click", {"user_id": 18}, 400, "phone: This value should not be blank"),
        ("status", {"user_id": 99, "status": "free"}, 404, "no user 99"),
        ("status", {"user_id": 18, "status": "dnd"}, 400, "status: The value you selected is not a valid choice."),
        ("activity", {"active": True}, 404, "no module demo-telephony with an action 'activity'"),
        ("open-account", {}, 404, "no module demo-telephony with an accountUrl"),
        ("open-account", {"module": "other"}, 404, "no module other"),
        ("listen", {"external_id": "none"}, 404, "no such call with a recording"),
    ],
)
def test_an_impossible_action_is_refused_with_the_reason(account, action, what, status, message):
    answer = account.act(action, **what)

    assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)


def test_an_account_shows_its_people_and_modules(account):
    [shown] = account.told("accounts")["accounts"]

    assert [(user["name"], user["code"]) for user in shown["users"]] == [
        ("Анна Первая", "150"),
        ("Борис Второй", "151"),
        ("Вера Третья", "152"),
        ("Глеб", None),
    ]
    assert shown["telephony_active"] is True
    assert [module["code"] for module in shown["modules"]] == ["demo-telephony"]


def test_several_accounts_are_made_at_once_and_taken_away_one_by_one(simulator):
    given = {"accounts": [{"name": "pair-one", "api_key": "key-one"}, {"name": "pair-two", "api_key": "key-two"}]}
    made = requests.post(f"{simulator}/_sim/accounts", json=given, timeout=10)

    gone = requests.delete(f"{simulator}/_sim/accounts", params={"account": "pair-one"}, timeout=10)
    twice = requests.delete(f"{simulator}/_sim/accounts", params={"account": "pair-one"}, timeout=10)

    assert (made.status_code, gone.json(), twice.status_code) == (201, {"removed": ["pair-one"]}, 404)
    requests.delete(f"{simulator}/_sim/accounts", params={"account": "pair-two"}, timeout=10)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "an object is expected"),
        ({"api_key": "k"}, "name: This value should not be blank"),
        ({"name": "a b", "api_key": "k"}, "name: letters, digits, _ . - only"),
        ({"name": "a", "api_key": "k", "timezone": "Mars/Base"}, "timezone: no such time zone"),
        ({"name": "a", "api_key": "k", "colour": 1}, "colour: unknown field"),
        ({"name": "a", "api_key": "k", "users": [{"id": 1}, {"id": 1}]}, "users: the same id twice"),
        (
            {"name": "a", "api_key": "k", "behaviour": {"rate_limit_status": 500}},
            "behaviour.rate_limit_status: The value you selected is not a valid choice.",
        ),
    ],
)
def test_an_account_that_cannot_be_is_refused(simulator, data, message):
    answer = requests.post(f"{simulator}/_sim/accounts", json=data, timeout=10)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_two_accounts_cannot_have_one_key(account):
    data = {"name": f"{account.name}-thief", "api_key": account.key}

    answer = requests.post(f"{account.url}/_sim/accounts", json=data, timeout=10)

    assert answer.status_code == 400
    assert account.event().status_code == 200


def test_control_answers_are_json_even_when_there_is_nothing(simulator):
    unknown = requests.get(f"{simulator}/_sim/nothing", timeout=10)
    broken = requests.post(f"{simulator}/_sim/accounts", data=b"\xff{", timeout=10)

    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid")
