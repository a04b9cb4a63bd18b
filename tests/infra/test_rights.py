"""
Who may do what in the database, as declared: beside the docstrings of the functions, the schema, and the composition.
Whoever adds a table, a column with something secret, or a function is told here where to say who may use it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from infra.commands import env
from infra.deployment import rights
from infra.deployment.rights import EVERY_COLUMN

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))
RIGHTS = "infra/deployment/rights.py"
# What a strand of a table may hold that most of its readers must not see.
SECRETS = {"enterprises": {"token", "secret"}, "users": {"password_hash"}}
# Of these each column is given by its name.
BY_COLUMN = ("enterprises", "users")


def schema():
    """The columns of each table, and the functions, of infra/schema.sql."""
    text = (ROOT / "infra/schema.sql").read_text()
    tables = {
        name: {
            line.split()[0] for line in body.splitlines() if line.strip() and not line.lstrip().startswith("CONSTRAINT")
        }
        for name, body in re.findall(r"^CREATE TABLE (\w+) \(\n(.*?)\n\)", text, re.MULTILINE | re.DOTALL)
    }
    return tables, set(re.findall(r"^CREATE OR REPLACE FUNCTION public\.(\w+)", text, re.MULTILINE))


TABLES, SQL_FUNCTIONS = schema()


def named(path: str, label: str) -> dict[str, set[str]]:
    """The tables that a docstring names behind this label, each with the columns that it names of it."""
    contract = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
    section = re.search(rf"^{label} +(.*?)(?=^\w+ |\Z)", contract, re.MULTILINE | re.DOTALL)
    text = re.sub(r"\([^)]*\)", "", section[1]) if section else ""
    found: dict[str, set[str]] = {}
    for table, column in re.findall(r"(?<![\w.])(\w+)(?:\.(\w+))?", text):
        if table in TABLES:
            found.setdefault(table, set()).update({column} - {""})
    return found


def columns(table: str, given: str) -> set[str]:
    return TABLES[table] if given == EVERY_COLUMN else set(given.split())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_docstring_names_the_tables_that_the_role_of_the_function_may_use(function):
    assert function in rights.FUNCTIONS, f"say in {RIGHTS} what {function} may do in the database"
    own = rights.FUNCTIONS[function]
    path = f"functions/{function}/main.py"
    reads, writes, deletes = (named(path, label) for label in ("Reads", "Writes", "Deletes"))

    # What is deleted is read as far as it takes to find it.
    assert set(reads) | set(deletes) == {table for table, one in own.items() if one.reads}, (
        f"Reads of {path} and {RIGHTS}"
    )
    assert set(writes) == {table for table, one in own.items() if one.writes}, f"Writes of {path} and {RIGHTS}"
    assert set(deletes) == {table for table, one in own.items() if one.deletes}, f"Deletes of {path} and {RIGHTS}"
    for table, some in writes.items():
        assert some <= columns(table, own[table].updates), f"{table} in Writes of {path} and {RIGHTS}"
    for table, secrets in SECRETS.items():
        seen = columns(table, own[table].reads) & secrets if table in own else set()
        assert reads.get(table, set()) & secrets == seen, f"{table} in Reads of {path} and {RIGHTS}"


def test_what_every_function_counts_stands_where_it_is_counted():
    assert set(named("lib/admin/health.py", "Reads")) == set(rights.STATS)
    assert all(one.reads and one.reads != EVERY_COLUMN and not one.writes for one in rights.STATS.values())


def test_no_function_is_declared_that_is_not_there():
    assert set(rights.FUNCTIONS) == set(FUNCTIONS)


def test_every_table_is_declared_and_no_other():
    declared = set(rights.tables()) - {rights.MIGRATIONS}

    assert sorted(TABLES.keys() - declared) == [], f"say in {RIGHTS} which function, or COMMANDS, may use these tables"
    assert sorted(declared - TABLES.keys()) == []
    assert set(rights.COMMANDS) == TABLES.keys(), f"the operator's commands may read every table: COMMANDS in {RIGHTS}"
    assert set(rights.SQL_FUNCTIONS) == SQL_FUNCTIONS, f"name the functions of the schema in SQL_FUNCTIONS in {RIGHTS}"


def test_every_column_that_is_declared_is_there():
    system = {"ctid", "xmax"}
    unknown = [
        f"{one.role}: {one.table}.{one.column}"
        for one in rights.wanted()
        if one.column and one.column not in TABLES[one.table] | system
    ]

    assert unknown == []


@pytest.mark.parametrize("table", BY_COLUMN)
def test_a_new_column_of_an_enterprise_or_a_person_is_nobodys_until_it_is_given(table):
    given = [own[table].reads for name, own in rights.FUNCTIONS.items() if table in own and name != "admin-api"]

    assert EVERY_COLUMN not in given, f"name the columns of {table} in {RIGHTS}"


def test_no_function_reads_a_hosts_token():
    readers = {
        name
        for name, own in rights.FUNCTIONS.items()
        if "token" in own.get("enterprises", rights.Rights()).reads.split()
    }

    assert readers == set()


def test_each_service_comes_to_the_database_under_its_role():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    form = re.compile(r"postgresql://(\w+):\$\{(\w+):\?run make env first\}@postgres:5432/gateway")
    given = {
        name: found.groups()
        for name, one in services.items()
        if (found := form.fullmatch((one.get("environment") or {}).get("DATABASE_URL", "")))
    }
    wanted = {name: rights.role_of(name) for name in FUNCTIONS}
    wanted |= {"prepare": rights.MIGRATOR, "operator": rights.OPERATOR, "demo": rights.OPERATOR}

    assert given == {name: (role, rights.password_variable(role)) for name, role in wanted.items()}, (
        "docker-compose.yml"
    )


def test_passwords_are_made_and_known_to_who_makes_the_roles_only():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    variables = {rights.password_variable(role) for role in rights.roles()}
    holders = {name: variables & set(one.get("environment") or {}) for name, one in services.items()}

    assert {name: held for name, held in holders.items() if held} == {"prepare": variables}
    assert variables <= {variable.name for variable in env.VARIABLES}
    assert [name for name, one in services.items() if "DATABASE_ADMIN_URL" in (one.get("environment") or {})] == [
        "prepare"
    ]
