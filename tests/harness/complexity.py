"""
Cognitive complexity of functions, as SonarSource defines it: how hard the flow of control is to follow.

A branch or loop counts one, and one more for each level of nesting around it; `elif`, `else` and each sequence of one
boolean operator count one. A comprehension counts like a loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function and method with its complexity; a nested function counts for the one around it."""
    yield from _functions(ast.parse(source))


def _functions(node: ast.AST) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            yield child.name, sum(_cost(part, 0) for part in child.body)
        else:
            yield from _functions(child)


def _cost(node: ast.AST, nesting: int) -> int:
    if isinstance(node, ast.If):
        return 1 + nesting + _branches(node, nesting)
    if isinstance(node, (*_LOOPS, ast.ExceptHandler, ast.IfExp, ast.Match)):
        has_else = isinstance(node, _LOOPS) and bool(node.orelse)
        return 1 + nesting + has_else + _inside(node, nesting + 1)
    if isinstance(node, _COMPREHENSIONS):
        return 1 + nesting + _inside(node, nesting + 1)
    if isinstance(node, (*_Function.__args__, ast.Lambda)):
        return _inside(node, nesting + 1)
    return isinstance(node, ast.BoolOp) + _inside(node, nesting)


def _branches(node: ast.If, nesting: int) -> int:
    """Of an `if` without its own keyword: the test, the body, and its `elif` or `else`."""
    cost = _cost(node.test, nesting) + sum(_cost(part, nesting + 1) for part in node.body)
    match node.orelse:
        case []:
            return cost
        case [ast.If() as other]:
            return cost + 1 + _branches(other, nesting)
        case others:
            return cost + 1 + sum(_cost(part, nesting + 1) for part in others)


def _inside(node: ast.AST, nesting: int) -> int:
    return sum(_cost(child, nesting) for child in ast.iter_child_nodes(node))
