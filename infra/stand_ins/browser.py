"""The Chromium of this machine, for the page's tests and screenshots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, Error, sync_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING: Final = (
    "No Chromium here. Install it (Debian, Ubuntu: `apt-get install chromium`; anywhere: `.venv/bin/playwright install "
    "--with-deps chromium`), or name one with CHROMIUM=/path/to/it."
)


class NoBrowser(Exception):
    """The message says how to get one."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Raises NoBrowser."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    # In a container, and as root, Chromium's own sandbox does not work; it opens our own pages only.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=path, args=arguments)
        except Error as error:
            if path is None or not os.path.exists(path):  # noqa: PTH110  (a command's path, not a file of ours)
                raise NoBrowser(MISSING) from error
            raise
        try:
            yield running
        finally:
            running.close()
