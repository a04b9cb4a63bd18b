"""Findings in words: what the host does, what comes of it, and what to change there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

Language = Literal["ru", "en"]

# Of each finding: what was found, and what to do.
SENTENCES: Final[Mapping[Language, Mapping[str, tuple[str, str]]]] = {
    "ru": {
        "clock_reset": (
            "Часы АТС показывают прошлый век: событий {count} из {of}",
            "Включите на АТС синхронизацию времени (NTP) и замените батарейку часов.",
        ),
        "clock_wrong": (
            "Часы АТС ошибаются примерно на {seconds} с: звонков {count} из {of}",
            "Включите на АТС синхронизацию времени (NTP): карточки опаздывают, а время звонков неверно.",
        ),
        "late": (
            "Поздно приходят {percent} % событий: {count} из {of}, дольше всего шло {worst} с",
            "Проверьте канал между АТС и шлюзом и очередь отправки на АТС: карточка живёт 15 секунд.",
        ),
        "gaps": (
            "АТС молчала, хотя звонки шли: промежутков {count}, самый долгий {minutes} мин",
            "Проверьте интернет на АТС и проверку связи (ping) в отправителе: событий этих минут нет.",
        ),
        "recovered": (
            "Восстановлено позже из журнала АТС {percent} % событий: {count} из {of}",
            "Сразу эти события не дошли: карточек по ним не было. Проверьте связь АТС со шлюзом.",
        ),
        "no_number": (
            "В записях нет номера: звонков {count} из {of}",
            "Если номера не скрывают сами клиенты, передавайте Phone: без номера в CRM не уходит ничего.",
        ),
        "unread_numbers": (
            "Номера, которые нельзя прочитать: событий {count} из {of}",
            "Передавайте номер в международном виде (+375…) или задайте линии правило номера.",
        ),
        "no_dials": (
            "Завершение есть, а вызова (dial) не было: звонков {count} из {of}",
            "Отправляйте dial, когда телефон начинает звонить: без него карточка появляется только в конце.",
        ),
        "no_hangups": (
            "Звонок не завершён (hangup не пришёл): звонков {count} из {of}",
            "Отправляйте hangup по каждому звонку: без него запись в истории появляется позже, а итог угадан.",
        ),
        "ids_again": (
            "Один UniqueId у разных звонков: {count} из {of}",
            "Задайте каждой АТС своё systemname в asterisk.conf: номера каналов двух АТС совпадают.",
        ),
        "shared_bridges": (
            "Один BridgeUniqueid у десятков каналов: {count} из {of}",
            "Передавайте настоящий BridgeUniqueid каждого разговора: общий ничего не связывает, и ответивший не виден.",
        ),
        "unknown_extensions": (
            "Звонят внутренние номера, которых у предприятия нет: {count} из {of}",
            "Добавьте эти номера предприятию и назначьте менеджерам, или поправьте группу вызова на АТС.",
        ),
        "unknown_mobiles": (
            "В группе вызова чужие мобильные: {count} из {of}",
            "Укажите эти номера личными у сотрудников: иначе неизвестно, кто ответил.",
        ),
        "unknown_lines": (
            "Линии, которых нет в списке: событий {count} из {of}",
            "Добавьте линии предприятию или поправьте имя транка на АТС: без них нет магазина и правила номера.",
        ),
        "zone_wrong": (
            "Местное время АТС отличается от пояса {zone} на {hours} ч: звонков {count} из {of}",
            "Поставьте на АТС пояс {zone} или смените пояс предприятия: пока время берётся из номера канала.",
        ),
        "no_starts": (
            "Входящий звонок без start: {count} из {of}",
            "Отправляйте start в начале входящего звонка: без него не известно ожидание до первого вызова.",
        ),
        "no_bridges": (
            "Отвеченные звонки без событий bridge: {count} из {of}",
            "Включите события bridge и bridge_leave: без них длительность и тот, кто ответил, угаданы.",
        ),
        "one_sided_bridges": (
            "Событие bridge только об одной стороне разговора: {count} из {of}",
            "Отправляйте bridge для каждого канала: по одному не видно, кто с кем говорил.",
        ),
        "no_leaves": (
            "Канал вошёл в разговор и не вышел (нет bridge_leave): {count} из {of}",
            "Отправляйте bridge_leave для каждого канала: без него конец разговора берётся из времени АТС.",
        ),
        "phone_key_missing": (
            "В записях нет ключа Phone: событий {count} из {of}",
            "Передавайте Phone: пока номер берётся из CallerIDNum, ConnectedLineNum или Extensions.",
        ),
        "call_type_missing": (
            "В записях нет CallType: событий {count} из {of}",
            "Передавайте CallType (0 входящий, 1 исходящий, 2 внутренний): пока направление угадывается.",
        ),
        "spoiled_text": (
            "Испорченный текст: событий {count} из {of}",
            "Отправляйте тело в UTF-8 и не обрезайте имена посередине буквы.",
        ),
        "copies": (
            "Лишние копии событий: {count} из {of}",
            "Оставьте одного отправителя на АТС: копии отбрасываются, но занимают канал.",
        ),
    },
    "en": {
        "clock_reset": (
            "The phone system's clock is in the last century: {count} of {of} events",
            "Let the phone system synchronise its time (NTP), and replace the battery of its clock.",
        ),
        "clock_wrong": (
            "The phone system's clock is off by about {seconds} s: {count} of {of} calls",
            (
                "Let the phone system synchronise its time (NTP): pop-ups come too late by it, and times of calls "
                "are wrong."
            ),
        ),
        "late": (
            "{percent} % of the events come late: {count} of {of}, the slowest took {worst} s",
            (
                "Check the connection between phone system and gateway, and the phone system's queue: a pop-up is "
                "news for 15 seconds."
            ),
        ),
        "gaps": (
            "The phone system was silent though calls went on: {count} times, at most {minutes} min",
            "Check the phone system's internet connection and its sender's ping: events of these minutes are missing.",
        ),
        "recovered": (
            "{percent} % of the events were recovered later from the phone system's log: {count} of {of}",
            (
                "They did not arrive at first, so there were no pop-ups. Check the connection from the phone system "
                "to the gateway."
            ),
        ),
        "no_number": (
            "No number in the records: {count} of {of} calls",
            "Unless customers hide their numbers, send Phone: without a number the CRM is told nothing.",
        ),
        "unread_numbers": (
            "Numbers that cannot be read: {count} of {of} events",
            "Send numbers in their international form (+375…), or give the line a rule for them.",
        ),
        "no_dials": (
            "A hangup, and no dial before it: {count} of {of} calls",
            "Send dial when a phone begins to ring: without it the pop-up is shown at the end only.",
        ),
        "no_hangups": (
            "The call was never hung up (no hangup came): {count} of {of} calls",
            "Send a hangup for every call: without it the row in the history comes later, and its result is guessed.",
        ),
        "ids_again": (
            "One UniqueId for different calls: {count} of {of}",
            (
                "Give each phone system a systemname of its own in asterisk.conf: the channel ids of two phone "
                "systems are the same."
            ),
        ),
        "shared_bridges": (
            "One BridgeUniqueid in dozens of channels: {count} of {of}",
            "Send the real BridgeUniqueid of each talk: a shared one ties nothing, and who answered is not seen.",
        ),
        "unknown_extensions": (
            "Extensions ring that the enterprise does not have: {count} of {of}",
            "Add them to the enterprise and map them to managers, or correct the ring group at the phone system.",
        ),
        "unknown_mobiles": (
            "Mobiles of nobody in the ring group: {count} of {of}",
            "Enter them as personal phones of the staff: otherwise nobody knows who answered.",
        ),
        "unknown_lines": (
            "Lines that are not in the list: {count} of {of} events",
            "Add the lines, or correct the trunk's name at the phone system: else no shop and no rule for numbers.",
        ),
        "zone_wrong": (
            "The phone system's local time is {hours} h off the zone {zone}: {count} of {of} calls",
            (
                "Set the phone system's zone to {zone}, or change the enterprise's: till then the id of the channel "
                "tells time."
            ),
        ),
        "no_starts": (
            "An incoming call without start: {count} of {of}",
            "Send start when an incoming call begins: without it the waiting before the first ring is unknown.",
        ),
        "no_bridges": (
            "Answered calls without bridge events: {count} of {of}",
            "Send bridge and bridge_leave: without them the duration and who answered are guessed.",
        ),
        "one_sided_bridges": (
            "A bridge event of one side of the talk only: {count} of {of}",
            "Send bridge for every channel: one alone does not show who talked with whom.",
        ),
        "no_leaves": (
            "A channel joined a bridge and never left (no bridge_leave): {count} of {of}",
            "Send bridge_leave for every channel: without it the end of a talk is taken from the phone system's times.",
        ),
        "phone_key_missing": (
            "Records without the key Phone: {count} of {of} events",
            "Send Phone: until then the number is taken from CallerIDNum, ConnectedLineNum or Extensions.",
        ),
        "call_type_missing": (
            "Records without CallType: {count} of {of} events",
            "Send CallType (0 incoming, 1 outgoing, 2 internal): until then the direction is guessed.",
        ),
        "spoiled_text": (
            "Spoiled text: {count} of {of} events",
            "Send the body in UTF-8, and do not cut names in the middle of a letter.",
        ),
        "copies": (
            "Needless copies of events: {count} of {of}",
            "Keep one sender per phone system: copies are dropped, but take room on the wire.",
        ),
    },
}

_FRAME: Final[Mapping[Language, Mapping[str, str]]] = {
    "ru": {
        "read": "Прочитано событий: {events}, звонков: {calls}, с {since} по {until}.",
        "capped": "Это последние события: за весь срок их больше. Возьмите срок короче, или --events больше.",
        "none": "Событий за это время нет.",
        "well": "АТС делает всё, что нужно.",
        "loss": "Теряется",
        "guess": "Приходится угадывать",
        "example": "например, {value}",
        "call": "звонок {unique_id}",
    },
    "en": {
        "read": "Events read: {events}, calls: {calls}, from {since} to {until}.",
        "capped": "These are the last ones: there are more in this time. Ask for less time, or for more --events.",
        "none": "There are no events in this time.",
        "well": "The phone system does all that is needed.",
        "loss": "Lost",
        "guess": "Has to be guessed",
        "example": "for example {value}",
        "call": "call {unique_id}",
    },
}


def as_text(checkup: Mapping[str, Any], language: Language = "ru") -> str:
    """For a terminal; `checkup` as `lib.ledger.checkup` gives it."""
    return "\n".join(_lines(checkup, language))


def _lines(checkup: Mapping[str, Any], language: Language) -> Iterator[str]:
    frame = _FRAME[language]
    yield frame["read"].format_map(checkup)
    if checkup["is_capped"]:
        yield frame["capped"]
    if not checkup["findings"]:
        yield frame["well"] if checkup["events"] else frame["none"]
    for weight in ("loss", "guess"):
        found = [finding for finding in checkup["findings"] if finding["weight"] == weight]
        if found:
            yield f"\n{frame[weight]}:"
        for finding in found:
            yield from _finding(finding, language)


def _finding(finding: Mapping[str, Any], language: Language) -> Iterator[str]:
    facts = {**finding["facts"], "count": finding["count"], "of": finding["of"]}
    title, advice = SENTENCES[language][finding["code"]]
    yield f"  {title.format_map(facts)}"
    yield f"      {advice.format_map(facts)}"
    if finding["examples"]:
        yield f"      {_examples(finding['examples'], _FRAME[language])}"


def _examples(examples: Sequence[Mapping[str, Any]], frame: Mapping[str, str]) -> str:
    return frame["example"].format(value="; ".join(_example(one, frame) for one in examples))


def _example(one: Mapping[str, Any], frame: Mapping[str, str]) -> str:
    value = one["value"] if one["count"] == 1 else f"{one['value']} ×{one['count']}"
    call = frame["call"].format(unique_id=one["unique_id"]) if one["unique_id"] else ""
    return ", ".join(part for part in (value if one["value"] else "", call) if part)
