"""
Writes infra/cloud/rendered.json, what Terraform has to know of the code: `make cloud`.

The functions with the variables and secrets that their `config.require` names, the topics that they publish to and
their role in the database; the routes, bounds and headers of infra/routes.py, which nginx.conf is written from too.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from infra import routes
from infra.deployment import rights, topology
from infra.deployment.nginx import render as nginx
from lib.runtime import config

ROOT: Final = Path(__file__).parents[3]
TARGET: Final = ROOT / "infra" / "cloud" / "rendered.json"
# The password is not in the address there, but in PGPASSWORD.
_ADDRESSES: Final = {"DATABASE_URL", "DATABASE_LISTEN_URL"}
# Only for emulators and simulators.
_DEVELOPMENT: Final = {"PUBSUB_EMULATOR_HOST", "RETAILCRM_EXTRA_HOSTS"}


def functions() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))


def sections(function: str) -> list[type]:
    """What the `config.require` of a function names."""
    tree = ast.parse(_source(function))
    return [
        getattr(config, argument.attr)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "config.require"
        for argument in call.args
        if isinstance(argument, ast.Attribute)
    ]


def fields(function: str) -> dict[str, dataclasses.Field[Any]]:
    """By the name of the variable."""
    found = {one.name.upper(): one for section in sections(function) for one in dataclasses.fields(section)}
    return {name: one for name, one in found.items() if name not in _DEVELOPMENT}


def secrets(function: str) -> list[str]:
    return [name for name, one in fields(function).items() if not one.repr and name not in _ADDRESSES]


def publishes(function: str) -> list[str]:
    """The topics that the docstring of a function names."""
    contract = ast.get_docstring(ast.parse(_source(function))) or ""
    found = re.search(r"^Publishes (.*?)(?=^\S|\Z)", contract, re.MULTILINE | re.DOTALL)
    known = topology.read()["topics"]
    return [topic for topic in known if found and re.search(rf"(?<![\w-]){topic}(?![\w-])", found[1])]


def content() -> dict[str, Any]:
    return {
        "functions": {name: _function(name) for name in functions()},
        "roles": {role: rights.password_variable(role) for role in rights.roles()},
        "routes": [{"path": route.path, "function": route.function} for route in routes.ROUTES],
        "page": {"path": routes.UI_PREFIX, "function": routes.OPENING.function, "headers": _page_headers()},
        "headers": {**routes.SECURITY_HEADERS, "Strict-Transport-Security": routes.STRICT_TRANSPORT},
        "first_page": nginx.first_page(),
        "requests_per_second": routes.REQUESTS_PER_SECOND,
    }


def render() -> str:
    """The whole file."""
    return json.dumps(content(), indent=2, ensure_ascii=False) + "\n"


def _function(name: str) -> Mapping[str, str | Sequence[str]]:
    secret = secrets(name)
    return {
        "source": f"functions/{name}/main.py",
        "target": name.replace("-", "_"),
        "role": rights.role_of(name),
        "variables": [variable for variable in fields(name) if variable not in secret],
        "secrets": secret,
        "publishes": publishes(name),
    }


def _page_headers() -> Mapping[str, str]:
    """`Vary` is the load balancer's own, `Cache-Control` each file's."""
    own = {name: text for name, text in routes.PAGE_HEADERS.items() if name not in {"Vary", "Cache-Control"}}
    return {**routes.SECURITY_HEADERS, "Strict-Transport-Security": routes.STRICT_TRANSPORT, **own}


def _source(function: str) -> str:
    return (ROOT / "functions" / function / "main.py").read_text()


def main() -> int:
    TARGET.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
