"""A script and its launcher to the words of a command."""

from __future__ import annotations

from dataclasses import dataclass

from runyard.api.launcher import Launcher
from runyard_operator.launchers import nsys, torch
from runyard_operator.launchers.words import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A script: the program that runs it, its file or its Python module, and its arguments."""

    entrypoint: str
    path: str | None = None
    module: str | None = None
    args: tuple[str, ...] = ()

    @property
    def script(self) -> tuple[str, ...]:
        """The words after the entrypoint."""
        if self.module is not None:
            return ("-m", self.module, *self.args)
        path = self.path or ""
        # A file's name may begin as an option does.
        return (f"./{path}" if path.startswith("-") else path, *self.args)


def start(program: Program, launcher: Launcher | None, shape: Shape) -> list[str]:
    """The words that start the program on each node of that shape.

    Words of the program come out as they went in: nothing is interpreted or joined.
    """
    if launcher is None:
        return [program.entrypoint, *program.script]
    words = [program.entrypoint, *program.script]
    if launcher.torchrun is not None:
        words = torch.torchrun(launcher.torchrun, program.entrypoint, program.script, shape)
    elif launcher.ft is not None:
        words = torch.ft_launcher(launcher.ft, program.entrypoint, program.script, shape)
    return words if launcher.nsys is None else nsys.profiled(launcher.nsys, words, shape)
