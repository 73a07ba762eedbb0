"""Launchers: what starts a script's processes on each node. Names are those of NeMo-Run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runyard.api.base import ATOMIC_LIST, SET_LIST, ApiModel, rule, with_rules

FilePath = Annotated[str, Field(pattern=r"^/[^\s]*$", max_length=1024)]
_PART = r"\.?[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*"
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]


class Rendezvous(ApiModel):
    """How the nodes find each other."""

    rdzv_backend: Literal["c10d", "static"] | None = Field(
        default=None, description="c10d when unset."
    )
    rdzv_port: int | None = Field(
        default=None, ge=1024, le=65535, description="Port on node 0; 29500 when unset."
    )
    rdzv_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        max_length=128,
        description="The attempt's key when unset, so that attempts never meet.",
    )
    max_restarts: int | None = Field(
        default=None, ge=0, le=1000, description="Restarts of the processes within an attempt."
    )


class Torchrun(Rendezvous):
    """torchrun on every node, as many processes as the executor says."""


class FaultTolerance(Rendezvous):
    """NVIDIA's fault-tolerant launcher (`ft_launcher`, package nvidia-resiliency-ext).

    It watches the heartbeats of the ranks and starts them again; a task is done when its program
    has made the file `finishedFlagFile`.
    """

    cfg_path: FilePath | None = Field(
        default=None, description="Configuration file in the container; none when unset."
    )
    finished_flag_file: FilePath | None = Field(
        default=None,
        description="Handed to the program as FAULT_TOL_FINISHED_FLAG_FILE. When set, a program"
        " that ends well without it counts as failed.",
    )
    workload_check_interval: Seconds | None = None
    initial_rank_heartbeat_timeout: Seconds | None = None
    rank_heartbeat_timeout: Seconds | None = None
    rank_termination_signal: Literal["SIGTERM", "SIGKILL", "SIGINT", "SIGUSR1"] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None


class Nsys(ApiModel):
    """Runs the program under NVIDIA's profiler `nsys`, which the image must have."""

    folder: str = Field(
        default="nsys_profile",
        pattern=rf"^/?{_PART}(/{_PART})*$",
        max_length=253,
        description="Below the job folder, /nemo_run, which goes with the pod; or an absolute path,"
        " on a volume that stays.",
    )
    filename: str = Field(default="profile_%p", pattern=r"^[A-Za-z0-9_.%{}-]+$", max_length=128)
    trace: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=32)]],
        Field(max_length=16, json_schema_extra=SET_LIST),
    ] = ["nvtx", "cuda"]
    extra_args: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        Field(max_length=32, json_schema_extra=ATOMIC_LIST),
    ] = [
        "--force-overwrite=true",
        "--capture-range=cudaProfilerApi",
        "--capture-range-end=stop",
        "--cuda-graph-trace=node",
        "--cuda-event-trace=false",
    ]
    gpu_metrics: bool = Field(default=False, description="Samples all GPUs, on node 0.")


class Launcher(ApiModel):
    """What starts the script's processes on each node; `nsys` goes before it, or stands alone."""

    model_config = with_rules(
        rule(
            "!(has(self.torchrun) && has(self.ft)) && (has(self.torchrun) || has(self.ft) ||"
            " has(self.nsys))",
            "set torchrun or ft, with or without nsys, or nsys alone",
        )
    )
    torchrun: Torchrun | None = None
    ft: FaultTolerance | None = None
    nsys: Nsys | None = None

    @property
    def distributed(self) -> Torchrun | FaultTolerance | None:
        """The one that starts processes on several nodes; None for `nsys` alone."""
        return self.torchrun or self.ft
