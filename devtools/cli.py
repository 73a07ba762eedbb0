"""The commands of `./dev`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from devtools import generate, quickstart, testing
from devtools.common import DevError, run


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="./dev", description="Runs, tests and cleans up Runyard from a checkout."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "quickstart", help="bring up a cluster and run the example experiment on it"
    )
    command.add_argument(
        "--cluster", choices=["testbed", "current", "kind"], default="testbed",
        help="testbed: a real Kubernetes on this machine, built from source (needs root);"
        " current: the cluster of your kubeconfig's context; kind: make one with Docker"
        " (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--operator-image", metavar="IMAGE",
        help="an operator image that the cluster can pull; needed with --cluster current",
    )  # fmt: skip
    command.add_argument(
        "--worker-image", metavar="IMAGE",
        help="an image with Python 3 and PyTorch for the tasks; needed with --cluster current",
    )  # fmt: skip
    command = commands.add_parser("test", help="run the checks and tests, all or some layers")
    command.add_argument(
        "layers", nargs="*", metavar="LAYER", help=f"of {', '.join(testing.NAMES)}; default: all"
    )
    commands.add_parser("generate", help="write the generated files: CRDs, chart copies, docs")
    commands.add_parser("down", help="remove the testbed's cluster and all that it made")
    return top


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "quickstart":
            return quickstart.run_quickstart(
                quickstart.Choice(options.cluster, options.operator_image, options.worker_image)
            )
        case "test":
            return testing.run_layers(options.layers)
        case "generate":
            return generate.run_generators()
    return run([sys.executable, "-m", "testbed", "down"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    # A polite end counts as Ctrl-C, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except DevError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130
