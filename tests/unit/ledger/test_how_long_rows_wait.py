"""The page promises of rows of history what the ledger keeps."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from lib.ledger import codec

MESSAGES = Path(__file__).parents[3] / "ui" / "js" / "messages"


@pytest.mark.parametrize(
    ("language", "wait", "never"),
    [
        ("en", "History rows wait for up to seven days", "not lost:"),
        ("ru", "Записи истории ждут до семи дней", "не потеряются"),
    ],
)
def test_a_text_about_rows_that_wait_says_for_how_long(language, wait, never):
    text = (MESSAGES / language / "overview.js").read_text(encoding="utf-8")

    assert timedelta(days=7) == codec.ROW_IS_WANTED
    assert len(re.findall(wait, text)) == 3, "the account in the state and in the item, and a CRM that is away"
    assert never not in text
