"""Is it working, and what needs a hand."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from infra.stand_ins import player


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_a_call_arrives_in_the_numbers_of_the_day_by_itself(number, enrol, visit, stack, look):
    language, size, theme = look
    enrol(number)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    quiet = {"ru": "Сегодня звонков ещё не было", "en": "No calls today yet"}[language]
    before = somebody.page.get_by_text(quiet).count()

    player.play(player.load()["2-1-doc"], stack.url("gateway"), f"token-of-{number}", speed=20)

    tally = somebody.page.locator(".tally", has_text={"ru": "Звонки сегодня", "en": "Calls today"}[language])
    expect(tally.locator(".tally-total")).to_have_text(re.compile("[1-9]"), timeout=40_000)
    expect(somebody.page.locator("figure svg[role=img]")).to_have_attribute("aria-label", re.compile(r"\d"))
    assert before in {0, 1}
    somebody.is_accessible()


@pytest.mark.parametrize(
    "words",
    [
        ("ru", "Отключить", "Модуль отключён", "Интеграция выключена", "Включить", "модуль зарегистрирован и включён"),
        (
            "en",
            "Switch off",
            "The module is off",
            "The integration is switched off",
            "Switch on",
            "the module is registered and on",
        ),
    ],
)
def test_what_was_switched_off_is_switched_on_in_the_crm_too(number, enrol, visit, crm, words):
    language, off, is_off, disabled, on, done = words
    administrator = enrol(number)
    administrator.register()
    somebody = visit(language=language).sign_in(number)
    somebody.go("connection")
    somebody.press(off)
    somebody.page.get_by_role("dialog").get_by_role("button", name=off).click()
    somebody.reads(is_off)
    assert crm.module(number)["active"] is False
    somebody.go("overview")
    somebody.reads(disabled)

    somebody.press(on)

    somebody.reads(done)
    assert crm.module(number)["active"] is True
    assert administrator.config()["enabled"] is True


HEADLINES = {
    "refused": {"ru": "RetailCRM не принимает ключ", "en": "RetailCRM re"},
    "off": {"ru": "Модуль выключен в RetailCRM", "en": "The module is off in RetailCRM"},
    "nobody": {"ru": "Карточки показывать некому", "en": "Nobody to show pop-ups to"},
    "untried": {"ru": "Подключено, звонков ещё не было", "en": "Connected, no calls yet"},
}


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("case", HEADLINES)
def test_the_headline_says_only_what_is_so(*, number, enrol, visit, crm, stack, case, language):
    administrator = enrol(number, user_extensions={"18": None} if case == "nobody" else {"18": "150", "19": "151"})
    administrator.register()
    if case == "refused":
        crm.account(number, api_key=f"another-key-{number}")
    if case == "off":
        crm.change(number, "state", state="open")
        crm.forget(number)
        crm.account(number, module_active=False, additional_codes=[])
    if case in {"refused", "off"}:
        player.play(player.load()["2-1-doc"], stack.url("gateway"), f"token-of-{number}", speed=20)
        time.sleep(2)
    somebody = visit(language=language).sign_in(number)

    state = somebody.page.locator(".state")
    expect(state.locator("h2")).to_contain_text(HEADLINES[case][language], timeout=40_000)
    expect(state).not_to_have_class(re.compile(r"\bgood\b"))
    expect(state).not_to_contain_text({"ru": "Карточки появляются", "en": "appear while"}[language])
    somebody.is_accessible()


def test_what_was_really_shown_and_stored_stands_under_the_headline(number, enrol, visit, stack):
    enrol(number).register()
    somebody = visit().sign_in(number)
    somebody.reads("Подключено, звонков ещё не было")

    player.play(player.load()["2-1-doc"], stack.url("gateway"), f"token-of-{number}", speed=20)

    state = somebody.page.locator(".state")
    expect(state).to_contain_text("Последняя карточка показана", timeout=40_000)
    expect(state).to_contain_text("последний звонок записан в историю", timeout=40_000)


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("ru", "Нет связи с сервером. Данные на"), ("en", "No connection to the server. Data as of")],
)
def test_a_server_that_does_not_answer_is_said_within_five_seconds(number, enrol, visit, language, sentence):
    enrol(number)
    somebody = visit(language=language).sign_in(number)
    expect(somebody.page.locator(".state")).to_be_visible()
    seen_at = somebody.page.evaluate("new Date().getMinutes()")

    somebody.page.context.set_offline(True)
    said = somebody.page.locator(".link-lost")
    expect(said).to_contain_text(sentence, timeout=5_000)
    [minute] = re.findall(r":(\d\d)", said.inner_text())
    assert int(minute) in {seen_at, (seen_at + 1) % 60}
    somebody.is_accessible()
    somebody.page.context.set_offline(False)

    expect(said).to_have_count(0, timeout=10_000)
    somebody.complaints[:] = [each for each in somebody.complaints if "ERR_INTERNET_DISCONNECTED" not in each]


def test_a_server_that_hangs_or_cannot_refresh_is_said_too(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    expect(somebody.page.locator(".state")).to_be_visible()
    said = somebody.page.locator(".link-lost")

    somebody.page.route("**/retailcrm-admin/api/**", lambda route: None)
    expect(said).to_contain_text("Нет связи с сервером", timeout=6_000)
    somebody.page.unroute("**/retailcrm-admin/api/**")
    expect(said).to_have_count(0, timeout=10_000)
    away = {"error": {"code": "unavailable", "message": "The database is away"}}
    somebody.page.route("**/api/stats/*", lambda route: route.fulfill(status=503, json=away))

    expect(said).to_contain_text("не может обновить данные", timeout=25_000)


def test_a_module_that_is_not_registered_is_registered_from_here(number, enrol, visit):
    enrol(number)
    somebody = visit(language="en").sign_in(number)

    somebody.press("Register")

    expect(somebody.page.locator("main h1")).to_have_text("Connection")
    somebody.reads("Done: the module is registered and on")


def test_who_has_no_connection_yet_is_led_to_it(number, enrol, visit):
    enrol(number, is_connected=False)
    somebody = visit().sign_in(number)
    somebody.reads("RetailCRM ещё не подключена")
    somebody.is_accessible()

    somebody.page.get_by_role("link", name="Открыть подключение").click()

    expect(somebody.page.locator("main h1")).to_have_text("Подключение")


def test_what_is_refreshed_takes_neither_the_focus_nor_the_place(number, enrol, visit):
    """The numbers of the day change under whoever stands on one of them."""
    enrol(number)
    somebody = visit(size="phone").sign_in(number)
    figures = {"calls": 1}

    def answer(route):
        stats = route.fetch().json()
        stats["today"]["calls"] = {"in": figures["calls"]}
        route.fulfill(json=stats)

    somebody.page.clock.install()
    somebody.page.route("**/api/stats/*", answer)
    somebody.page.reload()
    total = somebody.page.locator(".tally-total").first
    expect(total).to_have_text("1")
    link = somebody.page.locator(".tally a").first
    link.focus()
    scrolled = somebody.page.evaluate("(scrollTo(0, 240), scrollY)")
    figures["calls"] = 2

    somebody.page.clock.run_for(16_000)

    expect(total).to_have_text("2")
    expect(somebody.page.locator(".tally a").first).to_be_focused()
    assert somebody.page.evaluate("scrollY") == scrolled > 0
    button = somebody.page.get_by_role("button", name="Зарегистрировать").first
    button.focus()
    figures["calls"] = 3
    somebody.page.clock.run_for(16_000)
    expect(total).to_have_text("3")
    expect(button).to_be_focused()
