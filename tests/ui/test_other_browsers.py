"""
The same journeys in other browsers: Firefox as Debian has it, and Chromium 109, the last one for Windows 7.

Firefox: `apt-get install firefox-esr`, or FIREFOX=/path/to/it. Chromium 109: OLD_CHROMIUM=/path/to/it; the npm package
`@sparticuz/chromium@109.0.6` has one for Linux on x86-64.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.harness import firefox_for_playwright
from tests.ui.test_calls import play, test_a_call_arrives_live_and_its_story_is_told  # noqa: F401
from tests.ui.test_lines_and_try import test_a_rule_is_tried_before_it_is_saved  # noqa: F401
from tests.ui.test_managers import (  # noqa: F401
    staff,
    test_arrows_choose_and_only_enter_saves,
    test_one_undo_restores_what_several_changes_took,
)
from tests.ui.test_settings import test_rules_are_saved_and_can_be_taken_back  # noqa: F401
from tests.ui.test_shell import (  # noqa: F401
    SCREENS,
    test_back_leads_to_the_same_place_with_the_filter_and_the_focus,
    test_the_number_in_the_address_fills_the_form,
)


# One for each test: that build of Chromium ends with its first window.
@pytest.fixture(params=["Firefox", "Chromium 109"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    if os.environ.get("TEST_BROWSER") == "none":
        pytest.skip("TEST_BROWSER=none")
    with sync_playwright() as playwright:
        if request.param == "Firefox":
            if firefox_for_playwright.find() is None:
                pytest.skip("no Firefox here: apt-get install firefox-esr, or FIREFOX=/path/to/it")
            path = Path(firefox_for_playwright.__file__)
            # It is started by its first line, which finds this Python also where no environment is activated.
            search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            running = playwright.firefox.launch(
                channel="moz-firefox", executable_path=path, env={**os.environ, "PATH": search}
            )
        else:
            old = os.environ.get("OLD_CHROMIUM", "")
            if not shutil.which(old):
                pytest.skip("no Chromium 109 here: OLD_CHROMIUM=/path/to/it")
            # This build is one process, as root without its own sandbox.
            arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--single-process", "--no-zygote"]
            running = playwright.chromium.launch(executable_path=old, args=arguments)
        try:
            yield running
        finally:
            running.close()


def test_every_screen_is_drawn_with_borders_and_in_both_themes(number, enrol, visit):
    enrol(number)
    somebody = visit().sign_in(number)
    style = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name)"
    papers = []
    for theme in ("light", "dark"):
        somebody.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        papers.append(somebody.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    for screen in SCREENS:
        somebody.go(screen)
        expect(somebody.page.locator(".skeleton")).to_have_count(0)
    somebody.go("settings")
    border = somebody.page.locator("[name=settle_seconds]").evaluate(
        "(input) => [getComputedStyle(input).borderTopColor, getComputedStyle(input).borderTopWidth]"
    )

    assert papers == ["rgb(245, 244, 240)", "rgb(21, 20, 26)"]
    assert border == ["rgb(128, 123, 143)", "1px"]
    assert re.search(r"\S", somebody.page.evaluate(style, "--line-strong"))
