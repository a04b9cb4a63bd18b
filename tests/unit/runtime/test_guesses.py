from __future__ import annotations

import pytest

from lib.runtime import guesses
from lib.runtime.errors import RateLimited
from lib.runtime.guesses import ALL_AT_ONCE, AT_ONCE, SECONDS_EACH, Guesses
from tests.unit.runtime.test_buckets import Clock

HERE, ELSEWHERE = "192.0.2.7", "192.0.2.8"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(clock):
    return Guesses("token", clock=clock)


def guess(tokens, source, number):
    """How many of so many different wrong guesses were answered."""
    answered = 0
    for place in range(number):
        try:
            tokens.check(source)
        except RateLimited:
            continue
        tokens.wrong(source, (source, place))
        answered += 1
    return answered


def test_a_source_may_be_wrong_ten_times_and_then_once_in_half_a_minute(tokens, clock):
    assert guess(tokens, HERE, 1000) == AT_ONCE
    with pytest.raises(RateLimited) as refused:
        tokens.check(HERE)
    assert 0 < (refused.value.retry_after_seconds or 0) <= SECONDS_EACH

    clock.now += 3600
    tokens.wrong(HERE, "another")
    answered = AT_ONCE
    for second in range(3600):
        clock.now += 1
        try:
            tokens.check(HERE)
        except RateLimited:
            continue
        tokens.wrong(HERE, second)
        answered += 1
    assert answered <= AT_ONCE + 3600 / SECONDS_EACH + AT_ONCE


def test_other_sources_are_believed_meanwhile(tokens):
    guess(tokens, HERE, 1000)

    tokens.check(ELSEWHERE)


def test_what_a_source_was_right_about_is_never_slowed_and_what_is_new_is_refused_right_or_wrong(tokens):
    tokens.right(HERE, "0367")
    guess(tokens, HERE, 1000)

    assert tokens.is_known(HERE, "0367")
    assert not tokens.is_known(HERE, "0368")
    assert not tokens.is_known(ELSEWHERE, "0367")


def test_a_host_that_repeats_one_old_token_is_no_guesser(tokens):
    for _ in range(1000):
        tokens.check(HERE)
        tokens.wrong(HERE, "the same")

    assert tokens.stats()["wrong"] == 1


def test_who_is_right_for_many_may_be_wrong_that_much_oftener(tokens):
    for number in range(9):
        tokens.right(HERE, number)

    assert guess(tokens, HERE, 1000) == AT_ONCE * 10


def test_while_many_sources_guess_each_has_one(tokens):
    for place in range(ALL_AT_ONCE // AT_ONCE):
        guess(tokens, f"2001:db8:{place:x}::/48", AT_ONCE)

    assert guess(tokens, HERE, 10) == 1
    assert guess(tokens, ELSEWHERE, 10) == 1


def test_the_log_has_the_address_and_few_lines(tokens, caplog):
    for place in range(1000):
        guess(tokens, f"192.0.2.{place % 250}", 20)
    tokens.right_but_refused(HERE, "0367")

    lines = [(record.levelname, record.source) for record in caplog.records]
    assert ("WARNING", "192.0.2.0") in lines
    assert ("ERROR", "192.0.2.0") in lines
    assert len(lines) == 2 * guesses.LINES_AT_ONCE + 1
    assert caplog.records[-1].owner == "0367"


def test_the_operator_sees_what_was_guessed(tokens):
    guess(tokens, HERE, 100)

    assert guesses.stats()["token"] == {
        "wrong": 10,
        "refused": 90,
        "right_but_refused": 0,
        "last_source": HERE,
    }
