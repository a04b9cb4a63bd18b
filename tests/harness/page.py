"""
The page as a browser: it keeps the cookie and says where its requests come from. Every answer must be as described.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.harness.described import differences

PASSWORD = "a-password-of-the-tests"
API = "/retailcrm-admin/api"


@dataclass(frozen=True, kw_only=True)
class Page:
    client: FlaskClient

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        headers = {"Sec-Fetch-Site": "same-origin", **options.pop("headers", {})}
        if method in {"POST", "PUT"} and "data" not in options:
            options["json"] = {} if body is None else body
        answer = self.client.open(f"{API}/{path}", method=method, headers=headers, **options)
        assert not differences(method, path, answer.status_code, answer.content_type, answer.text)
        return answer

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.ask("GET", path, query_string=query)

    def post(self, path: str, body: Any = None) -> TestResponse:
        return self.ask("POST", path, body)

    def put(self, path: str, body: Any) -> TestResponse:
        return self.ask("PUT", path, body)

    def delete(self, path: str) -> TestResponse:
        return self.ask("DELETE", path)

    def sign_in(
        self, number: str = "0367", login: str = "admin", password: str = PASSWORD, **options: Any
    ) -> TestResponse:
        body = {"enterprise_number": number, "login": login, "password": password}
        return self.ask("POST", "session", body, **options)
