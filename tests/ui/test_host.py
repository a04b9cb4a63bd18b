"""What led to nothing on the overview, and what the telephone host does."""

from __future__ import annotations

import time

import pytest
import requests
from playwright.sync_api import expect

from lib.calls.doctor.finding import WEIGHTS
from lib.calls.doctor.words import SENTENCES
from lib.store.silence import REASONS


@pytest.fixture
def host(stack):
    """Posts events as the host of an enterprise does: `host(number, sequence, start={…})`; the id of the call."""

    def send(number, sequence, **events):
        unique_id = f"{int(time.time())}.{sequence}"
        for event_type, body in events.items():
            response = requests.post(
                f"{stack.url('gateway')}/{event_type}",
                json={"Token": f"token-of-{number}", "UniqueId": unique_id, "CallType": 0, **body},
                timeout=10,
            )
            assert response.status_code == 200
        return unique_id

    return send


HIDDEN = {"Phone": "Anonymous", "Trunk": "0001301"}
STRANGE = {"Phone": "375291111111", "Trunk": "0009999"}


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_events_that_led_to_nothing_are_said_and_lead_to_their_call(number, enrol, visit, host, look):
    language, size, theme = look
    enrol(number)
    for sequence in (1, 2, 3):
        host(number, sequence, start=HIDDEN)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)

    said = {
        "ru": ("3 события за последний час ни к чему не привели", "В них нет номера", "Ни один звонок АТС"),
        "en": ("3 events in the last hour led to nothing", "No number in them", "No call of the phone system"),
    }[language]
    for sentence in said:
        expect(somebody.page.locator("main")).to_contain_text(sentence, timeout=40_000)
    somebody.is_accessible()
    somebody.page.locator(".bullets a").first.click()

    expect(somebody.page.locator(".screen[data-screen=call]")).to_be_visible()


@pytest.mark.parametrize("look", [("ru", "desktop", "light"), ("en", "phone", "dark")])
def test_what_the_host_does_is_said_with_what_to_change(number, enrol, visit, host, look):
    language, size, theme = look
    administrator = enrol(number)
    unique_id = host(number, 1, start=STRANGE, dial={**STRANGE, "Extensions": ["777"]})
    for _ in range(100):
        if administrator.ask("GET", f"doctor/{number}")["events"] == 2:
            break
        time.sleep(0.1)
    somebody = visit(language=language, size=size, theme=theme).sign_in(number)

    somebody.go("host")

    title, advice = SENTENCES[language]["unknown_lines"]
    item = somebody.page.locator(".notice", has_text=title.format(count=2, of=2))
    expect(item).to_contain_text(advice)
    item.locator("summary").click()
    expect(item.locator("li")).to_contain_text("0009999")
    somebody.is_accessible()
    item.get_by_role("link").click()
    expect(somebody.page.locator(".screen[data-screen=call]")).to_be_visible()
    assert unique_id in somebody.page.url


def test_another_time_is_chosen_and_stays_in_the_address(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    somebody.go("host")
    somebody.reads("Событий за это время нет")

    somebody.press("Неделя")

    expect(somebody.page.get_by_role("button", name="Неделя")).to_have_attribute("aria-pressed", "true")
    assert "period=week" in somebody.page.url


def test_a_checkup_that_was_capped_says_so(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    capped = {"since": "2026-01-01T09:00:00Z", "until": "2026-01-01T10:00:00Z", "events": 5000, "calls": 1200}
    somebody.page.route("**/doctor/*", lambda route: route.fulfill(json={**capped, "is_capped": True, "findings": []}))

    somebody.go("host")

    somebody.reads("Прочитаны только последние события")
    somebody.reads("АТС делает всё, что нужно")
    somebody.is_accessible()


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_finding_and_reason_has_the_words_of_the_command(visit, language):
    somebody = visit()
    somebody.open()

    findings, led = somebody.page.evaluate(
        """async (language) => {
            const of = async (name) => (await import(`/retailcrm-admin/js/messages/${language}/${name}.js`)).default;
            return [(await of("host")).findings, (await of("overview")).led];
        }""",
        language,
    )

    assert {code: (said["title"], said["text"]) for code, said in findings.items()} == SENTENCES[language]
    assert findings.keys() == WEIGHTS.keys()
    assert led.keys() == {*REASONS, "too_many_events", "rejected"}
