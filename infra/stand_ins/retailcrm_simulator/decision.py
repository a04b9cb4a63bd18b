"""The decision on a request before any fault: its answer and its effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.stand_ins.retailcrm_simulator.accounts import Account
from infra.stand_ins.retailcrm_simulator.answers import (
    BLANK,
    ENTITY_ERRORS,
    INVALID,
    Answer,
    non_scalar,
    parameter_missing,
    refusal,
)
from infra.stand_ins.retailcrm_simulator.fields import Findings
from infra.stand_ins.retailcrm_simulator.incoming import Incoming, NotJSON, json_value


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`applied` is the effect as the ledger keeps it, None for none; `account` takes the present one's place."""

    answer: Answer
    applied: Mapping[str, object] | None = None
    account: Account | None = None
    warnings: tuple[str, ...] = ()


def json_field(incoming: Incoming, name: str) -> object | Answer:
    """The value of the form field that holds JSON, or the refusal."""
    if name in incoming.non_scalar:
        return non_scalar(name)
    if name not in incoming.form:
        return parameter_missing(name)
    try:
        return json_value(incoming.form[name])
    except NotJSON:
        return refusal(400, ENTITY_ERRORS, {name: INVALID if incoming.form[name].strip() else BLANK})


def unexpected(incoming: Incoming, *expected: str) -> list[str]:
    """Form fields that the method does not have."""
    return sorted((set(incoming.form) | incoming.non_scalar) - set(expected) - {"apiKey"})


def judged(account: Account, findings: Findings) -> tuple[Answer | None, tuple[str, ...]]:
    """The refusal, if any, and the warnings; unknown fields are one or the other, as the account is set."""
    errors = dict(findings.errors)
    if account.behaviour.unknown_fields == "refuse":
        errors |= dict.fromkeys(findings.unknown, "This form should not contain extra fields")
    warnings = (*(f"unknown field: {name}" for name in findings.unknown), *findings.warnings)
    return (refusal(400, ENTITY_ERRORS, errors) if errors else None), warnings
