"""Every code that the API sends has words on the page, in both languages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard, get_args

import pytest

from lib.admin.screens import overview
from lib.retailcrm import trouble
from lib.runtime import errors

ROOT = Path(__file__).resolve().parents[2]
_OF_SCHEMAS = {"missing", "range", "length", "choice", "form"}
# Requests of the page name no field that is not there.
_NEVER_OF_THE_PAGE = {"unknown_field", "name", "cursor", "version"}
_ITEMS_OF_SEVERAL_KINDS = {
    "unknown_to_crm": {"unknown_extension", "unknown_manager"},
    "command_failed": {"failed_register", "failed_deactivate", "failed_push_mapping"},
    "host_without_effect": {"silent_enterprise", "silent_system", "silent_line"},
}


def calls(*folders: str) -> Iterator[ast.Call]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def text(node: ast.expr) -> str:
    return str(ast.literal_eval(node)) if isinstance(node, ast.Constant) else ""


def code_of(call: ast.Call) -> str:
    """Empty where it is worked out."""
    return next((text(each.value) for each in call.keywords if each.arg == "code"), "")


def raised(*folders: str) -> set[str]:
    """The codes of refusals, those that an exception has of its own among them."""
    kinds = {kind.__name__: kind.code for kind in vars(errors).values() if _is_error(kind)}
    return {code_of(call) or kinds[name] for call in calls(*folders) if (name := name_of(call)) in kinds}


def _is_error(kind: Any) -> TypeGuard[type[errors.AppError]]:
    return isinstance(kind, type) and issubclass(kind, errors.AppError)


def problems() -> set[str]:
    found = {code_of(call) for call in calls("lib/admin") if name_of(call) == "Problem"}
    named = {text(call.args[0]) for call in calls("lib/admin") if name_of(call) == "refused_as"}
    return {code for code in found | named if code} | _OF_SCHEMAS | {*trouble.OF_ANSWERS}


@pytest.fixture
def keys(visit):
    """The keys of a group of messages, in both languages."""
    somebody = visit()
    somebody.open()

    def read(name: str, *groups: str) -> list[set[str]]:
        found = somebody.page.evaluate(
            """async ([name, groups]) => {
                const of = async (language) =>
                    (await import(`/retailcrm-admin/js/messages/${language}/${name}.js`)).default;
                return [await of("ru"), await of("en")].map((each) =>
                    Object.keys(groups.reduce((messages, group) => messages[group], each)));
            }""",
            [name, groups],
        )
        return [set(each) for each in found]

    return read


def test_every_refusal_has_words(keys):
    expected = raised("lib/admin") | {*trouble.OF_SETTINGS, "events_forgotten", "unavailable", "internal"}

    for known in keys("errors", "codes"):
        assert expected <= known


def test_every_problem_of_a_field_has_words(keys):
    for known in keys("errors", "fields"):
        assert problems() - _NEVER_OF_THE_PAGE <= known


def test_every_trouble_of_retailcrm_has_words(keys):
    for known in keys("crm", "codes"):
        assert known == {*trouble.CODES}


def test_every_state_and_every_item_of_the_overview_has_words(keys):
    item: Any = overview._ITEM
    codes = item["properties"]["code"]["enum"]
    items = {one for code in codes for one in _ITEMS_OF_SEVERAL_KINDS.get(code, {code})}

    for known in keys("overview", "items"):
        assert known == items
    for group in ("state", "state_text"):
        for known in keys("overview", group):
            assert {*get_args(overview.State)} - {"connected"} <= known


def test_every_step_of_a_registration_has_words(keys):
    steps = [call for call in calls("lib/retailcrm") if name_of(call) == "step"]
    warnings = {text(call.args[0]) for call in steps if text(call.args[1]) == "warning"}

    for known in keys("connection", "steps"):
        assert {text(call.args[0]) for call in steps} <= known
    for known in keys("connection", "step_warnings"):
        assert warnings <= known


def test_every_refusal_of_a_click_has_words(keys):
    for known in keys("log", "refusals"):
        assert raised("lib/click", "functions/make-call") <= known
