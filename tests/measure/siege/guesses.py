"""
Guessing: tokens that look like phone numbers, and clientIds. Meanwhile enterprises that no process knows yet have their
first event, or their first click.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.measure.siege.attack import BYSTANDERS_ADDRESS, Attack, Bystander, Ground, Tally, at_a_rate
from tests.measure.siege.http_posts import Answer, Client

_PER_SECOND: Final = 200.0
_BYSTANDERS: Final = 5


def _tokens(ground: Ground, tally: Tally) -> None:
    client = ground.stranger()

    def guess() -> None:
        tally.count(client.post("/start", _start(f"37529{random.randrange(10**7):07d}")))

    def first_event(client: Client, one: Bystander) -> Answer:
        return client.post("/start", _start(one.token))

    with _bystanders(ground, tally, first_event):
        at_a_rate(_PER_SECOND, ground.seconds, guess)


def _client_ids(ground: Ground, tally: Tally) -> None:
    client = ground.stranger()

    def guess() -> None:
        tally.count(client.get(_click(uuid.uuid4().hex)))

    def first_click(client: Client, one: Bystander) -> Answer:
        return client.get(_click(one.client_id))

    with _bystanders(ground, tally, first_click):
        at_a_rate(_PER_SECOND, ground.seconds, guess)


@contextmanager
def _bystanders(ground: Ground, tally: Tally, ask: Callable[[Client, Bystander], Answer]) -> Iterator[None]:
    """One after another asks, spread over the time of the attack."""
    client = Client(url=ground.gateway, source=BYSTANDERS_ADDRESS)

    def work() -> None:
        for one in ground.bystanders:
            time.sleep(ground.seconds / (len(ground.bystanders) + 1))
            tally.count_other(ask(client, one))

    thread = threading.Thread(target=work, name="bystanders")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _start(token: str) -> bytes:
    body = {"Token": token, "UniqueId": f"{int(time.time())}.1", "Phone": "375291111111", "CallType": 0}
    return json.dumps(body).encode()


def _click(client_id: str) -> str:
    return f"/retailcrm/make-call?clientId={client_id}&phone=%2B375291111111&code=150&userId=18"


TOKENS: Final = Attack(
    name="tokens", title=f"{_PER_SECOND:.0f} guessed tokens a second", run=_tokens, bystanders=_BYSTANDERS
)
CLIENT_IDS: Final = Attack(
    name="client-ids", title=f"{_PER_SECOND:.0f} unknown clientIds a second", run=_client_ids, bystanders=_BYSTANDERS
)
