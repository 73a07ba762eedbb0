"""The operator, to be killed at a named point: `python -m tests.support.mortal_operator`.

A test writes the name of a point (see `runyard_operator.points`) into the file of `--die-at`, at
any time. The next time that the operator comes there, it empties the file and is gone, as by
SIGKILL. The other arguments go to the operator.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

from runyard_operator import main
from runyard_operator.context import Context
from runyard_operator.queue import Key
from runyard_operator.reconcile import dispatch

Worker = Callable[[Key], Awaitable[float | None]]
EXIT_CODE = 137


def run(file: Path, arguments: list[str]) -> None:
    """The operator's own `main` with these arguments, mortal."""
    build = dispatch.build

    def point(name: str) -> None:
        if file.read_text(encoding="utf-8") == name:
            file.write_text("", encoding="utf-8")
            os._exit(EXIT_CODE)

    def mortal(context: Context) -> Worker:
        return build(replace(context, point=point))

    with (
        mock.patch.object(dispatch, "build", mortal),
        mock.patch.object(sys, "argv", ["runyard-operator", *arguments]),
    ):
        main.main()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run an operator that dies at a named point.")
    parser.add_argument("--die-at", type=Path, required=True, help="file with the point's name")
    options, rest = parser.parse_known_args()
    run(options.die_at, rest)
