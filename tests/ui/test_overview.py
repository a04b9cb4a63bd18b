"""Is it working, and what needs a hand."""

from __future__ import annotations

import re

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


def test_what_needs_attention_has_a_button_that_mends_it(number, enrol, visit):
    enrol(number, enabled=False)
    somebody = visit().sign_in(number)
    somebody.reads("Интеграция выключена")

    somebody.press("Включить")

    somebody.reads("Интеграция включена")
    expect(somebody.page.get_by_role("button", name="Включить", exact=True)).to_have_count(0)


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
