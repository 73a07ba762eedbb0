"""What every command needs: the options about the cluster, the client, the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from runyard.kube.client import KubeClient


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster and namespace, as kubectl's options of the same names say."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def over(self, base: Target) -> Target:
        """These options, where unset those of `base`: they may stand before the command too."""
        return Target(
            namespace=self.namespace or base.namespace,
            context=self.context or base.context,
            kubeconfig=self.kubeconfig or base.kubeconfig,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """The outside world of one command."""

    target: Target
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    now: Callable[[], datetime] = _utc_now

    def connect(self) -> KubeClient:
        """The client of the chosen cluster; nothing is sent yet."""
        from runyard.kube.kubeconfig import load
        from runyard.kube.transport import Transport

        target = self.target
        access = load(target.kubeconfig, target.context, target.namespace, self.environ)
        return KubeClient(Transport(access, self.environ))

    @property
    def interactive(self) -> bool:
        """Whether the output is a terminal on which lines can be drawn again."""
        return self.out.isatty() and self.environ.get("TERM") != "dumb"

    @property
    def colour(self) -> bool:
        """Whether colours are wanted (https://no-color.org)."""
        return self.interactive and not self.environ.get("NO_COLOR")

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None when lines should not be cut."""
        if not self.out.isatty():
            return None
        import shutil

        return shutil.get_terminal_size().columns

    def say(self, text: str = "") -> None:
        """One line of output, at once."""
        self.out.write(f"{text}\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """One line beside the output."""
        self.err.write(f"{text}\n")
        self.err.flush()
