from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from lib.runtime.lazy import lazy


def test_a_lazy_value_is_made_once_by_racing_threads():
    made = []

    @lazy
    def slow():
        time.sleep(0.05)
        made.append(1)
        return object()

    with ThreadPoolExecutor(16) as pool:
        values = set(pool.map(lambda _: slow(), range(16)))

    assert len(values) == len(made) == 1


def test_a_failure_is_not_kept_and_a_forgotten_value_is_made_again():
    answers = iter([ValueError("first"), 2, 3])

    @lazy
    def next_one():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        next_one()
    except ValueError:
        assert next_one.made is None
    assert next_one() == next_one() == 2
    next_one.forget()
    assert next_one() == 3
