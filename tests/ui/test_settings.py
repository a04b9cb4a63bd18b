"""The rules of calls."""

from __future__ import annotations

import psycopg
import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("ru", ("Кто ответил первым", "Правила сохранены", "Вернуть как было")),
        ("en", ("Who answered first", "The rules are saved", "Undo")),
    ],
)
def test_rules_are_saved_and_can_be_taken_back(number, enrol, visit, language, words):
    first_talker, saved, undo = words
    administrator = enrol(number)
    somebody = visit(language=language).sign_in(number)
    somebody.go("settings")
    somebody.page.locator("[name=settle_seconds]").fill("7,5")
    somebody.page.get_by_label(first_talker).check()
    somebody.is_accessible()

    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads(saved)

    settings = administrator.config()["settings"]
    assert (settings["settle_seconds"], settings["owner_policy"]) == (7.5, "first_talker")
    expect(somebody.page.locator(".save-bar")).to_be_hidden()
    somebody.press(undo)
    expect(somebody.page.locator("[name=settle_seconds]")).to_have_value("5")
    assert administrator.config()["settings"]["settle_seconds"] is None


def test_what_cannot_be_is_said_at_its_field(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("settings")
    somebody.page.locator("[name=settle_seconds]").fill("99999")
    somebody.page.locator("[name=call_max_hours]").fill("100")

    somebody.page.locator(".save-bar [type=submit]").click()

    somebody.reads("Введите число от 0 до 600.")
    somebody.reads("Введите число от 0,001 до 48.")
    expect(somebody.page.locator("[name=settle_seconds]")).to_be_focused()
    somebody.is_accessible()


def test_somebody_elses_save_is_shown_and_mine_is_kept(number, enrol, visit):
    administrator = enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("settings")
    somebody.page.locator("[name=settle_seconds]").fill("8")
    administrator.save(settings={"finalize_after_seconds": 120})

    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads("Пока вы правили, правила сохранил кто-то другой")
    somebody.reads("Завершать без сигнала окончания через: 120 с")
    somebody.is_accessible()
    somebody.press("Сохранить мои")

    somebody.reads("Правила сохранены")
    settings = administrator.config()["settings"]
    assert (settings["settle_seconds"], settings["finalize_after_seconds"]) == (8, 120)


def test_what_is_unsaved_is_not_lost_by_a_click_elsewhere(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("settings")
    somebody.page.locator("[name=settle_seconds]").fill("8")

    somebody.page.get_by_role("link", name="Журнал").click()
    somebody.reads("Изменения не сохранены")
    somebody.press("Остаться")
    assert somebody.page.locator("[name=settle_seconds]").input_value() == "8"
    somebody.page.get_by_role("link", name="Журнал").click()
    somebody.press("Уйти без сохранения")

    expect(somebody.page.locator("main h1")).to_have_text("Журнал")


def test_smart_redirect_is_set_for_all_and_for_a_line(number, enrol, visit):
    administrator = enrol(number, smart_redirect_lines={"0001302": {"algorithm": "last_call"}})
    somebody = visit(size="phone").sign_in(number)
    somebody.go("settings")
    somebody.page.get_by_label("Показать имя клиента").check()
    somebody.page.get_by_label("0001302").select_option("off")
    somebody.page.get_by_label("Названия магазинов").fill("main = Магазин = склад")

    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads("Правила сохранены")

    settings = administrator.config()["settings"]
    assert settings["smart_redirect_mode"] == "name-only"
    assert settings["smart_redirect_lines"] == {"0001302": {"algorithm": "last_call", "mode": "off"}}
    assert settings["smart_redirect_shop_names"] == {"main": "Магазин = склад"}
    somebody.is_accessible()


@pytest.mark.parametrize(
    ("language", "size", "words"),
    [
        ("ru", "phone", ("Добавить страну", "Литва — убрать", "спутниковые", "Правила сохранены", "Турция — убрать")),
        (
            "en",
            "desktop",
            ("Add a country", "Lithuania: remove", "satellite", "The rules are saved", "Türkiye: remove"),
        ),
    ],
)
def test_whom_clicks_may_call_is_chosen(*, number, enrol, visit, language, size, words):
    add, remove, satellite, saved, added = words
    administrator = enrol(number)
    usual = administrator.config()["defaults"]["click_countries"]
    somebody = visit(language=language, size=size).sign_in(number)
    somebody.go("settings")
    somebody.page.get_by_label(add).select_option("TR")
    somebody.press(remove)
    somebody.page.get_by_label(satellite).check()
    somebody.page.locator("[name=click_daily_limit]").fill("500")
    expect(somebody.page.get_by_role("button", name=added)).to_be_visible()
    somebody.is_accessible()

    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads(saved)

    settings = administrator.config()["settings"]
    assert settings["click_countries"] == sorted({*usual, "TR"} - {"LT"})
    assert settings["click_number_kinds"] == ["satellite"]
    assert settings["click_daily_limit"] == 500
    expect(somebody.page.locator(".save-bar")).to_be_hidden()


def test_every_country_is_one_choice_and_a_limit_has_its_bounds(number, enrol, visit):
    administrator = enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("settings")
    somebody.page.get_by_label("Добавить страну").select_option("*")
    somebody.page.locator("[name=click_daily_limit]").fill("99999")

    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads("Введите число от 1 до 20 000.")
    expect(somebody.page.locator("[name=click_daily_limit]")).to_be_focused()
    somebody.page.locator("[name=click_daily_limit]").fill("20000")
    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads("Правила сохранены")

    assert administrator.config()["settings"]["click_countries"] == ["*"]
    expect(somebody.page.get_by_role("button", name="Любая страна — убрать")).to_be_visible()


@pytest.mark.parametrize(
    ("language", "size", "label", "odd", "twice", "saved"),
    [
        (
            "ru",
            "phone",
            "Названия магазинов",
            "Строка 2, «odd line»",
            "код main уже есть в строке 1",
            "Правила сохранены",
        ),
        ("en", "desktop", "Names of shops", "Line 2, “odd line”", "code main is in line 1", "The rules are saved"),
    ],
)
def test_a_line_that_says_nothing_is_named_and_not_dropped(
    *, number, enrol, visit, language, size, label, odd, twice, saved
):
    administrator = enrol(number)
    somebody = visit(language=language, size=size).sign_in(number)
    somebody.go("settings")
    names = somebody.page.get_by_label(label)

    names.fill("main = Shop\nodd line")
    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads(odd)
    expect(names).to_be_focused()
    expect(names).to_have_attribute("aria-invalid", "true")
    somebody.is_accessible()
    assert administrator.config()["settings"]["smart_redirect_shop_names"] is None
    names.fill("main = Shop\nmain = Other")
    somebody.page.locator(".save-bar [type=submit]").click()
    somebody.reads(twice)
    names.fill("main = Shop\nother = Second")
    somebody.page.locator(".save-bar [type=submit]").click()

    somebody.reads(saved)
    kept = administrator.config()["settings"]["smart_redirect_shop_names"]
    assert kept == {"main": "Shop", "other": "Second"}


def test_a_line_that_says_nothing_is_not_lost_by_a_click_elsewhere(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("settings")
    somebody.page.get_by_label("Названия магазинов").fill("odd line")

    somebody.page.get_by_role("link", name="Журнал").click()

    somebody.reads("Изменения не сохранены")


@pytest.mark.parametrize(
    ("language", "label"), [("ru", "Пауза перед записью в историю"), ("en", "Pause before the history row")]
)
def test_a_rule_that_cannot_be_followed_is_named_in_the_pages_words(*, number, enrol, visit, stack, language, label):
    enrol(number)
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm,settle_seconds}',"
            " '\"soon\"') WHERE number = %s",
            [number],
        )
    somebody = visit(language=language).sign_in(number)
    somebody.go("settings")

    notice = somebody.page.locator(".notice").first
    expect(notice).to_contain_text(label)
    expect(notice).not_to_contain_text("soon")
