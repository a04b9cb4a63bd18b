"""Connecting RetailCRM, seeing how it goes, and taking it back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize(
    "words",
    [
        ("ru", "Проверить", "Сохранить и зарегистрировать", "Всё в порядке", "модуль зарегистрирован и включён"),
        ("en", "Test", "Save and register", "All is well", "the module is registered and on"),
    ],
)
def test_an_enterprise_is_connected_tested_and_registered(number, enrol, visit, crm, words):
    language, test, save, ticked, done = words
    administrator = enrol(number, is_connected=False)
    somebody = visit(language=language).sign_in(number)
    somebody.go("connection")
    somebody.is_accessible()
    somebody.page.locator("[name=domain]").fill(crm.url)
    somebody.page.locator("[name=api_key]").fill(f"key-of-{number}")

    somebody.press(test)
    somebody.reads(ticked)
    expect(somebody.page.locator(".step.ok")).to_have_count(4)
    somebody.is_accessible()
    somebody.press(save)
    somebody.reads(done)

    assert administrator.config()["api_key"]["last_four"] == number
    assert crm.module(number)["active"] is True
    expect(somebody.page.locator("[name=api_key]")).to_have_value("")
    assert number in (somebody.page.locator("[name=api_key]").get_attribute("placeholder") or "")
    somebody.is_accessible()


def test_nothing_is_sent_before_the_fields_are_filled(number, enrol, visit):
    enrol(number, is_connected=False)
    somebody = visit().sign_in(number)
    somebody.go("connection")

    somebody.press("Сохранить и зарегистрировать")

    somebody.reads("Укажите адрес")
    somebody.reads("Введите ключ API")
    expect(somebody.page.locator("[name=domain]")).to_be_focused()
    somebody.is_accessible()


def test_an_address_that_is_not_retailcrms_is_said_at_its_field(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=domain]").fill("crm.example.com")
    somebody.page.locator("[name=api_key]").fill("another-key")

    somebody.press("Сохранить и зарегистрировать")

    expect(somebody.page.locator("[name=domain]")).to_have_attribute("aria-invalid", "true")
    somebody.reads("Нужен адрес аккаунта RetailCRM")
    assert somebody.page.locator("[name=api_key]").input_value() == "another-key"


def test_a_key_that_is_refused_shows_which_check_failed_and_what_to_do(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=api_key]").fill("not-the-key-of-anybody")

    somebody.press("Проверить")

    expect(somebody.page.locator(".step.failed")).to_contain_text("Скопируйте его ещё раз")
    somebody.reads("исправьте ошибки")
    somebody.is_accessible()


def test_what_retailcrm_says_against_the_module_is_shown_in_its_own_words(number, enrol, visit, crm):
    enrol(number)
    crm.fault("success_false", account=number, endpoint="module_edit", status=400, error_msg="Icon is too sharp")
    somebody = visit().sign_in(number)
    somebody.go("connection")

    somebody.press("Сохранить и зарегистрировать")

    somebody.reads("RetailCRM не приняла модуль")
    somebody.reads("Icon is too sharp")
    somebody.is_accessible()


def test_somebody_elses_save_is_shown_before_it_is_replaced(number, enrol, visit, crm):
    administrator = enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=api_key]").fill(f"key-of-{number}")
    administrator.save(api_key="another-key-9876")

    somebody.press("Сохранить и зарегистрировать")
    somebody.reads("Пока вы правили, подключение сохранил кто-то другой")
    somebody.reads("…9876")
    somebody.is_accessible()
    somebody.press("Сохранить моё")

    somebody.reads("модуль зарегистрирован и включён")
    assert administrator.config()["api_key"]["last_four"] == number


def test_switching_off_asks_first_and_says_what_will_stop(number, enrol, visit, crm):
    administrator = enrol(number)
    administrator.register()
    somebody = visit().sign_in(number)
    somebody.go("connection")

    somebody.press("Отключить")
    dialog = somebody.page.get_by_role("dialog", name="Отключить интеграцию?")
    expect(dialog).to_contain_text("Карточки клиентов перестанут появляться")
    somebody.is_accessible()
    dialog.get_by_role("button", name="Отмена").click()
    assert administrator.config()["enabled"] is True
    somebody.press("Отключить")
    dialog.get_by_role("button", name="Отключить").click()

    somebody.reads("Модуль отключён")
    assert crm.module(number)["active"] is False
    assert administrator.config()["enabled"] is False


def test_deleting_asks_first_and_leaves_nothing(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("connection")

    somebody.press("Удалить")
    dialog = somebody.page.get_by_role("dialog", name="Удалить подключение?")
    expect(dialog).to_contain_text("Ключ API и адрес будут стёрты")
    dialog.get_by_role("button", name="Удалить навсегда").click()

    somebody.reads("Подключение удалено")
    expect(somebody.page.locator("[name=domain]")).to_have_value("")
    somebody.reads("Не подключено")


@pytest.mark.parametrize(
    "words",
    [
        ("ru", "Есть и другие подключения: amocrm, bitrix", "этот сервис с ними не работает"),
        ("en", "There are other connections: amocrm, bitrix", "this service does not work with them"),
    ],
)
def test_connections_that_nobody_here_serves_are_named(number, enrol, visit, words):
    language, title, text = words
    enrol(number, others={"amocrm": {"enabled": True}, "bitrix": {}})
    somebody = visit(language=language).sign_in(number)

    somebody.go("connection")

    somebody.reads(title)
    somebody.reads(text)
    somebody.is_accessible()
