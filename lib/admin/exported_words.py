"""What stands in a file that somebody takes along, in the two languages of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["ru", "en"]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """`separator`: the one that a spreadsheet of this language expects; `moment`: a form that it reads as a time."""

    language: Language
    separator: str
    moment: str


DIALECTS: Final[Mapping[Language, Dialect]] = {
    "ru": Dialect(language="ru", separator=";", moment="%d.%m.%Y %H:%M:%S"),
    "en": Dialect(language="en", separator=",", moment="%Y-%m-%d %H:%M:%S"),
}
LEFT_OUT: Final[Mapping[Language, str]] = {
    "ru": "Здесь {rows} последних строк, не все. Чтобы получить более ранние, выберите срок до {since}",
    "en": "These are the latest {rows} rows, not all. For earlier ones choose a period that ends at {since}",
}
HEADS: Final[Mapping[Language, Mapping[str, str]]] = {
    "ru": {
        "started_at": "Начало",
        "unique_id": "Код звонка",
        "kind": "Направление",
        "customer": "Номер клиента",
        "line_id": "Линия",
        "line_name": "Название линии",
        "result": "Результат",
        "owner_extension": "Внутренний номер",
        "owner_name": "Ответственный",
        "talk_seconds": "Разговор, с",
        "waiting_seconds": "Ожидание, с",
        "popup": "Карточка",
        "history": "История",
        "reasons": "Почему",
        "created_at": "Время",
        "event_type": "Что произошло",
        "status": "Результат",
        "error_message": "Ответ",
        "request_data": "Отправлено",
        "response_data": "Получено",
    },
    "en": {
        "started_at": "Started",
        "unique_id": "Call ID",
        "kind": "Direction",
        "customer": "Customer's number",
        "line_id": "Line",
        "line_name": "Name of the line",
        "result": "Result",
        "owner_extension": "Extension",
        "owner_name": "Owner",
        "talk_seconds": "Talk, s",
        "waiting_seconds": "Waiting, s",
        "popup": "Pop-up",
        "history": "History",
        "reasons": "Why",
        "created_at": "Time",
        "event_type": "What happened",
        "status": "Result",
        "error_message": "Answer",
        "request_data": "Sent",
        "response_data": "Received",
    },
}
# By column. A value that has no word here stands as it is.
VALUES: Final[Mapping[Language, Mapping[str, Mapping[str, str]]]] = {
    "ru": {
        "kind": {
            "in": "Входящий",
            "out": "Исходящий",
            "internal": "Внутренний",
            "unknown": "Служебное соединение",
        },
        "result": {
            "answered": "Отвечен",
            "no answer": "Не отвечен",
            "not allowed": "Не разрешён",
            "unknown": "Неизвестен",
        },
        "popup": {
            "delivered": "Показана",
            "waiting": "Отправляется",
            "failed": "Не показана",
            "none": "Без карточки",
            "open": "",
        },
        "history": {
            "delivered": "В истории",
            "waiting": "Ждёт записи",
            "failed": "Не в истории",
            "none": "Не пишется",
            "open": "",
        },
        "event_type": {
            "popup": "Карточка клиента",
            "hangup": "Закрытие карточки",
            "upload": "Запись в истории",
            "smart_redirect": "Умная переадресация",
            "make_call": "Звонок по клику",
            "user_status": "Статус менеджера",
            "activity": "Включение модуля из RetailCRM",
            "test_popup": "Пробная карточка",
            "register_module": "Модуль в RetailCRM обновлён",
            "repair_mapping": "Номера отправляются заново",
            "module_command": "Команда модулю",
            "config": "Настройки сохранены",
            "mapping": "Номера менеджеров",
            "lines": "Линии сохранены",
            "replay": "Повторная отправка",
            "rotate_token": "Токен АТС",
            "sign_in": "Неудачные входы",
            "export": "Выгрузка CSV",
        },
        "status": {"success": "готово", "error": "ошибка"},
        "reason": {
            "expired": "карточка уже не нужна",
            "call_over": "звонок закончился раньше",
            "integration_disabled": "интеграцию выключили",
            "nobody_was_told": "карточки ни у кого не было",
            "permanent": "RetailCRM отказала",
            "authentication": "RetailCRM не приняла ключ",
            "account_refused": "RetailCRM ничего не принимает от аккаунта",
            "unknown_to_crm": "RetailCRM не знает ни номера, ни менеджера",
            "told_by_user_id": "карточка отправлена менеджеру по его id",
            "owner_refused": "RetailCRM не приняла ответственного",
            "busy": "RetailCRM попросила подождать",
            "unavailable": "RetailCRM недоступна",
            "in_doubt": "RetailCRM не ответила до конца",
            "worker_lost": "наш процесс прервался",
            "withdrawn": "звонок оказался частью другого или продолжался",
        },
    },
    "en": {
        "kind": {"in": "Incoming", "out": "Outgoing", "internal": "Internal", "unknown": "Service channel"},
        "result": {
            "answered": "Answered",
            "no answer": "No answer",
            "not allowed": "Not allowed",
            "unknown": "Unknown",
        },
        "popup": {"delivered": "Shown", "waiting": "Sending", "failed": "Not shown", "none": "No pop-up", "open": ""},
        "history": {
            "delivered": "In the history",
            "waiting": "Pending",
            "failed": "Not in the history",
            "none": "Not recorded",
            "open": "",
        },
        "event_type": {
            "popup": "Customer pop-up",
            "hangup": "Pop-up closed",
            "upload": "History row",
            "smart_redirect": "Smart redirect",
            "make_call": "Click-to-call",
            "user_status": "Manager's status",
            "activity": "Module switched in RetailCRM",
            "test_popup": "Test pop-up",
            "register_module": "Module updated in RetailCRM",
            "repair_mapping": "Extensions sent again",
            "module_command": "Module command",
            "config": "Settings saved",
            "mapping": "Managers' extensions",
            "lines": "Lines saved",
            "replay": "Sent again",
            "rotate_token": "Token of the phone system",
            "sign_in": "Failed sign-ins",
            "export": "CSV downloaded",
        },
        "status": {"success": "done", "error": "error"},
        "reason": {
            "expired": "too late to show",
            "call_over": "the call ended before",
            "integration_disabled": "the integration was switched off",
            "nobody_was_told": "nobody had a pop-up",
            "permanent": "RetailCRM refused",
            "authentication": "RetailCRM rejected the API key",
            "account_refused": "RetailCRM accepts nothing from the account",
            "unknown_to_crm": "RetailCRM knows neither the extension nor the manager",
            "told_by_user_id": "the pop-up was sent to the manager by user id",
            "owner_refused": "RetailCRM did not accept the owner",
            "busy": "RetailCRM asked to wait",
            "unavailable": "RetailCRM was unavailable",
            "in_doubt": "RetailCRM did not answer in full",
            "worker_lost": "our process was interrupted",
            "withdrawn": "the call became part of another one, or went on",
        },
    },
}
