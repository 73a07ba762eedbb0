"""The list of points and the code that has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import runyard_operator
from runyard_operator.points import Point

SOURCES = Path(runyard_operator.__file__).parent


def calls() -> Iterator[tuple[str, ast.expr]]:
    """Where a point is told of: the place in the code, and the argument."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("point", "_point")
            ):
                yield f"{path.name}:{node.lineno}", node.args[0]


def test_each_point_is_in_the_code_and_each_in_the_code_has_a_name() -> None:
    """A name that nothing tells of, and a text that has no name, are both mistakes."""
    told = {where: ast.unparse(argument) for where, argument in calls()}
    names = {f"Point.{point.name}" for point in Point}
    assert {where: text for where, text in told.items() if text not in names} == {}
    assert names - set(told.values()) == set()


def test_names_and_meanings_are_told_apart() -> None:
    """Each point says something of its own."""
    assert len({point.meaning for point in Point}) == len(Point)
    assert all(point.value.endswith(("before", "after", "sent")) for point in Point)
