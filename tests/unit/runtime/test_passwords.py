from __future__ import annotations

import base64
import hashlib
import time

import pytest
from werkzeug.security import generate_password_hash

from lib.runtime.passwords import hash_password, is_password, needs_rehash, weakness


def old_hash(password):
    """As it was written before."""
    salt, digest = b"0123456789abcdef", hashlib.scrypt(password.encode(), salt=b"0123456789abcdef", n=2**14, r=8, p=1)
    return f"scrypt$16384$8$1${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def test_a_hash_has_a_salt_of_its_own_and_the_recommended_cost():
    first, second = hash_password("a password"), hash_password("a password")

    assert first.startswith("pbkdf2:sha256:600000$")
    assert first != second
    assert "a password" not in first
    assert not needs_rehash(first)


@pytest.mark.parametrize(
    "stored",
    [
        hash_password("пароль 1"),
        old_hash("пароль 1"),
        generate_password_hash("пароль 1", "scrypt:32768:8:1"),
    ],
    ids=["now", "before", "of another system"],
)
def test_the_password_is_known_and_no_other_one(stored):
    assert is_password("пароль 1", stored)
    assert not is_password("пароль 2", stored)
    assert not is_password("", stored)


def test_what_was_made_before_is_to_be_made_anew():
    assert needs_rehash(old_hash("a password"))
    assert needs_rehash(generate_password_hash("a password", "pbkdf2:sha256:1000"))


@pytest.mark.parametrize("stored", [None, "", "plain", "scrypt$x", "scrypt$1$2$3$4$5$6", "md5:1$salt$hash"])
def test_what_is_no_hash_is_nobodys_password(stored):
    assert not is_password("", stored)
    assert not is_password("plain", stored)


def test_half_of_a_character_is_no_password_and_not_the_mark_that_stands_for_it():
    assert not is_password("pass\ud800", hash_password("pass?"))
    assert not is_password("pass\ud800", old_hash("pass?"))


def seconds(password, stored):
    def once():
        started = time.thread_time()
        is_password(password, stored)
        return time.thread_time() - started

    return min(once() for _ in range(3))


def test_an_unknown_login_takes_as_long_as_a_known_one_of_either_form():
    unknown = seconds("guess", None)

    for stored in (hash_password("a password"), old_hash("a password")):
        assert seconds("guess", stored) == pytest.approx(unknown, rel=0.3)


@pytest.mark.parametrize(
    "weak",
    ["", "x", "ninechars", "ivanova", "ivanovaivanova", "Ivanova-1", "ivanova-1234", "aaaaaaaaaaaa", "my-password-1",
     "1234567890", "qwertyuiop", "йцукенгшщз", "with\x00 a zero byte", "x" * 1001],
)  # fmt: skip
def test_what_is_guessed_first_is_no_password(weak):
    assert (weakness(weak, "ivanova") or "").startswith("must ")


@pytest.mark.parametrize(
    "good", ["correct horse battery", "another password", "ivanova kupila slona", "password-of-mine", "длинная фраза"]
)
def test_a_long_phrase_is_one_also_with_a_name_in_it(good):
    assert weakness(good, "ivanova") is None
