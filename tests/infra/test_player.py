"""Scenarios moved to now, and played to a server on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from infra.stand_ins import player
from infra.stand_ins.player import Event, Scenario

NOW = 1_800_000_000.25
TOKEN = "375290000009"


def scenario(*events: Event, epoch: int = 1_758_798_777, expected: dict[str, Any] | None = None) -> Scenario:
    return Scenario(
        id="one", title="One", epoch=epoch, main_unique_id=f"{epoch}.27", events=events, expected=expected or {}
    )


def event(at: float = 0.0, **body) -> Event:
    return Event(at=at, endpoint="/hangup", body={"Token": "375290000001", **body})


def moved(**body) -> dict[str, Any]:
    return dict(player.rebase(scenario(event(**body)), now=NOW, token=TOKEN, salt=3).events[0].body)


def test_the_first_event_is_now_and_every_epoch_moves_by_the_same_whole_seconds():
    before = scenario(event(at=-12.0, UniqueId="1758798765.20"), event(at=0.0, UniqueId="1758798777.27"))

    after = player.rebase(before, now=NOW, token=TOKEN, salt=0)

    assert 0 <= after.epoch + after.events[0].at - NOW < 1
    assert [e.body["UniqueId"] for e in after.events] == ["1800000001.20", "1800000013.27"]
    assert (after.epoch, after.main_unique_id) == (1_800_000_013, "1800000013.27")


def test_local_times_move_with_the_epochs_in_the_form_they_had():
    body = moved(
        UniqueId="1758798777.27", StartTime="2025-09-25 14:12:57", EndTime="2025-09-25T14:13:18", DateReceived=""
    )

    shift = timedelta(seconds=1_800_000_001 - 1_758_798_777)
    assert datetime.fromisoformat(body["StartTime"]) == datetime.fromisoformat("2025-09-25 14:12:57") + shift
    assert datetime.fromisoformat(body["EndTime"]) == datetime.fromisoformat("2025-09-25 14:13:18") + shift
    assert (body["StartTime"][10], body["EndTime"][10], body["DateReceived"]) == (" ", "T", "")


def test_what_is_expected_of_the_crm_moves_too():
    before = scenario(
        event(), expected={"upload": {"date": "2025-09-25 14:12:57", "phone": "375291111111"}, "reason": None}
    )

    after = player.rebase(before, now=NOW, token=TOKEN, salt=3)

    assert after.expected["upload"]["date"] > "2026"
    assert after.expected["upload"]["phone"] == "375291111111"


def test_the_token_becomes_the_enterprises():
    assert moved()["Token"] == TOKEN


def test_an_id_that_only_contains_an_epoch_moves_as_well():
    assert moved(UniqueId="test-fio-update-1758798777")["UniqueId"] == "test-fio-update-1800000001"


@pytest.mark.parametrize(
    "value", ["", "375291111111", "+375291111111", "<unknown>", "0001301", ["150", "375292222222"], 2, True]
)
def test_numbers_and_names_stay_what_they_are(value):
    body = moved(Phone=value, Extensions=value, CallType=value, BridgeUniqueid="")

    assert (body["Phone"], body["Extensions"], body["CallType"], body["BridgeUniqueid"]) == (value, value, value, "")


def test_two_plays_share_no_channel_and_no_bridge():
    bridge = "77c13775-bede-4f37-886b-86a7dcf0b06a"
    before = scenario(
        event(UniqueId="1758798777.27", Channel="Local/152@dialexecute-00000006;1", BridgeUniqueid=bridge),
        event(UniqueId="1758798777.27", Channel="Local/152@dialexecute-00000006;2", BridgeUniqueid=bridge),
    )

    plays = [player.rebase(before, now=NOW, token=TOKEN, salt=salt).events for salt in (1, 2)]
    later = player.rebase(before, now=NOW + 60, token=TOKEN, salt=1).events

    for name in ("UniqueId", "BridgeUniqueid", "Channel"):
        assert len({play[0].body[name] for play in (*plays, later)}) == 3
    for first, second in plays:
        assert first.body["UniqueId"] == second.body["UniqueId"]
        assert first.body["BridgeUniqueid"] == second.body["BridgeUniqueid"]
        assert first.body["Channel"].removesuffix(";1") == second.body["Channel"].removesuffix(";2")
        assert first.body["Channel"].startswith("Local/152@dialexecute-")


def test_every_scenario_moves_whole(subtests):
    for one in player.load().values():
        with subtests.test(one.id):
            after = player.rebase(one, now=NOW, token=TOKEN, salt=9)

            text = json.dumps([[e.body for e in after.events], after.expected])
            assert '"2025' not in text
            assert "375290000001" not in text
            assert [e.at for e in after.events] == [e.at for e in one.events]


@pytest.fixture
def host() -> Iterator[tuple[str, list[Any]]]:
    received: list[tuple[float, str, str | None, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((time.time(), self.path, self.headers["Token"], body))
            self.send_response(503 if self.path == "/dial" else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", received
        server.shutdown()
        thread.join()


def test_events_arrive_in_order_at_their_times_in_the_hosts_own_form(host):
    url, received = host
    story = scenario(
        Event(at=0.0, endpoint="/start", body={"Token": "x", "UniqueId": "1758798777.27"}),
        Event(at=0.2, endpoint="/dial", body={"Token": "x", "UniqueId": "1758798777.27"}),
        Event(at=0.4, endpoint="/hangup", body={"Token": "x", "UniqueId": "1758798777.27"}),
    )

    played = player.play(story, url, TOKEN)

    assert [path for _, path, _, _ in received] == ["/start", "/dial", "/hangup"]
    assert {token for _, _, token, _ in received} == {TOKEN}
    assert {body["Token"] for *_, body in received} == {TOKEN}
    for (at, *_), expected in zip(received, (0.0, 0.2, 0.4), strict=True):
        assert at == pytest.approx(played.scenario.epoch + expected, abs=0.15)
    assert played.rang_at == pytest.approx(received[1][0], abs=0.1)


def test_an_event_that_is_refused_is_reported_and_not_sent_again(host):
    url, received = host
    story = scenario(Event(at=0.0, endpoint="/dial", body={}), Event(at=0.0, endpoint="/hangup", body={}))

    played = player.play(story, url, TOKEN)

    assert [sent.status for sent in played.sent] == [503, 200]
    assert [sent.event.endpoint for sent in played.refused] == ["/dial"]
    assert len(received) == 2


def test_a_gateway_that_is_away_does_not_end_the_play():
    story = scenario(Event(at=0.0, endpoint="/start", body={}), Event(at=0.0, endpoint="/hangup", body={}))

    played = player.play(story, "http://127.0.0.1:9", TOKEN)

    assert [sent.status for sent in played.sent] == [0, 0]


def test_speed_shortens_the_waiting(host):
    url, _ = host
    pauses: list[float] = []
    story = scenario(Event(at=0.0, endpoint="/start", body={}), Event(at=100.0, endpoint="/hangup", body={}))

    player.play(story, url, TOKEN, speed=50, pause=pauses.append)

    assert pauses[-1] == pytest.approx(2.0, abs=1.1)
