"""What the attacks post: events of which none is a copy, and as many as they say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from lib.intake import forms
from tests.measure.siege.attack import Ground, Marked, Tally
from tests.measure.siege.long_calls import one_bridge, one_channel
from tests.measure.siege.posting import in_batches, one_by_one
from tests.measure.siege.recovery import starts


def stored(events: Sequence[Marked]):
    return [forms.from_envelope(one.event, enterprise_number="0402") for one in events]


def test_a_recovered_day_is_spread_over_the_day_and_every_start_is_a_call_of_its_own():
    events = stored(starts(1000, first_at=1_800_000_000.0, last_at=1_800_086_400.0))

    assert len({event.unique_id for event in events}) == len({event.raw["Phone"] for event in events}) == 1000
    assert events[-1].unique_id.startswith("18000863")


def test_a_long_call_is_one_channel_that_never_says_the_same_twice():
    events = stored(one_channel(50, 1_800_000_000.0))

    assert {event.unique_id for event in events} == {"1800000000.1"}
    assert Counter(event.event_type for event in events) == {"start": 1, "dial": 1, "new_callerid": 50}
    assert len({json.dumps(event.raw) for event in events}) == 52


def test_all_channels_of_a_bridge_are_under_one_id():
    channels = [event for event in stored(one_bridge(50, 1_800_000_000.0)) if event.event_type == "bridge"]

    assert len({event.unique_id for event in channels}) == 50
    assert len({event.raw["BridgeUniqueid"] for event in channels}) == 1


def three_calls() -> Sequence[Marked]:
    return starts(3, first_at=1_800_000_000.0, last_at=1_800_000_003.0)


@dataclass
class Intake:
    """Refuses each post once, with a time to wait, and then all but the first event of each batch."""

    retry_after: str
    url: str = ""
    bodies: list[dict] = field(default_factory=list)
    _met: set[str] = field(default_factory=set)

    def answer(self, body: dict) -> tuple[int, dict]:
        self.bodies.append(body)
        marks = [event["raw"]["Mark"] for event in body.get("events", [body])]
        new = [mark for mark in marks if mark not in self._met]
        self._met.update(marks)
        if new:
            return 429, {}
        return 200, {"results": [{"success": index == 0} for index in range(len(marks))]}


@contextmanager
def intake(retry_after: str) -> Iterator[Intake]:
    found = Intake(retry_after=retry_after)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, answer = found.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", found.retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def test_what_is_refused_is_posted_again_until_each_event_is_accepted():
    with intake("0") as server:
        ground, tally = Ground(gateway=server.url, seconds=10.0, token="token-of-0402"), Tally()
        in_batches(three_calls(), ground, tally, origin="download")

    assert tally.offered == 3
    assert tally.accepted == {"mark-0", "mark-1", "mark-2"}
    assert tally.answers == {429: 1, 200: 3}
    assert {body["origin"] for body in server.bodies} == {"download"}
    assert [len(body["events"]) for body in server.bodies] == [3, 3, 2, 1]


def test_who_is_told_to_wait_longer_than_the_attack_lasts_posts_no_more():
    with intake("60") as server:
        ground, tally = Ground(gateway=server.url, seconds=0.5, token="token-of-0402"), Tally()
        one_by_one(three_calls(), ground, tally)

    assert tally.accepted == set()
    assert tally.answers == {429: 3}
