"""The client against a real HTTP server that is scripted."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from runyard.kube.client import EXPERIMENTS, PODS, KubeClient
from runyard.kube.errors import ApiError, UnreachableError
from runyard.kube.kubeconfig import Access, User
from runyard.kube.transport import Transport
from runyard.kube.watch import Broken, Event, Interrupted, Snapshot, Watch, pump
from tests.support.httpserver import Answer, Request, serving


class Connect(Protocol):
    """Makes a client that notes how long it would have slept."""

    def __call__(self, url: str, waits: list[float] | None = None, **user: Any) -> KubeClient:
        """The client; closed after the test."""


@pytest.fixture
def client() -> Iterator[Connect]:
    """Connects to a scripted server."""
    opened: list[Transport] = []

    def connect(url: str, waits: list[float] | None = None, **user: Any) -> KubeClient:
        noted: list[float] = [] if waits is None else waits
        opened.append(Transport(Access(url, "team", "test", user=User(**user)), {}))
        return KubeClient(opened[-1], sleep=noted.append)

    yield connect
    for transport in opened:
        transport.close()


def page(*names: str, version: str = "1", more: str = "") -> Answer:
    items = [{"metadata": {"name": name, "resourceVersion": version}} for name in names]
    head = {"resourceVersion": version, "continue": more}
    return Answer(json.dumps({"metadata": head, "items": items}).encode())


def refused(code: int, **details: Any) -> Answer:
    status = {"kind": "Status", "message": f"refused {code}", "details": details}
    return Answer(json.dumps(status).encode(), code)


def line(kind: str, name: str, version: str) -> bytes:
    item = {"metadata": {"name": name, "resourceVersion": version}}
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def test_lists_are_read_page_by_page_over_one_connection(client: Connect) -> None:
    """All pages come together, each item with its kind."""

    def script(request: Request) -> Answer:
        return page("b") if request.query.get("continue") == "next" else page("a", more="next")

    with serving(script) as served:
        found = client(served.url, token="secret").list_objects(EXPERIMENTS, "team", "x=y")
        assert [each["metadata"]["name"] for each in found] == ["a", "b"]
        assert {each["kind"] for each in found} == {"Experiment"}
        assert served.connections == 1
        assert served.requests[0].path == "/apis/runyard.dev/v1alpha1/namespaces/team/experiments"
        assert served.requests[0].query["labelSelector"] == "x=y"
        assert served.requests[0].headers["Authorization"] == "Bearer secret"


def test_a_busy_server_is_asked_again_after_the_time_it_names(client: Connect) -> None:
    """429 and 503 are retried, other refusals are not."""
    answers = [refused(429, retryAfterSeconds=3), refused(503), Answer(b"{}")]
    waits: list[float] = []
    with serving(lambda _: answers.pop(0)) as served:
        assert client(served.url, waits).get(PODS, "team", "a") == {}
    assert waits == [3.0, 1.0]
    with serving(lambda _: refused(422)) as served:
        with pytest.raises(ApiError, match="refused 422"):
            client(served.url).get(PODS, "team", "a")
        assert len(served.requests) == 1


def test_a_server_that_stays_busy_is_an_error(client: Connect) -> None:
    """Retries are bounded."""
    with serving(lambda _: refused(503)) as served:
        with pytest.raises(ApiError, match="refused 503"):
            client(served.url).get(PODS, "team", "a")
        assert len(served.requests) == 5


def test_a_closed_idle_connection_is_no_error(client: Connect) -> None:
    """A request on a connection that the server has closed meanwhile goes out on a fresh one."""
    listener = socket.create_server(("127.0.0.1", 0))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def serve_one_each() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()

    thread = threading.Thread(target=serve_one_each, daemon=True)
    thread.start()
    kube = client(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert [kube.get(PODS, "team", "a") for _ in range(2)] == [{}, {}]
    thread.join()
    listener.close()


def test_a_missing_object_is_none_and_a_missing_kind_an_error(client: Connect) -> None:
    """Only a 404 about the name itself means that the object is not there."""
    with serving(lambda _: refused(404, name="a")) as served:
        assert client(served.url).find(PODS, "team", "a") is None
    with (
        serving(lambda _: Answer(b"404 page not found", 404)) as served,
        pytest.raises(ApiError, match="404 page not found"),
    ):
        client(served.url).find(PODS, "team", "a")


def test_nobody_there_is_unreachable(client: Connect) -> None:
    """A closed port is explained with server and context."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(UnreachableError, match=rf"127.0.0.1:{port} \(test\): Connection refused"):
        client(f"http://127.0.0.1:{port}").get(PODS, "team", "a")


def test_an_answer_that_breaks_off_is_unreachable(client: Connect) -> None:
    """Half a body is not taken for a whole one."""
    with (
        serving(lambda _: Answer(b"{", cut=True)) as served,
        pytest.raises(UnreachableError),
    ):
        client(served.url).get(PODS, "team", "a")


def watch_events(client: Connect, script: Any, count: int) -> list[Event]:
    """The first events of a watch against the script."""
    with serving(script) as served:
        watch = Watch(client(served.url), PODS, "team", {"labelSelector": "a=b"}, sleep=_no_sleep)
        events: queue.Queue[tuple[str, Event]] = queue.Queue()
        pump(watch, events, "pods")
        found = [events.get(timeout=30)[1] for _ in range(count)]
        watch.stop()
        return found


def _no_sleep(_: float) -> None:
    return None


def names(event: Event) -> set[str]:
    assert isinstance(event, Snapshot)
    return set(event.items)


def test_a_watch_tells_every_change(client: Connect) -> None:
    """A list first, then each event applied to it; bookmarks tell nothing."""

    def script(request: Request) -> Answer:
        if "watch" not in request.query:
            return page("a", version="5")
        if request.query["resourceVersion"] == "5":
            bookmark = line("BOOKMARK", "", "6")
            return Answer(bookmark + line("ADDED", "b", "7") + line("DELETED", "a", "8"))
        return Answer(line("ADDED", "c", "9") if request.query["resourceVersion"] == "8" else b"")

    assert [names(each) for each in watch_events(client, script, 4)] == [
        {"a"},
        {"a", "b"},
        {"b"},
        {"b", "c"},
    ]


def test_a_watch_that_is_too_old_lists_again(client: Connect) -> None:
    """410 as an event or as an answer starts anew, without an interruption."""
    lists = iter([page("a", version="1"), page("b", version="2"), page("c", version="3")])

    def script(request: Request) -> Answer:
        if "watch" not in request.query:
            return next(lists)
        if request.query["resourceVersion"] == "1":
            event = {"type": "ERROR", "object": {"kind": "Status", "code": 410}}
            return Answer(json.dumps(event).encode() + b"\n")
        return refused(410) if request.query["resourceVersion"] == "2" else Answer()

    assert [names(each) for each in watch_events(client, script, 3)] == [{"a"}, {"b"}, {"c"}]


def test_a_broken_watch_says_so_and_goes_on(client: Connect) -> None:
    """After a break the objects are listed again: nothing is missed."""
    lists = iter([page("a"), page("b")])

    def script(request: Request) -> Answer:
        if "watch" not in request.query:
            return next(lists)
        return Answer(b'{"type": "ADD', cut=True)

    first, broken, second = watch_events(client, script, 3)
    assert (names(first), names(second)) == ({"a"}, {"b"})
    assert isinstance(broken, Interrupted)


def test_a_forbidden_watch_ends(client: Connect) -> None:
    """What waiting cannot mend is handed to the caller."""
    (event,) = watch_events(client, lambda _: refused(403), 1)
    assert isinstance(event, Broken)
    assert isinstance(event.error, ApiError)
    assert event.error.code == 403


def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(
    client: Connect, tmp_path: Any
) -> None:
    """After a 401 the exec plugin is asked once more."""
    count = tmp_path / "count"
    program = tmp_path / "plugin"
    program.write_text(
        f"#!/bin/sh\necho x >> {count}\n"
        f"""echo "{{\\"status\\": {{\\"token\\": \\"t$(wc -l < {count})\\"}}}}"\n"""
    )
    program.chmod(0o755)
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(program),
        "interactiveMode": "Never",
    }

    def script(request: Request) -> Answer:
        good = request.headers["Authorization"].split() == ["Bearer", "t2"]
        return Answer(b"{}") if good else refused(401)

    with serving(script) as served:
        assert client(served.url, exec=spec).get(PODS, "team", "a") == {}
        assert len(served.requests) == 2


def test_proxies_of_the_environment_are_used_for_https() -> None:
    """HTTPS_PROXY is asked for a tunnel, NO_PROXY and loopback go straight."""
    with serving(lambda _: Answer(b"", 502)) as served:
        environ = {"HTTPS_PROXY": served.url, "NO_PROXY": ".inside.example,10.0.0.0/8"}

        def ask(server: str) -> None:
            Transport(Access(server, "team", "test"), environ).request("GET", "/version")

        with pytest.raises(UnreachableError, match=r"Tunnel connection failed"):
            ask("https://cluster.example:6443")
        for direct in ("https://127.0.0.1:1", "https://api.inside.example:1"):
            with pytest.raises(UnreachableError) as caught:
                ask(direct)
            assert "Tunnel" not in str(caught.value)


@pytest.mark.parametrize("server", ["dev.example:6443", "ftp://dev.example", ""])
def test_a_server_that_is_no_url_is_refused(server: str) -> None:
    """The kubeconfig's server must be an http or https address."""
    from runyard.kube.errors import ConfigError

    with pytest.raises(ConfigError, match="is not a URL"):
        Transport(Access(server, "team", "test"), {})
