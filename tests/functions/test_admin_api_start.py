"""A function that lacks a secret does not start, and says which one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import VAULT_KEYS
from tests.functions.conftest import ACCOUNT_LINK_SECRET

COMPLETE = {
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:9/none",
    "GOOGLE_CLOUD_PROJECT": "local",
    "PUBLIC_URL": "https://telephony.example.com",
    "VAULT_KEYS": VAULT_KEYS,
    "ACCOUNT_LINK_SECRET": ACCOUNT_LINK_SECRET,
}


@pytest.mark.parametrize("function", ["admin-api", "register-module"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ACCOUNT_LINK_SECRET": ""}, "ConfigError: ACCOUNT_LINK_SECRET is not set"),
        ({"ACCOUNT_LINK_SECRET": "short"}, "ConfigError: ACCOUNT_LINK_SECRET is shorter than 32 bytes"),
        ({"VAULT_KEYS": "k:short"}, "ConfigError: VAULT_KEYS: item 1 is not `id:base64 of 32 bytes`"),
        (
            {"DATABASE_URL": "", "PUBLIC_URL": "", "VAULT_KEYS": ""},
            "ConfigError: DATABASE_URL is not set; VAULT_KEYS is not set; PUBLIC_URL is not set",
        ),
    ],
)
def test_without_a_setting_it_refuses_to_start(function, changes, said):
    started = subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path('functions/{function}/main.py')"],
        env={"PATH": os.environ["PATH"], **COMPLETE, **changes},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert started.returncode != 0
    assert started.stderr.strip().splitlines()[-1].endswith(said)
    assert ACCOUNT_LINK_SECRET not in started.stderr


@pytest.mark.parametrize("function", ["admin-api", "register-module"])
def test_with_every_setting_it_starts(function):
    subprocess.run(
        [sys.executable, "-c", f"import runpy; runpy.run_path('functions/{function}/main.py')"],
        env={"PATH": os.environ["PATH"], **COMPLETE},
        check=True,
        timeout=60,
    )
