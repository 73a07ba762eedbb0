"""Reads what a module says of its constants: the string below each."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType


def documented(module: ModuleType) -> dict[str, str]:
    """The texts of a module's public constants, each with what is said below it.

    Raises:
        ValueError: nothing is said of a constant.
    """
    body = ast.parse(inspect.getsource(module)).body
    found: dict[str, str] = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        value = getattr(module, node.target.id)
        if not node.target.id.isupper() or not isinstance(value, str):
            continue
        match below:
            case ast.Expr(ast.Constant(str() as text)):
                found[value] = " ".join(text.split())
            case _:
                raise ValueError(f"{module.__name__}.{node.target.id}: say below it what it means")
    return found
