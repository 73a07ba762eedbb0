"""All that is generated from the engine, by path below the folder of documents."""

from __future__ import annotations

from runyard_operator.docs import page, picture


def files() -> dict[str, str]:
    """The contents of the generated files, stable from run to run."""
    found = page.transitions_of_units()
    return {"states.md": page.render(found), "images/unit-states.svg": picture.svg(found)}
