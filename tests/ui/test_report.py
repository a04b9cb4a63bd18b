"""The report of a day, a week or a month."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from infra.stand_ins import player


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_calls_of_today_are_counted_drawn_and_told_in_a_table(number, enrol, visit, stack, look):
    language, size, theme = look
    enrol(number)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("report")
    somebody.reads({"ru": "Звонков не было", "en": "No calls"}[language])
    somebody.is_accessible()
    for scenario in ("2-1-doc", "2-2-doc"):
        played = player.play(player.load()[scenario], stack.url("gateway"), f"token-of-{number}", speed=10)
        assert played.refused == []
    summary = {
        "ru": "Принято 1, пропущено 1, исходящих с ответом 0.",
        "en": "1 answered, 1 missed, 0 outgoing calls answered.",
    }[language]

    page = somebody.page
    for _ in range(40):
        somebody.page.reload()
        expect(page.locator("main h2").first).to_be_visible()
        if page.get_by_text(summary).count():
            break
        page.wait_for_timeout(1000)

    somebody.reads(summary)
    expect(page.locator("tbody").last).to_contain_text("Boris (151)")
    page.locator("main summary").click()
    somebody.is_accessible()
    somebody.press({"ru": "Неделя", "en": "Week"}[language])
    somebody.reads(summary)
    expect(page.locator(".bar-names span")).to_have_count(7)
    somebody.press({"ru": "Раньше", "en": "Earlier"}[language])
    somebody.reads({"ru": "Звонков не было", "en": "No calls"}[language])
    assert "span=week" in page.url
    somebody.press({"ru": "Позже", "en": "Later"}[language])
    somebody.reads(summary)
