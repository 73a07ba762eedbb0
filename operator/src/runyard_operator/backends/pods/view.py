"""A pod as far as the operator reads it: parsed once, absent fields are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

INDEX: Final = "batch.kubernetes.io/job-completion-index"
REPLICATED_JOB: Final = "jobset.sigs.k8s.io/replicatedjob-name"
MAIN_CONTAINERS: Final = ("main", "node")
ROLE: Final = "RUNYARD_ROLE"


def instant(text: str | None) -> datetime | None:
    """A Kubernetes time as an aware UTC datetime; what never happened is in 1970 for some."""
    return None if not text or text.startswith("1970-") else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """The state of one container; `exit_code` is set once it has ended."""

    name: str
    role: str = ""
    """The role of a group that it runs; empty when the task is no group."""
    started: datetime | None = None
    running: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    end_reason: str = ""
    end_message: str = ""
    finished: datetime | None = None

    @property
    def has_started(self) -> bool:
        """Whether its program runs or ran; a container that could not be started did not."""
        return self.running or (self.exit_code is not None and self.started is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod; `index` is its completion index in an indexed Job, that is, its node rank."""

    name: str
    phase: str
    created: str = ""
    deleting: bool = False
    job: str = ""
    """The job in its JobSet; empty for the pod of a plain Job."""
    index: int | None = None
    node: str | None = None
    reason: str = ""
    message: str = ""
    main: ContainerView | None = None
    """The task's container; of a group, the leader's."""
    peers: tuple[ContainerView, ...] = ()
    """The containers of a group's other roles whose ends count."""
    sidecars: tuple[ContainerView, ...] = ()
    """The containers of a group's other roles where the leader alone decides."""
    init: tuple[ContainerView, ...] = ()
    unscheduled: tuple[str, str] | None = None
    """Reason and message of a PodScheduled condition that is False."""
    disruption: tuple[str, str] | None = None
    """Reason and message of a DisruptionTarget condition that is True."""

    @property
    def rank(self) -> int:
        return self.index or 0

    @property
    def deciding(self) -> tuple[ContainerView, ...]:
        """The containers whose exit codes make the pod's result."""
        return (self.main, *self.peers) if self.main is not None else self.peers

    @property
    def has_started(self) -> bool:
        """Whether every program of the task runs here, or has run."""
        if self.main is None:
            return False
        return all(each.has_started for each in (*self.deciding, *self.sidecars))


def pod_view(pod: Mapping[str, Any]) -> PodView:
    """Reads a v1/Pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    spec = pod.get("spec") or {}
    roles = _roles(spec)
    inits = [_container(each, roles) for each in status.get("initContainerStatuses") or []]
    views = [_container(each, roles) for each in status.get("containerStatuses") or []]
    named = (each for each in views if each.name in MAIN_CONTAINERS)
    main = next(named, views[0] if views else None)
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    index = marks.get(INDEX)
    conditions = {
        (each["type"], each["status"]): (each.get("reason") or "", each.get("message") or "")
        for each in status.get("conditions") or []
    }
    return PodView(
        name=metadata["name"],
        phase=status.get("phase") or "Pending",
        created=metadata.get("creationTimestamp") or "",
        deleting=bool(metadata.get("deletionTimestamp")),
        job=marks.get(REPLICATED_JOB) or "",
        index=int(index) if index and index.isdigit() else None,
        node=spec.get("nodeName"),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        main=main,
        peers=tuple(each for each in views if each.role and each is not main),
        sidecars=tuple(each for each in inits if each.role),
        init=tuple(each for each in inits if not each.role),
        unscheduled=conditions.get(("PodScheduled", "False")),
        disruption=conditions.get(("DisruptionTarget", "True")),
    )


def _roles(spec: Mapping[str, Any]) -> dict[str, str]:
    """The roles of a group by the names of their containers."""
    return {
        each["name"]: variable.get("value") or ""
        for each in (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
        for variable in each.get("env") or []
        if variable["name"] == ROLE
    }


def _container(status: Mapping[str, Any], roles: Mapping[str, str]) -> ContainerView:
    state = status.get("state") or {}
    waiting, running = state.get("waiting") or {}, state.get("running")
    ended = state.get("terminated") or {}
    return ContainerView(
        name=status["name"],
        role=roles.get(status["name"], ""),
        started=instant((running or ended).get("startedAt")),
        running=running is not None,
        waiting_reason=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        exit_code=ended.get("exitCode"),
        end_reason=ended.get("reason") or "",
        end_message=ended.get("message") or "",
        finished=instant(ended.get("finishedAt")),
    )
