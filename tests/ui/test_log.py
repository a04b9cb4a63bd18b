"""Every exchange, and what administrators did."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime

import psycopg
import pytest
import requests
from playwright.sync_api import expect

from lib.store import integration_logs

MANY = 130
THOUSANDS = 1_230


@pytest.fixture
def journal(stack):
    """Writes exchanges of an enterprise, the oldest first; every tenth is an error."""

    def write(number: str, count: int = MANY) -> None:
        with psycopg.connect(stack.database_url) as conn:
            conn.execute(
                """
                INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data,
                                              response_data, status, error_message, created_at)
                SELECT %s, 'retailcrm', 'popup',
                       jsonb_build_object('event', jsonb_build_object('phone', '+375291111111', 'codes',
                           jsonb_build_array('150'), 'callExternalId', '1758798777.' || n)),
                       CASE WHEN n %% 10 = 0
                            THEN jsonb_build_object('http_status', 400, 'body',
                                jsonb_build_object('success', false, 'errorMsg', 'No such code ' || n))
                            ELSE '{"http_status": 200}' END, CASE WHEN n %% 10 = 0 THEN 'error' ELSE 'success' END,
                       CASE WHEN n %% 10 = 0 THEN 'No such code ' || n END, now() - make_interval(secs => %s - n)
                FROM generate_series(1, %s) n
                """,
                [number, count, count],
            )

    return write


@pytest.mark.parametrize("look", [("ru", "desktop"), ("en", "phone")])
def test_the_log_shows_errors_first_and_everything_page_by_page(number, enrol, visit, journal, look):
    language, size = look
    enrol(number)
    journal(number)
    somebody = visit(language=language, size=size).sign_in(number)
    somebody.go("log")
    errors, everything = somebody.page.locator("main table").all()
    expect(errors.locator("tbody tr")).to_have_count(5)
    expect(errors).to_contain_text("No such code 130")
    somebody.is_accessible()

    more = somebody.page.get_by_role("button", name={"ru": "Показать ещё", "en": "Show more"}[language])
    more.click()

    expect(everything.locator("tbody tr")).to_have_count(MANY)
    expect(more).to_have_count(0)
    somebody.reads({"ru": "Показаны все записи: 130", "en": "All 130 entries are shown"}[language])


def test_thousands_of_entries_are_read_without_waiting(number, enrol, visit, journal):
    enrol(number)
    journal(number, THOUSANDS)
    somebody = visit(size="phone").sign_in(number)
    somebody.go("log")
    rows = somebody.page.locator("main table").last.locator("tbody tr")
    more = somebody.page.get_by_role("button", name="Показать ещё")

    for pages in range(1, 13):
        more.click()
        expect(rows).to_have_count(min(50 + 100 * pages, THOUSANDS))
    somebody.reads(re.compile(r"Показаны все записи: 1\s?230"))

    opened = somebody.page.evaluate(
        """async () => {
            const took = [];
            for (const box of [...document.querySelectorAll("main table details")].slice(-5)) {
                const started = performance.now();
                box.open = true;
                box.scrollIntoView();
                await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                took.push(performance.now() - started);
            }
            return took;
        }"""
    )
    print(f"details of the last of {THOUSANDS} entries open within {max(opened):.0f} ms")
    assert somebody.page.locator("main table details[open]").count() >= len(opened) == 5


def test_filters_stand_in_the_address_and_lead_back_to_the_same(number, enrol, visit, journal):
    enrol(number)
    journal(number, 20)
    somebody = visit().sign_in(number)
    somebody.go("log")

    somebody.press("Только ошибки")
    expect(somebody.page.locator("main tbody tr")).to_have_count(2)
    somebody.page.get_by_label("Тип события").select_option("upload")
    somebody.reads("Ничего не нашлось")
    somebody.is_accessible()

    assert re.search(r"#/log\?status=error&type=upload", somebody.page.url)
    somebody.page.reload()
    somebody.reads("Ничего не нашлось")
    somebody.press("Сбросить фильтры")
    expect(somebody.page.locator("main table").last.locator("tbody tr")).to_have_count(20)


def test_the_details_of_an_exchange_are_shown_on_demand_and_lead_to_the_call(number, enrol, visit, journal):
    enrol(number)
    journal(number, 3)
    somebody = visit().sign_in(number)
    somebody.go("log")
    row = somebody.page.locator("main tbody tr").first

    row.get_by_text("Подробности").click()

    expect(row).to_contain_text('"callExternalId": "1758798777.3"')
    link = row.get_by_role("link", name="Открыть звонок 1758798777.3")
    expect(link).to_have_attribute("href", "#/call/1758798777.3")
    expect(row.locator("summary")).to_have_text(re.compile(r"Подробности Карточка клиента, \d\d:\d\d:\d\d"))
    somebody.is_accessible()


def test_the_log_is_a_file_for_a_spreadsheet_too(number, enrol, visit, journal):
    enrol(number)
    journal(number, 20)
    somebody = visit().sign_in(number)
    somebody.go("log")
    somebody.press("Только ошибки")
    expect(somebody.page.locator("main tbody tr")).to_have_count(2)

    with somebody.page.expect_download() as download:
        somebody.page.get_by_role("link", name="Скачать CSV").click()

    content = download.value.path().read_text(encoding="utf-8-sig")
    head, *rows = csv.reader(io.StringIO(content), delimiter=";")
    assert head == ["Время", "Что произошло", "Результат", "Ответ", "Отправлено", "Получено"]
    assert [row[1:4] for row in rows] == [
        ["Карточка клиента", "ошибка", "No such code 20"],
        ["Карточка клиента", "ошибка", "No such code 10"],
    ]
    assert datetime.strptime(rows[0][0], "%d.%m.%Y %H:%M:%S")  # noqa: DTZ007  (as the enterprise's clock shows it)
    somebody.press("English")
    with somebody.page.expect_download() as download:
        somebody.page.get_by_role("link", name="Download CSV").click()
    assert download.value.path().read_text(encoding="utf-8-sig").startswith("Time,What happened,")


def test_an_empty_log_says_what_will_stand_there(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.go("log")

    somebody.reads("Журнал пока пуст")
    somebody.is_accessible()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("ru", ("эту страну не разрешено: Куба", "такие номера не разрешено: спутниковые", "разрешено: 3")),
        ("en", ("may not call this country: Cuba", "may not call such numbers: satellite", "within a day: 3")),
    ],
)
def test_why_a_click_was_refused_is_told_in_words(*, number, enrol, visit, stack, language, words):
    enrol(number)
    refusals = [
        {"code": "country_not_allowed", "country": "CU"},
        {"code": "number_kind_not_allowed", "kind": "satellite"},
        {"code": "daily_limit", "limit": 3000},
        {"code": "from_a_browser"},
        {"code": "asterisk_busy"},
    ]
    with psycopg.connect(stack.database_url) as conn:
        for refusal in refusals:
            conn.execute(
                "INSERT INTO integration_logs (enterprise_number, integration_type, event_type, request_data, "
                "response_data, status, error_message) VALUES (%s, 'retailcrm', 'make_call', %s, %s, 'error', 'In English')",
                [number, json.dumps({"phone": "+375291111111"}), json.dumps(refusal)],
            )
    somebody = visit(language=language, size="phone").sign_in(number)
    somebody.go("log")

    for sentence in words:
        somebody.reads(sentence)
    expect(somebody.page.locator("main table").last).not_to_contain_text("In English")
    somebody.is_accessible()


@pytest.mark.parametrize(("language", "stranger"), [("ru", "пользователь RetailCRM 999"), ("en", "RetailCRM user 999")])
def test_a_refused_click_names_its_user_and_no_extension_that_is_none(
    *, number, enrol, visit, stack, language, stranger
):
    enrol(number)
    make_call = f"{stack.url('gateway')}/retailcrm/make-call"
    with psycopg.connect(stack.database_url) as conn:
        [(client_id,)] = conn.execute("SELECT client_id FROM enterprises WHERE number = %s", [number]).fetchall()
    for user, phone in (("999", "+375291111111"), ("18", "0")):
        given = {"clientId": client_id, "phone": phone, "userId": user}
        assert requests.get(make_call, params=given, timeout=10).status_code == 400
    somebody = visit(language=language).sign_in(number)
    somebody.go("log")

    table = somebody.page.locator("main table").last
    expect(table).to_contain_text(f"+375 29 111-11-11, {stranger}")
    expect(table).to_contain_text("0, Anna")
    expect(table).not_to_contain_text({"ru": "с номера", "en": "from"}[language])


@pytest.mark.parametrize(
    "told",
    [
        (
            "ru",
            (
                "логин admin: 5 раз за сутки, последний с адреса 192.0.2.1",
                "admin: 21 звонок",
                "admin: 2 записи журнала",
            ),
        ),
        (
            "en",
            (
                "login admin: 5 times within a day, the last from 192.0.2.1",
                "admin: 21 calls",
                "admin: 2 entries of the log",
            ),
        ),
    ],
)
def test_failed_sign_ins_and_exports_are_told_in_words(number, enrol, visit, stack, told):
    language, sentences = told
    enrol(number)
    rows = [
        ("sign_in", {"login": "admin", "failed": 5, "address": "192.0.2.1"}, "wrong_credentials"),
        ("export", {"by": "admin", "of": "calls", "filter": {"kind": "in"}, "rows": 21}, None),
        ("export", {"by": "admin", "of": "log", "filter": {}, "rows": 2}, None),
    ]
    with psycopg.connect(stack.database_url) as conn:
        for event_type, request, error in rows:
            integration_logs.insert(
                conn, enterprise_number=number, event_type=event_type, request=request, response={}, error=error
            )
    somebody = visit(language=language).sign_in(number)
    somebody.go("log")

    for sentence in sentences:
        somebody.reads(sentence)
    assert "wrong_credentials" not in somebody.page.locator("main").inner_text()
