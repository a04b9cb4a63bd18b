"""Every code that says why is found in the code, and has its sentences and its line in the documentation."""

from __future__ import annotations

import ast
import re
import typing
from pathlib import Path

from lib.admin.screens import calls as calls_screen
from lib.calls import explain
from lib.runtime import gate

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def trees(*names):
    files = [
        path for name in names for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    ]
    return [ast.parse(path.read_text()) for path in files]


def constants(node):
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def decisions():
    """Of `Decision(code=…)`; where the code is what a function returns, the first of its returned pairs."""
    found = set()
    for tree in trees("lib"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Decision":
                found |= {c for word in node.keywords if word.arg == "code" for c in constants(word.value)}
            if isinstance(node, ast.FunctionDef) and node.name == "_why_not":
                pairs = [one for one in ast.walk(node) if isinstance(one, ast.Tuple) and len(one.elts) == 2]
                found |= {c for pair in pairs for c in constants(pair.elts[0])} - {"str"}
    return found


_TELL_REASONS = (
    "lib/ledger/assemble.py",
    "lib/ledger/deliver.py",
    "lib/ledger/send_rows.py",
    "lib/ledger/settlement.py",
    "lib/ledger/shown.py",
    "lib/store/deliveries.py",
    "lib/store/notices.py",
    "lib/store/rows.py",
    "lib/retailcrm/client.py",
)


def returned(statement):
    """The words that a return gives, not those that it compares with."""
    choices = [one for one in ast.walk(statement.value) if isinstance(one, ast.IfExp)]
    words = [branch for choice in choices for branch in (choice.body, choice.orelse)] or [statement.value]
    return {one.value for one in words if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def reasons():
    """Of what is given as `reason`, or set in SQL; of what an ended delivery is given; of answers and of the gate."""
    found = set(typing.get_args(gate.Refusal))
    for tree in trees(*_TELL_REASONS):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for word in node.keywords:
                    if word.arg in {"reason", "outcome"} and isinstance(word.value, ast.Constant | ast.IfExp):
                        found |= constants(word.value)
                if getattr(node.func, "attr", "") == "ended":
                    found |= {argument.value for argument in node.args[1:] if isinstance(argument, ast.Constant)}
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 3:
                # State, reason, seconds.
                found |= constants(node.value.elts[1])
            if isinstance(node, ast.FunctionDef) and node.name in {"_outcome", "_by_words"}:
                found |= {
                    c for one in ast.walk(node) if isinstance(one, ast.Return) and one.value for c in returned(one)
                }
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\breason = '(\w+)'", node.value))
    return found - {"done"}


def documented(heading):
    text = (ROOT / "docs" / "functions.md").read_text()
    _, _, rest = text.partition(heading)
    table = rest.split("\n\n")[1]
    return {word for line in table.splitlines()[2:] for word in re.findall(r"^\| `(\w+)`", line)}


def test_every_decision_has_a_sentence_in_both_languages():
    assert decisions() == explain._SENTENCES["en"].keys() == explain._SENTENCES["ru"].keys()
    assert all(_CODE.fullmatch(code) for code in decisions())


def test_every_decision_is_documented():
    assert documented("Decisions (`decisions`, `warnings`, `reasons`)") == decisions()


def test_every_reason_of_a_delivery_is_documented():
    assert documented("Reasons of deliveries (`reason`)") == reasons()


def test_what_explains_that_there_is_nothing_is_a_decision():
    assert {*calls_screen._NO_POPUP, *calls_screen._NO_ROW} <= decisions()
