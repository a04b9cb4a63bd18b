"""Guessing: tokens that look like phone numbers, and clientIds, while others click who were never asked for."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from typing import Final

from tests.measure.siege.attack import Attack, Ground, Tally, at_a_rate
from tests.measure.siege.http_posts import Client

_PER_SECOND: Final = 200.0
_CLICKS: Final = 5


def _tokens(ground: Ground, tally: Tally) -> None:
    client = ground.stranger()

    def guess() -> None:
        token = f"37529{random.randrange(10**7):07d}"
        body = {"Token": token, "UniqueId": f"{int(time.time())}.1", "Phone": "375291111111", "CallType": 0}
        tally.count(client.post("/start", json.dumps(body).encode()))

    at_a_rate(_PER_SECOND, ground.seconds, guess)


def _client_ids(ground: Ground, tally: Tally) -> None:
    client = ground.stranger()
    clicking = threading.Thread(target=_click, args=[ground, tally], name="clicks")
    clicking.start()
    at_a_rate(_PER_SECOND, ground.seconds, lambda: tally.count(client.get(_click_path(uuid.uuid4().hex))))
    clicking.join()


def _click(ground: Ground, tally: Tally) -> None:
    """Managers of enterprises that no process knows yet click on a number, one after another."""
    client = Client(url=ground.gateway)
    for client_id in ground.client_ids:
        time.sleep(ground.seconds / (len(ground.client_ids) + 1))
        tally.count_other(client.get(_click_path(client_id)))


def _click_path(client_id: str) -> str:
    return f"/retailcrm/make-call?clientId={client_id}&phone=%2B375291111111&code=150&userId=18"


TOKENS: Final = Attack(name="tokens", title=f"{_PER_SECOND:.0f} guessed tokens a second", run=_tokens)
CLIENT_IDS: Final = Attack(
    name="client-ids", title=f"{_PER_SECOND:.0f} unknown clientIds a second", run=_client_ids, bystanders=_CLICKS
)
