"""
Prints the story of a call: `python -m infra.commands.explain UNIQUE_ID [--enterprise 0367] [--json]`. Without an id:
the events of the enterprise that were accepted and led to nothing in the CRM, by reason, with the first call of each.
Of the reasons, those of `lib.store.silence` are looked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from infra import command
from lib.calls.explain import Language, as_text, sentence
from lib.crms import CRMS, RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.ledger import silence, story
from lib.ledger.silence import DeafHost, Silence
from lib.runtime import db
from lib.runtime.errors import InvalidPayload
from lib.store.silence import REASONS

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "ru": {
        "nothing": "С {since} у предприятия {number} не нашлось того, что ищется: звонков, о которых CRM не узнаёт "
        "по причинам {reasons}; сообщений, которые не удалось понять; станций, с которых не доходит ни один звонок. "
        "Другие причины — в истории каждого звонка.",
        "title": "С {since} ни к чему в CRM не привели события: {events}",
        "reason": "  {code}, звонков {calls}, событий {events}: {words} Первый: {first}",
        "rejected": "  rejected, событий {events}: сообщение не удалось понять ({reason}). Первое: {at}",
        "no_id": "без номера канала, {at}",
        "unnamed": "без номера канала",
        "enterprise": "Ни один звонок станции ни к чему не привёл: {calls} с {since}, последний {last}",
        "system": "Ни один звонок станции {name} ни к чему не привёл: {calls} с {since}, последний {last}",
        "line": "Ни один звонок по линии {name} ни к чему не привёл: {calls} с {since}, последний {last}",
        "more": "Что именно делает станция: make doctor ENTERPRISE={number}",
    },
    "en": {
        "nothing": "Since {since}, enterprise {number} has nothing of what is looked for: calls of which the CRM hears "
        "nothing because of {reasons}; messages that could not be understood; hosts of which no call reaches it. "
        "Other reasons are in the story of each call.",
        "title": "Since {since}, events that led to nothing in the CRM: {events}",
        "reason": "  {code}, {calls} calls, {events} events: {words} The first: {first}",
        "rejected": "  rejected, {events} events: the message could not be understood ({reason}). The first: {at}",
        "no_id": "without an id, {at}",
        "unnamed": "without an id",
        "enterprise": "No call of the host led to anything: {calls} since {since}, the last is {last}",
        "system": "No call of the host {name} led to anything: {calls} since {since}, the last is {last}",
        "line": "No call over the line {name} led to anything: {calls} since {since}, the last is {last}",
        "more": "What the host does: make doctor ENTERPRISE={number}",
    },
}


def main() -> int:
    given = _arguments()
    try:
        command.begin()
        if given.unique_id:
            told = story.tell(given.enterprise, given.unique_id, crm=given.crm)
            text = as_text(told, given.language)
        else:
            told, text = _silence(given.enterprise, given.since, given.language)
    except command.FAILURES as error:
        return command.fail("explain", error)
    finally:
        enterprise_cache().close()
        db.close()
    print(json.dumps(told, ensure_ascii=False, indent=2, default=str) if given.json else text)
    return 0


def _silence(number: str, since: str, language: Language) -> tuple[dict[str, Any], str]:
    """Raises NotFound, InvalidPayload, Unavailable."""
    enterprise = enterprise_cache().by_number(number)
    with db.transaction() as conn:
        now = db.now(conn)
        begin = command.moment(since, now)
        if begin >= now:
            raise InvalidPayload(f"SINCE={since}: is not in the past")
        found = silence.read(conn, enterprise.number, seconds=(now - begin).total_seconds())
    return asdict(found), "\n".join(_lines(found, number, begin, language))


def _lines(found: Silence, number: str, begin: datetime, language: Language) -> Iterator[str]:
    words, facts = _WORDS[language], {"since": _time(begin), "number": number}
    if not found.events and not found.hosts:
        yield words["nothing"].format(reasons=", ".join(REASONS), **facts)
        return
    if found.events:
        yield words["title"].format(events=found.events, **facts)
    for one in found.because:
        first = one.unique_id or words["no_id"].format(at=_time(one.at))
        said = sentence(one.reason, {"unread": one.events}, language)
        yield words["reason"].format(code=one.reason, calls=one.calls, events=one.events, words=said, first=first)
    if found.rejected:
        at, reason = _time(found.rejected.at), found.rejected.reason
        yield words["rejected"].format(events=found.rejected.count, reason=reason, at=at)
    yield from (_host(host, words) for host in found.hosts)
    yield words["more"].format(number=number)


def _host(host: DeafHost, words: Mapping[str, str]) -> str:
    last = host.unique_id or words["unnamed"]
    return words[host.source].format(name=host.name, calls=host.calls, since=_time(host.since), last=last)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make explain", description="The story of one call, or what led to nothing")
    parser.add_argument("unique_id", nargs="?", default="", help="of any channel of the call")
    parser.add_argument("--enterprise", default="0367", help="its number (0367)")
    parser.add_argument("--since", default="1h", help="without an id: how far back, as 2h, 3d or a time (1h)")
    parser.add_argument("--crm", choices=tuple(CRMS), default=RETAILCRM.name, help="as it was told the call")
    parser.add_argument("--language", choices=("ru", "en"), default="ru")
    parser.add_argument("--json", action="store_true", help="as data")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
