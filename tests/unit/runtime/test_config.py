from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.runtime import config
from lib.runtime.errors import ConfigError


def test_every_problem_is_named_at_once():
    with pytest.raises(ConfigError, match=r"DATABASE_URL is not set; DATABASE_POOL_SIZE is not a valid int"):
        config.load(config.Database, {"DATABASE_POOL_SIZE": "many"})


def test_values_take_the_type_of_their_field():
    loaded = config.load(config.Database, {"DATABASE_URL": "postgresql://x", "DATABASE_POOL_TIMEOUT_SECONDS": "1.5"})

    assert loaded.database_pool_timeout_seconds == 1.5
    assert loaded.database_pool_size == 8


def test_an_empty_variable_is_one_that_is_not_set():
    assert config.load(config.Operator, {"OPERATOR_TOKEN": ""}) == config.Operator()


def test_secrets_are_not_shown():
    shown = repr(config.load(config.Database, {"DATABASE_URL": "postgresql://user:canary@host/db"}))
    shown += repr(config.load(config.Vault, {"VAULT_KEYS": "canary"}))
    shown += repr(config.load(config.Operator, {"OPERATOR_TOKEN": "canary"}))

    assert "canary" not in shown


@pytest.mark.parametrize("main", sorted(Path("functions").glob("*/main.py")), ids=lambda main: main.parent.name)
def test_a_function_without_its_settings_does_not_start_and_names_all_of_them(main):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "."}

    started = subprocess.run(
        [sys.executable, str(main)], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert started.returncode != 0
    assert "DATABASE_URL is not set" in started.stderr
    assert "VAULT_KEYS is not set" in started.stderr or main.parent.name in {
        "assemble-recovered",
        "dispatch-call-event",
        "make-call",
        "sweep-calls",
    }
