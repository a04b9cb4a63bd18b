"""What a mutant is: the code of one module, with one small thing in it that is wrong."""

from __future__ import annotations

import ast
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Final

_OTHERWISE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_LONGEST: Final = 100


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`place`: of the node, as `ast.walk` counts; `way`: which of the node's mutations."""

    path: Path
    place: int
    way: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{os.path.relpath(self.path)}:{self.line}: {self.what}"

    def code(self) -> CodeType:
        tree = ast.parse(self.path.read_bytes())
        node = list(ast.walk(tree))[self.place]
        vars(node).update(vars(list(_mutations(node))[self.way]))
        return compile(ast.fix_missing_locations(tree), str(self.path), "exec")


def mutants_of(path: Path) -> Iterator[Mutant]:
    tree = ast.parse(path.read_bytes())
    left_out = {id(node) for node in _without_effect(tree)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in left_out:
            continue
        for way, mutated in enumerate(_mutations(node)):
            line = getattr(node, "lineno", 0)
            what = f"{_text(node)}  →  {_text(mutated)}"
            yield Mutant(path=path, place=place, way=way, line=line, what=what)


def _without_effect(tree: ast.AST) -> Iterator[ast.AST]:
    """Decorators, which keep or freeze and decide nothing, and the check of `zip(strict=True)`."""
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            yield from ast.walk(decorator)
        if isinstance(node, ast.keyword) and node.arg == "strict":
            yield node.value


def _mutations(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of the same class."""
    match node:
        case ast.Compare(ops=ops):
            for place, op in enumerate(ops):
                yield _with(node, ops=[*ops[:place], _OTHERWISE[type(op)](), *ops[place + 1 :]])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _with(node, operand=ast.UnaryOp(ast.Not(), operand))
        case ast.Constant(value=bool(value)):
            yield _with(node, value=not value)
        case ast.Constant(value=int(number) | float(number)):
            yield _with(node, value=number + 1)
        case ast.BinOp(op=ast.Add() | ast.Sub() as op) | ast.AugAssign(op=ast.Add() | ast.Sub() as op):
            yield _with(node, op=ast.Sub() if isinstance(op, ast.Add) else ast.Add())
        case ast.Return(value=ast.expr() as returned) if not _is_mutated_itself(returned):
            yield _with(node, value=ast.Constant(None))


def _is_mutated_itself(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not isinstance(value.value, str)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    vars(changed).update(fields)
    return changed


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
