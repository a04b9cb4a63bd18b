"""Read methods of the API: users, groups, settings, the responsible manager, the scopes of a key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infra.stand_ins.retailcrm_simulator.accounts import DAYS, GROUPS, STATUSES, Account, Customer, User
from infra.stand_ins.retailcrm_simulator.answers import (
    BLANK,
    INPUT_ERRORS,
    INVALID,
    NOT_A_CHOICE,
    NOT_FOUND,
    Answer,
    parameter_missing,
    refusal,
    success,
)
from infra.stand_ins.retailcrm_simulator.incoming import Incoming

LIMITS: Final = ("20", "50", "100")
_UPDATED_AT: Final = "2024-01-15 09:00:00"
# Python's True and False in a query come from the official Python client; the service documents 0 and 1.
_FLAGS: Final = {"1": True, "0": False, "true": True, "false": False, "True": True, "False": False}
_SAME_DIGITS: Final = 9


def users(account: Account, incoming: Incoming) -> tuple[Answer, list[str]]:
    errors: dict[str, str] = {}
    given = {written: name for written in incoming.query if (name := _filter_name(written)) in _FILTERS}
    # The official Python client sends filter=None when it is given no filter.
    unknown = [written for written in incoming.query if written not in given and written not in {"page", "limit"}]
    warnings = [f"unknown parameter: {written}" for written in unknown]
    found: Sequence[User] = account.users
    for written, name in given.items():
        value = incoming.query[written]
        keep = _FILTERS[name](value if isinstance(value, list) else [value])
        if isinstance(keep, str):
            errors[name] = keep
        else:
            found = list(filter(keep, found))
    page = _page(incoming, errors)
    if account.behaviour.unknown_fields == "refuse":
        errors |= dict.fromkeys(warnings, "This form should not contain extra fields")
    if errors:
        return refusal(400, INPUT_ERRORS, errors), warnings
    return _paginated("users", [user_json(user) for user in found], *page), warnings


def user(account: Account, user_id: int) -> Answer:
    found = account.user_by_id.get(user_id)
    return success({"user": user_json(found)}) if found else refusal(404, NOT_FOUND)


def sites(account: Account) -> Answer:
    """By code; PHP writes an empty map as []."""
    return success(
        {
            "sites": {
                code: {"code": code, "name": code, "url": f"https://{code}.example.com"} for code in account.sites
            }
            or []
        }
    )


def groups(_: Account, incoming: Incoming) -> Answer:
    errors: dict[str, str] = {}
    page = _page(incoming, errors)
    if errors:
        return refusal(400, INPUT_ERRORS, errors)
    listed = [
        {
            "id": group.id,
            "name": group.name,
            "code": group.code,
            "isManager": group.code == "manager",
            "isPosManager": False,
            "isDeliveryMen": False,
            "deliveryTypes": [],
            "breakdownOrderTypes": [],
            "breakdownSites": [],
            "breakdownOrderMethods": [],
            "grantedOrderTypes": [],
            "grantedSites": [],
        }
        for group in GROUPS.values()
    ]
    return _paginated("groups", listed, *page)


def settings(account: Account) -> Answer:
    hours = account.work_times or tuple(
        {"day_type": day, "start_time": "09:00", "end_time": "18:00", "lunch_start_time": "13:00"}
        | {"lunch_end_time": "14:00"}
        for day in DAYS[:5]
    )
    found = {
        "default_currency": {"value": "RUB", "updated_at": _UPDATED_AT},
        "system_language": {"value": "RU", "updated_at": _UPDATED_AT},
        "timezone": {"value": account.timezone, "updated_at": _UPDATED_AT},
        "work_times": [dict(each) for each in hours],
    }
    return success({"settings": found})


def credentials(account: Account, paths: Mapping[str, str | None]) -> Answer:
    """`paths` maps the patterns of the API's paths to the scope that each needs."""
    scopes = account.scopes
    allowed = [path for path, scope in paths.items() if scopes is None or scope is None or scope in scopes]
    found: dict[str, object] = {} if scopes is None else {"scopes": list(scopes)}
    found |= {"credentials": allowed, "siteAccess": account.site_access}
    if account.site_access == "access_selective":
        found["sitesAvailable"] = list(account.sites)
    return success(found)


def system_info(account: Account, address: str) -> Answer:
    public = account.public_url or address
    return success({"systemVersion": "8.1.51", "publicUrl": public, "technicalUrl": public})


def manager(account: Account, incoming: Incoming, address: str) -> tuple[Answer, list[str]]:
    if "phone" not in incoming.query:
        return parameter_missing("phone"), []
    phone, warnings = incoming.queried("phone"), _manager_warnings(incoming)
    errors = {} if phone.strip() else {"phone": BLANK}
    details = _flag(incoming, "details", errors, warnings)
    ignore_status = _flag(incoming, "ignoreStatus", errors, warnings)
    if errors:
        return refusal(400, INPUT_ERRORS, errors), warnings
    customer = customer_of(account, phone)
    body: dict[str, object] = {}
    responsible = account.user_by_id.get((customer and customer.manager_id) or -1)
    if responsible and (ignore_status or _is_free(responsible)):
        body["manager"] = _manager_json(account, responsible)
    elif account.behaviour.absent_manager == "null":
        body["manager"] = None
    if details:
        if customer:
            body["customer"] = _customer_json(customer)
        body["links"] = _links(account.public_url or address, phone.strip(), customer)
    return success(body), warnings


def _manager_warnings(incoming: Incoming) -> list[str]:
    warnings = [f"unknown parameter: {name}" for name in incoming.query if name not in _MANAGER_PARAMETERS]
    if incoming.queried("phone").startswith(" "):
        warnings.append("phone begins with a space: the + was not escaped")
    if "ignoreStatus" not in incoming.query:
        warnings.append("ignoreStatus is left out: the server's default is not known")
    return warnings


def _is_free(user: User) -> bool:
    return user.online and user.status == "free"


def user_json(user: User) -> dict[str, Any]:
    optional = {
        "lastName": user.last_name,
        "patronymic": user.patronymic,
        "position": user.position,
        "phone": user.phone,
    }
    return {
        "id": user.id,
        "createdAt": user.created_at,
        "active": user.active,
        "email": user.email,
        "firstName": user.first_name,
        **{name: value for name, value in optional.items() if value is not None},
        "status": user.status,
        "online": user.online,
        "isAdmin": user.is_admin,
        "isManager": user.is_manager,
        "groups": [
            {"id": group.id, "name": group.name, "code": group.code} for group in map(GROUPS.__getitem__, user.groups)
        ],
        "mgUserId": 10_000 + user.id,
    }


_MANAGER_PARAMETERS: Final = ("phone", "details", "ignoreStatus")


def _filter_name(written: str) -> str:
    """`filter[groups][]` → groups; empty for what is no filter."""
    match = re.fullmatch(r"filter\[(\w+)\](\[\w*\])?", written)
    return match[1] if match else ""


def _boolean(of: Callable[[User], bool]) -> _Filter:
    def keep(values: list[str]) -> Callable[[User], bool] | str:
        wanted = _FLAGS.get(values[-1])
        return NOT_A_CHOICE if wanted is None else lambda user: of(user) is wanted

    return keep


def _status(values: list[str]) -> Callable[[User], bool] | str:
    wanted = values[-1]
    return (lambda user: user.online and user.status == wanted) if wanted in STATUSES else NOT_A_CHOICE


def _groups(values: list[str]) -> Callable[[User], bool] | str:
    return lambda user: any(code in values or str(GROUPS[code].id) in values for code in user.groups)


def _created(*, since: bool) -> _Filter:
    def keep(values: list[str]) -> Callable[[User], bool] | str:
        limit = values[-1]
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?", limit):
            return INVALID
        return lambda user: user.created_at >= limit if since else user.created_at[: len(limit)] <= limit

    return keep


# Given the values, who stays; a text is the problem with the value.
_Filter = Callable[[list[str]], Callable[[User], bool] | str]
_FILTERS: Final[Mapping[str, _Filter]] = {
    "active": _boolean(lambda user: user.active),
    "online": _boolean(lambda user: user.online),
    "isAdmin": _boolean(lambda user: user.is_admin),
    "isManager": _boolean(lambda user: user.is_manager),
    "isPosManager": _boolean(lambda _: False),
    "status": _status,
    "email": lambda values: lambda user: user.email == values[-1],
    "groups": _groups,
    "createdAtFrom": _created(since=True),
    "createdAtTo": _created(since=False),
}


def _page(incoming: Incoming, errors: dict[str, str]) -> tuple[int, int]:
    page, limit = incoming.queried("page") or "1", incoming.queried("limit") or "20"
    if limit not in LIMITS:
        errors["limit"] = NOT_A_CHOICE
    if not re.fullmatch("[1-9][0-9]{0,8}", page):
        errors["page"] = INVALID
    return (1, 20) if errors else (int(page), int(limit))


def _paginated(name: str, items: Sequence[object], page: int, limit: int) -> Answer:
    pagination = {
        "limit": limit,
        "totalCount": len(items),
        "currentPage": page,
        "totalPageCount": math.ceil(len(items) / limit),
    }
    return success({"pagination": pagination, name: list(items[(page - 1) * limit : page * limit])})


def _flag(incoming: Incoming, name: str, errors: dict[str, str], warnings: list[str]) -> bool:
    text = incoming.queried(name) or "0"
    if text not in _FLAGS:
        errors[name] = NOT_A_CHOICE
        return False
    if text not in {"0", "1"}:
        warnings.append(f"{name}={text}: 0 or 1 is documented")
    return _FLAGS[text]


def customer_of(account: Account, phone: str) -> Customer | None:
    digits = _digits(phone)
    return next((each for each in account.customers if any(_same(digits, _digits(p)) for p in each.phones)), None)


def _digits(phone: str) -> str:
    return re.sub("[^0-9]", "", phone)


def _same(one: str, other: str) -> bool:
    """National and international forms of a number end alike."""
    if min(len(one), len(other)) < _SAME_DIGITS:
        return bool(one) and one == other
    return one[-_SAME_DIGITS:] == other[-_SAME_DIGITS:]


def _manager_json(account: Account, user: User) -> dict[str, object]:
    found = {
        "id": user.id,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "patronymic": user.patronymic,
        "email": user.email,
        "code": account.code_by_user.get(user.id),
    }
    return {name: value for name, value in found.items() if value is not None}


def _customer_json(customer: Customer) -> dict[str, object]:
    found = {
        "id": customer.id,
        "externalId": customer.external_id,
        "firstName": customer.first_name,
        "lastName": customer.last_name,
        "patronymic": customer.patronymic,
        "email": customer.email,
        "phones": [{"number": phone} for phone in customer.phones],
    }
    return {name: value for name, value in found.items() if value is not None}


def _links(address: str, phone: str, customer: Customer | None) -> dict[str, str]:
    number = _digits(phone)
    if customer is None:
        return {
            "newOrderLink": f"{address}/orders/add?phone={number}",
            "newCustomerLink": f"{address}/customers/add?phone={number}",
        }
    last = {"lastOrderLink": f"{address}/orders/{customer.last_order_id}/edit"} if customer.last_order_id else {}
    return {
        "newOrderLink": f"{address}/orders/add?customer={customer.id}",
        **last,
        "customerLink": f"{address}/customers/{customer.id}",
    }
