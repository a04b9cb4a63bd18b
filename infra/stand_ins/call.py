"""
Plays scenarios against the running stack and shows what the CRM was told: `make call SCENARIO=2-1-doc`.

Without a scenario it lists them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import psycopg

from infra.stand_ins import player, rundir
from infra.stand_ins.player import Event, Played, Scenario, Sent
from infra.stand_ins.rundir import StartError

_LOOK_SECONDS: Final = 0.1
# A call that nobody hangs up is over after 90 s without news.
_PATIENCE_SECONDS: Final = 110.0
_QUIET_SECONDS: Final = 3.0
_HINT_AFTER_SECONDS: Final = 10.0


class CRM:
    """The requests to the simulator about the calls of one play, from the beginning of the play on."""

    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._ids: set[str] = set()
        self.told: list[Mapping[str, Any]] = []
        self._last = max((entry["seq"] for entry in self._ledger(limit=1)), default=0)

    def concern(self, event: Event) -> None:
        """The event's UniqueId is one of the play's."""
        self._ids.add(str(event.body.get("UniqueId")))

    def news(self) -> list[Mapping[str, Any]]:
        """The requests since the last poll."""
        found = self._ledger(after=self._last)
        self._last = max((entry["seq"] for entry in found), default=self._last)
        news = [entry for entry in found if self._ids.intersection(_calls(entry))]
        self.told += news
        return news

    def has_row(self, unique_id: str | None) -> bool:
        return any(entry["kind"] == "upload" and unique_id in _calls(entry) for entry in self.told)

    def first_popup_at(self, unique_id: str | None) -> float | None:
        popups = (e for e in self.told if e["kind"] == "event" and _event(e)["type"] != "hangup")
        return next((float(entry["received_at"]) for entry in popups if unique_id in _calls(entry)), None)

    def _ledger(self, **query: int) -> list[Mapping[str, Any]]:
        connection = http.client.HTTPConnection(self._netloc, timeout=5)
        try:
            connection.request("GET", f"/_sim/ledger?{urlencode(query)}")
            entries: list[Mapping[str, Any]] = json.loads(connection.getresponse().read())["entries"]
        finally:
            connection.close()
        return entries


@dataclass(frozen=True, kw_only=True)
class Host:
    """How a host of an enterprise reaches the gateway."""

    gateway: str
    token: str


def play_and_show(
    scenario: Scenario,
    host: Host,
    *,
    crm: CRM,
    speed: float = 1.0,
    pause: Callable[[float], None] = time.sleep,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Played:
    """Plays it, and prints a line for every event and for every request to the CRM as it happens."""
    print(f"Playing {scenario.id}: {scenario.title}")
    began: float | None = None

    def line(at: float, who: str, text: str) -> None:
        nonlocal began
        began = at if began is None else began
        print(f"  {at - began:6.1f} s  {who:4}  {text}", flush=True)

    def show_news() -> None:
        for entry in crm.news():
            line(entry["received_at"], "CRM", told(entry))

    def pause_and_look(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            pause(min(left, _LOOK_SECONDS))
            show_news()

    def show_sent(sent: Sent) -> None:
        crm.concern(sent.event)
        line(sent.sent_at, "host", happened(sent))

    played = player.play(scenario, host.gateway, host.token, speed=speed, pause=pause_and_look, tell=show_sent)
    expects_row = bool(scenario.expected.get("upload"))
    over_at = time.monotonic()
    hint = "no row yet; a call that is not hung up is over after 90 s without news" if expects_row else ""
    while (waited := time.monotonic() - over_at) < (patience_seconds if expects_row else _QUIET_SECONDS):
        if crm.has_row(played.scenario.main_unique_id):
            break
        if hint and waited > _HINT_AFTER_SECONDS:
            line(time.time(), "", hint)
            hint = ""
        pause_and_look(_LOOK_SECONDS)
    show_news()
    print(_sum_up(played, crm, expects_row=expects_row))
    return played


def happened(sent: Sent) -> str:
    """An event in words."""
    body = sent.event.body
    who = body.get("CallerIDNum") or body.get("Channel") or body.get("UniqueId")
    extensions = ", ".join(filter(None, map(str, _list(body, "Extensions")))) or "nobody"
    words = {
        "/start": f"{body.get('Phone') or 'a hidden number'} calls on line {body.get('Trunk')}",
        "/dial": f"{extensions} calls {body.get('Phone')}"
        if str(body.get("CallType")) == "1"
        else f"{extensions} ring",
        "/bridge": f"{who} talks",
        "/bridge_create": "a conversation begins",
        "/bridge_leave": f"{who} leaves",
        "/bridge_destroy": "the conversation ends",
        "/new_callerid": f"{who} is shown",
        "/hangup": f"hangup, status {body.get('CallStatus')}",
    }
    answer = {200: "", 0: "  (no answer)"}.get(sent.status, f"  (refused: {sent.status})")
    return f"{sent.event.endpoint[1:]:15} {words.get(sent.event.endpoint, '')}{answer}"


def told(entry: Mapping[str, Any]) -> str:
    """A request to the CRM in words."""
    answer = (entry.get("answer") or {}).get("status")
    note = "" if answer in {200, 201} else f"  (answered {answer})"
    if entry["kind"] == "event":
        event = _event(entry)
        if event["type"] == "hangup":
            return f"{'end':15} {event.get('hangupStatus')}{note}"
        return f"{'pop-up':15} {event.get('phone')} for {', '.join(_list(event, 'codes'))}{note}"
    if entry["kind"] == "upload":
        return f"{'history row':15} {'; '.join(map(_row, _list(entry['fields'], 'calls')))}{note}"
    return f"{entry['kind']:15} {entry['method']} {entry['path']}{note}"


def _row(row: Mapping[str, Any]) -> str:
    waited = f", waited {row['durationWaiting']} s" if row.get("durationWaiting") is not None else ""
    owner = f", manager {row['code']}" if row.get("code") else ""
    call = f"{row.get('date')} {row.get('type')} {row.get('phone')}"
    return f"{call}: {row.get('result')}, talk {row.get('duration')} s{waited}{owner}"


def _sum_up(played: Played, crm: CRM, *, expects_row: bool) -> str:
    popup_at, rang_at = crm.first_popup_at(played.scenario.main_unique_id), played.rang_at
    parts = []
    if popup_at and rang_at:
        parts.append(
            f"The pop-up reached the CRM {max(0, popup_at - rang_at) * 1000:.0f} ms after the phones began to ring."
        )
    if crm.has_row(played.scenario.main_unique_id):
        parts.append("The history row is in.")
    elif expects_row:
        parts.append(f"No history row came; make explain CALL={played.scenario.main_unique_id} says why.")
    elif not crm.told:
        reason = played.scenario.expected.get("reason")
        parts.append(
            f"The CRM was told nothing, as it should be ({reason})." if reason else "The CRM was told nothing."
        )
    if played.refused:
        parts.append(f"{len(played.refused)} events were not accepted.")
    return "  ".join(parts)


def _calls(entry: Mapping[str, Any]) -> list[Any]:
    """The calls that a request is about, by the ids that the CRM was given."""
    rows = [row.get("externalId") for row in _list(entry["fields"], "calls") if isinstance(row, dict)]
    return [_event(entry).get("callExternalId"), *rows]


def _event(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    event = entry["fields"].get("event")
    return event if isinstance(event, dict) else {"type": "unreadable"}


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    return value if isinstance(value, list) else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="make call", description="Plays call scenarios against the running stack")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--enterprise", default="0367")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--run-dir", type=Path, default=Path(".local"))
    options = parser.parse_args()
    scenarios = player.load()
    unknown = [name for name in options.scenarios if name not in scenarios]
    if unknown or not options.scenarios:
        for scenario in scenarios.values():
            print(f"  {scenario.id:16} {scenario.title}")
        print(f"There is no scenario {', '.join(unknown)}" if unknown else "Play one: make call SCENARIO=2-1-doc")
        return 1 if unknown else 0
    try:
        stack = rundir.read_description(options.run_dir.resolve())
        token = _token(stack["environment"]["DATABASE_URL"], options.enterprise)
        host = Host(gateway=stack["urls"]["gateway"], token=token)
        for name in options.scenarios:
            crm = CRM(stack["urls"]["retailcrm-simulator"])
            play_and_show(scenarios[name], host, crm=crm, speed=options.speed)
    except (StartError, psycopg.OperationalError, OSError, http.client.HTTPException) as error:
        print(f"make call: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _token(database_url: str, enterprise: str) -> str:
    with psycopg.connect(database_url, connect_timeout=5) as conn:
        row = conn.execute("SELECT token FROM enterprises WHERE number = %s", [enterprise]).fetchone()
    if row is None:
        raise StartError(f"There is no enterprise {enterprise}: make provision FILE=… makes one")
    return str(row[0])


if __name__ == "__main__":
    sys.exit(main())
