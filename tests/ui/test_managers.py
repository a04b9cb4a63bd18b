"""Managers and their numbers."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

PEOPLE = [
    {"id": user, "first_name": name}
    for user, name in ((18, "Anna"), (19, "Boris"), (20, "Vera"), (21, "Gleb"), (22, "Daria"))
]


@pytest.fixture
def staff(enrol, crm):
    """An enterprise whose CRM knows these people by name."""

    def make(number, **changes):
        administrator = enrol(number, **changes)
        crm.account(number, users=PEOPLE)
        return administrator

    return make


def row(somebody, name):
    return somebody.page.locator("tbody tr", has=somebody.page.locator("th", has_text=name))


def give(somebody, name, number):
    """With the mouse; says yes where the number is somebody else's."""
    select = row(somebody, name).locator("select")
    select.focus()
    is_taken = re.search("назначен:|assigned to", select.locator(f"option[value='{number}']").inner_text())
    select.select_option(number)
    if is_taken:
        somebody.page.get_by_role("dialog").get_by_role("button", name=name).click()


def assigned(administrator, number):
    """Who has which extension, by the user id, without those who have none."""
    found = administrator.ask("GET", f"user-extensions/{number}")["user_extensions"]
    return {user: extension for user, extension in found.items() if extension}


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_a_number_is_taken_over_and_given_back(number, staff, visit, crm, look):
    language, size, theme = look
    administrator = staff(number)
    administrator.register()
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("managers")
    expect(row(somebody, "Daria")).to_contain_text({"ru": "не назначен", "en": "not assigned"}[language])
    somebody.is_accessible()

    give(somebody, "Daria", "151")

    somebody.reads({"ru": "Daria: номер 151. Раньше: Boris", "en": "Daria: extension 151. Previously: Boris"}[language])
    somebody.reads({"ru": "RetailCRM приняла номера", "en": "RetailCRM accepted the extensions"}[language])
    expect(row(somebody, "Boris").locator(".badge")).to_have_text({"ru": "не назначен", "en": "not assigned"}[language])
    codes = {
        item["userId"]: item["code"] for item in crm.module(number)["integrations"]["telephony"]["additionalCodes"]
    }
    assert codes == {18: "150", 22: "151", 20: "152", 21: "153"}
    somebody.is_accessible()
    somebody.press({"ru": "Вернуть", "en": "Undo"}[language])

    expect(row(somebody, "Boris").locator(".badge")).to_have_text("151")
    expect(row(somebody, "Daria").locator(".badge")).to_have_text({"ru": "не назначен", "en": "not assigned"}[language])


def test_a_number_is_given_back_from_another_screen(number, staff, visit):
    administrator = staff(number)
    somebody = visit().sign_in(number)
    somebody.go("managers")

    give(somebody, "Daria", "151")
    somebody.reads("Daria: номер 151")
    somebody.page.get_by_role("link", name="Журнал").click()
    expect(somebody.page.locator("main h1")).to_have_text("Журнал")
    somebody.press("Вернуть")

    expect(somebody.page.locator(".toast")).to_have_count(0)
    extensions = administrator.ask("GET", f"user-extensions/{number}")["user_extensions"]
    assert (extensions.get("19"), extensions.get("22")) == ("151", None)


def test_an_undo_that_failed_stays_in_the_row_and_is_offered_there_again(number, staff, visit):
    staff(number)
    somebody = visit().sign_in(number)
    somebody.go("managers")
    give(somebody, "Daria", "151")
    somebody.reads("Daria: номер 151")

    away = {"error": {"code": "unavailable", "message": "The database is away"}}
    somebody.page.route("**/api/save-extensions/*", lambda route: route.fulfill(status=503, json=away))
    somebody.page.locator(".toast").get_by_role("button", name="Вернуть").click()
    expect(row(somebody, "Daria")).to_contain_text("Вернуть не удалось. База данных сейчас недоступна")
    somebody.page.unroute("**/api/save-extensions/*")
    row(somebody, "Daria").get_by_role("button", name="Вернуть").click()

    expect(row(somebody, "Boris").locator(".badge")).to_have_text("151")
    expect(row(somebody, "Daria")).not_to_contain_text("Вернуть не удалось")


def test_what_is_otherwise_in_the_crm_is_set_right_and_said_with_what_was_done(number, staff, visit, crm):
    staff(number)
    crm.forget(number)
    crm.account(
        number,
        users=PEOPLE,
        module={"code": "vochi-telephony"},
        additional_codes=[{"user_id": 18, "code": "152"}, {"user_id": 22, "code": "117"}],
    )
    somebody = visit().sign_in(number)
    somebody.go("managers")
    somebody.reads("Anna: здесь 150, в RetailCRM 152")
    somebody.reads("Daria: в RetailCRM 117, здесь номера нет")
    somebody.reads("отправляем их в RetailCRM")
    somebody.reads("RetailCRM приняла номера")
    codes = {
        item["userId"]: item["code"] for item in crm.module(number)["integrations"]["telephony"]["additionalCodes"]
    }
    assert codes == {18: "150", 19: "151", 20: "152", 21: "153", 22: "117"}
    somebody.is_accessible()

    somebody.page.reload()
    somebody.reads("Daria: в RetailCRM 117, здесь номера нет")
    expect(somebody.page.locator("main")).not_to_contain_text("Anna: здесь 150")
    somebody.press("Принять 117")
    expect(row(somebody, "Daria").locator(".badge")).to_have_text("117")
    somebody.go("log")
    somebody.reads("Anna: здесь 150, там 152")


def test_without_the_crm_numbers_are_assigned_all_the_same(number, staff, visit, crm):
    staff(number)
    crm.fault("error_503", account=number, endpoint="users")
    somebody = visit().sign_in(number)
    somebody.go("managers")
    somebody.reads("RetailCRM не ответила")

    give(somebody, "Пользователь 18", "109")

    somebody.reads("Пользователь 18: номер 109")
    expect(row(somebody, "Пользователь 18").locator(".badge")).to_have_text("109")


def test_three_hundred_managers_are_found_by_name_and_number(number, staff, visit, crm):
    staff(number)
    crm.account(number, users=[{"id": 100 + index, "first_name": f"Manager-{index:03}"} for index in range(300)])
    somebody = visit().sign_in(number)
    somebody.go("managers")
    rows = somebody.page.locator("tbody tr")
    expect(rows).to_have_count(304)

    somebody.page.get_by_label("Имя, почта или номер").fill("manager-217")

    expect(rows).to_have_count(1)
    somebody.page.get_by_label("Имя, почта или номер").fill("")
    somebody.press("Без номера")
    expect(rows).to_have_count(300)


ASSIGNED = {"18": "150", "19": "151", "20": "152", "21": "153"}


@pytest.mark.parametrize(
    ("language", "enter", "title"),
    [("ru", "Enter — назначить", "Забрать номер 152?"), ("en", "Enter assigns", "Take extension 152?")],
)
def test_arrows_choose_and_only_enter_saves(*, number, staff, visit, language, enter, title):
    administrator = staff(number)
    somebody = visit(language=language).sign_in(number)
    somebody.go("managers")
    select = row(somebody, "Anna").locator("select")
    select.focus()

    for _ in range(2):
        somebody.page.keyboard.press("ArrowDown")
    expect(row(somebody, "Anna")).to_contain_text(enter)
    somebody.is_accessible()
    assert (select.input_value(), assigned(administrator, number)) == ("152", ASSIGNED)
    somebody.page.keyboard.press("Escape")
    expect(select).to_have_value("150")
    for _ in range(2):
        somebody.page.keyboard.press("ArrowDown")
    somebody.page.keyboard.press("Enter")
    dialog = somebody.page.get_by_role("dialog", name=title)
    expect(dialog).to_contain_text("Vera")
    somebody.is_accessible()
    dialog.get_by_role("button").first.click()

    expect(select).to_have_value("150")
    expect(select).to_be_focused()
    assert assigned(administrator, number) == ASSIGNED


def test_leaving_the_list_saves_what_was_chosen_with_arrows(number, staff, visit):
    administrator = staff(number)
    somebody = visit().sign_in(number)
    somebody.go("managers")
    row(somebody, "Daria").locator("select").focus()

    somebody.page.keyboard.press("ArrowDown")  # 109, which nobody has
    assert assigned(administrator, number) == ASSIGNED
    somebody.page.keyboard.press("Tab")

    somebody.reads("Daria: номер 109")
    assert assigned(administrator, number) == {**ASSIGNED, "22": "109"}


def test_one_undo_restores_what_several_changes_took(number, staff, visit):
    administrator = staff(number)
    somebody = visit().sign_in(number)
    somebody.go("managers")

    for taken in ("151", "152", "153"):
        give(somebody, "Anna", taken)
        somebody.reads(f"Anna: номер {taken}")
    assert assigned(administrator, number) == {"18": "153"}
    expect(somebody.page.locator(".toast")).to_have_count(1)
    somebody.press("Вернуть всё (3)")

    expect(row(somebody, "Gleb").locator(".badge")).to_have_text("153")
    assert assigned(administrator, number) == ASSIGNED


@pytest.mark.parametrize(
    ("language", "of_nobody", "of_boris"),
    [
        ("ru", "109 (свободен)", "151 (Boris) — назначен: Gleb"),
        ("en", "109 (available)", "151 (Boris), now assigned to Gleb"),
    ],
)
def test_a_number_is_named_by_whose_telephone_it_is(*, number, staff, visit, language, of_nobody, of_boris):
    staff(number, user_extensions={"18": "150", "21": "151"})
    somebody = visit(language=language).sign_in(number)
    somebody.go("managers")

    select = row(somebody, "Anna").locator("select")
    select.focus()

    choices = select.locator("option")
    expect(choices.filter(has_text="150")).to_have_text("150 (Anna)")
    expect(choices.filter(has_text="151")).to_have_text(of_boris)
    expect(choices.filter(has_text="152")).to_have_text("152 (Vera)")
    expect(choices.filter(has_text="109")).to_have_text(of_nobody)
