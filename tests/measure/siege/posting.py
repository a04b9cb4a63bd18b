"""Posting an attacker's events in our own form: in batches, or one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.measure.siege.attack import Ground, Marked, Tally, post_all
from tests.measure.siege.http_posts import Answer, Client

BATCH: Final = 500
LANES: Final = 8


def in_batches(events: Sequence[Marked], ground: Ground, tally: Tally, *, origin: str = "live") -> None:
    batches = [events[first : first + BATCH] for first in range(0, len(events), BATCH)]
    post_all(batches, partial(_batch, ground.attacker(), origin), ground, tally, lanes=LANES)


def one_by_one(events: Sequence[Marked], ground: Ground, tally: Tally) -> None:
    post_all([[event] for event in events], partial(_single, ground.attacker()), ground, tally, lanes=LANES)


def _batch(client: Client, origin: str, events: Sequence[Marked]) -> tuple[Answer, list[str]]:
    body = {"token": client.token, "origin": origin, "events": [one.event for one in events]}
    answer = client.post("/dispatch/call-events", json.dumps(body).encode())
    results = answer.json().get("results", []) if answer.is_accepted else []
    return answer, [one.mark for one, result in zip(events, results, strict=False) if result.get("success")]


def _single(client: Client, events: Sequence[Marked]) -> tuple[Answer, list[str]]:
    [one] = events
    answer = client.post("/dispatch/call-event", json.dumps({"token": client.token, **one.event}).encode())
    return answer, [one.mark] if answer.is_accepted else []
