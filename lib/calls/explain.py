"""Explains a call to a person: its events, who rang and talked, the decisions with their reasons, the deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from lib.calls.call import Call
from lib.calls.conversation import Person
from lib.calls.decision import Decision
from lib.calls.event import CallEvent, in_order

Language = Literal["ru", "en"]

_SENTENCES: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "no_mapping": "No manager is mapped to {numbers}: left out of the pop-up.",
        "no_phone": "No valid external number in the call: the CRM is told nothing.",
        "internal": "A call between internal numbers: the CRM is told nothing.",
        "only_channels": "Only channels, no call that a dialplan reported: the CRM is told nothing.",
        "expired": "The pop-up for {extensions} was not news any more ({why}): not sent.",
        "duplicate": "A copy of {event_type} on {unique_id}: nothing new.",
        "leg_of_another_call": "{event_type} on {unique_id} belongs to a leg ({leg}): begins and ends no call.",
        "integration_disabled": "The integration is switched off: the CRM is told nothing.",
        "no_owner": "Nothing shows whose call it is: the row has no owner.",
        "no_date": "The host gave no time at which the call began: no row.",
        "no_link_to_recording": "What came as the recording is no http(s) address: {sent}. The row goes without it.",
        "id_began_again": "The host gave {unique_id} to another call before: this one goes by {external_id}.",
        "too_many_events": "More events than any call has: {unread} of them are kept, are not read and change nothing.",
        "shared_by_many": "More channels share {names} than any call has: it ties nothing together.",
        "synthetic_dial": "The hangup came without a dial: {extensions} are told of the call first.",
        "synthetic_dial_off": "The hangup came without a dial, and the enterprise wants no pop-up then.",
        "waiting_for_recording": "Answered, no recording yet: the row waits for it until {until}.",
        "corrected_after_upload": "Later events would change the row that was told: {changed}.",
        "host_zone_looks_wrong": "The host's times are {seconds} s off its channels' ids: is {timezone} its zone?",
        "host_clock_looks_wrong": "Events come {seconds} s after the time in their ids: the host's clock looks wrong.",
        "unknown_line": "The line {line} is not among the enterprise's lines.",
    },
    "ru": {
        "no_mapping": "Номера {numbers} не сопоставлены с менеджерами: всплывающее окно им не отправлено.",
        "no_phone": "В звонке нет корректного внешнего номера: в CRM ничего не передаётся.",
        "internal": "Звонок между внутренними номерами: в CRM ничего не передаётся.",
        "only_channels": "Только каналы, без звонка по диалплану: в CRM ничего не передаётся.",
        "expired": "Окно для {extensions} уже не новость ({why}): не отправлено.",
        "duplicate": "Копия события {event_type} канала {unique_id}: ничего нового.",
        "leg_of_another_call": "{event_type} канала {unique_id} — от плеча ({leg}): звонок не начат и не окончен.",
        "integration_disabled": "Интеграция выключена: в CRM ничего не передаётся.",
        "no_owner": "Неизвестно, чей это звонок: запись без ответственного.",
        "no_date": "АТС не сообщила времени начала звонка: записи нет.",
        "no_link_to_recording": "Вместо записи разговора прислан не http(s)-адрес: {sent}. Строка уходит без записи.",
        "id_began_again": "Номер {unique_id} АТС уже давала другому звонку: этот передаётся как {external_id}.",
        "too_many_events": "Событий больше, чем бывает у звонка: {unread} из них хранятся и ничего не меняют.",
        "shared_by_many": "{names}: общее у большего числа каналов, чем бывает у звонка; ничего не связывает.",
        "synthetic_dial": "Завершение пришло без вызова: сначала о звонке сообщено {extensions}.",
        "synthetic_dial_off": "Завершение пришло без вызова, а предприятие окон в этом случае не хочет.",
        "waiting_for_recording": "Отвечен, записи разговора ещё нет: ждём её до {until}.",
        "corrected_after_upload": "Поздние события изменили бы уже переданную запись: {changed}.",
        "host_zone_looks_wrong": "Время АТС расходится с номерами каналов на {seconds} с: верен ли пояс {timezone}?",
        "host_clock_looks_wrong": "События приходят через {seconds} с после времени в номере канала: часы АТС верны?",
        "unknown_line": "Линии {line} нет среди линий предприятия.",
    },
}

# Why a row of the ledger is as it is, where its code alone says too little.
_REASONS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "unknown_to_crm": "the CRM knows neither the extension nor the manager: nobody saw the card",
        "told_by_user_id": "the CRM does not know the extension: the manager is told by user id",
        "owner_refused": "the CRM did not accept the owner: the row goes without one",
        "account_refused": "the CRM takes nothing from this account: it waits, and is asked now and then",
        "authentication": "the CRM refuses the key",
    },
    "ru": {
        "unknown_to_crm": "CRM не знает ни номера, ни менеджера: карточку никто не увидел",
        "told_by_user_id": "CRM не знает номера: менеджеру сообщено по его id",
        "owner_refused": "CRM не приняла ответственного: запись передаётся без него",
        "account_refused": "CRM ничего не принимает от этого аккаунта: ждём и изредка проверяем",
        "authentication": "CRM не принимает ключ",
    },
}

_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "in": "Incoming call from",
        "out": "Outgoing call to",
        "internal": "Internal call",
        "unknown": "No call",
        "line": "line",
        "began": "began",
        "answered": "answered",
        "no answer": "no answer",
        "not allowed": "not allowed",
        "result unknown": "result unknown",
        "talk": "talk",
        "waiting": "waiting",
        "estimate": "estimate",
        "owner": "owner",
        "nobody": "nobody",
        "open": "not over yet",
        "events": "Events",
        "channels": "Channels",
        "rang": "Rang",
        "talked": "Talked with the customer",
        "decisions": "Decisions",
        "warnings": "Warnings",
        "told": "The CRM was told",
        "s": "s",
        "by name": "by name only",
        "from the hangup": "from the hangup",
    },
    "ru": {
        "in": "Входящий звонок от",
        "out": "Исходящий звонок на",
        "internal": "Внутренний звонок",
        "unknown": "Не звонок",
        "line": "линия",
        "began": "начало",
        "answered": "отвечен",
        "no answer": "не отвечен",
        "not allowed": "запрещён",
        "result unknown": "результат неизвестен",
        "talk": "разговор",
        "waiting": "ожидание",
        "estimate": "оценка",
        "owner": "ответственный",
        "nobody": "никто",
        "open": "ещё не окончен",
        "events": "События",
        "channels": "Каналы",
        "rang": "Звонило",
        "talked": "Говорили с клиентом",
        "decisions": "Решения",
        "warnings": "Предупреждения",
        "told": "Сообщено в CRM",
        "s": "с",
        "by name": "только по имени",
        "from the hangup": "по завершению",
    },
}

_CODES: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "recovered": "the event was recovered later",
        "too_old": "it rang too long ago",
        "call_over": "the call was over",
        "replayed": "an old hangup was sent again",
        "mobile": "to a mobile",
        "follow_me": "of a follow-me number",
        "manager": "of the manager, click-to-call",
        "consultation": "of a consultation or transfer",
    },
    "ru": {
        "recovered": "событие восстановлено позже",
        "too_old": "звонило слишком давно",
        "call_over": "звонок уже окончен",
        "replayed": "повтор старого завершения",
        "mobile": "на мобильный",
        "follow_me": "переадресации",
        "manager": "менеджера, звонок из CRM",
        "consultation": "консультации или перевода",
    },
}


def explain(
    call: Call,
    events: Sequence[CallEvent],
    told: Sequence[Mapping[str, Any]] = (),
    decisions: Iterable[Decision] | None = None,
) -> dict[str, Any]:
    """
    As data, for a page. `told`: rows of the ledger and their attempts, passed through; `decisions`: those of the
    plan, which include the call's own.
    """
    began = call.started_at
    return {
        "unique_id": call.main_unique_id,
        "kind": call.kind,
        "customer": call.customer,
        "line_id": call.line_id,
        "external_phone": call.external_phone,
        "site": call.site,
        "started_at": _plain(call.started_at),
        "date": _plain(call.date_local),
        "answered": call.answered,
        "answered_by_status": call.answered_by_status,
        "result": call.result,
        "owner": call.owner_extension,
        "owner_user_id": call.owner_user_id,
        "duration_seconds": call.duration_seconds,
        "duration_is_estimate": call.duration_is_estimate,
        "waiting_seconds": call.waiting_seconds,
        "record_url": call.record_url,
        "over_at": _plain(call.over_at),
        "pending": list(call.pending),
        "wake_at": _plain(call.wake_at),
        "timeline": [_event(event, began) for event in in_order(events)],
        "legs": [
            {
                "channel": leg.channel,
                "unique_id": leg.unique_id,
                "role": leg.role,
                "leg": leg.leg,
                "number": leg.number,
                "stays": [
                    {"bridge": bridge, "since": _since(since, began), "until": _since(until, began)}
                    for bridge, since, until in leg.stays
                ],
            }
            for leg in call.legs
        ],
        "rang": [
            {
                "at": _since(ring.at, began),
                "extensions": list(ring.extensions),
                "people": list(ring.people),
                "unmapped": list(ring.unmapped),
                "synthetic": ring.synthetic,
            }
            for ring in call.rings
        ],
        "talked": [
            {
                "person": _person(talk.person),
                "since": _since(talk.since, began),
                "until": _since(talk.until, began),
                "channel": talk.channel,
                "seen": talk.seen,
            }
            for talk in call.talks
        ],
        "transfers": [{"at": _since(t.at, began), "from": t.before, "to": t.after} for t in call.transfers],
        "decisions": [_decision(decision) for decision in (call.decisions if decisions is None else decisions)],
        "warnings": [_decision(warning) for warning in call.warnings],
        "told": [_plain(row) for row in told],
    }


def sentence(code: str, params: Mapping[str, Any], language: Language = "ru") -> str:
    """The sentence of a code, or the code itself where there is none."""
    template = _SENTENCES[language].get(code)
    if template is None:
        return code
    words = {name: _in_words(value, _CODES[language]) for name, value in params.items()}
    try:
        return template.format_map(words)
    except (KeyError, ValueError):
        return f"{code}: {words}"


def as_text(data: Mapping[str, Any], language: Language = "ru") -> str:
    """The same for a terminal: one screen, read from the top."""
    words = _WORDS[language]
    seconds = words["s"]
    lines = [_headline(data, words), ""]
    sections: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
        ("rang", "rang", lambda ring: _rang(ring, words)),
        ("talked", "talked", lambda talk: _talked(talk, words)),
        ("decisions", "decisions", lambda told: sentence(told["code"], told["params"], language)),
        ("warnings", "warnings", lambda told: sentence(told["code"], told["params"], language)),
        ("told", "told", lambda row: _told(row, _REASONS[language])),
        ("channels", "legs", lambda leg: _leg(leg, seconds)),
        ("events", "timeline", lambda event: f"{_at(event['at'])}  {event['event_type']:<14} {event['says']}"),
    )
    for title, key, form in sections:
        rows = list(dict.fromkeys(form(row) for row in data[key]))
        if rows:
            lines += [words[title] + ":", *(f"  {row}" for row in rows), ""]
    return "\n".join(lines)


def _headline(data: Mapping[str, Any], words: Mapping[str, str]) -> str:
    parts = [words[data["kind"]] + (f" {data['customer']}" if data["customer"] else ""), data["unique_id"]]
    if data["line_id"]:
        parts.append(f"{words['line']} {data['line_id']}")
    if data["kind"] in ("in", "out"):
        parts.append(f"{words['began']} {data['date']}")
        parts.append(words["result unknown"] if data["result"] == "unknown" else words[data["result"]])
        if data["answered"]:
            estimate = f" ({words['estimate']})" if data["duration_is_estimate"] else ""
            parts.append(f"{words['talk']} {data['duration_seconds']} {words['s']}{estimate}")
        if data["waiting_seconds"] is not None:
            parts.append(f"{words['waiting']} {data['waiting_seconds']} {words['s']}")
        parts.append(f"{words['owner']} {data['owner'] or words['nobody']}")
        if data["over_at"] is None:
            parts.append(words["open"])
    return ", ".join(parts)


def _rang(ring: Mapping[str, Any], words: Mapping[str, str]) -> str:
    note = f" ({words['from the hangup']})" if ring["synthetic"] else ""
    return f"{_at(ring['at'])}  {', '.join(ring['extensions'])}{note}"


def _talked(talk: Mapping[str, Any], words: Mapping[str, str]) -> str:
    note = "" if talk["seen"] else f" ({words['by name']})"
    return f"{_at(talk['since'])} – {_at(talk['until'])}  {talk['person']}{note}"


def _told(row: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    why = reasons.get(row.get("reason") or "")
    said = "  ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "", []))
    return f"{said}  ({why})" if why else said


def _leg(leg: Mapping[str, Any], seconds: str) -> str:
    stays = ", ".join(f"{stay['since']}–{stay['until'] if stay['until'] is not None else '…'}" for stay in leg["stays"])
    return f"{leg['role']:<9} {leg['channel']}" + (f"  [{stays}] {seconds}" if stays else "")


def _event(event: CallEvent, began: datetime) -> dict[str, Any]:
    said = (
        ("", event.channel),
        ("phone", event.phone),
        ("extensions", ",".join(event.extensions)),
        ("type", event.call_type),
        ("status", event.status),
        ("trunk", event.trunk),
        ("caller", event.caller_id),
        ("with", event.connected_line),
        ("bridge", event.bridge_id[:8]),
    )
    return {
        "at": _since(event.received_at, began),
        "received_at": _plain(event.received_at),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "unique_id": event.unique_id,
        "origin": event.origin,
        "says": " ".join(f"{name}={value}" if name else str(value) for name, value in said if value not in ("", None)),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    params = {name: _plain(value) for name, value in decision.params.items()}
    return {"code": decision.code, "params": params, "at": _plain(decision.at)}


def _person(person: Person) -> str:
    return person.extension or person.number or "?"


def _since(moment: datetime | None, began: datetime) -> float | None:
    return None if moment is None else round((moment - began).total_seconds(), 1)


def _at(seconds: float | None) -> str:
    return f"{seconds:8.1f}" if seconds is not None else "       …"


def _in_words(value: Any, codes: Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_in_words(item, codes)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_in_words(item, codes) for item in value)
    return codes.get(str(value), str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
