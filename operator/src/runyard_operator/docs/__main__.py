"""Writes the page and the picture of states: `python -m runyard_operator.docs [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from runyard_operator.docs.generate import files


def main(folder: Path) -> None:
    """Writes the files below `folder` and says which."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")


main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
