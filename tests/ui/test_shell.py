"""Coming in, by every door; the frame around the screens."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import requests
from playwright.sync_api import expect

from lib.admin.screens import calls as calls_screen
from lib.calls.roles import LegRole
from tests.ui.conftest import FOREIGN
from tests.unit import test_reason_codes as reason_codes

UI = Path(__file__).resolve().parents[2] / "ui"
SCREENS = (
    "overview",
    "calls",
    "callbacks",
    "report",
    "managers",
    "lines",
    "host",
    "connection",
    "settings",
    "log",
    "try",
)
FIRST_PAINT_MS = 1000
TRANSFER_BYTES = 250_000


@pytest.mark.parametrize(("language", "title"), [("ru", "Обзор"), ("en", "Overview")])
def test_an_administrator_signs_in_by_password_in_either_language(number, enrol, visit, language, title):
    enrol(number)

    somebody = visit(language=language)
    somebody.sign_in(number)

    expect(somebody.page.locator("main h1")).to_have_text(title)
    assert somebody.page.locator("html").get_attribute("lang") == language
    somebody.is_accessible()


@pytest.mark.parametrize(("language", "sentence"), [("ru", "не подходят"), ("en", "is wrong")])
def test_a_wrong_password_is_said_in_words_and_the_rest_of_the_form_stays(number, enrol, visit, language, sentence):
    enrol(number)
    somebody = visit(language=language)
    somebody.open()

    somebody.fill_in(number, password="not this one")

    somebody.reads(sentence)
    assert somebody.page.locator("[name=login]").input_value() == "admin"
    somebody.is_accessible()


@pytest.mark.parametrize("method", ["GET", "POST", "POST with a form"])
def test_the_link_of_the_account_lets_in_and_its_token_is_gone(number, enrol, visit, crm, method):
    enrol(number).register()
    link = crm.module(number)["accountUrl"]
    token = parse_qs(urlsplit(link).query)["token"][0]
    somebody = visit()

    if method == "GET":
        somebody.page.goto(link)
    else:
        _post(somebody, link, with_form=method == "POST with a form")

    expect(somebody.page.locator("main h1")).to_have_text("Обзор")
    somebody.reads("Вы вошли из RetailCRM")
    assert token not in somebody.page.url
    assert "token" not in somebody.page.url
    entries = somebody.page.evaluate("[document.referrer, ...performance.getEntries().map((each) => each.name)]")
    assert not any(token in entry for entry in entries)
    for _ in range(2):
        if somebody.page.go_back():
            assert token not in somebody.page.url
    assert token not in json.dumps(somebody.page.context.storage_state())


@pytest.fixture
def guessed(stack, number):
    """Strangers have just tried the administrator's login so often that the next attempt waits some seconds."""

    def guess(times=12):
        login = hashlib.sha256(f"{number}/admin".encode()).digest()
        with psycopg.connect(stack.database_url) as conn:
            conn.cursor().executemany(
                "INSERT INTO sign_in_attempts (login_sha256, address) VALUES (%s, %s)",
                [(login, f"192.0.2.{n}") for n in range(times)],
            )

    return guess


@pytest.mark.parametrize(
    "look",
    [
        ("ru", "phone", "Слишком много попыток войти", r"Остал(ось|ась) \d секунд"),
        ("en", "desktop", "Too many attempts", r"\d seconds? left"),
    ],
    ids=["ru", "en"],
)
def test_who_has_to_wait_sees_for_how_long_and_is_let_in_by_itself(number, enrol, visit, guessed, look):
    language, size, sentence, left = look
    enrol(number)
    guessed()
    somebody = visit(language=language, size=size)
    somebody.open()

    somebody.fill_in(number)

    somebody.reads(sentence)
    somebody.reads(re.compile(left))
    somebody.is_accessible()
    expect(somebody.page.locator(".frame")).to_be_visible()


def test_who_types_something_else_waits_no_longer(number, enrol, visit, guessed):
    enrol(number)
    guessed(40)
    somebody = visit()
    somebody.open()
    somebody.fill_in(number)
    somebody.reads("Слишком много попыток войти")

    somebody.page.locator("[name=password]").fill("another one")

    expect(somebody.page.locator("form .notice")).to_have_count(0)
    expect(somebody.page.locator("form [type=submit]")).not_to_have_attribute("aria-disabled", "true")


def test_a_browser_that_has_signed_in_before_waits_for_nobody(number, enrol, visit, guessed):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.press("Выйти")
    expect(somebody.page.locator("[name=login]")).to_be_visible()
    guessed(40)

    with somebody.page.expect_response("**/api/session") as answered:
        somebody.fill_in(number)

    assert answered.value.status == 200
    expect(somebody.page.locator(".frame")).to_be_visible()


@pytest.mark.parametrize("way", ["GET in Russian", "POST in Russian", "POST in English"])
def test_a_foreign_page_that_opens_the_link_of_another_enterprise_is_asked_about(number, enrol, visit, crm, way):
    language, title = (
        ("ru", "Перейти в другое предприятие?") if "Russian" in way else ("en", "Go to another enterprise?")
    )
    other = f"9{number}"
    enrol(number)
    enrol(other).register()
    link = crm.module(other)["accountUrl"]
    somebody = visit(language=language, size="phone" if language == "ru" else "desktop").sign_in(number)

    def follow():
        if way.startswith("GET"):
            _lead(somebody, link)
        else:
            _post(somebody, link, with_form=True)
        dialog = somebody.page.get_by_role("dialog", name=title)
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text(number)
        expect(dialog).to_contain_text(other)
        somebody.is_accessible()
        return dialog

    stay = follow().get_by_role("button").first
    expect(stay).to_be_focused()
    stay.click()
    expect(somebody.page.get_by_role("dialog")).to_have_count(0)
    somebody.page.reload()
    expect(somebody.page.locator(".brand-name")).to_contain_text(re.compile(f" {number}$"))

    follow().get_by_role("button").last.click()
    expect(somebody.page.locator(".brand-name")).to_contain_text(re.compile(f" {other}$"))
    expect(somebody.page.get_by_role("dialog")).to_have_count(0)
    assert "token" not in somebody.page.url


def test_a_token_in_the_address_of_the_bare_page_is_asked_about_too(number, enrol, visit, crm):
    other = f"9{number}"
    enrol(number)
    enrol(other).register()
    link = urlsplit(crm.module(other)["accountUrl"])
    somebody = visit().sign_in(number)
    somebody.page.route(
        re.compile(r"/retailcrm-admin/\?"),
        lambda route: route.fulfill(path=UI / "index.html", content_type="text/html; charset=utf-8"),
    )

    somebody.open(f"?{link.query}")
    somebody.page.get_by_role("dialog").get_by_role("button").last.click()

    expect(somebody.page.locator(".brand-name")).to_contain_text(re.compile(f" {other}$"))


def test_a_link_that_is_not_valid_leaves_somebody_at_work_and_says_so(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    _lead(somebody, f"{somebody.url}/retailcrm-admin/?token=a.b.c")

    somebody.reads("Ссылка не подходит")
    expect(somebody.page.locator(".brand-name")).to_contain_text(re.compile(f" {number}$"))


def test_a_link_that_was_replaced_says_so_and_leaves_the_password(number, enrol, visit, crm):
    administrator = enrol(number)
    administrator.register()
    old = crm.module(number)["accountUrl"]
    administrator.register()
    somebody = visit()

    somebody.page.goto(old)

    somebody.reads("Эту ссылку заменила более новая")
    assert "token" not in somebody.page.url
    somebody.fill_in(number)
    expect(somebody.page.locator("main h1")).to_have_text("Обзор")


def test_where_files_are_only_served_the_page_itself_exchanges_the_token(number, enrol, visit, crm):
    enrol(number).register()
    link = urlsplit(crm.module(number)["accountUrl"])
    somebody = visit()
    somebody.page.route(
        re.compile(r"/retailcrm-admin/\?"),
        lambda route: route.fulfill(path=UI / "index.html", content_type="text/html; charset=utf-8"),
    )

    somebody.open(f"?{link.query}")

    expect(somebody.page.locator("main h1")).to_have_text("Обзор")
    assert "token" not in somebody.page.url
    assert somebody.page.evaluate("history.length") <= 2


def test_the_page_is_titled_by_the_enterprise(number, enrol, visit):
    enrol(number)
    somebody = visit()
    somebody.open()
    expect(somebody.page).to_have_title("Телефония для RetailCRM")
    somebody.fill_in(number)
    expect(somebody.page).to_have_title("Demo RetailCRM")

    somebody.go("log")

    expect(somebody.page).to_have_title("Demo RetailCRM")


@pytest.mark.parametrize("look", [("ru", "desktop"), ("en", "phone")])
def test_the_number_in_the_address_fills_the_form(number, enrol, visit, look):
    language, size = look
    enrol(number)
    somebody = visit(language=language, size=size).sign_in(number)
    somebody.page.context.clear_cookies()

    somebody.open("?enterprise_number=0999")

    expect(somebody.page.locator("[name=enterprise_number]")).to_have_value("0999")
    expect(somebody.page.locator("[name=login]")).to_be_focused()
    assert "enterprise_number" not in somebody.page.url


@pytest.mark.parametrize(
    ("language", "sentence", "again"),
    [("ru", "Сервер не отвечает", "Повторить"), ("en", "The server does not answer", "Try again")],
)
def test_a_frozen_server_is_said_after_five_seconds(*, number, enrol, visit, language, sentence, again):
    enrol(number)
    somebody = visit(language=language).sign_in(number)
    somebody.page.route("**/api/lines/*", lambda _: None)

    started = time.monotonic()
    somebody.open("#/lines")
    somebody.reads(sentence)

    assert 4 < time.monotonic() - started < 10
    somebody.is_accessible()
    somebody.page.unroute("**/api/lines/*")
    somebody.press(again)
    expect(somebody.page.locator("section.card").first).to_contain_text("0001301")


def test_a_change_that_takes_long_is_said_and_not_given_up(number, enrol, visit):
    administrator = enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("lines")
    held = []

    def hold(route):
        held.append(route)

    somebody.page.route("**/api/lines/*", hold)
    somebody.page.get_by_label("Название").first.fill("Shop")

    somebody.press("Сохранить")
    somebody.reads("Сервер отвечает дольше обычного")
    for route in [each for each in held if each.request.method == "PUT"]:
        route.continue_()

    somebody.reads("Линии сохранены")
    assert administrator.ask("GET", f"lines/{number}")["lines"][0]["name"] == "Shop"


def test_back_leads_to_the_same_place_with_the_filter_and_the_focus(number, enrol, visit, stack):
    enrol(number)
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, line_id, result, started_at,
                               first_event_at, last_event_at, over_at)
            SELECT %s, '1700000000.' || n, 'in', '+37529' || 1000000 + n, '0001301', 'no answer', at, at, at, at
            FROM generate_series(1, 200) n, LATERAL (SELECT now() - make_interval(mins => n) AS at) moment
            """,
            [number],
        )
    somebody = visit().sign_in(number)
    # Of these calls there are no events, so no story either.
    gone = {"error": {"code": "unknown_call", "message": "There is no such call"}}
    somebody.page.route("**/api/calls/*/*", lambda route: route.fulfill(status=404, json=gone))
    somebody.go("calls?kind=in")
    lines = somebody.page.locator(".call-line")
    somebody.press("Показать ещё")
    expect(lines).to_have_count(150)
    link = lines.nth(120).get_by_role("link")
    link.scroll_into_view_if_needed()
    address, place = link.get_attribute("href"), somebody.page.evaluate("scrollY")
    assert place > 1000

    for way in ("the link", "the browser"):
        somebody.page.locator(f".call-line a[href='{address}']").click()
        back = somebody.page.get_by_role("link", name="Все звонки")
        expect(back).to_have_attribute("href", "#/calls?kind=in")
        assert somebody.page.evaluate("scrollY") < 200
        if way == "the link":
            back.click()
        else:
            somebody.page.go_back()

        expect(lines).to_have_count(150)
        expect(somebody.page.get_by_label("Направление")).to_have_value("in")
        expect(somebody.page.locator(f".call-line a[href='{address}']")).to_be_focused()
        assert abs(somebody.page.evaluate("scrollY") - place) < 50


def test_signing_out_ends_the_session(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.press("Выйти")

    expect(somebody.page.locator("[name=login]")).to_be_visible()
    somebody.open("#/settings")
    expect(somebody.page.locator("[name=login]")).to_be_visible()


def test_the_language_is_changed_by_one_click_and_remembered(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.press("English")

    expect(somebody.page.locator("main h1")).to_have_text("Overview")
    somebody.page.reload()
    expect(somebody.page.locator("main h1")).to_have_text("Overview")


def test_the_theme_is_chosen_and_remembered(number, enrol, visit):
    enrol(number)
    somebody = visit(theme="dark").sign_in(number)
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    dark = somebody.page.evaluate(paper)

    somebody.press("Оформление: как в системе")

    light = somebody.page.evaluate(paper)
    assert light != dark
    somebody.page.reload()
    expect(somebody.page.locator(".frame")).to_be_visible()
    assert somebody.page.evaluate(paper) == light


def test_on_a_phone_the_sections_are_behind_a_button_for_fingers_and_keys(number, enrol, visit):
    enrol(number)
    somebody = visit(size="phone").sign_in(number)
    menu = somebody.page.get_by_role("button", name="Меню")
    log = somebody.page.get_by_role("link", name="Журнал")
    expect(log).to_be_hidden()

    menu.click()
    somebody.is_accessible()
    somebody.page.keyboard.press("Escape")
    expect(log).to_be_hidden()
    expect(menu).to_be_focused()
    menu.press("Enter")
    log.click()

    expect(somebody.page.locator("main h1")).to_have_text("Журнал")
    expect(log).to_be_hidden()


def test_the_keyboard_skips_the_sections_and_follows_to_the_heading(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.page.reload()
    expect(somebody.page.locator(".screen")).to_be_visible()
    somebody.page.keyboard.press("Tab")
    expect(somebody.page.get_by_role("link", name="К содержанию")).to_be_focused()
    somebody.page.keyboard.press("Enter")
    expect(somebody.page.locator("#main")).to_be_focused()
    somebody.page.get_by_role("link", name="Правила").press("Enter")

    expect(somebody.page.locator("main h1")).to_have_text("Правила")
    expect(somebody.page.locator("main h1")).to_be_focused()
    expect(somebody.page.get_by_role("link", name="Правила")).to_have_attribute("aria-current", "page")


def test_an_address_that_names_nothing_says_where_to_go(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.open("#/nothing")

    somebody.reads("Такой страницы нет")
    somebody.open("#/%E0%A4%A")
    somebody.reads("Такой страницы нет")
    somebody.is_accessible()


@pytest.mark.parametrize(("language", "title"), [("ru", "Сеанс закончился"), ("en", "The session is over")])
def test_a_session_that_ends_asks_again_and_the_form_stays(number, enrol, visit, language, title):
    enrol(number)
    somebody = visit(language=language).sign_in(number)
    somebody.go("settings")
    somebody.page.locator("[name=settle_seconds]").fill("7")
    somebody.page.context.clear_cookies()

    somebody.page.locator(".save-bar [type=submit]").click()
    dialog = somebody.page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    somebody.is_accessible()
    dialog.locator("[name=password]").fill("a-password-of-the-tests")
    dialog.locator("[type=submit]").click()

    expect(dialog).to_be_hidden()
    somebody.reads({"ru": "Правила сохранены", "en": "The rules are saved"}[language])
    assert somebody.page.locator("[name=settle_seconds]").input_value() == "7"


def test_the_page_paints_within_a_second_and_weighs_little(visit):
    paints = []
    for _ in range(3):  # the quickest: how busy this machine is says nothing about the page
        fresh = visit()
        fresh.open()
        expect(fresh.page.locator("form")).to_be_visible()
        paints.append(fresh.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    files = [path.relative_to(UI) for path in UI.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    weight = sum(_transferred(f"{fresh.url}/retailcrm-admin/{file}") for file in files)

    assert min(paints) < FIRST_PAINT_MS
    assert weight < TRANSFER_BYTES


@pytest.mark.parametrize("language", ["ru", "en"])
def test_no_screen_has_to_be_moved_sideways_on_the_smallest_phone(number, enrol, visit, language):
    enrol(number)
    somebody = visit(language=language, size="phone").sign_in(number)
    somebody.page.set_viewport_size({"width": 320, "height": 640})

    widths = {}
    for screen in SCREENS:
        somebody.go(screen)
        somebody.page.wait_for_load_state("networkidle")
        widths[screen] = somebody.page.evaluate("document.documentElement.scrollWidth")

    assert {screen for screen, width in widths.items() if width > 320} == set()


def test_every_message_is_there_in_both_languages(enrol, visit):
    names = sorted(path.stem for path in (UI / "js" / "messages" / "ru").glob("*.js"))
    assert names == sorted(path.stem for path in (UI / "js" / "messages" / "en").glob("*.js"))
    somebody = visit()
    somebody.open()

    keys = somebody.page.evaluate(
        """async (names) => {
            const plural = new Set(["zero", "one", "two", "few", "many", "other"]);
            const slots = (text) => [...new Set(text.match(/\\{\\w+\\}/g) ?? [])].sort().join();
            const flat = (messages, at = "") => Object.entries(messages).flatMap(([key, value]) =>
                typeof value === "string" ? [[at + key, slots(value)]]
                : Object.keys(value).every((each) => plural.has(each)) ? [[at + key, slots(value.other)]]
                : flat(value, at + key + "."));
            const of = async (language, name) =>
                flat((await import(`/retailcrm-admin/js/messages/${language}/${name}.js`)).default).sort();
            const found = {};
            for (const name of names) found[name] = [await of("ru", name), await of("en", name)];
            return found;
        }""",
        names,
    )

    for name, (russian, english) in keys.items():
        assert [key for key, _ in russian] == [key for key, _ in english], name
        assert russian == english, f"{name}: the same {{values}} in both languages"


def test_every_code_that_says_why_has_words(visit):
    somebody = visit()
    somebody.open()

    known = somebody.page.evaluate(
        """async () => {
            const of = async (language) => (await import(`/retailcrm-admin/js/messages/${language}/reasons.js`)).default;
            const keys = ({ why, reasons, because }) =>
                ({ why: Object.keys(why), reasons: Object.keys(reasons), because: Object.keys(because) });
            return [keys(await of("ru")), keys(await of("en"))];
        }"""
    )

    for words in known:
        assert reason_codes.decisions() == set(words["why"])
        assert reason_codes.reasons() <= set(words["reasons"])
        assert set(get_args(LegRole)) <= set(words["because"])
        assert set(calls_screen._NO_POPUP) | set(calls_screen._NO_ROW) <= set(words["why"])


def _transferred(url):
    with requests.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=5) as response:
        return len(response.raw.read())


def _post(somebody, link, *, with_form):
    """A page of another site that opens the account by a form, as RetailCRM does."""
    address = urlsplit(link)
    action = f"{address.scheme}://{address.netloc}{address.path}" if with_form else link
    fields = {"clientId": "abc"}
    if with_form:
        fields |= {name: values[0] for name, values in parse_qs(address.query).items()}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<!doctype html><form method="post" action="{action.replace("&", "&amp;")}">{inputs}<button>Open</button></form>'
    _visit_foreign(somebody, form)
    somebody.page.get_by_role("button", name="Open").click()


def _lead(somebody, link):
    """A page of another site that has a link."""
    _visit_foreign(somebody, f'<!doctype html><a href="{link.replace("&", "&amp;")}">Open</a>')
    somebody.page.get_by_role("link", name="Open").click()


def _visit_foreign(somebody, content):
    somebody.page.route(f"{FOREIGN}/**", lambda route: route.fulfill(body=content, content_type="text/html"))
    somebody.page.goto(f"{FOREIGN}/opens-the-account")


@pytest.mark.parametrize("language", ["ru", "en"])
def test_what_a_screen_is_made_of_is_asked_for_at_once(number, enrol, visit, stack, language):
    """A module that is not preloaded costs another turn to the server: on a slow line a third of a second."""
    enrol(number)
    somebody = visit(language=language)
    late = """() => {
        const preloaded = new Set([...document.querySelectorAll("link[rel=modulepreload]")].map((link) => link.href));
        return performance.getEntriesByType("resource").map((each) => each.name)
            .filter((name) => name.endsWith(".js") && !name.endsWith("early.js") && !preloaded.has(name));
    }"""
    somebody.open()
    expect(somebody.page.locator("[name=login]")).to_be_visible()
    found = {"sign-in": somebody.page.evaluate(late)}
    somebody.fill_in(number)
    expect(somebody.page.locator(".frame")).to_be_visible()

    for screen in [*SCREENS, "call/1.1"]:
        somebody.open(f"#/{screen}")
        somebody.page.reload()
        expect(somebody.page.locator(f".screen[data-screen='{screen.split('/')[0]}']")).to_be_visible()
        somebody.page.wait_for_load_state("networkidle")
        found[screen] = somebody.page.evaluate(late)

    wanted = found.pop("call/1.1")  # which is not there: its sentence is an error's
    assert [name for name in wanted if not name.endswith("errors.js")] == []
    assert {screen: names for screen, names in found.items() if names} == {}
