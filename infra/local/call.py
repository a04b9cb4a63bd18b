"""
Plays scenarios against the running stack and shows what became of them: `make call SCENARIO=2-1-doc`.

Without a scenario it lists them. The CRM simulator's account has the number of its enterprise as its name.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import psycopg

from infra.local import player, rundir
from infra.local.player import Played, Scenario, Sent
from infra.local.rundir import StartError

_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 20.0
_QUIET_SECONDS: Final = 3.0


class CRM:
    """What an account of the simulator was told since we began to listen."""

    def __init__(self, url: str, account: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._account = account
        self._last = 0
        self.entries: list[Mapping[str, Any]] = []
        self.news()
        self.entries.clear()

    def news(self) -> list[Mapping[str, Any]]:
        """What has come in since the last look."""
        query = urlencode({"account": self._account, "after": self._last})
        connection = http.client.HTTPConnection(self._netloc, timeout=5)
        try:
            connection.request("GET", f"/_sim/ledger?{query}")
            found: list[Mapping[str, Any]] = json.loads(connection.getresponse().read())["entries"]
        finally:
            connection.close()
        self._last = max([self._last, *(entry["seq"] for entry in found)])
        self.entries += found
        return found

    def has_row(self, external_id: str | None) -> bool:
        rows = [row for entry in self.entries if entry["kind"] == "upload" for row in _list(entry["fields"], "calls")]
        return any(row.get("externalId") == external_id for row in rows)

    def first_popup_at(self, external_id: str | None) -> float | None:
        popups = [
            entry
            for entry in self.entries
            if entry["kind"] == "event"
            and _event(entry)["type"] != "hangup"
            and _event(entry).get("callExternalId") == external_id
        ]
        return popups[0]["received_at"] if popups else None


def play_and_show(
    scenario: Scenario,
    *,
    gateway: str,
    crm: CRM,
    token: str,
    speed: float = 1.0,
    pause: Callable[[float], None] = time.sleep,
) -> Played:
    """Plays it, with a line for every event and for everything that the CRM is told, as it happens."""
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
        line(sent.sent_at, "host", happened(sent))

    played = player.play(scenario, gateway, token, speed=speed, pause=pause_and_look, tell=show_sent)
    expects_row = bool(scenario.expected.get("upload"))
    until = time.monotonic() + (_PATIENCE_SECONDS if expects_row else _QUIET_SECONDS)
    while time.monotonic() < until and not crm.has_row(played.scenario.main_unique_id):
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
        parts.append("No history row came: the logs say why.")
    elif not crm.entries:
        reason = played.scenario.expected.get("reason")
        parts.append(
            f"The CRM was told nothing, as it should be ({reason})." if reason else "The CRM was told nothing."
        )
    if played.refused:
        parts.append(f"{len(played.refused)} events were not accepted.")
    return "  ".join(parts)


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
        for name in options.scenarios:
            crm = CRM(stack["urls"]["retailcrm-simulator"], options.enterprise)
            play_and_show(scenarios[name], gateway=stack["urls"]["gateway"], crm=crm, token=token, speed=options.speed)
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
