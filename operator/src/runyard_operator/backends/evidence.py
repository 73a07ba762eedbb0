"""What pods and jobs do not say themselves: the end of a log, and the events of one that is stuck.

All of it is for people. When it cannot be had, the observation is as good as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from runyard_operator.backends import kueue
from runyard_operator.backends.pods.failure import (
    culprit,
    last_lines,
    never_ran,
    part_that_failed,
)
from runyard_operator.backends.pods.result import newest
from runyard_operator.backends.pods.view import instant, pod_view
from runyard_operator.backends.pods.waiting import SAYS_LITTLE
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import KubeError
from runyard_operator.kube.resources import Ref

# The trailer that torchrun prints is 45 lines long.
LOG_LINES: Final = 100
LOG_BYTES: Final = 262_144
PATIENCE: Final = timedelta(seconds=10)
"""How long a job may be on its way before anybody asks why."""

Objects = Sequence[Mapping[str, Any]]


class Evidence:
    """Reads logs, events and queues: one or two requests for a failure or a job that is stuck."""

    def __init__(self, kube: KubeApi, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._now = now

    async def add(self, seen: Observation, child: Mapping[str, Any], pods: Objects) -> Observation:
        """The observation with what can be found out beside it."""
        try:
            if seen.state is State.FAILED:
                return await self._with_log(seen, child, pods)
            if seen.state is State.WAITING and kueue.is_held(child):
                seen = replace(seen, queued=True)
                return await kueue.explain(self._kube, seen, child)
            if seen.state is State.WAITING and seen.reason in SAYS_LITTLE:
                return await self._with_event(seen, child, pods)
        except KubeError:
            return seen
        return seen

    async def _with_log(
        self, seen: Observation, child: Mapping[str, Any], pods: Objects
    ) -> Observation:
        pod = culprit(newest([pod_view(each) for each in pods]))
        if pod is None:
            return seen
        part = part_that_failed(pod) or pod.main
        if part is None or part.exit_code is None or never_ran(part):
            return seen
        ref = Ref("v1", "Pod", pod.name, child["metadata"]["namespace"])
        text = await self._kube.pod_log(
            ref, container=part.name, tail_lines=LOG_LINES, limit_bytes=LOG_BYTES
        )
        return replace(seen, last_log_lines=last_lines(text) or seen.last_log_lines)

    async def _with_event(
        self, seen: Observation, child: Mapping[str, Any], pods: Objects
    ) -> Observation:
        metadata = child["metadata"]
        made = instant(metadata.get("creationTimestamp"))
        if made is None or self._now() - made < PATIENCE:
            return seen
        # The Job of a TrainJob has a name of its own.
        names = [metadata["name"], f"{metadata['name']}-node-0"]
        if pods:
            names = [min(each["metadata"]["name"] for each in pods)]
        events: list[Object] = []
        for name in names:
            events += await self._kube.list(
                "v1",
                "Event",
                namespace=metadata["namespace"],
                field_selector=f"involvedObject.name={name}",
            )
        return with_newest_event(seen, events)


def with_newest_event(seen: Observation, events: Objects) -> Observation:
    """The newest event tells what goes on; as the reason, if it is a warning."""
    event = max(events, key=_time, default=None)
    if event is None or not event.get("message"):
        return seen
    warning = event.get("type") == "Warning" and event.get("reason")
    about = f"{event['involvedObject'].get('kind', '').lower()} {event['involvedObject']['name']}"
    return replace(
        seen,
        reason=str(event["reason"]) if warning else seen.reason,
        message=f"{about}: {event['message']}",
    )


def _time(event: Mapping[str, Any]) -> tuple[str, int]:
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    version = event["metadata"].get("resourceVersion") or "0"
    # Times with and without fractions of a second: the first 19 characters compare as text.
    return max((each or "")[:19] for each in times), int(version)
