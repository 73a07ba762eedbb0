"""The store's settings: command-line flags, each with an environment variable behind it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runyard_operator.flags import Flags, UsageError, listening_host
from runyard_operator.logs_json import LogFormat
from runyard_operator.storage.depot import Limits

_PREFIX: Final = "RUNYARD_STORE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one store process.

    Attributes:
        data: the folder of the bytes.
        key_file: the key that the store shares with the operator.
        namespaces: the namespaces to serve; empty for all of them.
        host, port: where it listens; port 0 takes a free one.
        kubeconfig: path of a kubeconfig file; None means the service account, then the default.
        limits: what is refused.
        log_days: how long archived logs are kept.
        log_level, log_format: as the operator's.
    """

    data: Path
    key_file: Path
    namespaces: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    kubeconfig: str | None = None
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    log_days: int = 90
    log_level: str = "INFO"
    log_format: LogFormat = "json"

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """One entry for each list: a namespace, or None for the cluster."""
        return self.namespaces or (None,)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags, then environment variables, then defaults.

    Raises:
        UsageError: something is missing or malformed.
        SystemExit: `--help` was asked for.
    """
    args = _parser(environ).parse_args(argv)
    if not args.key_file:
        raise UsageError("--key-file is missing: name the file of the key shared with the operator")
    return Settings(
        data=Path(args.data),
        key_file=Path(args.key_file),
        namespaces=tuple(each for each in args.namespaces.split(",") if each),
        host=args.host,
        port=args.port,
        kubeconfig=args.kubeconfig or None,
        limits=Limits(
            bundle=args.max_bundle, content=args.max_content, namespace=args.namespace_cap
        ),
        log_days=args.log_days,
        log_level=args.log_level.upper(),
        log_format=args.log_format,
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Flags(
        "python -m runyard_operator.storage",
        "Keeps code and logs.",
        prefix=_PREFIX,
        environ=environ,
    )
    option = parser.option
    limits = Limits()
    option("data", "/var/lib/runyard", "the folder of the bytes")
    option("key-file", "", "the key shared with the operator")
    option("namespaces", "", "the namespaces to serve, separated by commas; all when empty")
    option("host", listening_host(environ), "address to listen on")
    option("port", "8080", "port to listen on", type=_number)
    option("kubeconfig", "", "kubeconfig file, for a store outside the cluster")
    option("max-bundle", str(limits.bundle), "bytes of one archive", type=_number)
    option("max-content", str(limits.content), "bytes that an archive unpacks to", type=_number)
    option("namespace-cap", str(limits.namespace), "bytes of one namespace", type=_number)
    option("log-days", "90", "days for which archived logs are kept", type=_number)
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    option("log-level", "INFO", "least level logged", type=str.upper, choices=levels)
    option("log-format", "json", "json or text", choices=("json", "text"))
    return parser


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is not a number")
    return int(text)
