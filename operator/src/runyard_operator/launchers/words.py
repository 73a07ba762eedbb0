"""What a place tells a launcher about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOCALHOST: Final = "localhost"


class Variable(str):
    """A word that the place itself replaces: it is handed over as it is, never escaped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where the processes run.

    `nodes` nodes, of which `min_nodes` are enough where that is set, with `nprocs` processes each.
    `head` is the address of node 0 as all nodes know it, and `node_rank` the node's own number
    from 0; either may be a `Variable`. `run_id` is one text for all nodes of one attempt, and no
    other attempt's. `job_dir` is the job's folder on each node.
    """

    nodes: int = 1
    min_nodes: int | None = None
    nprocs: int = 1
    head: str = LOCALHOST
    node_rank: str = "0"
    run_id: str = "runyard"
    job_dir: str = "/nemo_run"
