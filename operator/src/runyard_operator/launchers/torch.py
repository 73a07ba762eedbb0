"""torchrun, and the fault-tolerant launcher that is made from it.

The order of the words is that of NeMo-Run's component. Options of torchrun:
https://docs.pytorch.org/docs/stable/elastic/run.html; those of ft_launcher as its versions 0.4 to
0.7 spell them: https://nvidia.github.io/nvidia-resiliency-ext/fault_tolerance/usage_guide.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from runyard.api.launcher import FaultTolerance, Rendezvous, Torchrun
from runyard_operator.launchers.words import LOCALHOST, Shape, Variable

DEFAULT_BACKEND: Final = "c10d"
DEFAULT_PORT: Final = 29500
CFG_PATH_VARIABLE: Final = "FAULT_TOL_CFG_PATH"
FLAG_VARIABLE: Final = "FAULT_TOL_FINISHED_FLAG_FILE"

HOSTING: Final = """\
if [ "$1" = 0 ]; then host=1; else host=0; fi
conf=$2,is_host=$host; program=$3; shift 3
exec "$program" --rdzv-conf "$conf" "$@"
"""
"""The first words are the node's rank and what else the option says, the others the command."""

_PYTHON: Final = frozenset({"python", "python3"})
"""Programs that torchrun stands for: it runs a script with the Python that it runs in itself."""
_ANY_PORT: Final = "0"
_PATIENCE: Final = "join_timeout=900,read_timeout=900"
"""Seconds for which a node waits for node 0, and for all. Nodes do not start together: an image may
have to be pulled, a volume to be attached. The static backend waits as long by itself; c10d would
give up after 60 seconds, and the attempt with it."""
_MACRO: Final = re.compile(r"\$(?=\$|local_rank|\{local_rank\})")
"""What torchrun puts other text for in the words of a script: it reads each as a string.Template
with the name `local_rank`."""


def torchrun(options: Torchrun, entrypoint: str, script: Sequence[str], shape: Shape) -> list[str]:
    """The words for torchrun; `script` is a file's or a module's words with its arguments."""
    words = ["torchrun", *_rendezvous(options, shape), *_what(entrypoint, script)]
    return _hosted(words, options, shape)


def ft_launcher(
    options: FaultTolerance, entrypoint: str, script: Sequence[str], shape: Shape
) -> list[str]:
    """The words for ft_launcher; see `torchrun`."""
    own = [
        word
        for flag, value in (
            ("--ft-cfg-path", options.cfg_path),
            ("--ft-workload-check-interval", options.workload_check_interval),
            ("--ft-initial-rank-heartbeat-timeout", options.initial_rank_heartbeat_timeout),
            ("--ft-rank-heartbeat-timeout", options.rank_heartbeat_timeout),
            ("--ft-rank-termination-signal", options.rank_termination_signal),
            ("--ft-log-level", options.log_level),
        )
        if value is not None
        for word in (flag, str(value))
    ]
    # It refuses to start when it is told nothing, and the option against that has another name in
    # each version: its own default is told it instead.
    own = own or ["--ft-log-level", "INFO"]
    words = ["ft_launcher", *own, *_rendezvous(options, shape), *_what(entrypoint, script)]
    return _hosted(words, options, shape)


def _hosted(words: list[str], options: Rendezvous, shape: Shape) -> list[str]:
    """The words, where node 0 knows that it is the one that hosts the rendezvous.

    Left alone, c10d compares addresses: a node whose own name is not in DNS yet takes itself for
    another one, and all wait for a host that there is not.
    """
    if shape.nodes == 1 or (options.rdzv_backend or DEFAULT_BACKEND) != DEFAULT_BACKEND:
        return words
    return ["sh", "-c", HOSTING, "runyard", shape.node_rank, _PATIENCE, *words]


def environment(options: FaultTolerance) -> dict[str, str]:
    """The variables by which ft_launcher's users know each other's files."""
    known = {CFG_PATH_VARIABLE: options.cfg_path, FLAG_VARIABLE: options.finished_flag_file}
    return {name: path for name, path in known.items() if path is not None}


def _rendezvous(options: Rendezvous, shape: Shape) -> Iterator[str]:
    backend = options.rdzv_backend or DEFAULT_BACKEND
    nodes = f"{shape.min_nodes}:{shape.nodes}" if shape.min_nodes is not None else str(shape.nodes)
    yield from ("--rdzv-backend", backend)
    yield from ("--rdzv-endpoint", _endpoint(options, backend, shape))
    yield from ("--rdzv-id", options.rdzv_id or shape.run_id)
    yield from ("--nnodes", nodes)
    yield from ("--nproc-per-node", str(shape.nprocs))
    yield from ("--node-rank", shape.node_rank)
    yield from ("--tee", "3")
    if options.max_restarts is not None:
        yield from ("--max-restarts", str(options.max_restarts))


def _endpoint(options: Rendezvous, backend: str, shape: Shape) -> str:
    """Where node 0 listens. Alone, with c10d, it takes any free port, as several roles may share
    one host; the static backend must know the port beforehand."""
    alone = shape.nodes == 1
    if alone and options.rdzv_port is None and backend == DEFAULT_BACKEND:
        return f"{LOCALHOST}:{_ANY_PORT}"
    head = LOCALHOST if alone else shape.head
    endpoint = f"{head}:{options.rdzv_port or DEFAULT_PORT}"
    return Variable(endpoint) if isinstance(head, Variable) else endpoint


def _what(entrypoint: str, script: Sequence[str]) -> list[str]:
    words = [_MACRO.sub("$$", each) for each in script]
    return words if entrypoint in _PYTHON else ["--no-python", entrypoint, *words]
