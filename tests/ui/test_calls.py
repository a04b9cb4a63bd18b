"""What became of each call: found, understood, sent again."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from playwright.sync_api import expect

from infra.stand_ins import player

CUSTOMER = "+375 29 111-11-11"


@pytest.fixture
def play(stack):
    """Plays a scenario quickly; the id of its call."""

    def run(name: str, number: str, *, speed: float = 10) -> str | None:
        played = player.play(player.load()[name], stack.url("gateway"), f"token-of-{number}", speed=speed)
        assert played.refused == []
        return played.scenario.main_unique_id

    return run


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_a_call_arrives_live_and_its_story_is_told(number, enrol, visit, play, look):
    language, size, theme = look
    enrol(number)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)
    somebody.go("calls")
    somebody.reads({"ru": "Звонков ещё не было", "en": "No calls yet"}[language])
    somebody.is_accessible()

    play("2-1-doc", number)

    line = somebody.page.locator(".call-line")
    expect(line).to_have_count(1, timeout=30_000)
    expect(line).to_contain_text({"ru": "Карточка показана", "en": "Pop-up shown"}[language], timeout=30_000)
    expect(line).to_contain_text({"ru": "В истории", "en": "In the history"}[language], timeout=30_000)
    expect(line).to_contain_text("Boris (151)")
    somebody.is_accessible()
    said = {"ru": "Входящий", "en": "Incoming"}[language]
    line.get_by_role("link", name=re.compile(rf"{re.escape(CUSTOMER)}, {said}, \d\d:\d\d")).click()
    somebody.reads(
        {"ru": "Карточку увидели: Anna (150), Boris (151)", "en": "The pop-up was seen by Anna (150), Boris (151)"}[
            language
        ]
    )
    somebody.reads({"ru": "Звонок в истории RetailCRM", "en": "The call is in RetailCRM's history"}[language])
    expect(somebody.page.locator("svg.lanes .bar.talk")).to_have_count(2)
    for summary in somebody.page.locator("main summary").all():
        summary.click()
    somebody.reads('"callExternalId"')
    somebody.is_accessible()


def test_why_there_was_no_pop_up_is_said_in_the_first_line(number, enrol, visit, play):
    enrol(number, user_extensions={"18": "117"})
    play("2-4-doc", number)
    somebody = visit().sign_in(number)
    somebody.go("calls")
    expect(somebody.page.locator(".call-line")).to_contain_text("Без карточки", timeout=30_000)
    expect(somebody.page.locator(".call-line")).to_contain_text("номер никому не назначен")

    somebody.page.locator(".call-line a").click()

    verdict = somebody.page.locator(".notice").first
    expect(verdict).to_contain_text("Карточки не было")
    expect(verdict).to_contain_text("никому из менеджеров не назначены")


def test_a_row_that_was_refused_is_sent_again_and_stays_one(number, enrol, visit, play, crm):
    enrol(number)
    crm.fault("success_false", account=number, endpoint="upload", requests=1, error_msg="Telephony is being repaired")
    play("2-4-doc", number)
    somebody = visit().sign_in(number)
    somebody.go("calls")
    expect(somebody.page.locator(".call-line")).to_contain_text("Не в истории", timeout=30_000)
    somebody.page.locator(".call-line a").click()
    somebody.reads("Звонок не попал в историю")
    somebody.reads("Telephony is being repaired")
    somebody.is_accessible()

    somebody.page.locator(".notice").get_by_role("button", name="Отправить ещё раз").click()

    somebody.reads("Двойной записи не будет")
    somebody.reads("Звонок в истории RetailCRM")
    assert len(crm.rows(number)) == 1


def test_after_everything_was_sent_again_nothing_says_that_it_did_not_arrive(number, enrol, visit, play, crm):
    enrol(number).register()
    crm.fault("success_false", account=number, endpoint="upload", requests=1, error_msg="Telephony is being repaired")
    play("2-4-doc", number)
    somebody = visit().sign_in(number)
    somebody.go("calls?state=failed")
    expect(somebody.page.locator(".call-line")).to_have_count(1, timeout=30_000)
    somebody.go("overview")
    history = somebody.page.locator(".tally", has_text="Записей в истории")
    expect(history).to_contain_text("не дошли1")

    somebody.press("Отправить ещё раз")

    expect(history).to_contain_text("доставлено1", timeout=40_000)
    expect(history).to_contain_text("не дошли0")
    somebody.go("calls?state=failed")
    somebody.reads("Ничего не нашлось")
    somebody.go("calls")
    somebody.page.locator(".call-line a").click()
    somebody.reads("Звонок в истории RetailCRM")
    expect(somebody.page.locator("main")).not_to_contain_text("Почему не дошло")
    assert len(crm.rows(number)) == 1


def test_who_saw_no_card_and_why_is_said_until_a_card_gets_through(number, enrol, visit, play, crm):
    enrol(number).register()
    crm.change(number, "delete-user", user_id=19)
    play("2-1-doc", number)
    somebody = visit().sign_in(number)
    somebody.reads("RetailCRM не знает менеджера 19")
    tally = somebody.page.locator(".tally", has_text="Показано карточек")
    expect(tally).to_contain_text("доставлено1", timeout=30_000)
    expect(tally).to_contain_text("не дошли1")
    somebody.go("calls")
    somebody.page.locator(".call-line a").click()
    verdict = somebody.page.locator(".notice").first
    expect(verdict).to_contain_text("Карточка показана: Anna (150), Vera (152), но не всем")
    expect(verdict).to_contain_text("Boris (151): RetailCRM не знает этого номера и менеджера")
    expect(verdict.get_by_role("link", name="Назначить номера")).to_be_visible()
    somebody.is_accessible()

    crm.forget(number)
    crm.account(number)
    somebody.go("try")
    somebody.page.get_by_label("Менеджер").select_option("19")
    somebody.press("Показать карточку")
    somebody.reads("RetailCRM приняла: карточка")

    somebody.go("overview")
    expect(somebody.page.locator(".state")).to_be_visible()
    expect(somebody.page.locator("main")).not_to_contain_text("RetailCRM не знает менеджера 19")


@pytest.mark.parametrize("language", ["ru", "en"])
def test_no_filter_shows_a_place_that_was_to_be_filled(number, enrol, visit, language):
    enrol(number)
    somebody = visit(language=language).sign_in(number)
    somebody.go("calls")

    options = somebody.page.locator("option").all_inner_texts()
    assert len(options) > 20
    assert [option for option in options if "{" in option] == []


def test_filters_stand_in_the_address_and_lead_back_to_the_same(number, enrol, visit, play):
    enrol(number)
    play("2-4-doc", number)
    play("1-8", number)
    somebody = visit().sign_in(number)
    somebody.go("calls")
    lines = somebody.page.locator(".call-line")
    expect(lines).to_have_count(2, timeout=30_000)

    somebody.page.get_by_label("Направление").select_option("in")
    expect(lines).to_have_count(1)
    expect(somebody.page).to_have_url(re.compile("kind=in"))
    somebody.page.reload()
    expect(lines).to_have_count(1)
    somebody.page.get_by_label("Номер или его часть").fill("555")
    somebody.reads("Ничего не нашлось")
    somebody.press("Сбросить фильтры")

    expect(lines).to_have_count(2)


def test_calls_are_found_by_today_yesterday_and_the_last_days(number, enrol, visit, stack):
    enrol(number)
    with psycopg.connect(stack.database_url) as conn:
        for days in (0, 1, 3, 10):
            conn.execute(
                """
                INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, result, started_at, first_event_at,
                                   last_event_at, over_at)
                SELECT %s, %s, 'in', '+375291111111', 'no answer', at, at, at, at
                FROM (SELECT date_trunc('day', clock_timestamp() AT TIME ZONE 'Europe/Minsk') AT TIME ZONE 'Europe/Minsk'
                             - make_interval(days => %s) + interval '1 second') AS day (at)
                """,
                [number, f"176000000{days}.1", days],
            )
    somebody = visit().sign_in(number)
    somebody.go("calls")
    lines, period = somebody.page.locator(".call-line"), somebody.page.get_by_label("Период")
    expect(lines).to_have_count(4)

    for name, count in (("Сегодня", 1), ("Вчера", 1), ("7 дней", 3)):
        period.select_option(name)
        expect(lines).to_have_count(count)
        somebody.page.reload()
        expect(period.locator("option:checked")).to_have_text(name)
        expect(lines).to_have_count(count)

    period.select_option("Свои даты")
    expect(somebody.page.get_by_label("С", exact=True)).to_be_focused()
    period.select_option("За всё время")
    expect(lines).to_have_count(4)


def test_what_was_being_typed_does_not_follow_to_the_next_screen(number, enrol, visit, play):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("calls")

    somebody.page.get_by_label("Номер или его часть").fill("555")
    somebody.page.evaluate("location.hash = '#/lines'")
    expect(somebody.page.locator(".screen[data-screen='lines']")).to_be_visible()
    somebody.page.wait_for_timeout(600)  # longer than the page waits for further digits

    assert somebody.page.url.endswith("#/lines")


def test_ten_thousand_calls_are_read_page_by_page(number, enrol, visit, stack):
    enrol(number)
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            """
            INSERT INTO calls (enterprise_number, main_unique_id, kind, customer, line_id, result, owner_extension,
                               started_at, first_event_at, last_event_at, over_at)
            SELECT %s, '1700000000.' || n, 'in', '+37529' || 1000000 + n, '0001301', 'no answer', '150', at, at, at, at
            FROM generate_series(1, 10000) n, LATERAL (SELECT now() - make_interval(mins => n) AS at) moment
            """,
            [number],
        )
    somebody = visit().sign_in(number)
    somebody.go("calls")
    lines = somebody.page.locator(".call-line")
    expect(lines).to_have_count(50)

    somebody.press("Показать ещё")
    expect(lines).to_have_count(150)
    somebody.page.get_by_label("Номер или его часть").fill("+375291009999")

    expect(lines).to_have_count(1)
    somebody.is_accessible()


def test_a_call_that_is_not_there_says_so(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)

    somebody.open(f"#/call/{int(time.time())}.1")

    expect(somebody.page.locator(".notice")).to_contain_text("Такого звонка нет")
    expect(somebody.page.get_by_role("link", name="Все звонки")).to_be_visible()
    expect(somebody.page.get_by_role("button", name="Повторить")).to_have_count(0)


@pytest.mark.parametrize("look", [("ru", "desktop"), ("en", "phone")])
def test_of_a_call_that_goes_on_nothing_is_said_that_only_its_end_shows(number, enrol, visit, stack, look):
    language, size = look
    going, row, none = {
        "ru": ("Идёт сейчас", "В истории", "В историю не пишется"),
        "en": ("In progress", "In the history", "Not for the history"),
    }[language]
    enrol(number)
    somebody = visit(language=language, size=size).sign_in(number)
    somebody.go("calls")
    with ThreadPoolExecutor(1) as host:
        playing = host.submit(
            player.play, player.load()["2-1-doc"], stack.url("gateway"), f"token-of-{number}", speed=2
        )
        line = somebody.page.locator(".call-line")
        expect(line).to_contain_text(going, timeout=30_000)
        seen = set()
        while not playing.done():
            seen.add(line.locator(".call-states").inner_text())
            somebody.page.wait_for_timeout(200)
        assert playing.result().refused == []

    expect(line).to_contain_text(row, timeout=30_000)
    assert [words for words in seen if none in words] == []


def test_channels_of_the_host_itself_are_no_calls(number, enrol, visit, play):
    """A transfer with a mobile leaves channels of which the host says a caller id and nothing else."""
    administrator = enrol(number)
    play("2-7", number, speed=20)
    somebody = visit().sign_in(number)
    somebody.go("calls")
    lines = somebody.page.locator(".call-line")
    expect(lines.filter(has_text=CUSTOMER)).to_contain_text("В истории", timeout=30_000)

    expect(lines).to_have_count(1)
    url = f"{somebody.url}/retailcrm-admin/api/calls/{number}"
    file = administrator.session.get(url, params={"format": "csv"}, timeout=20)
    assert len(file.text.strip().splitlines()) == 2
    assert administrator.ask("GET", f"calls/{number}", result="no answer")["calls"] == []
    somebody.page.get_by_label("Направление").select_option("unknown")
    expect(lines.first).to_contain_text("это не звонок")
    expect(lines.filter(has_text="Идёт сейчас")).to_have_count(0)
    lines.first.get_by_role("link").click()
    expect(somebody.page.locator("main h1")).to_have_text("Служебное соединение")
    expect(somebody.page.get_by_text("ещё идёт")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_mark_of_a_picture_stands_out(number, enrol, visit, play, theme):
    enrol(number)
    call = play("2-18-capture", number, speed=20)
    somebody = visit(theme=theme).sign_in(number)
    expect(somebody.page.locator(".delay-usual").first).to_be_attached(timeout=40_000)
    pale = _pale_marks(somebody, ".delay-usual, .delay-worst, .delay-none, .state .pulse path")
    somebody.go(f"call/{call}")
    expect(somebody.page.locator("svg.lanes .bar.talk").first).to_be_visible()

    assert pale + _pale_marks(somebody, ".bar, .lane-transfer line, .legend svg rect") == []


def _pale_marks(somebody, selector):
    """Marks whose fill and stroke both have less than 3 to 1 against the card behind them."""
    return somebody.page.evaluate(
        """(selector) => {
            const rgb = (text) => (text.match(/[0-9.]+/g) ?? []).map(Number);
            const light = (colour) => {
                const [r, g, b] = rgb(colour).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
            const marks = [...document.querySelectorAll(selector)];
            if (!marks.length) throw new Error(`no marks: ${selector}`);
            return marks.flatMap((mark) => {
                const style = getComputedStyle(mark);
                const behind = getComputedStyle(mark.closest(".card")).backgroundColor;
                const seen = [style.fill, style.stroke].filter((colour) => colour.startsWith("rgb")).map((c) => ratio(c, behind));
                return Number(style.opacity) === 1 && Math.max(...seen) >= 3 ? [] : [`${mark.getAttribute("class")}: ${seen}`];
            });
        }""",
        selector,
    )
