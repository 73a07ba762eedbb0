"""NVIDIA's profiler before a command: https://docs.nvidia.com/nsight-systems/UserGuide/."""

from __future__ import annotations

from typing import Final

from runyard.api.launcher import Nsys
from runyard_operator.launchers.words import Shape

_METRICS: Final = "--gpu-metrics-devices=all"

# The first word is the folder, which nsys does not make; the second the node's number where only
# node 0 samples the GPUs. The others are the command.
_FOLDER: Final = """\
mkdir -p "$1" || exit
shift
exec "$@"
"""
_FIRST_NODE: Final = f"""\
mkdir -p "$1" || exit
rank=$2; shift 2
[ "$rank" = 0 ] || exec "$@"
program=$1; verb=$2; shift 2
exec "$program" "$verb" {_METRICS} "$@"
"""


def profiled(options: Nsys, words: list[str], shape: Shape) -> list[str]:
    """The command under nsys. Needs sh, mkdir and nsys of the image."""
    folder = options.folder
    if not folder.startswith("/"):
        folder = f"{shape.job_dir}/{folder}"
    output = f"{folder}/{options.filename}"
    line = ["nsys", "profile", "-s", "none", "-t", ",".join(options.trace) or "none", "-o", output]
    line += [*options.extra_args, *words]
    if options.gpu_metrics and shape.nodes > 1:
        return ["sh", "-c", _FIRST_NODE, "runyard", folder, shape.node_rank, *line]
    if options.gpu_metrics:
        line.insert(2, _METRICS)
    return ["sh", "-c", _FOLDER, "runyard", folder, *line]
