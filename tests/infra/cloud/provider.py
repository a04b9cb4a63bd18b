"""
Which arguments each resource of Terraform's google provider takes: `provider.json`, for the resources that infra/cloud
uses.

It is taken from `cdktf-cdktf-provider-google`, which HashiCorp generated from the provider itself (its last version,
16.12.1, is of the provider 6.50.0). A resource more, or a newer version:

    pip download --no-deps cdktf-cdktf-provider-google && unzip -q cdktf_*.whl -d package
    python -m tests.infra.cloud.provider package
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("provider.json")
# Of Terraform itself, on every resource.
META = {"connection", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioners"}


def read() -> dict[str, Any]:
    """By resource type: `{argument: {"required": bool, "block": arguments inside, or null for a value}}`."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text())["resources"]
    return found


def of_package(package: Path, resource: str) -> dict[str, Any]:
    name = resource.removeprefix("google_")
    module = ast.parse((package / "cdktf_cdktf_provider_google" / name / "__init__.py").read_text())
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    [config] = [one for one in classes if one.lower() == f"{name.replace('_', '')}config"]
    return {key: value for key, value in _arguments(classes, config).items() if key not in META}


def _arguments(classes: dict[str, ast.ClassDef], name: str) -> dict[str, Any]:
    [init] = [node for node in classes[name].body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    found = {}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        inside = [one for one in re.findall(r"'(\w+)'|\"(\w+)\"|\b([A-Z]\w+)\b", annotation) for one in one if one]
        blocks = [one for one in inside if one in classes and one != name]
        found[argument.arg] = {
            "required": default is None,
            "block": _arguments(classes, blocks[0]) if blocks else None,
        }
    return found


def main(package: Path) -> None:
    sources = sorted((Path(__file__).parents[3] / "infra" / "cloud").glob("*.tf"))
    text = "\n".join(path.read_text() for path in sources)
    resources = sorted(set(re.findall(r'^resource "(google_\w+)"', text, re.MULTILINE)))
    content = {"provider": "6.50.0", "resources": {one: of_package(package, one) for one in resources}}
    SCHEMA.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
