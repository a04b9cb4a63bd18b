"""Connecting RetailCRM, seeing how it goes, and taking it back."""

from __future__ import annotations

import time

import psycopg
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
    crm.account(f"{number}-other", api_key="another-key-9876")
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
        ("ru", "Удалить", "Удалить навсегда", "Подключение удалено, модуль в RetailCRM выключен"),
        ("en", "Delete", "Delete for good", "The connection is deleted, and the module in RetailCRM is off"),
    ],
)
def test_deleting_leaves_no_module_that_is_on(number, enrol, visit, crm, words):
    language, delete, forever, done = words
    administrator = enrol(number)
    administrator.register()
    somebody = visit(language=language).sign_in(number)
    somebody.go("connection")

    somebody.press(delete)
    somebody.page.get_by_role("dialog").get_by_role("button", name=forever).click()
    somebody.reads(done)

    assert crm.module(number)["active"] is False
    assert crm.module(number)["accountUrl"].endswith(f"/retailcrm-admin/?enterprise_number={number}")
    assert administrator.signed_in().config()["api_key"]["is_set"] is False


def test_what_could_not_be_switched_off_is_said_after_deleting(number, enrol, visit, crm):
    administrator = enrol(number)
    administrator.register()
    crm.fault("error_500", account=number, endpoint="module_edit")
    somebody = visit().sign_in(number)
    somebody.go("connection")

    somebody.press("Удалить")
    somebody.page.get_by_role("dialog").get_by_role("button", name="Удалить навсегда").click()

    somebody.reads("Подключение удалено, но модуль в RetailCRM выключить не удалось")
    somebody.reads("У RetailCRM внутренняя ошибка")
    assert crm.module(number)["active"] is True
    assert administrator.signed_in().config()["api_key"]["is_set"] is False
    somebody.is_accessible()


@pytest.mark.parametrize(
    "words",
    [
        ("ru", "Сохранить и зарегистрировать", "RetailCRM не приняла этот ключ. Прежние настройки не изменены."),
        ("en", "Save and register", "RetailCRM rejected this key. The saved settings stay as they were."),
    ],
)
def test_a_key_that_is_refused_replaces_none(number, enrol, visit, crm, words):
    language, save, sentence = words
    administrator = enrol(number)
    administrator.register()
    before = administrator.config()
    somebody = visit(language=language).sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=api_key]").fill("not-the-key-of-anybody")

    somebody.press(save)

    somebody.reads(sentence)
    somebody.reads('Wrong "apiKey" value.')
    expect(somebody.page.locator("[name=api_key]")).to_be_focused()
    somebody.is_accessible()
    assert administrator.config() == before
    assert administrator.register()["code"] == "done"


def test_a_tab_that_is_closed_while_it_saves_leaves_nothing_half_done(number, enrol, visit, crm):
    administrator = enrol(number, is_connected=False)
    crm.fault("ok", account=number, endpoint="credentials", delay_ms=1000)
    somebody = visit().sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=domain]").fill(crm.url)
    somebody.page.locator("[name=api_key]").fill(f"key-of-{number}")

    with somebody.page.expect_request("**/api/register/*"):
        somebody.press("Сохранить и зарегистрировать")
    somebody.page.close()

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not _is_registered(crm, number):
        time.sleep(0.2)
    assert crm.module(number)["active"] is True
    assert administrator.config()["api_key"]["is_set"] is True


def _is_registered(crm, number):
    return any(entry["applied"] for entry in crm.entries(number, "module_edit"))


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("ru", ("По адресу {host} никто не отвечает", "Нужен адрес аккаунта RetailCRM", "Укажите адрес")),
        ("en", ("Nobody answers at {host}", "The address of a RetailCRM account is needed", "Enter the address")),
    ],
)
def test_an_address_that_is_wrong_or_dead_is_said_in_the_pages_words(*, number, enrol, visit, crm, language, sentences):
    dead, foreign, _ = sentences
    administrator = enrol(number)
    before = administrator.config()
    somebody = visit(language=language).sign_in(number)
    somebody.go("connection")
    domain, save = somebody.page.locator("[name=domain]"), somebody.page.locator("form [type=submit]")
    somebody.page.locator("[name=api_key]").fill(f"key-of-{number}")

    domain.fill("127.0.0.1:9")
    save.click()
    somebody.reads(dead.format(host="127.0.0.1:9"))
    domain.fill("crm.example.com")
    save.click()
    somebody.reads(foreign)
    for developers in ("Nothing was sent", "No connection", "must be", "https address"):
        expect(somebody.page.locator("main")).not_to_contain_text(developers)
    assert administrator.config() == before

    domain.fill(f"{crm.url}/admin/orders?page=2")
    save.click()
    somebody.reads({"ru": "модуль зарегистрирован и включён", "en": "the module is registered and on"}[language])
    assert administrator.config()["domain"] == crm.url


def test_a_dead_host_and_a_key_that_cannot_be_read_are_said_by_the_test_in_the_pages_words(number, enrol, visit, stack):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("connection")
    somebody.page.locator("[name=domain]").fill("127.0.0.1:9")
    somebody.page.locator("[name=api_key]").fill("any-key")
    somebody.press("Проверить")
    expect(somebody.page.locator(".step.failed")).to_contain_text("никто не отвечает")
    expect(somebody.page.locator("main")).not_to_contain_text("No connection")
    expect(somebody.page.locator("main")).not_to_contain_text("RetailCRM отвечает")

    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            "UPDATE enterprises SET integrations_config = jsonb_set(integrations_config, '{retailcrm,api_key}',"
            " '\"v1.old.AAAA\"') WHERE number = %s",
            [number],
        )
    somebody.page.reload()
    somebody.press("Проверить")
    expect(somebody.page.locator(".step.failed")).to_contain_text("Сохранённый ключ не читается")
    expect(somebody.page.locator("main")).not_to_contain_text("VAULT_KEYS")


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
