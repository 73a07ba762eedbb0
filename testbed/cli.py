"""The command line of the testbed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed import build, existing, state, status
from testbed.down import down, down_all, stop
from testbed.errors import ClusterError
from testbed.layout import DEFAULT_NAME, Home, home_of
from testbed.node import images
from testbed.up import Wanted, load_images, up


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="testbed", description="A real Kubernetes on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("up", help="bring a cluster up, or up to a higher level")
    _name_option(command)
    command.add_argument(
        "--level", choices=state.LEVELS, default="api",
        help="api: API server and controllers; node: pods (root); ml: also Trainer, Ray, Kueue",
    )  # fmt: skip
    command.add_argument("--without", choices=["kuberay", "kueue"], action="append", default=[])
    command.add_argument("--simulated", type=int, default=0, metavar="N", help="add N kwok nodes")
    command.add_argument(
        "--cluster", choices=["testbed", "current", "kind"], default="testbed",
        help="current: the cluster of your kubeconfig's context; kind: make one with Docker",
    )  # fmt: skip
    command.add_argument(
        "--load", nargs="+", default=[], metavar="IMAGE",
        help="also build and load these, for example image/operator",
    )  # fmt: skip
    command = commands.add_parser("load", help="build images and load them into the node again")
    _name_option(command)
    command.add_argument("images", nargs="+", metavar="IMAGE", help="for example image/operator")
    command = commands.add_parser("stop", help="stop a cluster and keep its state; `up` resumes")
    _name_option(command)
    command = commands.add_parser("down", help="remove a cluster and all that it made")
    _name_option(command)
    command.add_argument("--all", action="store_true", help="all clusters of this user")
    command = commands.add_parser("status", help="show what runs")
    _name_option(command)
    command.add_argument("-o", "--output", choices=["text", "json"], default="text")
    command = commands.add_parser("logs", help="show a component's log")
    _name_option(command)
    command.add_argument("component", help="as `status` names it")
    command.add_argument("-f", "--follow", action="store_true")
    command = commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    _name_option(command)
    commands.add_parser("prune", help="remove built parts that are no longer used")
    return top


def _up(options: argparse.Namespace) -> int:
    if options.cluster != "testbed":
        return existing.up(options.cluster, tuple(options.load), _say)
    home = home_of(options.name)
    wanted = Wanted(
        options.level, "kuberay" not in options.without, options.simulated, tuple(options.load),
        kueue="kueue" not in options.without,
    )  # fmt: skip
    begin = time.monotonic()
    up(home, wanted, _say)
    _say(f"cluster {home.name} is up at level {options.level} ({time.monotonic() - begin:.0f} s)")
    print(f"export KUBECONFIG={home.kubeconfig}")
    return 0


def _demand(home: Home) -> None:
    if state.load(home) is None:
        raise ClusterError(
            f"there is no cluster {home.name!r}; `python3 -m testbed up --name {home.name}` "
            "makes it"
        )


def _status(options: argparse.Namespace) -> int:
    home = home_of(options.name)
    _demand(home)
    facts = status.snapshot(home) or {}
    print(json.dumps(facts, indent=1) if options.output == "json" else status.table(facts))
    return 0 if facts["ready"] else 1


def _follow(log: Path) -> None:
    with log.open(errors="replace") as file:
        while True:
            text = file.read()
            if text:
                print(text, end="", flush=True)
            else:
                time.sleep(0.2)


def _logs(options: argparse.Namespace) -> int:
    home = home_of(options.name)
    _demand(home)
    log = home.log(options.component)
    if not log.exists():
        known = ", ".join(sorted(path.stem for path in home.logs.glob("*.log")))
        raise ClusterError(f"no component {options.component!r}; there are: {known}")
    if options.follow:
        _follow(log)
    sys.stdout.write(log.read_text(errors="replace"))
    return 0


def _kubeconfig(options: argparse.Namespace) -> int:
    home = home_of(options.name)
    _demand(home)
    print(home.kubeconfig)
    return 0


def _load(options: argparse.Namespace) -> int:
    load_images(home_of(options.name), tuple(options.images), _say)
    return 0


def _stop(options: argparse.Namespace) -> int:
    if not stop(home_of(options.name), _say):
        _say(f"there is no cluster {options.name!r}")
    return 0


def _down(options: argparse.Namespace) -> int:
    if options.all:
        _say(f"{down_all(_say)} clusters removed")
    elif not down(home_of(options.name), _say):
        _say(f"there is no cluster {options.name!r}")
    return 0


def _prune(_options: argparse.Namespace) -> int:
    build.prune()
    images.prune()
    return 0


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "load": _load,
    "stop": _stop,
    "down": _down,
    "status": _status,
    "logs": _logs,
    "kubeconfig": _kubeconfig,
    "prune": _prune,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status (1: an error that was explained)."""
    options = parser().parse_args(arguments)
    # A polite end of the session counts as Ctrl-C: the state stays such that `up` goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _COMMANDS[options.command](options)
    except (ClusterError, build.BuildError) as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from here, `down` removes everything")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
