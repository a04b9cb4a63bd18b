"""
Upserts an enterprise: `python -m infra.commands.provision FILE` (or `-` for standard input).

The whole file is checked first and every problem is named; then everything is written in one transaction, or
nothing. Running it again changes nothing. Settings of an integration that the file does not mention stay.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import phonenumbers
from psycopg.types.json import Jsonb

from infra import command
from lib import crms
from lib.calls.settings import Settings
from lib.click import settings as click
from lib.redirect import settings as redirect
from lib.retailcrm import address
from lib.retailcrm.options import NUMBER_ACCEPTED
from lib.runtime import config, db
from lib.runtime.auth import TOKEN_DIGITS, random_client_id, random_token
from lib.runtime.client_address import network
from lib.runtime.errors import ConfigError, InvalidPayload
from lib.runtime.passwords import hash_password, is_password, weakness
from lib.runtime.vault import vault
from lib.store import known_browsers, sessions, token_rotations
from lib.store.integration import RETAILCRM, version_of

_EXTENSION = re.compile(r"[0-9]{1,10}")
_TRANSFORM = re.compile(r"[+0-9]*\{[0-9]{1,2}\}")
_USER_ID = re.compile(r"[1-9][0-9]{0,17}")
_INTEGRATION = re.compile(r"[a-z][a-z0-9_]{0,39}")
_API_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """`token`: one that was made, because the file names none. `notes`: what somebody may not expect."""

    token: str | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


def check(data: object) -> list[str]:
    """Every problem of an enterprise file, each with the path of its field."""
    if not isinstance(data, dict):
        return ["the file must hold one JSON object"]
    problems: list[str] = []
    _check_names(data, problems)
    for index, phone in enumerate(_list(data, "internal_phones", problems)):
        if not _is_extension(phone):
            problems.append(f"internal_phones[{index}]: must be an extension of digits")
    _check_networks(_list(data, "host_networks", problems), problems)
    _check_users(_list(data, "users", problems), problems)
    _check_lines(_list(data, "lines", problems), problems)
    _check_integrations(data.get("integrations_config", {}), problems)
    return problems


def _check_names(data: dict[str, Any], problems: list[str]) -> None:
    problems.extend(
        f"{name}: is missing or not text" for name in ("number", "name", "secret") if not _is_text(data.get(name))
    )
    if data.get("token") is not None and not _is_text(data["token"]):
        problems.append("token: must be text, or left out: then a random one is made")
    if _is_text(data.get("number")) and not re.fullmatch(r"[0-9A-Za-z_-]{1,32}", data["number"]):
        problems.append("number: at most 32 letters, digits, - and _")
    if data.get("token") is not None and data["token"] == data.get("secret"):
        problems.append("secret: must differ from token")
    if not _is_one_of(data.get("region", "BY"), phonenumbers.SUPPORTED_REGIONS):
        problems.append("region: must be a country, as BY, RU or KZ")
    if not _is_one_of(data.get("timezone", "Europe/Minsk"), _timezones()):
        problems.append("timezone: must be one of the tz database, as Europe/Minsk")
    url = data.get("asterisk_url")
    if url is not None and not (_is_text(url) and url.startswith(("http://", "https://"))):
        problems.append("asterisk_url: must be an http(s) address")


def _check_networks(networks: list[Any], problems: list[str]) -> None:
    for index, text in enumerate(networks):
        try:
            network(text if isinstance(text, str) else "")
        except ValueError:
            problems.append(f"host_networks[{index}]: must be a network, as 203.0.113.0/24 or 2001:db8::/48")


def _check_integrations(integrations: object, problems: list[str]) -> None:
    if not isinstance(integrations, dict):
        problems.append("integrations_config: must be an object, an integration's name to its settings")
        return
    for name, section in integrations.items():
        where = f"integrations_config.{name:.40}"
        if not _INTEGRATION.fullmatch(name):
            problems.append(f"{where}: the name must be letters, digits and _, in lower case")
        if not isinstance(section, dict):
            problems.append(f"{where}: must be an object")
        elif name == RETAILCRM:
            _check_retailcrm(section, problems)
        else:
            _check_other(section, where, problems)


def _check_users(users: list[Any], problems: list[str]) -> None:
    logins: set[str] = set()
    owners: dict[str, str] = {}
    for index, user in enumerate(users):
        where = f"users[{index}]"
        if not isinstance(user, dict) or not _is_text(user.get("login")):
            problems.append(f"{where}.login: is missing or not text")
            continue
        if user["login"] in logins:
            problems.append(f"{where}.login: {user['login']} stands twice")
        logins.add(user["login"])
        if not isinstance(user.get("is_admin", False), bool):
            problems.append(f"{where}.is_admin: must be true or false")
        _check_texts(user, ("password", "first_name", "last_name", "personal_phone"), where, problems)
        _check_password(user, where, problems)
        for phone in _list(user, "internal_phones", problems, where):
            if not _is_extension(phone):
                problems.append(f"{where}.internal_phones: {phone!r} is not an extension of digits")
            elif owners.setdefault(phone, user["login"]) != user["login"]:
                problems.append(f"{where}.internal_phones: {phone} already belongs to {owners[phone]}")


def _check_password(user: dict[str, Any], where: str, problems: list[str]) -> None:
    password = user.get("password")
    if isinstance(password, str) and password and (why := weakness(password, user["login"])):
        problems.append(f"{where}.password: {why}")


def _check_lines(lines: list[Any], problems: list[str]) -> None:
    seen: set[str] = set()
    for index, line in enumerate(lines):
        where = f"lines[{index}]"
        if not isinstance(line, dict) or not _is_text(line.get("line_id")):
            problems.append(f"{where}.line_id: is missing or not text")
            continue
        if line["line_id"] in seen:
            problems.append(f"{where}.line_id: {line['line_id']} stands twice")
        seen.add(line["line_id"])
        _check_texts(line, ("name", "phone_number", "site_code", "incoming_transform"), where, problems)
        transform = line.get("incoming_transform")
        if isinstance(transform, str) and transform and not _TRANSFORM.fullmatch(transform):
            problems.append(f"{where}.incoming_transform: must be a prefix and a length, as +375{{9}}")


def _check_texts(data: dict[str, Any], names: tuple[str, ...], where: str, problems: list[str]) -> None:
    for name in names:
        value = data.get(name)
        if value is not None and (not isinstance(value, str) or "\x00" in value):
            problems.append(f"{where}.{name}: must be text")


def _check_retailcrm(section: dict[str, Any], problems: list[str]) -> None:
    where = "integrations_config.retailcrm"
    if not isinstance(section.get("enabled", True), bool):
        problems.append(f"{where}.enabled: must be true or false")
    if section.get("domain") is not None:
        try:
            address.base_url(str(section["domain"]), config.load(config.RetailCRM).retailcrm_extra_hosts)
        except ConfigError as error:
            problems.append(f"{where}.{error}")
    key = section.get("api_key")
    if key is not None and not (isinstance(key, str) and _API_KEY.fullmatch(key)):
        problems.append(f"{where}.api_key: must be characters without spaces")
    if not isinstance(section.get(NUMBER_ACCEPTED, False), bool | None):
        problems.append(f"{where}.{NUMBER_ACCEPTED}: must be true or false")
    _check_mapping(section.get("user_extensions", {}), where, problems)
    problems.extend(f"{where}.{problem}" for problem in Settings.from_config(section).problems)
    problems.extend(f"{where}.{problem}" for problem in redirect.all_problems(section))
    problems.extend(f"{where}.{problem}" for problem in click.read(section, "").problems)


def _check_other(section: dict[str, Any], where: str, problems: list[str]) -> None:
    """What every integration has; of the rest nobody here can say whether it is right."""
    if not isinstance(section.get("enabled", True), bool):
        problems.append(f"{where}.enabled: must be true or false")
    if not isinstance(section.get("api_key"), str | None):
        problems.append(f"{where}.api_key: must be text")


def _check_mapping(mapping: object, where: str, problems: list[str]) -> None:
    if not isinstance(mapping, dict):
        problems.append(f"{where}.user_extensions: must be an object, user id to extension")
        return
    owners: dict[str, str] = {}
    for user, extension in mapping.items():
        if not _USER_ID.fullmatch(user):
            problems.append(f"{where}.user_extensions: {user!r} is not a user id of RetailCRM")
        if extension is None:
            continue
        if not _is_extension(extension):
            problems.append(f"{where}.user_extensions.{user}: must be an extension of digits, or null")
        elif owners.setdefault(extension, user) != user:
            problems.append(f"{where}.user_extensions.{user}: {extension} already belongs to user {owners[extension]}")


def provision(conn: db.Connection, data: dict[str, Any], *, phone_ids: Mapping[str, int] | None = None) -> Provisioned:
    """
    Writes a checked enterprise, in the transaction of the caller. `phone_ids`: under which id a new extension comes,
    where its dialplan knows one already. Raises InvalidPayload.
    """
    ids = phone_ids or {}
    number = data["number"]
    present = _present_token(conn, number)
    token, notes = _token(conn, data, present)
    made = None if token else random_token()
    known = [token or made, data["secret"]]
    other = conn.execute(
        """
        SELECT number FROM enterprises
        WHERE number <> %(number)s AND (token = ANY(%(known)s) OR secret = ANY(%(known)s))
        UNION ALL
        SELECT enterprise_number FROM token_rotations
        WHERE enterprise_number <> %(number)s AND next_token = ANY(%(known)s)
        """,
        {"number": number, "known": known},
    ).fetchone()
    if other is not None:
        raise InvalidPayload("token, secret: another enterprise has this token or secret")
    conn.execute(
        """
        INSERT INTO enterprises (number, name, token, secret, client_id, region, timezone, asterisk_url)
        VALUES (%(number)s, %(name)s, %(token)s, %(secret)s, %(client_id)s, %(region)s, %(timezone)s, %(asterisk_url)s)
        ON CONFLICT (number) DO UPDATE
        SET name = excluded.name, token = excluded.token, secret = excluded.secret, region = excluded.region,
            timezone = excluded.timezone, asterisk_url = excluded.asterisk_url, updated_at = clock_timestamp()
        WHERE (enterprises.name, enterprises.token, enterprises.secret, enterprises.region, enterprises.timezone,
               enterprises.asterisk_url)
            IS DISTINCT FROM (excluded.name, excluded.token, excluded.secret, excluded.region, excluded.timezone,
                              excluded.asterisk_url)
        """,
        {
            "number": number,
            "name": data["name"],
            "token": token or made,
            "secret": data["secret"],
            "client_id": random_client_id(),
            "region": data.get("region", "BY"),
            "timezone": data.get("timezone", "Europe/Minsk"),
            "asterisk_url": data.get("asterisk_url"),
        },
    )
    if "host_networks" in data:
        _save_networks(conn, number, data["host_networks"])
    phones = set(data.get("internal_phones", []))
    for user in data.get("users", []):
        user_id = _upsert_user(conn, number, user)
        for phone in user.get("internal_phones", []):
            phones.discard(phone)
            _upsert_phone(conn, number, phone, user_id, phone_id=ids.get(phone))
    for phone in sorted(phones):
        _upsert_phone(conn, number, phone, None, phone_id=ids.get(phone))
    for line in data.get("lines", []):
        _upsert_line(conn, number, line)
    notes += _merge_integrations(conn, number, data.get("integrations_config", {}))
    return Provisioned(token=made, notes=tuple(notes))


def _present_token(conn: db.Connection, number: str) -> str | None:
    row = conn.execute("SELECT token FROM enterprises WHERE number = %s FOR UPDATE", [number]).fetchone()
    return row[0] if row else None


def _token(conn: db.Connection, data: dict[str, Any], present: str | None) -> tuple[str | None, list[str]]:
    """The enterprise's token, None: it has none yet, and the file names none. Raises InvalidPayload."""
    number, named = data["number"], data.get("token")
    if named is None or named == present:
        return present, []
    rotation = token_rotations.find(conn, number)
    if rotation and named == rotation.next_token:
        return present, [f"both tokens work until make rotate-token ENTERPRISE={number} DROP=old"]
    dropped_at = token_rotations.find_dropped_at(conn, named)
    if dropped_at:
        raise InvalidPayload(
            f"token: was dropped on {dropped_at:%Y-%m-%d}, and hosts have another one by now: take it out of the file"
        )
    notes = ["its token is another one now: hosts that show the one before are refused"] if present else []
    if named.isdigit() and len(named) < TOKEN_DIGITS:
        notes.append(f"its token can be guessed: make rotate-token ENTERPRISE={number} makes a random one")
    return named, notes


def _save_networks(conn: db.Connection, number: str, networks: list[str]) -> None:
    conn.execute(
        """
        UPDATE enterprises SET host_networks = %(networks)s::cidr[], updated_at = clock_timestamp()
        WHERE number = %(number)s AND host_networks <> %(networks)s::cidr[]
        """,
        {"number": number, "networks": networks},
    )


def _upsert_user(conn: db.Connection, number: str, user: dict[str, Any]) -> int:
    row = conn.execute(
        "SELECT id, password_hash, is_admin FROM users WHERE enterprise_number = %s AND login = %s",
        [number, user["login"]],
    ).fetchone()
    kept = row[1] if row else None
    password = user.get("password")
    values = {
        "number": number,
        "login": user["login"],
        # The same password keeps its hash: a new salt would make an unchanged user look changed.
        "password_hash": kept if not password or is_password(password, kept) else hash_password(password),
        "is_admin": user.get("is_admin", False),
        "first_name": user.get("first_name") or "",
        "last_name": user.get("last_name") or "",
        "personal_phone": user.get("personal_phone"),
    }
    written = conn.execute(
        """
        INSERT INTO users (enterprise_number, login, password_hash, is_admin, first_name, last_name, personal_phone)
        VALUES (%(number)s, %(login)s, %(password_hash)s, %(is_admin)s, %(first_name)s, %(last_name)s,
                %(personal_phone)s)
        ON CONFLICT (enterprise_number, login) DO UPDATE
        SET password_hash = excluded.password_hash, is_admin = excluded.is_admin,
            first_name = excluded.first_name, last_name = excluded.last_name, personal_phone = excluded.personal_phone
        WHERE (users.password_hash, users.is_admin, users.first_name, users.last_name, users.personal_phone)
            IS DISTINCT FROM (excluded.password_hash, excluded.is_admin, excluded.first_name, excluded.last_name,
                              excluded.personal_phone)
        RETURNING id
        """,
        values,
    ).fetchone()
    user_id: int = (written or row or (0,))[0]
    if row and ((row[2] and not values["is_admin"]) or values["password_hash"] != kept):
        sessions.revoke_of_user(conn, user_id)  # that login could no longer sign in
        known_browsers.forget_of_user(conn, user_id)
    return user_id


def _upsert_phone(conn: db.Connection, number: str, phone: str, user_id: int | None, *, phone_id: int | None) -> None:
    values = {"id": phone_id, "number": number, "user_id": user_id, "phone": phone}
    if phone_id is not None:
        conn.execute(
            """
            INSERT INTO user_internal_phones (id, enterprise_number, user_id, phone_number) OVERRIDING SYSTEM VALUE
            VALUES (%(id)s, %(number)s, %(user_id)s, %(phone)s)
            ON CONFLICT (enterprise_number, phone_number) DO NOTHING
            """,
            values,
        )
    conn.execute(
        """
        INSERT INTO user_internal_phones (enterprise_number, user_id, phone_number)
        VALUES (%(number)s, %(user_id)s, %(phone)s)
        ON CONFLICT (enterprise_number, phone_number) DO UPDATE SET user_id = excluded.user_id
        WHERE user_internal_phones.user_id IS DISTINCT FROM excluded.user_id
        """,
        values,
    )


def _upsert_line(conn: db.Connection, number: str, line: dict[str, Any]) -> None:
    conn.execute(
        """
        INSERT INTO lines (enterprise_number, line_id, name, phone_number, site_code, incoming_transform)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (enterprise_number, line_id) DO UPDATE
        SET name = excluded.name, phone_number = excluded.phone_number, site_code = excluded.site_code,
            incoming_transform = excluded.incoming_transform
        WHERE (lines.name, lines.phone_number, lines.site_code, lines.incoming_transform)
            IS DISTINCT FROM (excluded.name, excluded.phone_number, excluded.site_code, excluded.incoming_transform)
        """,
        [
            number,
            line["line_id"],
            line.get("name") or "",
            line.get("phone_number") or None,
            line.get("site_code") or None,
            line.get("incoming_transform") or None,
        ],
    )


def _merge_integrations(conn: db.Connection, number: str, integrations: dict[str, Any]) -> list[str]:
    """What of the file is not done, and why."""
    row = conn.execute("SELECT integrations_config FROM enterprises WHERE number = %s FOR UPDATE", [number]).fetchone()
    assert row is not None  # noqa: S101  (written above)
    merged: dict[str, Any] = dict(row[0])
    notes: list[str] = []
    for name, given in integrations.items():
        stored = merged.get(name)
        before: dict[str, Any] = stored if isinstance(stored, dict) else {}
        section = {**before, **given}
        if name == RETAILCRM and given.get(NUMBER_ACCEPTED) and before.get(NUMBER_ACCEPTED) is False:
            section[NUMBER_ACCEPTED] = False
            notes.append(f"{NUMBER_ACCEPTED} stays off: it was switched off on the page or by registering the module")
        if key := given.get("api_key"):
            is_same = _is_same_key(before.get("api_key"), key, number)
            section["api_key"] = before["api_key"] if is_same else vault().encrypt(key, owner=number)
        if name not in merged or section != before:
            section["version"] = version_of(before) + 1
            merged[name] = section
    if merged != row[0]:
        conn.execute("UPDATE enterprises SET integrations_config = %s WHERE number = %s", [Jsonb(merged), number])
    return notes


def _is_same_key(sealed: str | None, given: str, number: str) -> bool:
    try:
        return bool(sealed) and vault().decrypt(str(sealed), owner=number) == given
    except ConfigError:
        return False


def load(text: str) -> dict[str, Any]:
    """The enterprise of a file. Raises InvalidPayload with every problem, a line each."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidPayload("the file holds half of a character (\\ud800 to \\udfff alone)") from error
    except RecursionError as error:
        raise InvalidPayload("the file is nested too deep") from error
    except ValueError as error:
        raise InvalidPayload(f"the file is not JSON: {error}") from error
    problems = check(data)
    if problems:
        raise InvalidPayload("\n".join(problems))
    enterprise: dict[str, Any] = data
    return enterprise


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m infra.commands.provision FILE", file=sys.stderr)
        return 2
    try:
        text = (sys.stdin.buffer.read() if sys.argv[1] == "-" else Path(sys.argv[1]).read_bytes()).decode("utf-8-sig")
        data = load(text)
        command.begin()
        config.load(config.Vault)
        with db.transaction() as conn:
            done = provision(conn, data)
    except OSError as error:
        print(f"provision: {sys.argv[1]} cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print(f"provision: nothing was changed; {sys.argv[1]} is not in UTF-8: save it so", file=sys.stderr)
        return 1
    except InvalidPayload as error:
        return command.fail("provision", f"nothing was changed; mend {sys.argv[1]}:\n{error}")
    except command.FAILURES as error:
        return command.fail("provision", f"nothing was changed; {command.words(error)}")
    finally:
        db.close()
    print(f"enterprise {data['number']} is provisioned")
    if done.token:
        print(f"  its token, which is not shown again: {done.token}")
    for note in done.notes:
        print(f"  {note}")
    for name in crms.unserved(data.get("integrations_config", {})):
        print(f"  {name}: its settings are kept, but no service here serves it: nothing is sent there")
    return 0


@cache
def _timezones() -> set[str]:
    return available_timezones()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\x00" not in value


def _is_one_of(value: object, known: Collection[str]) -> bool:
    return isinstance(value, str) and value in known


def _is_extension(value: object) -> bool:
    return isinstance(value, str) and bool(_EXTENSION.fullmatch(value))


def _list(data: dict[str, Any], name: str, problems: list[str], where: str = "") -> list[Any]:
    value = data.get(name, [])
    if not isinstance(value, list):
        problems.append(f"{where + '.' if where else ''}{name}: must be a list")
        return []
    return value


if __name__ == "__main__":
    sys.exit(main())
