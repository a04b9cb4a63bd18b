"""
Takes pictures of every screen of the page and of its states, on a phone and a desktop, light and dark, in both
languages:
`make screenshots`, into `.cache/screenshots`.

It starts a stack of its own, with the demo enterprise and calls of every kind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import requests
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from infra.stand_ins import browser, demo, demo_enterprise, player
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.processes import ROOT
from infra.stand_ins.stack import Stack

SIZES: Final = {"desktop": (1280, 860), "phone": (390, 844)}
THEMES: Final = ("light", "dark")
LANGUAGES: Final = ("ru", "en")
_SPEED: Final = 5.0
_QUIET_MS: Final = 700
_SETTLE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`address`: of the screen; `{name}` in it is the id of that call. `act` brings the screen into its state."""

    address: str
    act: Callable[[Page], None] = lambda _page: None
    is_whole: bool = True


def main() -> int:
    looks = ["-".join(look) for look in product(SIZES, THEMES, LANGUAGES)]
    parser = argparse.ArgumentParser(prog="make screenshots", description="Pictures of every screen")
    parser.add_argument("--into", type=Path, default=ROOT / ".cache" / "screenshots")
    parser.add_argument("--screens", nargs="+", choices=SCENES, default=list(SCENES), metavar="NAME")
    parser.add_argument("--looks", nargs="+", choices=looks, default=looks, metavar="SIZE-THEME-LANGUAGE")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        with browser.browser() as running, _start() as gateway:
            for look in options.looks:
                _shoot(running, gateway, look, options.screens, options.into)
    except browser.NoBrowser as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(options.screens) * len(options.looks)} pictures in {options.into}")
    return 0


@dataclass(frozen=True, kw_only=True)
class _Running:
    """The stack's page, who may sign in there, and the calls by what became of them."""

    url: str
    password: str
    calls: Mapping[str, str]


@contextmanager
def _start() -> Iterator[_Running]:
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as folder,
        Stack(Path(folder), free_base_port(), restart=True) as stack,
    ):
        demo.provide(stack)
        gateway = _Running(url=stack.url("gateway"), password=stack.secrets.admin_password, calls=_play(stack))
        _disagree(stack)
        yield gateway


def _play(stack: Stack) -> dict[str, str]:
    """Calls of every kind; the id of each."""
    scenarios = player.load()
    ids: dict[str, str] = {}

    def play(name: str, scenario: str) -> None:
        token = demo.enterprise(stack)["token"]
        played = player.play(scenarios[scenario], stack.url("gateway"), token, speed=_SPEED, pause=stack.pause)
        ids[name] = played.scenario.main_unique_id or ""

    _assign(stack, {"18": None, "19": None, "20": None, "21": None})
    play("unmapped", "2-2")
    stack.pause(_SETTLE_SECONDS)
    _assign(stack, {"18": "150", "19": "151", "20": "152"})
    fault = {"mode": "success_false", "endpoint": "upload", "requests": 1, "error_msg": "Telephony is being repaired"}
    _tell_crm(stack, "faults", fault)
    play("refused", "2-4-doc")
    stack.pause(_SETTLE_SECONDS)
    play("missed", "2-2")
    play("outgoing", "1-1")
    play("internal", "3-1")
    play("hidden", "anonymous")
    play("transfer", "2-18-capture")
    play("answered", "2-1-doc")
    stack.pause(_SETTLE_SECONDS)
    return ids


def _assign(stack: Stack, extensions: Mapping[str, str | None]) -> None:
    """As the administrator does it in the page."""
    url = f"{stack.url('gateway')}/retailcrm-admin/api"
    number = demo.enterprise(stack)["number"]
    with requests.Session() as session:
        session.headers["Sec-Fetch-Site"] = "same-origin"
        who = {"enterprise_number": number, "login": demo.ADMIN_LOGIN, "password": stack.secrets.admin_password}
        session.post(f"{url}/session", json=who, timeout=10).raise_for_status()
        body = {"user_extensions": extensions}
        session.post(f"{url}/save-extensions/{number}", json=body, timeout=10).raise_for_status()
    stack.pause(2)


def _disagree(stack: Stack) -> None:
    """Somebody was hired, and numbers were changed in the CRM by hand."""
    account = demo_enterprise.account(demo.enterprise(stack), gateway=stack.url("gateway"), client_id="not-asked-for")
    account["users"].append({"id": 22, "first_name": "Дарья", "last_name": "Пятая"})
    account["additional_codes"] = [{"user_id": 18, "code": "152"}, {"user_id": 22, "code": "117"}]
    requests.delete(
        f"{stack.url('retailcrm-simulator')}/_sim/accounts", params={"account": account["name"]}, timeout=10
    )
    _tell_crm(stack, "accounts", account)


def _tell_crm(stack: Stack, path: str, body: Any) -> None:
    url = f"{stack.url('retailcrm-simulator')}/_sim/{path}"
    requests.post(url, json=body, timeout=10).raise_for_status()


def _shoot(running: Browser, gateway: _Running, look: str, screens: Sequence[str], into: Path) -> None:
    signed_in: list[dict[str, Any]] = []
    for name in screens:
        scene = SCENES[name]
        with _context(running, look) as context:
            page = context.new_page()
            page.goto(f"{gateway.url}/retailcrm-admin/")
            if not name.startswith("sign-in"):
                if not signed_in or name in _ENDING:
                    _sign_in(page, gateway)
                    signed_in = signed_in or [{**each} for each in context.cookies()]
                else:
                    context.add_cookies(signed_in)  # type: ignore[arg-type]  # as the browser gave them
                    page.evaluate("localStorage.setItem('signed-in', '1')")
            page.goto("about:blank")  # or another place in the address would not open the page anew
            page.goto(f"{gateway.url}/retailcrm-admin/{scene.address.format(**gateway.calls)}")
            _quiet(page)
            scene.act(page)
            _quiet(page)
            page.screenshot(path=into / f"{name}-{look}.png", full_page=scene.is_whole)


def _sign_in(page: Page, gateway: _Running) -> None:
    page.fill("[name=enterprise_number]", "0367")
    page.fill("[name=login]", demo.ADMIN_LOGIN)
    page.fill("[name=password]", gateway.password)
    page.click("form [type=submit]")
    page.wait_for_selector(".frame")


@contextmanager
def _context(running: Browser, look: str) -> Iterator[BrowserContext]:
    size, theme, language = look.split("-")
    width, height = SIZES[size]
    context = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        locale={"ru": "ru-RU", "en": "en-GB"}[language],
    )
    context.add_init_script(f"localStorage.setItem('language', '{language}')")
    try:
        yield context
    finally:
        context.close()


def _quiet(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_QUIET_MS)


def _again(page: Page) -> None:
    page.reload()
    _quiet(page)


def _open_all(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")


def _refuse_sign_in(page: Page) -> None:
    page.fill("[name=enterprise_number]", "0367")
    page.fill("[name=login]", demo.ADMIN_LOGIN)
    page.fill("[name=password]", "not this one")
    page.click("form [type=submit]")
    page.wait_for_selector("form .notice.bad")


def _wait_for_turn(page: Page) -> None:
    """Strangers guess at the login."""
    wait = {"Retry-After": "40"}
    page.route("**/api/session", lambda route: route.fulfill(status=429, headers=wait, json=_TOO_MANY))
    page.fill("[name=enterprise_number]", "0367")
    page.fill("[name=login]", demo.ADMIN_LOGIN)
    page.fill("[name=password]", "not this one")
    page.click("form [type=submit]")
    page.wait_for_selector("form .notice.warn")


def _open_another(page: Page) -> None:
    """A link of another enterprise is opened over a session."""

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=409, json=_ANOTHER)
        else:
            route.fallback()

    page.route("**/api/session", answer)
    address = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(f"{address}#/?opened=1")
    page.wait_for_selector("dialog[open]")


def _log_of_strangers(page: Page) -> None:
    """Somebody guesses, and lists are taken along."""

    def answer(route: Route) -> None:
        logs = [each for each in _STRANGERS["logs"] if each["error_message"] or "status=error" not in route.request.url]
        route.fulfill(json={**_STRANGERS, "logs": logs})

    page.route("**/api/logs/0367*", answer)
    _again(page)


def _menu(page: Page) -> None:
    button = page.locator(".menu-button")
    if button.is_visible():
        button.click()


def _calls(answer: Callable[[Route], None]) -> Callable[[Page], None]:
    """The list of calls is answered otherwise."""

    def act(page: Page) -> None:
        page.route("**/api/calls/0367*", answer)
        _again(page)

    return act


def _take(page: Page) -> None:
    """A number that is somebody's is given to somebody else; what it is kept by is left as it was."""
    extensions = {"18": "150", "19": None, "20": "152", "22": "151"}
    page.route("**/save-extensions/*", lambda route: route.fulfill(json={"user_extensions": extensions}))
    _ask_for_taken(page)
    page.locator("dialog .button").last.click()
    page.wait_for_selector(".toast")


def _ask_for_taken(page: Page) -> None:
    select = page.locator("tbody tr", has_text="Дарья").locator("select")
    select.focus()
    select.select_option("151")
    page.wait_for_selector("dialog")


def _fail_to_undo(page: Page) -> None:
    """What was taken is asked back, and the gateway is away."""
    _take(page)
    page.route("**/save-extensions/*", lambda route: route.fulfill(status=503, json=_AWAY))
    page.locator(".toast .button").click()
    page.wait_for_selector("td .problem")


def _check_number(page: Page) -> None:
    line = page.locator("section.card", has=page.locator(".line-fields")).nth(1)
    button = line.locator(".to-test .button")
    if button.is_visible():
        button.click()
    else:
        line.locator("input").last.focus()


def _wrong_rule(page: Page) -> None:
    page.locator(".line-fields").first.locator("input").nth(3).fill("+375 and nine digits")
    page.locator(".save-bar .button").last.click()
    page.wait_for_selector("[aria-invalid]")


def _check(page: Page) -> None:
    page.locator("form .button.plain").first.click()
    page.wait_for_selector(".steps .step.ok")


def _press_danger(page: Page) -> None:
    page.locator("main .button.danger").last.click()
    page.wait_for_selector("dialog[open]")


def _find(page: Page) -> None:
    """A host with something to mend."""
    page.route("**/doctor/*", lambda route: route.fulfill(json=_FOUND))
    page.reload()
    page.wait_for_selector("details")
    _open_all(page)


def _settle_for(page: Page, seconds: str) -> None:
    page.fill("[name=settle_seconds]", seconds)
    expect(page.locator(".save-bar")).to_be_visible()


def _conflict(page: Page) -> None:
    """Somebody else saves a rule meanwhile."""
    _settle_for(page, "9")
    page.evaluate(
        """async () => {
            const ask = async (options = {}) => (await fetch("api/config/0367", options)).json();
            const { version, settings } = await ask();
            const seconds = settings.popup_max_age_seconds === 25 ? 30 : 25;
            await ask({
                method: "PUT", headers: { "Content-Type": "application/json" },
                body: JSON.stringify({ version, settings: { popup_max_age_seconds: seconds } }),
            });
        }"""
    )
    page.click(".save-bar [type=submit]")
    page.wait_for_selector("main .notice.warn")


def _session_over(page: Page) -> None:
    _settle_for(page, "9")
    page.context.clear_cookies()
    page.click(".save-bar [type=submit]")
    page.wait_for_selector("dialog[open]")


_FOUND: Final = {
    "since": "2026-01-01T08:00:00Z",
    "until": "2026-01-01T18:00:00Z",
    "events": 5000,
    "calls": 1204,
    "is_capped": True,
    "findings": [
        {
            "code": "late",
            "weight": "loss",
            "count": 41,
            "of": 1204,
            "facts": {"percent": 3.4, "worst": 71},
            "examples": [{"unique_id": "1767258000.27", "value": "start +71 s", "count": 1}],
        },
        {
            "code": "unknown_extensions",
            "weight": "loss",
            "count": 14,
            "of": 2210,
            "facts": {},
            "examples": [
                {"unique_id": "1767258300.31", "value": "777", "count": 12},
                {"unique_id": "1767259100.44", "value": "91151", "count": 2},
            ],
        },
        {
            "code": "one_sided_bridges",
            "weight": "guess",
            "count": 640,
            "of": 702,
            "facts": {},
            "examples": [{"unique_id": "1767258000.28", "value": "SIP/0001301-0000001c", "count": 1}],
        },
    ],
}
_NOTHING: Final[dict[str, Any]] = {"calls": [], "next": None}
_AWAY: Final = {"error": {"code": "unavailable", "message": "The database is away"}}
_TOO_MANY: Final = {"error": {"code": "rate_limited", "message": "Too many attempts to sign in"}}
_ANOTHER: Final = {
    "error": {
        "code": "other_enterprise",
        "message": "Somebody works in another enterprise here",
        "other": {"enterprise_number": "0402", "enterprise_name": "Вторая демо-компания"},
    }
}
_STRANGERS: Final[dict[str, Any]] = {
    "logs": [
        {
            "id": number,
            "event_type": event_type,
            "status": "error" if error else "success",
            "error_message": error,
            "request_data": request,
            "response_data": {},
            "created_at": f"2026-01-01T10:0{number}:00Z",
        }
        for number, event_type, error, request in (
            (3, "sign_in", "wrong_credentials", {"login": "admin", "failed": 50, "address": "192.0.2.1"}),
            (2, "export", None, {"by": "admin", "of": "calls", "filter": {"kind": "in"}, "rows": 214}),
            (1, "export", None, {"by": "account link", "of": "log", "filter": {}, "rows": 2}),
        )
    ],
    "next": None,
}
_ENDING: Final = {"settings-session-over"}
SCENES: Final[Mapping[str, Scene]] = {
    "sign-in": Scene(address=""),
    "sign-in-refused": Scene(address="", act=_refuse_sign_in),
    "sign-in-wait": Scene(address="", act=_wait_for_turn),
    "sign-in-old-link": Scene(address="#/?refused=link_revoked"),
    "overview": Scene(address="#/overview"),
    "overview-menu": Scene(address="#/overview", act=_menu, is_whole=False),
    "calls": Scene(address="#/calls"),
    "calls-filtered": Scene(address="#/calls?kind=in&result=no+answer&state=delivered"),
    "calls-nothing": Scene(address="#/calls?phone=555"),
    "calls-empty": Scene(address="#/calls", act=_calls(lambda route: route.fulfill(json=_NOTHING))),
    "calls-error": Scene(address="#/calls", act=_calls(lambda route: route.fulfill(status=503, json=_AWAY))),
    "call": Scene(address="#/call/{answered}", act=_open_all),
    "call-transfer": Scene(address="#/call/{transfer}"),
    "call-missed": Scene(address="#/call/{missed}"),
    "call-unmapped": Scene(address="#/call/{unmapped}"),
    "call-refused": Scene(address="#/call/{refused}"),
    "call-outgoing": Scene(address="#/call/{outgoing}"),
    "call-internal": Scene(address="#/calls?kind=internal", act=lambda page: page.click(".call-line a")),
    "call-unknown": Scene(address="#/call/1700000000.1"),
    "managers": Scene(address="#/managers"),
    "managers-asked": Scene(address="#/managers", act=_ask_for_taken, is_whole=False),
    "managers-taken": Scene(address="#/managers", act=_take, is_whole=False),
    "managers-undo-failed": Scene(address="#/managers", act=_fail_to_undo),
    "lines": Scene(address="#/lines"),
    "lines-check": Scene(address="#/lines", act=_check_number, is_whole=False),
    "lines-wrong": Scene(address="#/lines", act=_wrong_rule, is_whole=False),
    "callbacks": Scene(address="#/callbacks"),
    "report": Scene(address="#/report"),
    "host": Scene(address="#/host"),
    "host-findings": Scene(address="#/host", act=_find),
    "connection": Scene(address="#/connection"),
    "connection-checked": Scene(address="#/connection", act=_check),
    "connection-dialog": Scene(address="#/connection", act=_press_danger, is_whole=False),
    "settings": Scene(address="#/settings"),
    "settings-conflict": Scene(address="#/settings", act=_conflict, is_whole=False),
    "settings-session-over": Scene(address="#/settings", act=_session_over, is_whole=False),
    "log": Scene(address="#/log"),
    "log-details": Scene(address="#/log?status=error", act=_open_all),
    "log-strangers": Scene(address="#/log", act=_log_of_strangers),
    "other-enterprise": Scene(address="#/overview", act=_open_another, is_whole=False),
    "try": Scene(address="#/try"),
    "nowhere": Scene(address="#/nothing"),
}

if __name__ == "__main__":
    sys.exit(main())
