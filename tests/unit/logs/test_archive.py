"""What the archive gives is what the pods gave: the same lines for every question."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.kube.client import KubeClient
from runyard.kube.errors import KubeError
from runyard.kube.kubeconfig import Access
from runyard.kube.transport import Transport
from runyard.logs.archive import Archive, ArchiveError, first_block, inflated, parse
from runyard.logs.reader import GoneError, Span, whole_lines
from runyard_operator.logs import plan
from runyard_operator.logs.plan import Kept, Packer, Subject
from tests.support.httpserver import Answer, Request, Served, serving
from tests.unit.logs.memory import Line, MemoryReader, stamp, stamped

SUBJECT = Subject(namespace="team", name="sft-train", uid="uid-1", attempt=2)
LINES = st.lists(st.tuples(st.integers(0, 10**9), st.text("ab ", max_size=30)), max_size=60).map(
    lambda pairs: [
        (sum(each[0] for each in pairs[: at + 1]), text) for at, (_, text) in enumerate(pairs)
    ]
)


def pod(name: str = "p", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": more},
        "spec": {"containers": [{"name": "main"}]},
        "status": {"containerStatuses": [{"name": "main", "state": {"terminated": {}}}]},
    }


def packed(text: bytes, block: int, piece: int = 37) -> tuple[bytes, Kept]:
    """The file and what the manifest says of it."""
    packer = Packer(block)
    data = b"".join(packer.feed(text[at : at + piece]) for at in range(0, len(text), piece))
    data += packer.finish()
    (source,) = plan.sources([pod()])
    kept = Kept(
        source=source,
        size=packer.size,
        stored=packer.stored,
        sha256=packer.sha256,
        lines=packer.lines,
        first=packer.first,
        last=packer.last,
        blocks=packer.blocks,
    )
    return data, kept


def served_archive(files: dict[str, bytes], *, token: str = "t") -> Any:  # noqa: S107
    """An API server with the ConfigMap and the store behind its proxy."""
    base = "/api/v1/namespaces/runyard-system/services/runyard-store:http/proxy/v1/logs/team/"
    data = {"service": "runyard-system/runyard-store:http", "token": "t"}

    def answer(request: Request) -> Answer:
        if request.path == "/api/v1/namespaces/team/configmaps/runyard-logs":
            return Answer(json.dumps({"metadata": {}, "data": data}).encode())
        assert request.headers["X-Runyard-Token"] == "t"
        found = files.get(request.path.removeprefix(base))
        if token != "t":
            return Answer(b'{"kind": "Status", "message": "wrong token"}', 403)
        if found is None:
            return Answer(b'{"kind": "Status", "message": "none"}', 404)
        begin = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        return Answer(found[int(begin) :], 206 if int(begin) else 200)

    return answer


@contextmanager
def archive(files: dict[str, bytes], **more: Any) -> Iterator[tuple[Archive, Served]]:
    with serving(served_archive(files, **more)) as served:
        transport = Transport(Access(served.url, "team", "test"), {})
        try:
            yield Archive(KubeClient(transport)), served
        finally:
            transport.close()


@given(LINES, st.integers(1, 400), st.integers(1, 100), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_packed_log_is_the_log(lines: list[Line], block: int, piece: int, torn: bool) -> None:
    """As one gzip file, and block by block, each of whole lines; the manifest counts right."""
    text = b"".join(map(stamped, lines))
    text = text[:-1] if torn else text
    data, kept = packed(text, block, piece)
    assert gzip.decompress(data) == text
    assert (kept.size, kept.stored, kept.sha256) == (
        len(text),
        len(data),
        sha256(text).hexdigest(),
    )
    whole = [line for line, _ in whole_lines([text])]
    assert kept.lines == len(whole)
    if lines:
        assert (kept.first, kept.last) == (stamp(lines[0][0]), stamp(lines[-1][0]))
    ends = [*[begin for begin, _, _ in kept.blocks][1:], len(data)]
    at = 0
    for (begin, count, first), end in zip(kept.blocks, ends, strict=True):
        part = gzip.decompress(data[begin:end])
        assert len([1 for _ in whole_lines([part])]) == count
        assert first == (stamp(lines[at][0]) if lines else "")
        at += count


SPANS = st.builds(
    Span,
    since=st.one_of(st.none(), st.integers(0, 40).map(lambda second: stamp(second * 10**9))),
    tail=st.one_of(st.none(), st.integers(0, 70)),
    stamps=st.booleans(),
)


@given(LINES, st.integers(1, 400), SPANS)
@settings(max_examples=100, deadline=None)
def test_every_question_has_the_same_answer_as_the_kubelets(
    lines: list[Line], block: int, span: Span
) -> None:
    """Tails, times and timestamps; through the real client, from a scripted server."""
    data, kept = packed(b"".join(map(stamped, lines)), block)
    files = {f"uid-1/2/{kept.source.file}": data}
    with archive(files) as (logs, _):
        (file,) = parse(json.loads(plan.manifest(SUBJECT, [kept], [], "now"))).files
        reader = logs.reader("uid-1", 2, file)
        assert b"".join(reader.pieces(span)) == MemoryReader(lines, len(lines)).text(span)
        assert (reader.key, reader.over()) == ("uid-p/main", True)


def test_the_end_of_a_log_is_read_without_the_rest() -> None:
    """A tail of a long log asks for the last block only."""
    lines = [
        (number * 1000, f"line {number} {sha256(bytes([number % 256])).hexdigest()}")
        for number in range(5000)
    ]
    data, kept = packed(b"".join(map(stamped, lines)), 16_384)
    with archive({f"uid-1/2/{kept.source.file}": data}) as (logs, served):
        (file,) = parse(json.loads(plan.manifest(SUBJECT, [kept], [], "now"))).files
        found = b"".join(logs.reader("uid-1", 2, file).pieces(Span(tail=3)))
        assert found.decode().splitlines() == [text for _, text in lines[-3:]]
        begin = int(served.requests[-1].headers["Range"].removeprefix("bytes=").removesuffix("-"))
        assert begin > 0.9 * len(data)


def test_a_changed_log_is_refused() -> None:
    """Its digest is in the manifest, and the manifest's is in the unit's status."""
    lines = [(number, f"line {number}") for number in range(9)]
    data, kept = packed(b"".join(map(stamped, lines)), 4096)
    other, _ = packed(b"".join(map(stamped, lines[:8])), 4096)
    text = plan.manifest(SUBJECT, [kept], ["p-2 was gone"], "now")
    files = {"uid-1/2/manifest.json": text, f"uid-1/2/{kept.source.file}": other}
    with archive(files) as (logs, _):
        manifest = logs.manifest("uid-1", 2, f"sha256:{sha256(text).hexdigest()}")
        assert manifest.problems == ("p-2 was gone",)
        with pytest.raises(ArchiveError, match="not what was archived"):
            list(logs.reader("uid-1", 2, manifest.files[0]).pieces(Span()))
        files[f"uid-1/2/{kept.source.file}"] = data[:30] + b"xx" + data[32:]
        with pytest.raises(ArchiveError, match="damaged"):
            list(logs.reader("uid-1", 2, manifest.files[0]).pieces(Span()))
        files[f"uid-1/2/{kept.source.file}"] = data[:-9]
        with pytest.raises(KubeError, match="broke off"):
            list(logs.reader("uid-1", 2, manifest.files[0]).pieces(Span()))
        with pytest.raises(ArchiveError, match="it was changed"):
            logs.manifest("uid-1", 2, "sha256:other")
        with pytest.raises(GoneError):
            logs.manifest("uid-1", 3, None)


def test_ways_that_are_closed_are_named() -> None:
    """A wrong token, no ConfigMap, a manifest of the future."""
    with archive({}, token="other") as (logs, _), pytest.raises(ArchiveError, match="the token"):
        logs.manifest("uid-1", 2, None)
    missing = Answer(b'{"kind": "Status", "details": {"name": "runyard-logs"}}', 404)
    with serving(lambda _: missing) as served:
        client = KubeClient(Transport(Access(served.url, "team", "test"), {}))
        with pytest.raises(ArchiveError, match="no usable ConfigMap"):
            Archive(client).manifest("uid-1", 2, None)
        client.transport.close()
    with pytest.raises(ArchiveError, match="update it"):
        parse({"version": 2, "files": []})
    with pytest.raises(ArchiveError, match="cannot be read"):
        parse({"version": 1, "files": [{}]})


def test_a_configmap_chooses_no_path() -> None:
    """Who may write it must not make users ask the API server for something else."""
    asked = []

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        if request.path.endswith("configmaps/runyard-logs"):
            data = {"service": "kube-system/../../secrets?x=", "token": "t"}
            return Answer(json.dumps({"metadata": {}, "data": data}).encode())
        return Answer(b"", 404)

    with serving(answer) as served:
        client = KubeClient(Transport(Access(served.url, "team", "test"), {}))
        with pytest.raises(GoneError):
            Archive(client).manifest("uid-1", 2, None)
        client.transport.close()
    assert asked[-1].startswith("/api/v1/namespaces/kube-system/services/..%2F..%2Fsecrets%3Fx%3D/")


def test_blocks_and_members_at_their_edges() -> None:
    """Nothing stored, and a cut within a member."""
    assert first_block((), Span(tail=5)) == (0, 0)
    assert list(inflated([])) == []
    whole = gzip.compress(b"text")
    with pytest.raises(KubeError, match="broke off"):
        list(inflated([whole[:9]]))
    assert b"".join(inflated([whole + whole[:4], whole[4:]])) == b"texttext"
