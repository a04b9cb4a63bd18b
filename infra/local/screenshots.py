"""
Pictures of every screen of the page, on a phone and a desktop, light and dark, in both languages:
`make screenshots`, into `.cache/screenshots`.

They are of a stack of their own, with the demo enterprise and a few calls; it ends with them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Page

from infra.local import browser, demo, player
from infra.local.parts import free_base_port
from infra.local.processes import ROOT
from infra.local.stack import Stack

SCREENS: Final = ("overview", "calls", "call", "managers", "lines", "connection", "settings", "log", "try")
SIZES: Final = {"desktop": (1280, 860), "phone": (390, 844)}
THEMES: Final = ("light", "dark")
LANGUAGES: Final = ("ru", "en")
_CALLS: Final = ("2-1-doc", "2-2-doc", "2-18-doc")
_SPEED: Final = 4.0
_QUIET_MS: Final = 700


def main() -> int:
    parser = argparse.ArgumentParser(prog="make screenshots", description="Pictures of every screen")
    parser.add_argument("--into", type=Path, default=ROOT / ".cache" / "screenshots")
    parser.add_argument("--screens", nargs="+", default=["sign-in", *SCREENS], metavar="NAME")
    parser.add_argument("--url", default="", help="of a stack that is running, instead of one of its own")
    parser.add_argument("--password", default="", help="of its demo administrator")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    try:
        with _page(options.url, options.password) as (url, password), browser.browser() as running:
            for size, theme, language in product(SIZES, THEMES, LANGUAGES):
                _shoot(running, url, password, options, (size, theme, language))
    except browser.NoBrowser as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(list(options.into.glob('*.png')))} pictures in {options.into}")
    return 0


@contextmanager
def _page(url: str, password: str) -> Iterator[tuple[str, str]]:
    """The gateway's address and the password of the demo administrator."""
    if url:
        yield url, password
        return
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as folder,
        Stack(Path(folder), free_base_port(), restart=True) as stack,
    ):
        demo.provide(stack)
        scenarios = player.load()
        for name in _CALLS:
            if name in scenarios:
                player.play(
                    scenarios[name],
                    stack.url("gateway"),
                    demo.enterprise(stack)["token"],
                    speed=_SPEED,
                    pause=stack.pause,
                )
        stack.pause(8)
        yield stack.url("gateway"), stack.secrets.admin_password


def _shoot(running: Browser, url: str, password: str, options: argparse.Namespace, look: tuple[str, str, str]) -> None:
    size, theme, language = look
    context = _context(running, size, theme, language)
    try:
        page = context.new_page()
        page.goto(f"{url}/retailcrm-admin/")
        page.wait_for_selector("[name=login]")
        if "sign-in" in options.screens:
            _save(page, options.into, "sign-in", look)
        page.fill("[name=enterprise_number]", "0367")
        page.fill("[name=login]", demo.ADMIN_LOGIN)
        page.fill("[name=password]", password)
        page.click("[type=submit]")
        page.wait_for_selector(".frame")
        for screen in options.screens:
            address = _address(page, screen)
            if address:
                page.goto(f"{url}/retailcrm-admin/#/{address}")
                _save(page, options.into, screen, look)
    finally:
        context.close()


def _context(running: Browser, size: str, theme: str, language: str) -> BrowserContext:
    width, height = SIZES[size]
    context = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        locale={"ru": "ru-RU", "en": "en-GB"}[language],
    )
    context.add_init_script(f"localStorage.setItem('language', '{language}')")
    return context


def _address(page: Page, screen: str) -> str:
    """Of a call: the latest one's. Empty when there is none."""
    if screen == "sign-in":
        return ""
    if screen != "call":
        return screen
    found = page.evaluate(
        """async () => (await (await fetch("api/calls/0367?limit=1")).json()).calls[0]?.unique_id ?? """ + '""'
    )
    return f"call/{found}" if found else ""


def _save(page: Page, into: Path, screen: str, look: Sequence[str]) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_QUIET_MS)
    page.screenshot(path=into / f"{screen}-{'-'.join(look)}.png", full_page=True)


if __name__ == "__main__":
    sys.exit(main())
