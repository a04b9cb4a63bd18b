"""
A real Chromium before the whole system.

`enrol(number)` makes an enterprise with an administrator and an account in the CRM's simulator; `visit()` opens the
page as somebody would. A page that wrote an error to the console, or asked another origin for anything, fails its test.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Response, expect

from infra.commands import provision
from infra.stand_ins import browser as chromium
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.stack import Stack
from lib.runtime import config
from lib.runtime.vault import vault
from tests.harness.enterprises import enterprise
from tests.harness.page import PASSWORD
from tests.harness.servers import CRM

SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
# What Chromium notes of its own accord: when a request is refused, as some of the tests want, and when a network
# interface of the machine came or went, as those of containers do.
_REFUSAL = re.compile(
    r"^Failed to load resource: (the server responded with a status of [45]\d\d|net::ERR_NETWORK_CHANGED)"
)
# Other tests run at the same time.
expect.set_options(timeout=20_000)
_NUMBERS = itertools.count(501)
# Another site, as RetailCRM is: what it posts brings none of our cookies. A test answers for it.
FOREIGN = "http://demo.retailcrm.example"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


# Not for longer than a module: while it runs, no other test in this process can have an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if os.environ.get("TEST_BROWSER") == "none":
        pytest.skip("TEST_BROWSER=none")
    try:
        with chromium.browser() as running:
            yield running
    except chromium.NoBrowser as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if os.environ.get("TEST_BROWSER") == "none":
        pytest.skip("TEST_BROWSER=none")
    with Stack(tmp_path_factory.mktemp("stack"), free_base_port(), restart=True) as running:
        yield running


@pytest.fixture(scope="session")
def crm(stack: Stack) -> CRM:
    return CRM(url=stack.url("retailcrm-simulator"))


@pytest.fixture
def number() -> str:
    """Of an enterprise that no other test has: the CRM's simulator remembers."""
    return f"{next(_NUMBERS):04}"


@pytest.fixture
def enrol(stack: Stack, crm: CRM, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Api]]:
    """
    Makes an enterprise of this number; what an administrator of it may ask for. `changes`: of its settings; `others`:
    integrations beside RetailCRM's.
    """
    for name, value in stack.layout.environment().items():
        monkeypatch.setenv(name, value)
    config.current.cache_clear()
    vault.forget()

    def make(number: str, *, is_connected: bool = True, others: dict[str, Any] | None = None, **changes: Any) -> Api:
        crm.account(number)
        data = enterprise(number, token=f"token-of-{number}", domain=crm.url, **changes)
        if not is_connected:
            data["integrations_config"] = {"retailcrm": {"enabled": True}}
        data["integrations_config"] |= others or {}
        assert provision.check(data) == []
        with psycopg.connect(stack.database_url) as conn:
            provision.provision(conn, data)
        return Api(url=stack.url("gateway"), number=number).signed_in()

    yield make
    config.current.cache_clear()
    vault.forget()


@dataclass(frozen=True, kw_only=True)
class Api:
    """An administrator in another window."""

    url: str
    number: str
    session: requests.Session = field(default_factory=requests.Session)

    def signed_in(self) -> Api:
        self.session.headers["Sec-Fetch-Site"] = "same-origin"
        body = {"enterprise_number": self.number, "login": "admin", "password": PASSWORD}
        self.ask("POST", "session", body)
        return self

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"json": body or {}} if method in {"POST", "PUT"} else {}
        response = self.session.request(
            method, f"{self.url}/retailcrm-admin/api/{path}", params=query, timeout=20, **options
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def config(self) -> dict[str, Any]:
        return self.ask("GET", f"config/{self.number}")

    def save(self, **changes: Any) -> dict[str, Any]:
        return self.ask("PUT", f"config/{self.number}", {"version": self.config()["version"], **changes})

    def register(self, *, within_seconds: float = 20) -> dict[str, Any]:
        """Registers the module and waits for the end of it."""
        self.ask("POST", f"register/{self.number}")
        deadline = time.monotonic() + within_seconds
        while True:
            found = self.ask("GET", f"register/{self.number}")
            if not found["is_busy"] or time.monotonic() > deadline:
                command: dict[str, Any] = found["commands"][0]
                return command
            time.sleep(0.1)


@dataclass(kw_only=True)
class Visit:
    """A person before the page, and what the browser complained of."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> Response | None:
        return self.page.goto(f"{self.url}/retailcrm-admin/{address}")

    def sign_in(self, number: str, *, login: str = "admin", password: str = PASSWORD) -> Visit:
        self.open()
        self.fill_in(number, login=login, password=password)
        expect(self.page.locator(".frame")).to_be_visible()
        return self

    def fill_in(self, number: str, *, login: str = "admin", password: str = PASSWORD) -> None:
        self.page.locator("[name=enterprise_number]").fill(number)
        self.page.locator("[name=login]").fill(login)
        self.page.locator("[name=password]").fill(password)
        self.page.locator("form [type=submit]").click()

    def go(self, screen: str) -> Locator:
        """Opens a screen by its address; its heading."""
        self.open(f"#/{screen}")
        name = re.split("[/?]", screen)[0]
        expect(self.page.locator(f".screen[data-screen='{name}']")).to_be_visible()
        return self.page.locator("main h1")

    def reads(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("body")).to_contain_text(text)

    def press(self, name: str, *, exact: bool = True) -> None:
        self.page.get_by_role("button", name=name, exact=exact).click()

    def is_accessible(self) -> None:
        """Axe finds nothing, in the state in which the page is now."""
        self.page.evaluate(
            """() => Promise.all(document.getAnimations()
                .filter((each) => each.effect.getTiming().iterations !== Infinity).map((each) => each.finished))"""
        )
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": WCAG}})
        assert found.violations_count == 0, found.generate_report()


@pytest.fixture
def visit(browser: Browser, stack: Stack) -> Iterator[Callable[..., Visit]]:
    """Opens a browser of somebody: `visit(language="en", size="phone", theme="dark")`."""
    visits: list[Visit] = []
    url = stack.url("gateway")

    def open_one(*, language: str = "ru", size: str = "desktop", theme: str = "light") -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            locale={"ru": "ru-RU", "en": "en-GB"}[language],
            reduced_motion="reduce",
        )
        context.set_default_timeout(15_000)
        if language != "ru":
            context.add_init_script(
                # Before the first page there is a document that keeps nothing.
                f"try {{ localStorage.getItem('language') ?? localStorage.setItem('language', '{language}') }} catch {{}}"
            )
        made = Visit(page=context.new_page(), url=url)
        watch(made)
        visits.append(made)
        return made

    yield open_one
    for each in visits:
        each.page.context.close()
    assert [complaint for each in visits for complaint in each.complaints] == []


def watch(visit: Visit) -> None:
    page = visit.page

    def on_console(message: Any) -> None:
        if message.type in {"error", "warning"} and not _REFUSAL.match(message.text):
            visit.complaints.append(f"console: {message.text}")

    def on_request(request: Any) -> None:
        if not request.url.startswith((f"{visit.url}/", f"{FOREIGN}/", "blob:", "data:")):
            visit.complaints.append(f"another origin: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
    page.on("request", on_request)
