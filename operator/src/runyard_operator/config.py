"""The operator's settings: command-line flags, each with an environment variable behind it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from runyard_operator import __version__
from runyard_operator.flags import Flags, UsageError, listening_host
from runyard_operator.logs_json import LogFormat

_PREFIX: Final = "RUNYARD_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one operator process.

    Attributes:
        namespaces: the namespaces to serve; empty for all of them.
        image: the operator's own image, for the init containers that unpack code.
        operator_namespace: where the operator runs and shared profiles live.
        workers: how many objects are reconciled at once.
        http_host: address of the server of metrics and probes.
        http_port: its port; 0 takes a free one.
        log_level: the least level that is logged.
        log_format: `json` or `text`.
        kubeconfig: path of a kubeconfig file; None means the service account, then the default.
        leader_elect: whether the operator works only while it holds the lease.
        lease_name: the Lease in the operator's namespace.
        lease_seconds: how long a leader that is not heard of is waited for.
        store_url: where pods reach the code store; empty when there is none.
        store_key_file: the key that the operator shares with the store.
        log_archive: whether the logs of ended tasks are kept, in the store.
        bundle_cap: bytes that the bundles in one namespace's ConfigMaps may take.
        package_index: the index of Python packages where a task names none; pip's own when empty.
    """

    image: str
    namespaces: tuple[str, ...] = ()
    operator_namespace: str = "runyard-system"
    workers: int = 8
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    log_level: str = "INFO"
    log_format: LogFormat = "json"
    kubeconfig: str | None = None
    leader_elect: bool = False
    lease_name: str = "runyard-operator"
    lease_seconds: int = 6
    store_url: str = ""
    store_key_file: str = ""
    log_archive: bool = True
    bundle_cap: int = 64_000_000
    package_index: str = ""

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """One entry for each list and watch of a kind: a namespace, or None for the cluster."""
        return self.namespaces or (None,)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Settings from flags, then environment variables, then defaults.

    Raises:
        UsageError: something is missing or malformed.
        SystemExit: `--help` or `--version` was asked for.
    """
    args = _parser(environ).parse_args(argv)
    if not args.image:
        raise UsageError(
            "the operator's own image is not known: set RUNYARD_IMAGE or --image to the image that"
            " this operator runs from; its init containers unpack code in the pods of the tasks"
        )
    if bool(args.store_url) != bool(args.store_key_file):
        raise UsageError("--store-url and --store-key-file go together: set both or none")
    namespaces = args.namespace or _words(environ.get(f"{_PREFIX}NAMESPACES", ""))
    return Config(
        image=args.image,
        namespaces=tuple(dict.fromkeys(namespaces)),
        operator_namespace=args.operator_namespace,
        workers=args.workers,
        http_host=args.http_host,
        http_port=args.http_port,
        log_level=args.log_level,
        log_format=args.log_format,
        kubeconfig=args.kubeconfig or None,
        leader_elect=args.leader_elect,
        lease_name=args.lease_name,
        lease_seconds=args.lease_seconds,
        store_url=args.store_url.rstrip("/"),
        store_key_file=args.store_key_file,
        log_archive=args.log_archive,
        bundle_cap=args.bundle_cap,
        package_index=args.package_index,
    )


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Flags(
        "runyard-operator",
        "Runs the Experiments of runyard.dev.",
        prefix=_PREFIX,
        environ=environ,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--namespace",
        action="append",
        metavar="NAME",
        help="a namespace to serve; repeat for more (RUNYARD_NAMESPACES: separated by commas);"
        " default: all",
    )

    option = parser.option
    option("image", "", "the operator's own image")
    option("operator-namespace", "runyard-system", "where the operator runs")
    option("workers", "8", "objects reconciled at once", type=_positive)
    option("http-host", listening_host(environ), "address for metrics and probes")
    option("http-port", "8080", "port for metrics and probes", type=_port)
    option("log-level", "INFO", "least level logged", type=_level)
    option("log-format", "json", "json or text", type=_style)
    option("kubeconfig", "", "kubeconfig file, for an operator outside the cluster")
    # Alone, the flag means true.
    elect = {"nargs": "?", "const": True, "type": _truth, "metavar": "true|false"}
    option("leader-elect", "false", "work only while holding the lease", **elect)
    option("lease-name", "runyard-operator", "the Lease in the operator's namespace")
    option("lease-seconds", "6", "how long a silent leader is waited for", type=_lease)
    option("store-url", "", "where pods reach the code store")
    option("store-key-file", "", "the key shared with the code store")
    keep = {"nargs": "?", "const": True, "type": _truth, "metavar": "true|false"}
    option("log-archive", "true", "keep the logs of ended tasks in the code store", **keep)
    option("package-index", "", "index of Python packages where a task names none", type=_index)
    option(
        "bundle-cap",
        "64000000",
        "bytes that the code in one namespace's ConfigMaps may take",
        type=_positive,
    )
    return parser


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"


def _lease(text: str) -> int:
    if not text.isdecimal() or not 3 <= int(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds: give 3 to 600")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: give 0 to 65535")
    return int(text)


def _index(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise argparse.ArgumentTypeError(f"{text} is not an http or https address")
    if "@" in parts.netloc:
        raise argparse.ArgumentTypeError(
            "the address has credentials in it, which every pod would show: let tasks name a Secret"
            " in packages.indexSecret"
        )
    return text


def _level(text: str) -> str:
    level = text.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise argparse.ArgumentTypeError(f"{text} is not one of DEBUG, INFO, WARNING, ERROR")
    return level


def _style(text: str) -> str:
    if text not in ("json", "text"):
        raise argparse.ArgumentTypeError(f"{text} is neither json nor text")
    return text
