"""A pod's log over a real HTTP server that breaks connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runyard.kube.client import KubeClient
from runyard.kube.errors import ApiError, UnreachableError
from runyard.kube.kubeconfig import Access
from runyard.kube.transport import Transport
from runyard.logs import tail as tail_module
from runyard.logs.pods import PodReader
from runyard.logs.reader import GoneError, NotYetError, Span
from runyard.logs.tail import End, Options, Tail
from tests.support.httpserver import Answer, Request, Script, Served, serving

POD = {
    "metadata": {"name": "p", "namespace": "team", "uid": "uid-p"},
    "spec": {"containers": [{"name": "main"}]},
    "status": {"phase": "Running"},
}


@contextmanager
def reader(script: Script) -> Iterator[tuple[PodReader, Served]]:
    with serving(script) as served:
        transport = Transport(Access(served.url, "team", "test"), {})
        try:
            yield PodReader(KubeClient(transport), POD, "main"), served
        finally:
            transport.close()


def status(**more: Any) -> bytes:
    return json.dumps({"kind": "Status", **more}).encode()


def test_a_span_becomes_the_kubelets_query() -> None:
    """What is not wanted is not asked for: timestamps make a log a third longer."""
    with reader(lambda _: Answer(b"line\n")) as (each, served):
        assert b"".join(each.pieces(Span())) == b"line\n"
        assert served.requests[0].query == {"container": "main"}
        list(each.pieces(Span("2026-03-01T12:00:00Z", 5, follow=True, stamps=True)))
        assert served.requests[1].query == {
            "container": "main",
            "sinceTime": "2026-03-01T12:00:00Z",
            "tailLines": "5",
            "follow": "true",
            "timestamps": "true",
        }
        assert served.requests[1].path == "/api/v1/namespaces/team/pods/p/log"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(status(details={"name": "p"}), 404), GoneError),
        (Answer(status(message="is waiting to start"), 400), NotYetError),
        (Answer(status(message="no right"), 403), ApiError),
        (Answer(b"half a line", cut=True), UnreachableError),
        (Answer(b"failed to try resolving symlinks in path /var/log/pods"), GoneError),
        (Answer(b"unable to retrieve container logs for containerd://01"), GoneError),
    ],
)
def test_what_goes_wrong_is_told_apart(answer: Answer, error: type[Exception]) -> None:
    """Whether to wait, to look elsewhere, or to give up."""
    with reader(lambda _: answer) as (each, _), pytest.raises(error):
        list(each.pieces(Span()))


@pytest.mark.parametrize(
    ("answer", "over"),
    [
        (Answer(json.dumps(POD).encode()), False),
        (Answer(json.dumps({**POD, "status": {"phase": "Succeeded"}}).encode()), True),
        (Answer(json.dumps({**POD, "metadata": {"uid": "another"}}).encode()), True),
        (Answer(status(details={"name": "p"}), 404), True),
    ],
)
def test_only_the_pods_end_ends_its_log(answer: Answer, over: bool) -> None:
    """Or that it is gone, or another one of its name."""
    with reader(lambda _: answer) as (each, _):
        assert each.over() is over


def test_a_break_is_taken_up_without_doubled_or_lost_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the real connection, half a line and all."""
    monkeypatch.setattr(tail_module, "_RETRY_SECONDS", 0.0)
    parts = [
        Answer(b"1\n2\n3\nha", cut=True),
        Answer(b"1\n2\n3\nhalf\n4\n"),
        # The look whether this was all, and then the rest.
        Answer(b"1\n2\n3\nhalf\n4\n5\n"),
        Answer(b"1\n2\n3\nhalf\n4\n5\n"),
    ]
    running = [Answer(json.dumps(POD).encode())]
    ended = Answer(json.dumps({**POD, "status": {"phase": "Succeeded"}}).encode())

    def script(request: Request) -> Answer:
        if request.path.endswith("/log"):
            return parts.pop(0)
        return running.pop() if running else ended

    written: list[bytes] = []
    with reader(script) as (each, _):
        assert Tail(each, Options(), written.append).run(follow=True) is End.OVER
    assert written == [b"1", b"2", b"3", b"half", b"4", b"5"]


def test_reading_stops_when_told() -> None:
    """A stream that is silent is let go from another thread."""
    opened, release = threading.Event(), threading.Event()

    def script(_: Request) -> Answer:
        opened.set()
        assert release.wait(30)
        return Answer(b"1\n", cut=True)

    with reader(script) as (each, _):
        tail = Tail(each, Options(), lambda _: None)
        ends: list[End] = []
        thread = threading.Thread(target=lambda: ends.append(tail.run(follow=True)))
        thread.start()
        assert opened.wait(30)
        tail.stop()
        release.set()
        thread.join(30)
        assert ends == [End.STOPPED]
