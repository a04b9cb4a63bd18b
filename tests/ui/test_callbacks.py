"""Whom to call back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from infra.stand_ins import player

CUSTOMER = "+375 29 111-11-11"


@pytest.fixture
def missed(stack):
    """A customer calls in vain."""

    def run(number):
        played = player.play(player.load()["2-2-doc"], stack.url("gateway"), f"token-of-{number}", speed=10)
        assert played.refused == []

    return run


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_who_called_in_vain_is_taken_closed_and_given_back(number, enrol, visit, missed, look):
    language, size, theme = look
    enrol(number)
    words = {
        "ru": ("Перезванивать некому", "Взять в работу: {}", "В работе: admin", "Закрыть без звонка: {}", "Отменить"),
        "en": ("Nobody to call back", "Take {}", "Taken: admin", "Close {} without a call", "Undo"),
    }[language]
    nobody, take, taken, close, undo = (word.format(CUSTOMER) for word in words)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("callbacks")
    somebody.reads(nobody)
    somebody.is_accessible()

    missed(number)

    row = somebody.page.locator("tbody tr")
    expect(row).to_contain_text(CUSTOMER, timeout=40_000)
    somebody.is_accessible()
    somebody.press(take)
    expect(row).to_contain_text(taken)
    somebody.press(close)
    dialog = somebody.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    somebody.is_accessible()
    dialog.get_by_role("textbox").fill("ошиблись номером")
    dialog.locator("[type=submit]").click()
    somebody.reads(nobody)
    somebody.page.locator(".toast").last.get_by_role("button", name=undo).click()
    expect(row).to_contain_text(CUSTOMER)
    somebody.go("log?type=callback")
    somebody.reads("ошиблись номером")
    somebody.reads(re.compile("закрыто|closed"))
