"""Lines with their tester; situations played, and one real card."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_a_rule_is_tried_before_it_is_saved(number, enrol, visit, look):
    language, size, theme = look
    administrator = enrol(number)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("lines")
    becomes = somebody.page.locator(".becomes strong")
    expect(becomes).to_have_text("+375291111111")
    somebody.is_accessible()

    somebody.page.get_by_label(
        {"ru": "Номер, как его прислал оператор", "en": "The number as the operator sent it"}[language]
    ).fill("1711111")
    expect(becomes).to_have_text({"ru": "не номер", "en": "not a number"}[language])
    line = somebody.page.get_by_role("region", name="0001301")
    line.get_by_label({"ru": "Правило номера", "en": "Number rule"}[language]).fill("+37517{7}")
    expect(becomes).to_have_text("+375171711111")
    somebody.is_accessible()
    line.get_by_label({"ru": "Название", "en": "Name"}[language]).fill("Shop")
    somebody.press({"ru": "Сохранить", "en": "Save"}[language])

    somebody.reads({"ru": "Линии сохранены", "en": "Lines saved"}[language])
    saved = {each["line_id"]: each for each in administrator.ask("GET", f"lines/{number}")["lines"]}["0001301"]
    assert (saved["name"], saved["incoming_transform"]) == ("Shop", "+37517{7}")


def test_a_rule_that_cannot_be_meant_is_explained_at_its_field(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("lines")
    rule = somebody.page.get_by_role("region", name="0001301").get_by_label("Правило номера")

    rule.fill("+375 и девять цифр")
    somebody.press("Сохранить")

    expect(rule).to_have_attribute("aria-invalid", "true")
    somebody.reads("Правило пишется так")


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_the_shop_of_a_line_is_one_that_the_account_has(number, enrol, visit, crm, look):
    language, size, theme = look
    administrator = enrol(number)
    crm.account(number, sites=["main", "second"])
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("lines")
    shop = somebody.page.get_by_role("region", name="0001301").get_by_label({"ru": "Магазин", "en": "Shop"}[language])
    expect(shop.locator("option")).to_have_count(3)
    somebody.is_accessible()

    shop.select_option("second")
    crm.account(number, sites=["main"])
    somebody.press({"ru": "Сохранить", "en": "Save"}[language])
    somebody.reads({"ru": "Магазина «second» в RetailCRM нет", "en": "RetailCRM has no shop “second”"}[language])
    expect(shop).to_have_attribute("aria-invalid", "true")
    shop.select_option("main")
    somebody.press({"ru": "Сохранить", "en": "Save"}[language])

    somebody.reads({"ru": "Линии сохранены", "en": "Lines saved"}[language])
    saved = {each["line_id"]: each for each in administrator.ask("GET", f"lines/{number}")["lines"]}
    assert (saved["0001301"]["site_code"], saved["0001302"]["site_code"]) == ("main", None)


def test_a_shop_that_is_gone_and_shops_that_are_not_known_are_said(number, enrol, visit, crm):
    administrator = enrol(number)
    crm.account(number, sites=["main", "second"])
    administrator.ask("PUT", f"lines/{number}", {"lines": [{"line_id": "0001301", "site_code": "second"}]})
    crm.account(number, sites=["main"])
    somebody = visit().sign_in(number)
    somebody.go("lines")
    line = somebody.page.get_by_role("region", name="0001301")
    expect(line).to_contain_text("Магазина «second» в RetailCRM больше нет")
    expect(line.get_by_label("Магазин")).to_have_value("second")
    somebody.is_accessible()

    crm.account(number, scopes=["telephony_write", "integration_read", "integration_write", "user_read"])
    somebody.page.reload()
    somebody.reads("Список магазинов из RetailCRM не получен")
    line.get_by_label("Магазин").fill("main")
    somebody.press("Сохранить")
    somebody.reads("проверить магазины в RetailCRM не удалось")


def test_on_a_phone_the_tester_comes_to_the_line_that_is_edited(number, enrol, visit):
    enrol(number)
    somebody = visit(size="phone").sign_in(number)
    somebody.go("lines")
    line = somebody.page.get_by_role("region", name="0001302")

    line.get_by_role("button", name="Проверить номер").click()

    tester = somebody.page.get_by_role("region", name="Во что превратится номер")
    expect(tester.get_by_label("Звонок на линию")).to_have_value("0001302")
    expect(tester.locator(".becomes")).to_be_in_viewport()
    assert tester.bounding_box()["y"] - line.bounding_box()["y"] < line.bounding_box()["height"] + 40
    somebody.is_accessible()


def test_an_undo_that_failed_stays_at_the_line_and_is_offered_there_again(number, enrol, visit):
    administrator = enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("lines")
    line = somebody.page.get_by_role("region", name="0001301")
    before = line.get_by_label("Название").input_value()
    line.get_by_label("Название").fill("Shop")
    somebody.press("Сохранить")
    somebody.reads("Линии сохранены")

    away = {"error": {"code": "unavailable", "message": "The database is away"}}
    somebody.page.route("**/api/lines/*", lambda route: route.fulfill(status=503, json=away))
    somebody.page.locator(".toast").get_by_role("button", name="Вернуть").click()
    expect(line).to_contain_text("Вернуть не удалось. База данных сейчас недоступна")
    somebody.is_accessible()
    somebody.page.unroute("**/api/lines/*")
    line.get_by_role("button", name="Вернуть").click()

    expect(line).not_to_contain_text("Вернуть не удалось")
    expect(line.get_by_label("Название")).to_have_value(before)
    saved = {each["line_id"]: each for each in administrator.ask("GET", f"lines/{number}")["lines"]}["0001301"]
    assert (saved["name"] or "") == before


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_a_situation_shows_what_would_be_sent_and_nothing_is(number, enrol, visit, crm, look):
    language, size, theme = look
    enrol(number)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("try")
    somebody.reads({"ru": "Карточку увидят: Anna (150)", "en": "The pop-up will be seen by Anna (150)"}[language])
    somebody.is_accessible()

    somebody.page.get_by_role("button", name={"ru": "Внутренний звонок", "en": "Internal call"}[language]).click()

    somebody.reads({"ru": "Карточка здесь не нужна", "en": "No pop-up is needed here"}[language])
    somebody.is_accessible()
    assert crm.entries(number, "event") == crm.entries(number, "upload") == []


def test_one_real_card_reaches_the_manager_who_is_chosen(number, enrol, visit, crm):
    administrator = enrol(number)
    administrator.register()
    somebody = visit().sign_in(number)
    somebody.go("try")

    somebody.page.get_by_label("Менеджер").select_option("19")
    somebody.page.get_by_label("Номер клиента").fill("80291111111")
    somebody.press("Показать карточку")

    somebody.reads("RetailCRM приняла: карточка +375 29 111-11-11 на номере 151")
    ring, end = crm.events(number)
    assert (ring["type"], ring["phone"], ring["codes"]) == ("in", "+375291111111", ["151"])
    assert end["type"] == "hangup"
