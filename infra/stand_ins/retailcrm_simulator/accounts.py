"""The accounts of a simulator: users, key, modules, shops and customers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from infra.stand_ins.retailcrm_simulator import fields, module
from infra.stand_ins.retailcrm_simulator.fields import Field, InvalidInput

SCOPES: Final = (
    "integration_read",
    "integration_write",
    "reference_read",
    "telephony_read",
    "telephony_write",
    "user_read",
    "user_write",
)
STATES: Final = ("open", "unpaid", "moved", "gone", "page")
STATUSES: Final = ("free", "busy", "dinner", "break")
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Group:
    id: int
    name: str
    code: str


MANAGERS: Final = Group(id=25, name="Менеджеры", code="manager")
DIRECTORS: Final = Group(id=26, name="Руководители", code="director")
GROUPS: Final = {group.code: group for group in (MANAGERS, DIRECTORS)}


@dataclass(frozen=True, kw_only=True)
class User:
    id: int
    first_name: str = "Менеджер"
    last_name: str | None = None
    patronymic: str | None = None
    email: str = ""
    phone: str | None = None
    position: str | None = None
    active: bool = True
    online: bool = True
    status: str = "free"
    is_admin: bool = False
    is_manager: bool = True
    groups: tuple[str, ...] = ("manager",)
    created_at: str = "2024-01-15 09:00:00"


@dataclass(frozen=True, kw_only=True)
class Customer:
    """`last_order_id`: of the customer's last order; without it there is no link to one."""

    id: int
    phones: tuple[str, ...]
    first_name: str = "Покупатель"
    last_name: str | None = None
    patronymic: str | None = None
    email: str | None = None
    external_id: str | None = None
    manager_id: int | None = None
    last_order_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """
    Chooses between the possible answers where the real service's is unknown, or varies.

    `unknown_fields`: `warn` records them in the ledger, `refuse` answers 400; so does `unknown_owner`, somebody who was
    never a user here. `absent_manager`: the key `manager` is `missing` or `null` when nobody is responsible. A limit
    of 0 means none.
    """

    unknown_fields: str = "warn"
    unknown_owner: str = "warn"
    telephony_off_status: int = 400
    rate_limit_status: int = 503
    telephony_per_second: int = 40
    other_per_second: int = 10
    absent_manager: str = "missing"
    simple_connection: bool = False


@dataclass(frozen=True, kw_only=True)
class Account:
    """
    `scopes` None is an old key, which may do everything and knows only path patterns. `modules` by code. `state`:
    whether it is there and paid for; `moved_to` is its new address.
    """

    name: str
    api_key: str = field(repr=False)
    timezone: str = "Europe/Moscow"
    public_url: str = ""
    scopes: tuple[str, ...] | None = SCOPES
    sites: tuple[str, ...] = ("main",)
    site_access: str = "access_full"
    users: tuple[User, ...] = ()
    customers: tuple[Customer, ...] = ()
    work_times: tuple[Mapping[str, str], ...] = ()
    state: str = "open"
    moved_to: str = "https://moved.example.com"
    deleted_users: tuple[int, ...] = ()
    behaviour: Behaviour = Behaviour()
    modules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def user_by_id(self) -> Mapping[int, User]:
        return {user.id: user for user in self.users}

    @cached_property
    def active_telephony(self) -> tuple[Mapping[str, Any], ...]:
        """The telephony blocks of the modules that are active and not frozen."""
        active = (each for each in self.modules.values() if each["active"] and not each["freeze"])
        return tuple(each["integrations"]["telephony"] for each in active if "telephony" in each["integrations"])

    @cached_property
    def users_by_code(self) -> Mapping[str, tuple[int, ...]]:
        """Extension → the users who have it."""
        found: dict[str, tuple[int, ...]] = {}
        for telephony in self.active_telephony:
            for item in telephony["additionalCodes"]:
                if item["userId"] in self.deleted_users:
                    continue
                others = found.get(item["code"], ())
                found[item["code"]] = (*others, *({item["userId"]} - set(others)))
        return found

    @cached_property
    def code_by_user(self) -> Mapping[int, str]:
        return {user: code for code, users in reversed(list(self.users_by_code.items())) for user in users}

    def supports(self, flag: str) -> bool:
        return any(telephony[flag] for telephony in self.active_telephony)

    def without_user(self, user_id: int) -> Account:
        """The user is deleted; what the module says of them stays, and means nobody."""
        users = tuple(user for user in self.users if user.id != user_id)
        return replace(self, users=users, deleted_users=(*self.deleted_users, user_id))

    def without_codes(self, codes: Collection[str]) -> Account:
        """Somebody deleted these extensions in the CRM."""
        return replace(self, modules={name: module.without_codes(each, codes) for name, each in self.modules.items()})


def account_from(data: object) -> Account:
    """
    An account as the control API and the accounts file describe it.

    `additional_codes` ([{user_id, code}]) and `module_active` give it a telephony module that is registered
    already; `module` gives that module's fields (RetailCRM's names) where they matter. `scopes` null is an old key.

    Raises InvalidInput.
    """
    given = fields.checked(data, _ACCOUNT)
    account = Account(
        name=given["name"],
        api_key=given["api_key"],
        users=tuple(_user(item) for item in given.get("users", ())),
        customers=tuple(
            Customer(**{"id": 1000 + index, **item, "phones": tuple(item["phones"])})
            for index, item in enumerate(given.get("customers", ()), start=1)
        ),
        behaviour=Behaviour(**given.get("behaviour", {})),
        scopes=None if _is_old_key(data) else tuple(given.get("scopes", SCOPES)),
        sites=tuple(given.get("sites", ("main",))),
        work_times=tuple(given.get("work_times", ())),
        deleted_users=tuple(given.get("deleted_users", ())),
        modules=_installed_module(given),
        **{name: given[name] for name in _PLAIN if name in given},
    )
    ids = [user.id for user in account.users]
    if len(ids) != len(set(ids)):
        raise InvalidInput("users: the same id twice")
    return account


def snapshot(account: Account) -> dict[str, Any]:
    """Everything, for the state file."""
    return asdict(account)


def restored(data: Mapping[str, Any]) -> Account:
    definition = {name: value for name, value in data.items() if name != "modules"}
    return replace(account_from(definition), modules=data["modules"])


def _is_old_key(data: object) -> bool:
    return isinstance(data, dict) and data.get("scopes", ()) is None


def _user(item: Mapping[str, Any]) -> User:
    item = {name: tuple(value) if name == "groups" else value for name, value in item.items() if value is not None}
    return User(**{"email": f"manager{item['id']}@example.com", **item})


def _installed_module(given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    part = given.get("module", {})
    codes = [{"userId": item["user_id"], "code": item["code"]} for item in given.get("additional_codes", ())]
    active = given.get("module_active", bool(part or codes))
    if not (part or codes or active):
        return {}
    telephony = {
        "inputEventSupported": True,
        "outputEventSupported": True,
        "hangupEventSupported": True,
        "additionalCodes": codes,
        **part.get("integrations", {}).get("telephony", {}),
    }
    code = part.get("code", "demo-telephony")
    defaults = {
        "code": code,
        "integrationCode": code,
        "active": active,
        "name": "Demo Telephony",
        "logo": "https://example.com/logo.svg",
        "clientId": "demo-client-id",
        "baseUrl": "https://example.com",
    }
    return {code: module.kept({**defaults, **part, "integrations": {"telephony": telephony}})}


_PLAIN: Final = ("timezone", "public_url", "site_access", "state", "moved_to")


class Accounts:
    """Found by name and by key. Frozen accounts: a change puts another one in its place."""

    def __init__(self) -> None:
        self._by_name: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_name.values())

    def named(self, name: str) -> Account | None:
        return self._by_name.get(name)

    def with_key(self, key: str) -> Account | None:
        return self._by_key.get(key)

    def put(self, account: Account) -> None:
        """Raises InvalidInput when the key is another account's."""
        holder = self._by_key.get(account.api_key)
        if holder is not None and holder.name != account.name:
            raise InvalidInput(f"api_key: it is the key of {holder.name} already")
        self.remove(account.name)
        self._by_name[account.name] = account
        self._by_key[account.api_key] = account

    def remove(self, name: str) -> bool:
        account = self._by_name.pop(name, None)
        if account is None:
            return False
        del self._by_key[account.api_key]
        return True


def _zone(value: object) -> str | None:
    try:
        ZoneInfo(value if isinstance(value, str) else "")
    except (KeyError, ValueError, OSError):
        return "no such time zone"
    return None


def _name(value: object) -> str | None:
    return None if isinstance(value, str) and re.fullmatch(r"[\w.-]{1,60}", value) else "letters, digits, _ . - only"


_USER: Final = {
    "id": Field(check=fields.count, required=True),
    "first_name": Field(check=fields.filled),
    "last_name": Field(check=fields.text),
    "patronymic": Field(check=fields.text),
    "email": Field(check=fields.filled),
    "phone": Field(check=fields.text),
    "position": Field(check=fields.text),
    "active": Field(check=fields.boolean),
    "online": Field(check=fields.boolean),
    "status": Field(check=fields.one_of(*STATUSES)),
    "is_admin": Field(check=fields.boolean),
    "is_manager": Field(check=fields.boolean),
    "groups": Field(check=fields.list_of(fields.one_of(*GROUPS))),
    "created_at": Field(check=fields.date_time),
}
_CUSTOMER: Final = {
    "id": Field(check=fields.count),
    "phones": Field(check=fields.list_of(fields.filled), required=True),
    "first_name": Field(check=fields.text),
    "last_name": Field(check=fields.text),
    "patronymic": Field(check=fields.text),
    "email": Field(check=fields.text),
    "external_id": Field(check=fields.text),
    "manager_id": Field(check=fields.count),
    "last_order_id": Field(check=fields.count),
}
_BEHAVIOUR: Final = {
    "unknown_fields": Field(check=fields.one_of("warn", "refuse")),
    "unknown_owner": Field(check=fields.one_of("warn", "refuse")),
    "telephony_off_status": Field(check=fields.one_of(400, 200)),
    "rate_limit_status": Field(check=fields.one_of(503, 429)),
    "telephony_per_second": Field(check=fields.count),
    "other_per_second": Field(check=fields.count),
    "absent_manager": Field(check=fields.one_of("missing", "null")),
    "simple_connection": Field(check=fields.boolean),
}
_CODES: Final = {
    "user_id": Field(check=fields.count, required=True),
    "code": Field(check=fields.filled, required=True),
}
_WORK_TIME: Final = {
    "day_type": Field(check=fields.one_of(*DAYS), required=True),
    "start_time": Field(check=fields.filled, required=True),
    "end_time": Field(check=fields.filled, required=True),
    "lunch_start_time": Field(check=fields.filled),
    "lunch_end_time": Field(check=fields.filled),
}
_ACCOUNT: Final = {
    "name": Field(check=_name, required=True),
    "api_key": Field(check=fields.filled, required=True),
    "timezone": Field(check=_zone),
    "public_url": Field(check=fields.text),
    "scopes": Field(check=fields.list_of(fields.filled)),
    "sites": Field(check=fields.list_of(fields.filled)),
    "site_access": Field(check=fields.one_of("access_full", "access_selective")),
    "users": Field(items=_USER),
    "customers": Field(items=_CUSTOMER),
    "work_times": Field(items=_WORK_TIME),
    "state": Field(check=fields.one_of(*STATES)),
    "moved_to": Field(check=fields.url),
    "deleted_users": Field(check=fields.list_of(fields.integer)),
    "behaviour": Field(inner=_BEHAVIOUR),
    "additional_codes": Field(items=_CODES),
    "module_active": Field(check=fields.boolean),
    "module": Field(inner=module.PART_OF_MODULE),
}
