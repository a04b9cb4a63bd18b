"""Faults on demand: rules for whose requests fail, how, and how often."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from infra.stand_ins.retailcrm_simulator import fields
from infra.stand_ins.retailcrm_simulator.answers import INVALID
from infra.stand_ins.retailcrm_simulator.fields import Field

_SLOW_MS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    `owner` is whose requests it hits, None for everybody's; `requests` how many more, None for all until it is
    taken back. `delay_ms` passes before anything happens; `apply` says whether the request has its effect. The rest
    is the answer: `sent_bytes` of it get out before a reset, `interval_ms` passes between the bytes of a slow drip.
    """

    id: int
    mode: str
    apply: bool
    owner: str | None = None
    endpoint: str = "all"
    requests: int | None = None
    probability: float = 1.0
    delay_ms: int = 0
    hang_seconds: float = 60.0
    status: int | None = None
    retry_after: int | str | None = None
    error_msg: str | None = None
    errors: Mapping[str, str] | list[str] | None = None
    location: str = "http://127.0.0.1:9/"
    sent_bytes: int = 0
    size_bytes: int = 10_000_000
    interval_ms: int = 1000

    @property
    def delay_seconds(self) -> float:
        return (self.delay_ms or (_SLOW_MS if self.mode == "slow" else 0)) / 1000


class FaultBook:
    """
    Rules for a number of requests come first, in the order in which they were given; then the standing ones, the
    latest first. A standing rule takes the place of the earlier one for the same owner and endpoint.

    `modes` maps each mode to whether it lets a request have its effect; `owner` is what JSON calls an owner.
    """

    def __init__(self, *, modes: Mapping[str, bool], endpoints: Iterable[str], owner: str) -> None:
        self._modes, self._owner = modes, owner
        self._table = _table(owner, list(modes), ["all", *endpoints])
        self._ids = itertools.count(1)
        self._rules: list[Fault] = []

    def add(self, data: object) -> Fault:
        """Raises InvalidInput."""
        given = fields.checked(data, self._table)
        values = {"owner" if name == self._owner else name: value for name, value in given.items()}
        fault = Fault(**{"id": next(self._ids), "apply": self._modes[given["mode"]], **values})
        if fault.requests is None:
            self._rules = [rule for rule in self._rules if rule.requests or not _same_place(rule, fault)]
        self._rules.append(fault)
        return fault

    def as_json(self, fault: Fault) -> dict[str, Any]:
        values = asdict(fault)
        return {self._owner: values.pop("owner"), **values}

    def remove(self, *, owner: str | None = None, endpoint: str | None = None) -> int:
        """Takes back those of the owner and endpoint, of any where it is None; how many that were."""
        kept = [
            rule
            for rule in self._rules
            if (owner is not None and rule.owner != owner) or (endpoint is not None and rule.endpoint != endpoint)
        ]
        removed = len(self._rules) - len(kept)
        self._rules = kept
        return removed

    def listed(self) -> list[Fault]:
        return list(self._rules)

    def choose(self, owner: str, endpoints: Iterable[str]) -> Fault | None:
        """The fault of one request; `endpoints` are the names under which a rule may mean it."""
        names = {"all", *endpoints}
        counted = [rule for rule in self._rules if rule.requests is not None]
        standing = [rule for rule in reversed(self._rules) if rule.requests is None]
        for rule in (*counted, *standing):
            if rule.owner not in {None, owner} or rule.endpoint not in names:
                continue
            if rule.probability < 1.0 and random.random() >= rule.probability:
                continue
            self._use_up(rule)
            return rule
        return None

    def _use_up(self, rule: Fault) -> None:
        if rule.requests is None:
            return
        index = self._rules.index(rule)
        left = rule.requests - 1
        self._rules[index : index + 1] = [replace(rule, requests=left)] if left else []


def _same_place(one: Fault, other: Fault) -> bool:
    return (one.owner, one.endpoint) == (other.owner, other.endpoint)


def _positive(value: object) -> str | None:
    return fields.count(value) or (None if value else "This value should be 1 or more")


def _probability(value: object) -> str | None:
    return None if isinstance(value, int | float) and 0 < value <= 1 else "This value should be over 0, at most 1"


def _seconds(value: object) -> str | None:
    return None if fields.number(value) is None and float(str(value)) >= 0 else "This value should be 0 or more"


def _status(value: object) -> str | None:
    return None if isinstance(value, int) and 200 <= value <= 599 else "This value should be an HTTP status"


def _header(value: object) -> str | None:
    text = str(value)
    return None if text.isascii() and text.isprintable() else INVALID


def _error_texts(value: object) -> str | None:
    check = fields.list_of(fields.text) if isinstance(value, list) else fields.map_of(fields.text)
    return check(value)


def _table(owner: str, modes: list[str], endpoints: list[str]) -> Mapping[str, Field]:
    return {
        "mode": Field(check=_named(modes), required=True),
        owner: Field(check=fields.filled),
        "endpoint": Field(check=_named(endpoints)),
        "requests": Field(check=_positive),
        "probability": Field(check=_probability),
        "apply": Field(check=fields.boolean),
        "delay_ms": Field(check=fields.count),
        "hang_seconds": Field(check=_seconds),
        "status": Field(check=_status),
        "retry_after": Field(check=_header),
        "error_msg": Field(check=fields.text),
        "errors": Field(check=_error_texts),
        "location": Field(check=_header),
        "sent_bytes": Field(check=fields.count),
        "size_bytes": Field(check=fields.count),
        "interval_ms": Field(check=fields.count),
    }


def _named(options: list[str]) -> fields.Check:
    check = fields.one_of(*options)
    return lambda value: f"must be one of {', '.join(options)}" if check(value) else None
