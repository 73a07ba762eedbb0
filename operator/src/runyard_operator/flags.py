"""Settings from command-line flags, each with an environment variable behind it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import NoReturn


class UsageError(Exception):
    """The settings are not usable; the message says what to do."""


class Flags(argparse.ArgumentParser):
    """A parser whose flag FOO-BAR is also set by the variable <prefix>FOO_BAR.

    It raises UsageError where argparse would end the process.
    """

    def __init__(
        self, prog: str, description: str, *, prefix: str, environ: Mapping[str, str]
    ) -> None:
        also = "Each flag FOO-BAR can also be set by the environment variable"
        super().__init__(
            prog=prog, description=f"{description} {also} {prefix}FOO_BAR.", allow_abbrev=False
        )
        self._prefix = prefix
        self._environ = environ

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def option(self, flag: str, default: str, describe: str, **more: object) -> None:
        """A flag with a default; `more` is for argparse."""
        name = self._prefix + flag.upper().replace("-", "_")
        # argparse passes a default that is text through `type`, as if it had been typed.
        self.add_argument(
            f"--{flag}",
            default=self._environ.get(name) or default,
            help=f"{describe} (default: {default or 'none'})",
            **more,  # type: ignore[arg-type]
        )


def listening_host(environ: Mapping[str, str]) -> str:
    """Where a server of ours listens when nobody says: in a pod the kubelet probes the pod's own
    address; elsewhere nobody else needs to reach it."""
    return "0.0.0.0" if "KUBERNETES_SERVICE_HOST" in environ else "127.0.0.1"  # noqa: S104
