"""
What infra/cloud comes to, without Google and without Terraform's providers.

Blocks are rewritten as values (`dynamic` ones as `for` expressions, resources with `for_each` as maps of instances), and
what only Google knows (`google_x.y.email`) as a string that says so. What is left are variables and locals, which
need no provider: `tfparse` evaluates them, and so does Terraform itself, where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2
import tfparse

ROOT = Path(__file__).parents[3]
CLOUD = ROOT / "infra" / "cloud"
EXAMPLE = CLOUD / "example.tfvars"

_BLOCK = "__is_block__"
# What `hcl2` adds to what is written.
_ADDED = {_BLOCK, "__comments__", "__inline_comments__"}
# They are of Terraform, and say nothing of what a resource is.
_META = {"depends_on", "for_each", "lifecycle"}
_REFERENCE = re.compile(r"\b(?:(?:data|ephemeral)\.)?(?:google|random)_\w+\.\w+")
_DECLARED = "declared__"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A resource as it is written: `body` as `hcl2` reads it."""

    kind: str
    type: str
    name: str
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{_DECLARED}{self.type}__{self.name}"


def blocks(folder: Path = CLOUD) -> list[Block]:
    """Resources, data sources and ephemeral ones."""
    return [
        Block(kind=kind, type=type_.strip('"'), name=name.strip('"'), body=body)
        for path in sorted(folder.glob("*.tf"))
        for kind in ("resource", "data", "ephemeral")
        for one in hcl2.loads(path.read_text()).get(kind, [])
        for type_, named in one.items()
        if type_ not in _ADDED
        for name, body in named.items()
        if name not in _ADDED
    ]


def nested(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The blocks in a body, by name; those of a `dynamic` one are its contents."""
    for name, value in body.items():
        if name == "dynamic":
            for one in value:
                for inner, spec in one.items():
                    yield inner.strip('"'), spec["content"][0]
        elif _is_blocks(value):
            for one in value:
                yield name, one


def evaluate(tmp: Path, variables: str = "", *, by: str = "tfparse") -> dict[str, Any]:
    """
    By `type.name` the resource, or a map of its instances; by `local.name` and `output.name` the values; by
    `local.precondition__name__0` whether it holds. `variables`: lines of a .tfvars file, on top of example.tfvars.
    """
    folder = tmp / "infra" / "cloud"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (CLOUD / "rendered.json", CLOUD / "variables.tf"):
        shutil.copy(path, folder)
    shutil.copy(CLOUD.parent / "topology.json", folder.parent)
    shutil.copytree(ROOT / "ui", tmp / "ui", dirs_exist_ok=True)
    (folder / "main.tf").write_text(compiled())
    (folder / "values.auto.tfvars").write_text(_merged(EXAMPLE.read_text(), variables))
    found = _by_terraform(folder) if by == "terraform" else _by_tfparse(folder)
    return {_name(key): value for key, value in found.items()}


def compiled() -> str:
    """One file without providers, which has a local for each resource, and an output of them all."""
    lines = ["locals {"]
    names = []
    for path in sorted(CLOUD.glob("*.tf")):
        content = hcl2.loads(path.read_text())
        for one in content.get("locals", []):
            for name, value in one.items():
                if name not in _ADDED:
                    lines.append(f"{name} = {_value(value)}")
                    names.append(name)
        for one in content.get("output", []):
            for name, body in one.items():
                if name in _ADDED:
                    continue
                lines.append(f"output__{name.strip(chr(34))} = {_value(body['value'])}")
                names.append(f"output__{name.strip(chr(34))}")
    for block in blocks():
        if block.kind == "resource":
            lines.append(f"{block.key} = {_resource(block.body)}")
            names.append(block.key)
        for one in block.body.get("lifecycle", []):
            for number, precondition in enumerate(one.get("precondition", [])):
                names.append(f"precondition__{block.name}__{number}")
                lines.append(f"{names[-1]} = {_value(precondition['condition'])}")
    lines += ["}", 'output "all" {', f"value = {{ {', '.join(f'{name} = local.{name}' for name in names)} }}", "}"]
    return "\n".join(lines) + "\n"


def _resource(body: Mapping[str, Any]) -> str:
    if "for_each" not in body:
        return _body(body)
    text = _body(body).replace("each.value", "each_value").replace("each.key", "each_key")
    return f"{{ for each_key, each_value in {_value(body['for_each'])} : each_key => {text} }}"


def _body(body: Mapping[str, Any]) -> str:
    """An object: values by name, and for each kind of block the list of them."""
    parts = {}
    many: dict[str, list[str]] = {}
    for name, value in body.items():
        if name in _META | _ADDED:
            continue
        if name == "dynamic":
            for one in value:
                for inner, spec in one.items():
                    many.setdefault(inner.strip('"'), []).append(_dynamic(inner.strip('"'), spec))
        elif _is_blocks(value):
            many.setdefault(name, []).append(f"[{', '.join(_body(one) for one in value)}]")
        else:
            parts[name] = _value(value)
    parts |= {name: lists[0] if len(lists) == 1 else f"concat({', '.join(lists)})" for name, lists in many.items()}
    return "{ " + ", ".join(f"{name} = {text}" for name, text in parts.items()) + " }"


def _dynamic(name: str, spec: Mapping[str, Any]) -> str:
    content = re.sub(rf"\b{name}\.(key|value)\b", rf"{name}_\1", _body(spec["content"][0]))
    return f"[for {name}_key, {name}_value in {_value(spec['for_each'])} : {content}]"


def _is_blocks(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and _BLOCK in value[0]


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = [(key, one) for key, one in value.items() if key not in _ADDED]
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in pairs) + " }"
    text = str(value)
    if text.startswith("${") and text.endswith("}"):
        text = f"({text[2:-1]})"
    return _named(text)


def _key(key: str) -> str:
    return f"({key[2:-1]})" if key.startswith("${") else key


def _named(text: str) -> str:
    """References to what Google knows become strings that name them."""
    found = _REFERENCE.search(text)
    if not found:
        return text
    end, index = found.end(), ""
    if text[end : end + 1] == "[":
        depth, start = 0, end
        while True:
            depth += {"[": 1, "]": -1}.get(text[end], 0)
            end += 1
            if not depth:
                break
        index = f"[${{{text[start + 1 : end - 1]}}}]"
    attribute = re.match(r"\.\w+", text[end:])
    end += attribute.end() if attribute else 0
    name = f'"{found[0]}{index}{attribute[0] if attribute else ""}"'
    return text[: found.start()] + name + _named(text[end:])


def _by_tfparse(folder: Path) -> dict[str, Any]:
    parsed = tfparse.load_from_path(str(folder), stop_on_hcl_error=True, vars_paths=["values.auto.tfvars"])
    found: dict[str, Any] = {}
    for one in parsed["locals"]:
        found.update({name: value for name, value in one.items() if name not in {"__tfmeta", "id"}})
    return found


def _by_terraform(folder: Path) -> dict[str, Any]:
    terraform = shutil.which("terraform")
    assert terraform

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [terraform, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=_ENVIRONMENT
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "-input=false")
    run("apply", "-auto-approve", "-input=false")
    found: dict[str, Any] = json.loads(run("output", "-json"))["all"]["value"]
    return found


# Neither settings of whoever runs the test, nor a look for a newer version.
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "CHECKPOINT_DISABLE": "1",
    "TF_CLI_CONFIG_FILE": "/dev/null",
}


def _name(key: str) -> str:
    if key.startswith(_DECLARED):
        return key.removeprefix(_DECLARED).replace("__", ".")
    return key.replace("output__", "output.") if key.startswith("output__") else f"local.{key}"


def _merged(first: str, second: str) -> str:
    """A variable may be given once only."""
    given = set(re.findall(r"^(\w+)\s*=", second, re.MULTILINE))
    kept = [line for line in first.splitlines() if line.partition("=")[0].strip() not in given]
    return "\n".join([*kept, second]) + "\n"
