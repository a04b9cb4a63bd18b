"""
A database of the old system: three hundred invented enterprises, made by a seed, with everything odd that its tables
allow. Each oddity of ODDITIES is one enterprise's; the others are as they mostly are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

ENTERPRISES = 300
FIRST = 100
PLAIN = "0100"

TABLES: Mapping[str, Mapping[str, str]] = {
    "enterprises": {
        "number": "text",
        "name": "text",
        "name2": "text",
        "secret": "text",
        "ip": "text",
        "host": "text",
        "bot_token": "text",
        "active": "boolean",
        "integrations_config": "jsonb",
    },
    "users": {
        "id": "bigint",
        "enterprise_number": "text",
        "email": "text",
        "first_name": "text",
        "last_name": "text",
        "patronymic": "text",
        "personal_phone": "text",
        "is_admin": "boolean",
        "follow_me_number": "integer",
        "follow_me_steps": "json",
    },
    "user_internal_phones": {
        "id": "bigint",
        "enterprise_number": "text",
        "phone_number": "text",
        "password": "text",
        "user_id": "bigint",
    },
    "gsm_lines": {
        "id": "bigint",
        "enterprise_number": "text",
        "line_id": "text",
        "line_name": "text",
        "phone_number": "text",
        "shop": "text",
    },
    "sip_unit": {
        "id": "bigint",
        "enterprise_number": "text",
        "line_name": "text",
        "password": "text",
        "info": "text",
        "incoming_transform": "text",
    },
}


@dataclass
class Made:
    """An enterprise while it is made; rows without their `enterprise_number`."""

    row: dict[str, Any]
    users: list[dict[str, Any]] = field(default_factory=list)
    phones: list[dict[str, Any]] = field(default_factory=list)
    gsm: list[dict[str, Any]] = field(default_factory=list)
    sip: list[dict[str, Any]] = field(default_factory=list)

    @property
    def number(self) -> str:
        return self.row["number"]

    @property
    def crm(self) -> dict[str, Any]:
        return self.row["integrations_config"]["retailcrm"]

    @property
    def smart(self) -> dict[str, Any]:
        return self.row["integrations_config"]["smart"]


def token_of(number: str) -> str:
    return f"37529000{number}"


def _set(part: str, **values: Any) -> Callable[[Made], None]:
    return lambda made: getattr(made, part).update(values)


def _config(value: Any) -> Callable[[Made], None]:
    return lambda made: made.row.update(integrations_config=value)


def _in_text(made: Made) -> None:
    made.row["integrations_config"] = json.dumps(made.row["integrations_config"])


def _in_text_twice(made: Made) -> None:
    made.row["integrations_config"] = json.dumps(json.dumps(made.row["integrations_config"]))


def _sections_in_text(made: Made) -> None:
    made.crm["user_extensions"] = json.dumps(made.crm["user_extensions"])
    made.row["integrations_config"]["retailcrm"] = json.dumps(made.crm)


def _other_crms(made: Made) -> None:
    made.row["integrations_config"] |= {
        "ms": {"enabled": 1, "api_key": "plain-key-of-ms", "employee_mapping": {"151": {"name": "Анна"}}},
        "bitrix24": {"enabled": False, "webhook_url": "https://crm.example.invalid/rest/1/plain-hook/", "deals": [1]},
        "uon": {},
        "Amo CRM": {"enabled": True},
        "text": "on",
    }


def _people(made: Made) -> None:
    first = made.users[0]["id"]
    made.users[1:] = [
        {"id": first + 1, "email": None, "first_name": None, "last_name": None},
        {"id": first + 2, "email": made.users[0]["email"], "first_name": "Вторая", "personal_phone": " +375292222222 "},
        {"id": first + 3, "email": "  ", "is_admin": None},
    ]
    made.phones[:] = made.phones[:1]


def _phones(made: Made) -> None:
    last = made.phones[-1]["id"]
    made.phones += [
        {"id": last + 1, "phone_number": "SIP/150", "user_id": None},
        {"id": last + 2, "phone_number": None, "user_id": None},
        {"id": last + 3, "phone_number": "*65", "user_id": None},
        {"id": last + 4, "phone_number": "777", "user_id": 1},
        {"id": last + 5, "phone_number": "888", "user_id": None},
        {"id": last + 6, "phone_number": "888", "user_id": made.users[0]["id"]},
        {"id": last + 7, "phone_number": " 999 ", "user_id": None},
    ]


def _lines(made: Made) -> None:
    made.gsm += [
        {"id": 1, "line_id": None, "line_name": "Без номера"},
        {"id": 2, "line_id": made.gsm[0]["line_id"], "line_name": "Ещё раз"},
        {"id": 3, "line_id": "0009999", "line_name": None, "phone_number": None, "shop": "Магазин на Ленина"},
    ]
    made.sip += [
        {"id": 4, "line_name": "belline1", "info": None, "incoming_transform": "+375{9}"},
        {"id": 5, "line_name": "belline2", "info": "Две", "incoming_transform": "80{9}x"},
    ]


def _routing(made: Made) -> None:
    lines = {
        "gsm:0001301": {
            "enabled": True,
            "do_routing": True,
            "algorithm": "last_call",
            "send_line_name": True,
            "line_name_order": 2,
            "send_shop_name": False,
            "send_customer_name": True,
            "customer_name_order": "1",
        },
        "gsm:0001302": {"enabled": 0, "do_routing": True},
        "sip:belline1": {"enabled": True, "do_routing": False, "algorithm": "by-the-stars"},
    }
    made.row["integrations_config"]["smart"] = {"primary": "retailcrm", "mode": "routing+name", "lines": lines}


ODDITIES: Mapping[str, Callable[[Made], None]] = {
    "token_missing": _set("row", name2=None),
    "token_blank": _set("row", name2="  "),
    "secret_missing": _set("row", secret=None),
    "secret_blank": _set("row", secret=""),
    "token_twice_one": _set("row", name2="375290009001"),
    "token_twice_two": _set("row", name2="375290009001"),
    "secret_twice_one": _set("row", secret="5" * 32),
    "secret_twice_two": _set("row", secret="5" * 32),
    "token_is_a_secret": _set("row", name2="375290009002"),
    "secret_is_a_token": _set("row", secret="375290009002"),
    "token_is_a_number": _set("row", name2=PLAIN),
    "token_is_its_secret": _set("row", secret="375290009003", name2="375290009003"),
    "token_of_one_switched_off": _set("row", name2="375290009004"),
    "switched_off_with_that_token": _set("row", name2="375290009004", active=False),
    "switched_off": _set("row", active=False),
    "active_unknown": _set("row", active=None),
    "number_blank": _set("row", number="  "),
    "number_spaced": _set("row", number="03 67"),
    "number_twice_one": _set("row", number="0099"),
    "number_twice_two": _set("row", number="0099"),
    "name_missing": _set("row", name=None),
    "name_of_control_characters": _set("row", name="Лавка\r\n\t\x1b[31m  "),
    "config_missing": _config(None),
    "config_in_text": _in_text,
    "config_in_text_twice": _in_text_twice,
    "config_broken": _config('{"retailcrm": {"api_key": "plain-broken-key"'),
    "config_a_list": _config(["retailcrm"]),
    "config_too_deep": _config('{"retailcrm": ' + "[" * 50_000),
    "config_half_a_character": _config('{"retailcrm": {"enabled": true, "note": "\\ud800 \\u0000", "rate": NaN}}'),
    "sections_in_text": _sections_in_text,
    "key_blank": lambda made: made.crm.update(api_key="  "),
    "key_missing": lambda made: made.crm.pop("api_key"),
    "key_with_a_blank": lambda made: made.crm.update(api_key="plain key with blanks"),
    "key_in_cyrillic": lambda made: made.crm.update(api_key="ключ-не-ключ"),
    "key_with_its_line_end": lambda made: made.crm.update(api_key="plain-key-with-line-end\n"),
    "domain_blank": lambda made: made.crm.update(domain=""),
    "domain_with_a_path": lambda made: made.crm.update(domain="https://Shop.retailcrm.ru/admin/orders?x=1#top"),
    "domain_by_http": lambda made: made.crm.update(domain="http://shop.retailcrm.ru"),
    "domain_with_a_user": lambda made: made.crm.update(domain="https://admin:plain-password@shop.simla.com/"),
    "domain_bare": lambda made: made.crm.update(domain="shop.retailcrm.pro"),
    "domain_of_somebody_else": lambda made: made.crm.update(domain="https://crm.example.invalid"),
    "domain_no_address": lambda made: made.crm.update(domain="https://[shop"),
    "switched_off_there": lambda made: made.crm.update(enabled=False),
    "on_by_a_number": lambda made: made.crm.update(enabled=1),
    "settings_unknown": lambda made: made.crm.update(
        favourite="blue", nested={"token": "plain-nested-token", "depth": [{"password": "plain-deep-password"}]}
    ),
    "settings_of_ours_broken": lambda made: made.crm.update(settle_seconds="soon", owner_policy="first_talker"),
    "mapping_odd": lambda made: made.crm.update(
        user_extensions={"18": 150, "19": "151", "20": None, "21": "", "x": "152", "22": "SIP/7", "23": "151", "24": {}}
    ),
    "mapping_a_list": lambda made: made.crm.update(user_extensions=["150"]),
    "mapping_missing": lambda made: made.crm.pop("user_extensions"),
    "other_crms": _other_crms,
    "routing": _routing,
    "routing_by_another_crm": lambda made: made.smart.update(primary="ms", mode="routing+name"),
    "routing_odd": lambda made: made.smart.update(mode="sideways", lines=["gsm:0001301"]),
    "people_odd": _people,
    "phones_odd": _phones,
    "lines_odd": _lines,
    "lines_abroad": lambda made: made.gsm[0].update(phone_number="+7 495 123-45-67"),
}
# Oddities follow PLAIN, in their order.
NUMBERS: Mapping[str, str] = {name: f"{FIRST + 1 + place:04}" for place, name in enumerate(ODDITIES)}


def enterprises(seed: int = 1) -> list[Made]:
    chance = random.Random(seed)
    ids = {"user": 1000, "phone": 5000}
    made = [_usual(f"{FIRST + place:04}", chance, ids) for place in range(ENTERPRISES)]
    for one, odd in zip(made[1:], ODDITIES.values(), strict=False):
        odd(one)
    return made


def make(
    url: str,
    *,
    seed: int = 1,
    without_tables: Collection[str] = (),
    without_columns: Collection[tuple[str, str]] = (),
    is_loose: bool = False,
    crm_of_plain: Mapping[str, Any] | None = None,
) -> list[Made]:
    """
    Fills an empty database. `is_loose`: booleans are integers and JSON is text, as in some installations.
    `crm_of_plain`: of PLAIN's account, other than usual.
    """
    made = enterprises(seed)
    made[0].crm.update(crm_of_plain or {})
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for one in made:
        rows["enterprises"].append(one.row)
        parts = {"users": one.users, "user_internal_phones": one.phones, "gsm_lines": one.gsm, "sip_unit": one.sip}
        for table, part in parts.items():
            rows[table] += [{**row, "enterprise_number": one.number} for row in part]
    rows["users"].append({"id": 1, "enterprise_number": "9999", "email": "nobody@example.com"})
    with psycopg.connect(url) as conn:
        for table, columns in TABLES.items():
            if table not in without_tables:
                kept = {name: kind for name, kind in columns.items() if (table, name) not in without_columns}
                _fill(conn, table, kept, rows[table], is_loose=is_loose)
    return made


def _fill(
    conn: psycopg.Connection[Any], table: str, columns: Mapping[str, str], rows: list[dict[str, Any]], *, is_loose: bool
) -> None:
    loose = {"boolean": "integer", "jsonb": "text", "json": "text"} if is_loose else {}
    kinds = {name: loose.get(kind, kind) for name, kind in columns.items()}
    given = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in kinds.items()
    )
    conn.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), given))
    names = sql.SQL(", ").join(map(sql.Identifier, kinds))
    with conn.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)) as copy:
        for row in rows:
            copy.write_row([_stored(row.get(name), columns[name], is_loose=is_loose) for name in kinds])


def _stored(value: Any, kind: str, *, is_loose: bool) -> Any:
    if value is None:
        return None
    if kind in {"json", "jsonb"}:
        return (value if isinstance(value, str) else json.dumps(value)) if is_loose else Jsonb(value)
    return int(value) if is_loose and kind == "boolean" else value


def _usual(number: str, chance: random.Random, ids: dict[str, int]) -> Made:
    users, phones = [], []
    for place in range(chance.randint(1, 5)):
        ids["user"] += chance.randint(1, 3)
        ids["phone"] += chance.randint(1, 4)
        users.append(
            {
                "id": ids["user"],
                "email": f"person{place}@enterprise-{number}.example.com",
                "first_name": chance.choice(("Анна", "Boris", "Вера")),
                "last_name": chance.choice(("Иванова", "Petrov", None)),
                "patronymic": None,
                "personal_phone": chance.choice((None, "", "+375292222222", "375 29 333-33-33")),
                "is_admin": place == 0,
                "follow_me_number": 300,
                "follow_me_steps": [{"phone": "375293333333"}],
            }
        )
        phones.append(
            {
                "id": ids["phone"],
                "phone_number": str(150 + place),
                "password": f"sip-password-{ids['phone']}",
                "user_id": ids["user"],
            }
        )
    for extra in range(chance.randint(0, 2)):
        ids["phone"] += 1
        phones.append({"id": ids["phone"], "phone_number": str(901 + extra), "password": None, "user_id": None})
    mapping = {str(18 + place): str(150 + place) for place in range(len(users))}
    config = {
        "retailcrm": {
            "enabled": True,
            "domain": f"https://shop-{number}.retailcrm.ru",
            "api_key": f"plain-key-{chance.getrandbits(128):032x}",
            "user_extensions": mapping,
            "last_sync": "2025-09-25T10:00:00",
            "version": "1.4",
        },
        "smart": {"primary": "retailcrm", "mode": chance.choice(("off", "name-only")), "lines": {}},
    }
    return Made(
        row={
            "number": number,
            "name": f"Магазин {number}",
            "name2": token_of(number),
            "secret": f"{chance.getrandbits(128):032x}",
            "ip": "203.0.113.7",
            "host": f"office-{number}.example.com",
            "bot_token": f"bot-token-{number}",
            "active": True,
            "integrations_config": config,
        },
        users=users,
        phones=phones,
        gsm=[
            {"id": 1, "line_id": "0001301", "line_name": "Главная", "phone_number": "+375290000101", "shop": None},
            {"id": 2, "line_id": "0001302", "line_name": None, "phone_number": "375290000102", "shop": ""},
        ],
        sip=[{"id": 1, "line_name": "3000001", "password": f"sip-{number}", "info": None, "incoming_transform": None}],
    )


def plain_secrets(made: Collection[Made]) -> set[str]:
    """What no report and no error may show."""
    found = {f"bot-token-{one.number}" for one in made} | {"plain-password", "plain-nested-token", "plain-hook"}
    for one in made:
        found |= {str(one.row[name]) for name in ("name2", "secret") if str(one.row[name] or "").strip()}
        found |= {row["password"] for row in (*one.phones, *one.sip) if row.get("password")}
        config = one.row["integrations_config"]
        if isinstance(config, dict) and isinstance(config.get("retailcrm"), dict):
            found.add(str(config["retailcrm"].get("api_key") or "").strip())
    # Numbers that stand in a report for other reasons.
    return found - {"", PLAIN}
