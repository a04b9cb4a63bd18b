"""What the repository promises about itself."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from infra.deployment import topology
from lib.admin import api, screens
from lib.admin.exported_words import VALUES
from lib.runtime import config
from tests.harness import complexity

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = sorted(path for path in (ROOT / "functions").iterdir() if path.is_dir())
NAMES = [path.name for path in FUNCTIONS]
ROOMS_AT_MOST = 12
COMPLEXITY_AT_MOST = 15
# Names the CRMs; everything else has a room.
REGISTRY = "crms.py"


@pytest.mark.parametrize("folder", FUNCTIONS, ids=NAMES)
def test_a_function_folder_holds_main_py_and_nothing_else(folder):
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["main.py"]


@pytest.mark.parametrize("folder", FUNCTIONS, ids=NAMES)
def test_the_entry_point_is_the_folders_name_in_snake_case(folder):
    tree = ast.parse((folder / "main.py").read_text())

    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert folder.name.replace("-", "_") in functions


@pytest.mark.parametrize("folder", FUNCTIONS, ids=NAMES)
def test_the_docstring_of_a_function_is_its_contract(folder):
    contract = ast.get_docstring(ast.parse((folder / "main.py").read_text())) or ""

    assert all(word in contract for word in ("Trigger", "Reads", "Writes", "Answers"))


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_page_for_administrators_calls_every_screen_by_its_name(language):
    words = (ROOT / f"ui/js/messages/{language}/shell.js").read_text()
    navigation = re.search(r"  nav: \{(.*?)\}", words, re.DOTALL)
    assert navigation is not None
    names = dict(re.findall(r"(\w+): \"([^\"]+)\"", navigation[1]))
    page = (ROOT / "docs/administrators.md").read_text()

    assert len(names) > 9
    assert [name for key, name in names.items() if key not in {"label", "gap"} and name not in page] == []


def test_every_function_has_its_section_in_the_document_of_functions():
    sections = re.findall(r"^## ([a-z-]+)$", (ROOT / "docs/functions.md").read_text(), re.MULTILINE)

    assert sorted(sections) == NAMES


@pytest.mark.parametrize("path", sorted((ROOT / "lib").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_in_one_place_why_it_exists(path):
    text = path.read_text()

    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_the_example_environment_has_every_setting_and_no_other():
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {line.partition("=")[0]: line.partition("=")[2] for line in lines if line and not line.startswith("#")}
    fields = {field.name.upper(): field for section in config.SECTIONS for field in dataclasses.fields(section)}

    assert set(named) == set(fields)
    for name, field in fields.items():
        if field.default not in {dataclasses.MISSING, ""}:
            assert named[name] == str(field.default), name


def test_every_subscription_has_a_topic_and_a_function():
    data = topology.read()

    for name, subscription in data["subscriptions"].items():
        assert subscription["topic"] in data["topics"], name
        assert subscription["function"] in NAMES, name
        assert re.fullmatch(r"[a-z]([a-z0-9.-]){2,254}", name)


def test_deadlines_nest_from_the_crm_to_the_broker():
    from lib.ledger import deliver, recovered, send_rows, wake

    crm, database = config.RetailCRM(), config.Database(database_url="postgresql://")
    subscriptions = topology.read()["subscriptions"]

    # Rows: a lane goes on for so long, and then ends its last request.
    for name, request_seconds, busy_seconds in (
        ("call-events.retailcrm-deliver", crm.retailcrm_event_timeout_seconds, wake.WAKE_SECONDS),
        ("due-rows.retailcrm-upload", crm.retailcrm_upload_timeout_seconds, send_rows.LANE_SECONDS),
        ("recovered-events.assemble-recovered", database.database_statement_timeout_seconds, recovered.LANE_SECONDS),
    ):
        ack_deadline = subscriptions[name]["ack_deadline_seconds"]
        assert request_seconds + 5 <= deliver.LEASE_SECONDS, name
        assert ack_deadline >= deliver.LEASE_SECONDS + 5, name
        assert ack_deadline >= busy_seconds + request_seconds + 5, name


def test_a_tick_ends_within_its_ack_deadline():
    from lib.ledger import retention, sweep

    statement_seconds = config.Database(database_url="postgresql://").database_statement_timeout_seconds
    ack_deadline = topology.read()["subscriptions"]["ticks.sweep-calls"]["ack_deadline_seconds"]

    assert sweep.BUDGET_SECONDS + retention.BUDGET_SECONDS + statement_seconds + 1 <= ack_deadline


def test_the_environment_is_read_in_one_place():
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("lib", "functions")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text())
    }

    assert readers == {"lib/runtime/config.py", "lib/runtime/logs.py"}


def test_lib_is_a_house_of_few_rooms_and_no_corridor():
    inside = [path for path in (ROOT / "lib").iterdir() if path.name not in {"__init__.py", "__pycache__"}]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    placed = {room.strip() for layer in contracts[0]["layers"] for room in layer.split("|")}

    assert [path.name for path in inside if not path.is_dir()] == [REGISTRY]
    assert {path.stem for path in inside} == placed
    assert len(placed) <= ROOMS_AT_MOST
    assert contracts[0]["exhaustive"]


def test_the_rules_that_limit_functions_are_on_for_everything_but_tests():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    limits = {"C901", "PLR0911", "PLR0912", "PLR0913", "PLR0915", "PLR0917"}
    relaxed = {glob for glob, rules in lint["per-file-ignores"].items() if limits & set(rules)}

    assert lint["select"] == ["ALL"]
    assert not limits & set(lint["ignore"])
    assert lint["mccabe"]["max-complexity"] <= 12
    assert lint["pylint"]["max-args"] <= 6
    assert {glob for glob in relaxed if not glob.startswith("tests/")} == set()


@pytest.mark.parametrize("folder", ["lib", "infra", "functions", "tests/harness"])
def test_the_flow_of_control_of_every_function_can_be_followed(folder):
    hard = {
        f"{path.relative_to(ROOT)}:{function}": cost
        for path in sorted((ROOT / folder).rglob("*.py"))
        for function, cost in complexity.functions(path.read_text())
        if cost > COMPLEXITY_AT_MOST
    }

    assert hard == {}


def test_cognitive_complexity_counts_branches_by_their_nesting():
    source = """
def flat(a, b):
    if a and b:
        return 1
    elif a or b:
        return 2
    else:
        return 3

class Nested:
    def deep(self, rows):
        for row in rows:
            while row:
                if row > 1:
                    return [one for one in rows]
"""

    assert dict(complexity.functions(source)) == {"flat": 5, "deep": 1 + 2 + 3 + 4}


def test_every_screen_of_the_page_is_part_of_the_api():
    names = [path.stem for path in Path(screens.__path__[0]).glob("*.py")]
    modules = [__import__(f"lib.admin.screens.{name}", fromlist=[name]) for name in names if name != "__init__"]
    operations = [one for module in modules for one in getattr(module, "OPERATIONS", ())]

    assert {id(one) for one in operations} <= {id(one) for one in api.OPERATIONS}
    assert len(operations) > 20


def test_no_module_bears_a_word_that_says_nothing():
    vague = {
        "utils",
        "helpers",
        "common",
        "misc",
        "once",
        "later",
        "shape",
        "shapes",
        "storable",
        "desk",
        "door",
        "turn",
    }
    named = {path.stem for folder in ("lib", "infra") for path in (ROOT / folder).rglob("*.py")}

    assert not named & vague


def test_flask_is_known_at_the_edge_only():
    importers = {
        str(path.relative_to(ROOT / "lib"))
        for path in (ROOT / "lib").rglob("*.py")
        if re.search(r"^from (flask|werkzeug)\b|^import (flask|werkzeug)\b", path.read_text(), re.MULTILINE)
    }

    assert {name for name in importers if not name.startswith("admin/")} == {
        "runtime/http.py",
        "runtime/client_address.py",
        "intake/push.py",
        "runtime/passwords.py",  # werkzeug's hashes
    }


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]
    if not names:
        pytest.skip("not a git checkout")
    return names


def test_nothing_in_the_tree_speaks_of_a_machine_or_holds_a_key():
    forbidden = re.compile(r"/home/\w|/root/|BEGIN (RSA |EC )?PRIVATE KEY|AKIA[0-9A-Z]{16}")
    for name in tracked():
        if name == "tests/test_conventions.py":
            continue
        text = (ROOT / name).read_text(errors="ignore")
        assert not forbidden.search(text), name


# Newer than Chromium 109, the last one for Windows 7, or than Firefox ESR 115, and without it the page would not work.
TOO_NEW = re.compile(
    r"light-dark\(|color-mix\(|AbortSignal\.any|Object\.groupBy|Map\.groupBy|Promise\.withResolvers|Array\.fromAsync"
    r"|\.toSorted\(|\.toReversed\(|\.with\(|URL\.canParse|Set\.prototype\.union"
)


def test_the_page_needs_nothing_that_its_oldest_browsers_lack():
    used = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "ui").rglob("*")
        if path.suffix in {".css", ".js", ".html"}
        and (found := TOO_NEW.search(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)))
    }

    assert used == set()


def test_commands_have_the_options_that_the_document_gives_them():
    text = (ROOT / "docs/operations.md").read_text()
    commands = text.partition("\n## Commands\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+) ?[^|]*\| `(\w+) ?([^|]*)\|$", commands, re.MULTILINE)

    assert len(rows) > 9
    for verb, module, said in rows:
        path = ROOT / "infra/commands" / module
        source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        recipe = re.search(rf"^{verb}: .*\n(?:\t.*\n| .*\n)+", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert recipe, verb
        assert re.search(rf"infra\.commands\.{module}\b", recipe[0]), verb
        assert [
            option for option in re.findall(r"--[a-z-]+", said.partition("`")[0]) if f'"{option}"' not in source
        ] == []


def test_links_between_documents_lead_somewhere():
    for name in tracked():
        if name.endswith(".md"):
            for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", (ROOT / name).read_text()):
                assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"


def test_every_test_that_a_document_names_is_there():
    names: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        found = re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
        names[str(path.relative_to(ROOT))] = set(found)
    for document in (ROOT / "docs").rglob("*.md"):
        file = ""
        for named, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`", document.read_text()):
            file = named or file
            assert not named or named in names, f"{document.name}: {named}"
            assert not test or test in names[file], f"{document.name}: {file}::{test}"


def test_every_phone_in_test_data_is_a_placeholder():
    known = {"375291111111", "375292222222", "375293333333", "375290000001"}
    scenarios = json.loads((ROOT / "infra/stand_ins/scenarios/scenarios.json").read_text())["scenarios"]
    phones = {event["body"].get("Phone", "").lstrip("+") for scenario in scenarios for event in scenario["events"]}

    assert {phone for phone in phones if phone.startswith("375")} <= known


@pytest.mark.parametrize("language", ["ru", "en"])
def test_whatever_is_written_into_the_log_has_words_on_the_page_and_in_its_file(language):
    written = set()
    for folder in ("lib", "functions", "infra"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            if "integration_logs" in text or "audit.remember" in text:
                written |= set(re.findall(r'event_type="(\w+)"', text))
                written |= set(re.findall(r'audit\.remember\(conn, request, "(\w+)"', text))
    [listed] = re.findall(r"const TYPES = \[(.*?)\]", (ROOT / "ui/js/screens/log.js").read_text(), re.DOTALL)
    [said] = re.findall(
        r"^  types: {(.*?)^  }", (ROOT / f"ui/js/messages/{language}/log.js").read_text(), re.DOTALL | re.MULTILINE
    )
    types, named = set(re.findall(r'"(\w+)"', listed)), set(re.findall(r"^    (\w+):", said, re.MULTILINE))

    assert {"revoke", "import", "callback"} <= written <= types
    assert types == named == set(VALUES[language]["event_type"])
