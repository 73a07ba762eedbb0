"""Events and log ends that make an observation clearer."""

from __future__ import annotations

from typing import Any

import pytest

from runyard_operator.backends.evidence import with_newest_event
from runyard_operator.backends.pods.failure import last_lines
from runyard_operator.engine.observation import Observation, State

SEEN = Observation(state=State.WAITING, reason="PodInitializing", message="is being set up")


def event(
    type_: str, reason: str, message: str, *, version: int = 1, **times: Any
) -> dict[str, Any]:
    """A core/v1 Event about a pod."""
    return {
        "metadata": {"resourceVersion": str(version)},
        "involvedObject": {"kind": "Pod", "name": "a-1-x"},
        "type": type_,
        "reason": reason,
        "message": message,
        "lastTimestamp": None,
        "eventTime": None,
        **times,
    }


def test_the_newest_warning_becomes_the_reason() -> None:
    """A ConfigMap that is not there is seen in the events alone."""
    old = event("Normal", "Scheduled", "assigned", lastTimestamp="2026-11-21T10:00:00Z")
    new = event(
        "Warning",
        "FailedMount",
        'configmap "code" not found',
        eventTime="2026-11-21T10:00:09.123456Z",
    )
    found = with_newest_event(SEEN, [new, old])
    assert (found.reason, found.message) == (
        "FailedMount",
        'pod a-1-x: configmap "code" not found',
    )


def test_a_newer_normal_event_ends_the_alarm() -> None:
    """A mount that worked at the second try is no reason to worry; the pull of an image is news."""
    old = event("Warning", "FailedMount", "timed out", lastTimestamp="2026-11-21T10:00:00Z")
    new = event("Normal", "Pulling", "Pulling image x", lastTimestamp="2026-11-21T10:00:01Z")
    found = with_newest_event(SEEN, [old, new])
    assert (found.reason, found.message) == ("PodInitializing", "pod a-1-x: Pulling image x")


def test_events_of_one_second_are_told_apart_by_their_version() -> None:
    """Event times are whole seconds."""
    at = "2026-11-21T10:00:00Z"
    first = event("Normal", "Pulled", "pulled", version=9, lastTimestamp=at)
    then = event("Warning", "Failed", "no such key", version=10, lastTimestamp=at)
    assert with_newest_event(SEEN, [then, first]).reason == "Failed"


def test_without_events_nothing_changes() -> None:
    """Events live for an hour only."""
    assert with_newest_event(SEEN, []) is SEEN


TORCHRUN = [
    "E1121 13:50:09.732000 1 torch/distributed/elastic/multiprocessing/api.py:869] failed"
    " (exitcode: 7) local_rank: 0 (pid: 8) of binary: /usr/bin/python3",
    "Traceback (most recent call last):",
    *[f"frame {number}" for number in range(30)],
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
]


@pytest.mark.parametrize("before", [[], ["ValueError: bad data", ""]])
def test_torchruns_own_traceback_is_left_out(before: list[str]) -> None:
    """What the training script said last is worth more than torchrun's forty lines about it."""
    lines = last_lines("\n".join([*before, *TORCHRUN]))
    assert lines == (*[each for each in before if each], TORCHRUN[0])
