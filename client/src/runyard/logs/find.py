"""Which logs there are: of every node, role and container of a task's newest attempt, or another.

Pods and the archive are described in the same words, so that nobody need know which it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runyard.kube.client import KubeClient, Object
from runyard.logs.archive import Archive, File, Manifest
from runyard.logs.describe import (
    LABEL_JOBSET_JOB,
    attempt_of,
    described,
    log_key,
    place_of,
    rank_of,
    task_of,
)
from runyard.logs.pods import PodReader
from runyard.logs.reader import Reader


@dataclass(frozen=True, slots=True)
class Source:
    """One container's log.

    Attributes:
        task: the task's name.
        member: the index in a matrix; None for a plain task.
        rank: the node of a job of several; of a role that is pods of its own, its own count.
        role: of a group, or of a Ray cluster; empty for neither.
        wide: whether the role is pods of its own, and so has ranks.
        init: whether it is an init container, which is shown when it has failed.
        pod: where it is read; None when it is in the archive.
        archived: where it is read; None when the pod is there.
    """

    task: str
    member: int | None
    attempt: int
    rank: int
    role: str
    container: str
    wide: bool = False
    init: bool = False
    pod: Object | None = None
    archived: tuple[str, File] | None = None

    @property
    def prefix(self) -> str:
        """What tells its lines from those of others: of a group the role, else the rank."""
        task = self.task if self.member is None else f"{self.task}-{self.member}"
        place = f"{self.role}/{self.rank}" if self.role and self.wide else self.role or self.rank
        return f"{task}/{place}" + (f":{self.container}" if self.init else "")

    @property
    def key(self) -> str:
        """Names the log for good, wherever it is."""
        if self.pod is not None:
            return log_key(str(self.pod["metadata"]["uid"]), self.container)
        return log_key(self.archived[1].pod_uid if self.archived else "", self.container)

    @property
    def several(self) -> bool:
        """Whether there are likely to be others beside it: pods of a job come one by one."""
        labels = ((self.pod or {}).get("metadata") or {}).get("labels") or {}
        return bool(self.role) or LABEL_JOBSET_JOB in labels

    def reader(self, client: KubeClient, archive: Archive) -> Reader:
        """Reads it where it is."""
        if self.archived is not None:
            uid, file = self.archived
            return archive.reader(uid, self.attempt, file)
        if self.pod is None:
            raise ValueError("a source is a pod's or the archive's")
        return PodReader(client, self.pod, self.container)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which sources are meant; None means all, and of the attempts the newest."""

    rank: int | None = None
    role: str | None = None
    attempt: int | None = None

    def takes(self, source: Source) -> bool:
        """Whether the source is meant."""
        return self.rank in (None, source.rank) and self.role in (None, source.role)


def of_pods(pods: Iterable[Object], choice: Choice) -> list[Source]:
    """The sources of one task, or one member of a matrix: the newest pod of each role and rank."""
    pods = list(pods)
    attempt = choice.attempt or max(map(attempt_of, pods), default=0)
    newest: dict[tuple[str, str, int, str], Object] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or "")):
        if attempt_of(pod) == attempt:
            newest[place_of(pod)] = pod
    found = [each for key in sorted(newest) for each in _sources(newest[key], attempt)]
    return [each for each in found if choice.takes(each)]


def of_archive(
    task: str, member: int | None, attempt: int, uid: str, manifest: Manifest, choice: Choice
) -> list[Source]:
    """The sources that the archive has of an attempt, in the order of its manifest."""
    found = [
        Source(
            task=task,
            member=member,
            attempt=attempt,
            rank=file.rank,
            role=file.role,
            container=file.container,
            wide=file.wide,
            init=file.init,
            archived=(uid, file),
        )
        for file in manifest.files
    ]
    return [each for each in found if choice.takes(each)]


def _sources(pod: Object, attempt: int) -> list[Source]:
    task, member = task_of(pod)
    return [
        Source(task, member, attempt, rank_of(pod), role, container, wide, init, pod)
        for container, role, wide, init in described(pod)
    ]
