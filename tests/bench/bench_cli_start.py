"""How long the command line takes to start: `python tests/bench/bench_cli_start.py [--imports]`.

Prints wall and CPU time (user and system) in milliseconds, each the least and the median of the
runs. CPU time is the one to compare on a busy machine. With a cluster ($KUBECONFIG), `status` is
measured too; with --imports, the packages that were weighed for the job are imported as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "runyard --help": ["-m", "runyard.cli.main", "--help"],
    "runyard version --client": ["-m", "runyard.cli.main", "version", "--client"],
}
CLUSTER_COMMANDS = {
    "runyard status": ["-m", "runyard.cli.main", "status"],
    "runyard version": ["-m", "runyard.cli.main", "version"],
}
IMPORTS = (
    "argparse",
    "click",
    "typer, pydantic.type_adapter",
    "http.client, ssl",
    "urllib3",
    "requests",
    "kubernetes.config",
    "kubernetes.client",
    "yaml",
    "rich.live, rich.text",
    "runyard.api",
)


def measure(arguments: list[str], runs: int) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds of each run of the interpreter."""
    wall, cpu = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        wall.append((time.perf_counter() - start) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cpu.append(used * 1000)
    return wall, cpu


def main() -> None:
    """Measures and prints one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    commands = dict(COMMANDS)
    if os.environ.get("KUBECONFIG"):
        commands |= CLUSTER_COMMANDS
    if options.imports:
        commands |= {f"import {names}": ["-c", f"import {names}"] for names in IMPORTS}
    print(f"{'ms':38}{'wall least':>11}{'median':>8}{'CPU least':>11}{'median':>8}")
    for name, arguments in commands.items():
        wall, cpu = measure(arguments, options.runs)
        print(
            f"{name:38}{min(wall):11.0f}{statistics.median(wall):8.0f}"
            f"{min(cpu):11.0f}{statistics.median(cpu):8.0f}"
        )


if __name__ == "__main__":
    main()
