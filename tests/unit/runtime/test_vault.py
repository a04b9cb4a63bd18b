from __future__ import annotations

import base64

import pytest

from lib.runtime.errors import ConfigError
from lib.runtime.vault import Vault, parse_keys

OLD, NEW = bytes(32), bytes(range(32))


def test_what_was_encrypted_is_decrypted_for_its_owner_only():
    vault = Vault({"a": OLD})
    sealed = vault.encrypt("an-api-key", owner="0367")

    assert vault.decrypt(sealed, owner="0367") == "an-api-key"
    assert "an-api-key" not in sealed
    with pytest.raises(ConfigError, match="save it again"):
        vault.decrypt(sealed, owner="0368")


def test_the_same_text_is_never_sealed_alike():
    vault = Vault({"a": OLD})

    assert vault.encrypt("x", owner="0367") != vault.encrypt("x", owner="0367")


def test_an_old_key_still_opens_after_rotation_and_new_seals_use_the_new_one():
    sealed = Vault({"old": OLD}).encrypt("x", owner="0367")
    rotated = Vault({"new": NEW, "old": OLD})

    assert rotated.decrypt(sealed, owner="0367") == "x"
    assert not rotated.is_current(sealed)
    assert rotated.is_current(rotated.encrypt("x", owner="0367"))


@pytest.mark.parametrize(
    "broken", ["", "v1", "v1.a", "v1.a.%%%", "v1.a.AAAA", "v2.a.AAAA", "v1.gone.AAAA", "plain-text-key"]
)
def test_a_text_that_the_vault_did_not_seal_is_refused_with_advice(broken):
    with pytest.raises(ConfigError, match="save"):
        Vault({"a": OLD}).decrypt(broken, owner="0367")


@pytest.mark.parametrize(
    "text", ["", "a", "a:short", "a:" + base64.b64encode(bytes(31)).decode(), "ä:x", ":" + "A" * 44]
)
def test_bad_keys_are_refused_without_being_shown(text):
    with pytest.raises(ConfigError) as refused:
        parse_keys(text)

    assert "VAULT_KEYS" in str(refused.value)
    assert len(text) < 10 or text[2:] not in str(refused.value)


def test_keys_are_read_in_order():
    text = f"new:{base64.b64encode(NEW).decode()},old:{base64.b64encode(OLD).decode()}"

    assert list(parse_keys(text).items()) == [("new", NEW), ("old", OLD)]
