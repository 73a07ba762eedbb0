"""One pod's log over a real HTTP server that breaks connections."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runyard.cli.logs import Wanted, sources
from runyard.cli.logstream import Follower, LogWriter, Options, containers_of, read_once, started
from runyard.kube.client import KubeClient
from runyard.kube.errors import ApiError
from runyard.kube.kubeconfig import Access
from runyard.kube.transport import Transport
from tests.support.httpserver import Answer, Request, Script, Served, serving
from tests.unit.cli.objects import experiment


def pod(name: str = "p", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": "Running"},
    }


def stamped(*numbers: int, second: int = 0) -> bytes:
    """Lines with timestamps a nanosecond apart."""
    return b"".join(
        f"2026-03-01T12:00:{second:02}.{number:09}Z line {number}\n".encode() for number in numbers
    )


class Case:
    """A server, a client and what was written."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.transport = Transport(Access(served.url, "team", "test"), {})
        self.client = KubeClient(self.transport)
        self.out = io.StringIO()
        self.write = LogWriter(self.out, colour=False).to("")

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


@contextmanager
def case(script: Script) -> Iterator[Case]:
    """Serves the script while the block runs."""
    with serving(script) as served:
        made = Case(served)
        try:
            yield made
        finally:
            made.transport.close()


def ended_pod() -> Answer:
    return Answer(json.dumps({**pod(), "status": {"phase": "Succeeded"}}).encode())


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_broken_stream_is_taken_up_without_doubled_or_lost_lines(timestamps: bool) -> None:
    """After a break, lines of the last second come again and are left out."""
    # The last answer is what the follower reads once the pod has ended.
    parts = [
        Answer(stamped(1, 2, 3), cut=True),
        Answer(stamped(2, 3, 3, 4, 5)),
        Answer(stamped(5, 6)),
    ]

    def script(request: Request) -> Answer:
        return parts.pop(0) if request.path.endswith("/log") else ended_pod()

    with case(script) as each:
        Follower(each.client, pod(), "main", Options(timestamps=timestamps), each.write).run()
        numbers = [line.rsplit(" ", 1)[1] for line in each.lines]
        assert numbers == ["1", "2", "3", "3", "4", "5", "6"]
        assert all(line.startswith("2026") is timestamps for line in each.lines)
        again = each.served.requests[1].query
        assert again["sinceTime"] == "2026-03-01T12:00:00.000000003Z"
        assert "tailLines" not in again


def test_a_stream_that_ends_while_the_pod_runs_is_opened_again() -> None:
    """Only the pod's own end ends its log."""
    parts = [Answer(stamped(1)), Answer(stamped(1, 2)), Answer(stamped(2))]
    pods = [Answer(json.dumps(pod()).encode()), ended_pod()]

    def script(request: Request) -> Answer:
        return parts.pop(0) if request.path.endswith("/log") else pods.pop(0)

    with case(script) as each:
        Follower(each.client, pod(), "main", Options(tail=5), each.write).run()
        assert each.lines == ["line 1", "line 2"]
        assert each.served.requests[0].query["tailLines"] == "5"


def test_a_container_that_waits_to_start_is_waited_for() -> None:
    """The API server's 400 means not yet."""
    parts = [Answer(b'{"kind": "Status", "message": "ContainerCreating"}', 400)]
    pods = [Answer(json.dumps(pod()).encode())]

    def script(request: Request) -> Answer:
        if not request.path.endswith("/log"):
            return pods.pop(0) if pods else ended_pod()
        return parts.pop(0) if parts else Answer(stamped(1))

    with case(script) as each:
        Follower(each.client, pod(), "main", Options(), each.write).run()
        assert each.lines == ["line 1"]


def test_a_pod_that_is_gone_ends_the_follower() -> None:
    """A deleted pod has no more lines, and that is no error."""
    with case(lambda _: Answer(b'{"kind": "Status", "details": {"name": "p"}}', 404)) as each:
        Follower(each.client, pod(), "main", Options(), each.write).run()
        assert each.lines == []


def test_a_follower_stops_when_told() -> None:
    """A stream that is silent is let go from another thread."""
    opened, release = threading.Event(), threading.Event()

    def script(request: Request) -> Answer:
        opened.set()
        assert release.wait(30)
        return Answer(stamped(1), cut=True)

    with case(script) as each:
        follower = Follower(each.client, pod(), "main", Options(), each.write)
        thread = threading.Thread(target=follower.run)
        thread.start()
        assert opened.wait(30)
        follower.stop()
        release.set()
        thread.join(30)
        assert not thread.is_alive()


def test_missing_rights_are_an_error() -> None:
    """What waiting cannot mend is raised."""
    with case(lambda _: Answer(b'{"kind": "Status", "message": "no"}', 403)) as each:
        with pytest.raises(ApiError, match="no"):
            Follower(each.client, pod(), "main", Options(), each.write).run()
        with pytest.raises(ApiError, match="no"):
            read_once(each.client, pod(), "main", Options(), each.write)


def test_lines_without_a_timestamp_stay_whole() -> None:
    """The kubelet's own messages come as they are."""
    with case(lambda _: Answer(b"failed to try resolving symlinks\n" + stamped(1))) as each:
        read_once(each.client, pod(), "main", Options(), each.write)
        assert each.lines == ["failed to try resolving symlinks", "line 1"]


def test_prefixes_line_up_and_broken_bytes_do_no_harm() -> None:
    """Lines of several logs are told apart and never torn."""
    out = io.StringIO()
    writer = LogWriter(out, colour=False)
    first, second = writer.to("prepare/0"), writer.to("t/1")
    first(b"a")
    second(b"\xff")
    assert out.getvalue() == "prepare/0 | a\nt/1       | \ufffd\n"


def test_colours_tell_sources_apart() -> None:
    """On a terminal each prefix has a colour, the text has none."""
    out = io.StringIO()
    LogWriter(out, colour=True).to("a/0")(b"text")
    assert out.getvalue() == "\x1b[36ma/0\x1b[0m | text\n"


def test_the_container_is_the_annotated_one_or_the_first() -> None:
    """Side-cars are not what people ask for."""
    item = pod()
    item["spec"]["containers"].append({"name": "side"})
    assert containers_of(item) == [("main", "")]
    item["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "side"}
    assert containers_of(item) == [("side", "")]
    assert not started(item, "side")
    item["status"]["containerStatuses"] = [{"name": "side", "state": {"running": {}}}]
    assert started(item, "side")
    assert not started(item, "main")


def test_every_role_of_a_group_is_shown() -> None:
    """The leader first, sidecars too; the prefix is the role's name."""

    def container(name: str, role: str) -> dict[str, Any]:
        return {"name": name, "env": [{"name": "RUNYARD_ROLE", "value": role}]}

    item = pod("g", **{"runyard.dev/task": "train"})
    item["spec"] = {
        "initContainers": [{"name": "runyard-code"}, container("role-load", "load")],
        "containers": [container("main", "serve")],
    }
    found = sources(experiment({"train": []}), [item], Wanted("sft"))
    assert [(each.container, each.prefix) for each in found] == [
        ("main", "train/serve"),
        ("role-load", "train/load"),
    ]
    item["status"]["initContainerStatuses"] = [{"name": "role-load", "state": {"running": {}}}]
    assert [started(item, each.container) for each in found] == [False, True]


def test_members_of_a_matrix_are_told_apart() -> None:
    """Each has a unit and pods of its own."""

    def member(index: int, attempt: int) -> dict[str, Any]:
        labels = {
            "runyard.dev/task": "train",
            "runyard.dev/unit": f"sft-train-{index}",
            "runyard.dev/member": str(index),
            "runyard.dev/attempt": str(attempt),
        }
        return pod(f"m{index}-{attempt}", **labels)

    pods = [member(10, 1), member(2, 2), member(2, 1)]
    found = sources(experiment({"train": []}), pods, Wanted("sft"))
    assert [(each.pod["metadata"]["name"], each.prefix) for each in found] == [
        ("m2-2", "train-2/0"),
        ("m10-1", "train-10/0"),
    ]


def test_the_newest_pod_of_each_rank_counts() -> None:
    """Of several attempts the last one is shown, in the order of tasks and ranks."""

    def made(name: str, task: str, rank: str, attempt: str) -> dict[str, Any]:
        return pod(
            name,
            **{
                "runyard.dev/task": task,
                "batch.kubernetes.io/job-completion-index": rank,
                "runyard.dev/attempt": attempt,
            },
        )

    pods = [
        made("t1-new", "train", "1", "2"),
        made("t1-old", "train", "1", "1"),
        made("t0", "train", "0", "2"),
        made("p", "prepare", "0", "1"),
        made("stray", "unknown", "0", "1"),
    ]
    item = experiment({"prepare": [], "train": ["prepare"]})
    found = sources(item, pods, Wanted("sft"))
    assert [each.pod["metadata"]["name"] for each in found] == ["p", "t0", "t1-new"]
    assert [each.prefix for each in found] == ["prepare/0", "train/0", "train/1"]
    only = sources(item, pods, Wanted("sft", rank=1))
    assert [each.pod["metadata"]["name"] for each in only] == ["t1-new"]
