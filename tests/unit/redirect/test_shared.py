from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.redirect import crm_limit
from lib.redirect.choice import UsualScheme
from lib.redirect.crm_limit import CrmLimit
from lib.redirect.shared import Shared


def soon():
    return time.monotonic() + 2


def test_callers_at_the_same_time_share_one_answer():
    shared: Shared[str] = Shared(fresh_seconds=60)
    asked: list[int] = []

    def ask():
        asked.append(1)
        time.sleep(0.1)
        return "answer"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared.get("key", ask, deadline=soon()), range(8)))

    assert answers == ["answer"] * 8
    assert len(asked) == 1
    assert shared.find("key") == "answer"


def test_a_failure_reaches_every_caller_and_is_not_kept():
    shared: Shared[str] = Shared(fresh_seconds=60)

    def fail():
        time.sleep(0.1)
        raise UsualScheme("crm_slow")

    def get(_):
        with pytest.raises(UsualScheme):
            shared.get("key", fail, deadline=soon())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(get, range(4)))

    assert shared.get("key", lambda: "answer", deadline=soon()) == "answer"


def test_a_caller_waits_until_its_own_deadline():
    shared: Shared[bool] = Shared(fresh_seconds=60)
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.get, "key", lambda: release.wait(5), deadline=soon())
        time.sleep(0.05)

        with pytest.raises(TimeoutError):
            shared.get("key", lambda: True, deadline=time.monotonic() + 0.05)
        release.set()

        assert first.result() is True


def test_an_answer_expires_and_the_oldest_is_evicted_first():
    shared: Shared[str] = Shared(fresh_seconds=0.05, entries=2)
    for key in "abc":
        shared.get(key, lambda: "x", deadline=soon())

    kept = [shared.find(key) for key in "abc"]
    time.sleep(0.06)

    assert kept == [None, "x", "x"]
    assert shared.find("c") is None


def test_one_enterprise_cannot_take_the_slots_of_another():
    limit = CrmLimit()
    slots = [limit.slot("0367") for _ in range(crm_limit.AT_A_TIME)]
    for slot in slots:
        slot.__enter__()

    with pytest.raises(UsualScheme) as refused, limit.slot("0367"):
        pass
    with limit.slot("0368"):
        pass
    slots[0].__exit__(None, None, None)
    with limit.slot("0367"):
        pass

    assert refused.value.reason == "crm_busy"


def test_after_failures_in_a_row_a_crm_is_left_alone_and_then_probed_once(monkeypatch):
    monkeypatch.setattr(crm_limit, "PAUSE_SECONDS", 0.1)
    limit = CrmLimit()
    for _ in range(crm_limit.FAILURES):
        limit.record("0367", is_good=False)

    with pytest.raises(UsualScheme) as paused, limit.slot("0367"):
        pass
    time.sleep(0.12)
    with limit.slot("0367"), pytest.raises(UsualScheme) as tried, limit.slot("0367"):
        pass
    limit.record("0367", is_good=True)
    with limit.slot("0367"), limit.slot("0367"):
        pass

    assert (paused.value.reason, tried.value.reason) == ("crm_paused", "crm_busy")
