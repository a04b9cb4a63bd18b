"""An integration module as it is registered: what is accepted, what is kept, what is reported back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from infra.stand_ins.retailcrm_simulator import fields
from infra.stand_ins.retailcrm_simulator.fields import Field, Findings, Table

_T = TypeVar("_T", str, int)

KNOWN_ACTIONS: Final = ("activity", "settings")

TELEPHONY: Final = {
    "makeCallUrl": Field(check=fields.url),
    "changeUserStatusUrl": Field(check=fields.url),
    "allowEdit": Field(check=fields.boolean),
    "inputEventSupported": Field(check=fields.boolean),
    "outputEventSupported": Field(check=fields.boolean),
    "hangupEventSupported": Field(check=fields.boolean),
    "additionalCodes": Field(
        items={
            "userId": Field(check=fields.integer_or_digits, required=True),
            "code": Field(check=fields.text_or_integer, required=True),
        }
    ),
    "externalPhones": Field(
        items={
            "siteCode": Field(check=fields.filled, required=True),
            "externalPhone": Field(check=fields.filled, required=True),
        }
    ),
}
_OTHER_INTEGRATIONS: Final = ("delivery", "store", "recommendation", "payment", "mgTransport", "mgBot", "embedJs")
MODULE: Final = {
    "code": Field(check=fields.filled, required=True),
    "integrationCode": Field(check=fields.filled, required=True),
    "active": Field(check=fields.boolean, required=True),
    "freeze": Field(check=fields.boolean),
    "name": Field(check=fields.filled, required=True),
    "logo": Field(check=fields.text),
    "clientId": Field(check=fields.filled, required=True),
    "native": Field(check=fields.boolean),
    "baseUrl": Field(check=fields.url, required=True),
    "actions": Field(check=fields.map_of(fields.filled)),
    "availableCountries": Field(check=fields.list_of(fields.filled)),
    "accountUrl": Field(check=fields.url),
    "integrations": Field(
        inner={
            "telephony": Field(inner=TELEPHONY),
            **{name: Field(check=lambda _: None) for name in _OTHER_INTEGRATIONS},
        },
        required=True,
    ),
}
# What an account may be created with: any part of a module.
PART_OF_MODULE: Final[Table] = {name: replace(field, required=False) for name, field in MODULE.items()}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """`module` is what is kept: references to users and shops that do not exist are left out and reported."""

    module: Mapping[str, Any]
    info: Mapping[str, object]


def check(value: Mapping[str, Any], *, path_code: str) -> Findings:
    findings = Findings()
    fields.examine(value, MODULE, findings)
    code, integration = value.get("code"), value.get("integrationCode")
    if isinstance(code, str) and isinstance(integration, str) and not code.startswith(integration):
        findings.errors["code"] = "Code prefix must match integrationCode"
    elif isinstance(code, str) and code.strip() and code != path_code:
        findings.errors["code"] = "This value differs from the code in the address"
    if not _is_svg(value.get("logo")):
        findings.errors["logo"] = "Logo image must be svg"
    if not findings.errors:
        findings.warnings.extend(_doubts(value))
    return findings


def kept(value: Mapping[str, Any]) -> dict[str, Any]:
    """A checked module with everything that was left out in its default form."""
    integrations = value.get("integrations") or {}
    telephony = integrations.get("telephony")
    others = {name: integrations[name] for name in _OTHER_INTEGRATIONS if name in integrations}
    return {
        "code": value["code"],
        "integrationCode": value["integrationCode"],
        "active": value["active"],
        "freeze": bool(value.get("freeze")),
        "name": value["name"],
        "logo": value.get("logo"),
        "clientId": value["clientId"],
        "native": bool(value.get("native")),
        "baseUrl": value["baseUrl"],
        "actions": dict(value.get("actions") or {}),
        "availableCountries": list(value.get("availableCountries") or []),
        "accountUrl": value.get("accountUrl"),
        "integrations": others if telephony is None else {**others, "telephony": _kept_telephony(telephony or {})},
    }


def register(value: Mapping[str, Any], *, user_ids: Collection[int], sites: Collection[str]) -> Registration:
    """The outcome of a checked edit."""
    module = kept(value)
    telephony = module["integrations"].get("telephony")
    info: dict[str, object] = {}
    if telephony:
        codes, phones = telephony["additionalCodes"], telephony["externalPhones"]
        if unknown_users := sorted({item["userId"] for item in codes} - set(user_ids)):
            info["notExistUsersIds"] = unknown_users
        if unknown_sites := sorted({item["siteCode"] for item in phones} - set(sites)):
            info["notExistSiteCodes"] = unknown_sites
        telephony["additionalCodes"] = [item for item in codes if item["userId"] in user_ids]
        telephony["externalPhones"] = [item for item in phones if item["siteCode"] in sites]
    return Registration(module=module, info=info)


def without_codes(module: Mapping[str, Any], codes: Collection[str]) -> dict[str, Any]:
    integrations = dict(module["integrations"])
    telephony = integrations.get("telephony")
    if telephony is not None:
        left = [item for item in telephony["additionalCodes"] if item["code"] not in codes]
        integrations["telephony"] = {**telephony, "additionalCodes": left}
    return {**module, "integrations": integrations}


def shown(module: Mapping[str, Any]) -> dict[str, Any]:
    """A module as GET returns it: the real service does not give `clientId` back."""
    visible = {name: value for name, value in module.items() if name != "clientId" and value is not None}
    telephony = module["integrations"].get("telephony")
    if telephony is None:
        return visible
    present = {name: value for name, value in telephony.items() if value is not None}
    return {**visible, "integrations": {**module["integrations"], "telephony": present}}


def _kept_telephony(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "makeCallUrl": value.get("makeCallUrl"),
        "changeUserStatusUrl": value.get("changeUserStatusUrl"),
        "allowEdit": bool(value.get("allowEdit")),
        "inputEventSupported": bool(value.get("inputEventSupported")),
        "outputEventSupported": bool(value.get("outputEventSupported")),
        "hangupEventSupported": bool(value.get("hangupEventSupported")),
        "additionalCodes": [
            {"userId": int(item["userId"]), "code": str(item["code"])} for item in value.get("additionalCodes") or []
        ],
        "externalPhones": [
            {"siteCode": item["siteCode"], "externalPhone": item["externalPhone"]}
            for item in value.get("externalPhones") or []
        ],
    }


def _is_svg(logo: object) -> bool:
    if not isinstance(logo, str) or fields.url(logo):
        return False
    return urlsplit(logo).path.lower().endswith(".svg")


def _doubts(value: Mapping[str, Any]) -> list[str]:
    """What is accepted here and may not be by the real service, or does something that was hardly meant."""
    doubts = [f"unknown action: {name}" for name in value.get("actions") or {} if name not in KNOWN_ACTIONS]
    telephony = (value.get("integrations") or {}).get("telephony")
    if telephony is None:
        return doubts
    telephony = telephony or {}
    missing = [name for name in TELEPHONY if telephony.get(name) is None]
    doubts += [f"integrations.telephony.{name} is left out: it is reset" for name in missing]
    given = telephony.get("additionalCodes") or []
    shared = _repeated(str(item["code"]) for item in given)
    doubts += [f"additionalCodes: {code} belongs to several users" for code in shared]
    return doubts + [f"additionalCodes: user {user} has several" for user in _repeated(int(i["userId"]) for i in given)]


def _repeated(values: Iterable[_T]) -> list[_T]:
    return sorted(value for value, count in Counter(values).items() if count > 1)
