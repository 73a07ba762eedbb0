"""Logs are kept whole or said to be missing. The store is the real one, the pods have faults."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from runyard_operator.kube.errors import Forbidden, Invalid, NotFound, Unavailable
from runyard_operator.kube.resources import Ref
from runyard_operator.logs import archiver as archiver_module
from runyard_operator.logs.archiver import Archiver
from runyard_operator.logs.plan import Subject, file_name
from runyard_operator.logs.store import StoreSink
from runyard_operator.logs.token import Tokens
from tests.support.logstore import KEY, log_store

SUBJECT = Subject(namespace="team", name="sft-train", uid="uid-unit", attempt=1)
FOLDER = "logs/team/uid-unit/1"


def pod(name: str, rank: int = 0, *, init_exit: int | None = None) -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-completion-index": str(rank)}
    status: dict[str, Any] = {
        "containerStatuses": [{"name": "main", "state": {"terminated": {}}}],
        "initContainerStatuses": [],
    }
    if init_exit is not None:
        state = {"terminated": {"exitCode": init_exit}}
        status["initContainerStatuses"] = [{"name": "runyard-code", "state": state}]
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels},
        "spec": {"containers": [{"name": "main"}], "initContainers": [{"name": "runyard-code"}]},
        "status": status,
    }


def text(name: str, lines: int = 3) -> bytes:
    return b"".join(
        f"2026-03-01T12:00:0{number % 10}.000000001Z {name} {number}\n".encode()
        for number in range(lines)
    )


class Pods:
    """The API server as far as pods and one ConfigMap go; `faults` come first, one for a stream."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = list(pods)
        self.logs = {
            (each["metadata"]["name"], container): text(each["metadata"]["name"])
            for each in pods
            for container in ("main", "runyard-code")
        }
        self.faults: list[Any] = []
        self.applied: list[dict[str, Any]] = []
        self.found: dict[str, Any] | None = None
        self.streams = 0
        self.most = 0

    async def list(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return self.pods

    async def get(self, _: Ref) -> dict[str, Any] | None:
        return self.found

    async def apply(self, manifest: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.applied.append(manifest)
        return manifest

    async def pod_log(self, ref: Ref, *, container: str, tail_lines: int, limit_bytes: int) -> str:
        assert tail_lines == 1
        last = self.logs[ref.name, container].splitlines(keepends=True)[-1:]
        return b"".join(last).partition(b" ")[2][:limit_bytes].decode("utf-8", "replace")

    async def stream_pod_log(self, ref: Ref, *, container: str) -> AsyncIterator[bytes]:
        fault = self.faults.pop(0) if self.faults else None
        self.streams += 1
        self.most = max(self.most, self.streams)
        try:
            await asyncio.sleep(0.01)
            if isinstance(fault, Exception):
                raise fault
            data = self.logs[ref.name, container]
            yield data[:20]
            if fault == "break":
                raise Unavailable("broke off")
            yield data[20:] if fault != "short" else data[20:60]
        finally:
            self.streams -= 1


class Case:
    """An archiver, what it was told, and the files of the store."""

    def __init__(self, kube: Pods, sink: StoreSink, root: Path, **more: Any) -> None:
        self.kube = kube
        self.root = root
        self.done: list[Subject] = []
        self.told = asyncio.Event()
        self.slept: list[float] = []
        self.archiver = Archiver(
            kube,  # type: ignore[arg-type]
            sink,
            location=lambda folder: f"store://{folder}",
            tokens=Tokens(kube, KEY, "runyard-system/runyard-store:http"),  # type: ignore[arg-type]
            done=self.tell,
            now=lambda: datetime(2026, 3, 1, tzinfo=UTC),
            sleep=self.sleep,
            **more,
        )

    def tell(self, subject: Subject) -> None:
        self.done.append(subject)
        self.told.set()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def keep(self, subject: Subject = SUBJECT, known: Any = ()) -> Any:
        """Asks, and waits for what comes of it."""
        self.told.clear()
        self.archiver.request(subject, known)
        await asyncio.wait_for(self.told.wait(), 60)
        return self.archiver.result(subject.uid, subject.attempt)

    def file(self, name: str) -> bytes:
        return (self.root / FOLDER / name).read_bytes()

    def names(self) -> list[str]:
        folder = self.root / FOLDER
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []

    def manifest(self) -> Any:
        return json.loads(self.file("manifest.json"))


@asynccontextmanager
async def case(tmp_path: Path, kube: Pods, **more: Any) -> AsyncIterator[Case]:
    async with log_store(tmp_path, kube) as url:
        made = Case(kube, StoreSink(url, KEY), tmp_path, **more)
        try:
            yield made
        finally:
            await made.archiver.close()


async def test_all_ranks_and_failed_init_containers_are_kept(tmp_path: Path) -> None:
    """With sizes and digests that are true, and a token for the users of the namespace."""
    kube = Pods(pod("a", 0, init_exit=1), pod("b", 1))
    async with case(tmp_path, kube) as each:
        found = await each.keep(replace(SUBJECT, nodes=2))
        assert each.done == [replace(SUBJECT, nodes=2)]
        assert found.location == "store://team/uid-unit/1"
        assert found.digest == f"sha256:{sha256(each.file('manifest.json')).hexdigest()}"
        assert (found.size_bytes, found.message) == (3 * len(text("a")), None)
        files = each.manifest()["files"]
        assert [(one["pod"], one["container"], one["rank"], one["init"]) for one in files] == [
            ("a", "runyard-code", 0, True),
            ("a", "main", 0, False),
            ("b", "main", 1, False),
        ]
        for one in files:
            plain = gzip.decompress(each.file(one["name"]))
            assert plain == text(one["pod"])
            assert one["sha256"] == sha256(plain).hexdigest()
        (token,) = kube.applied
        assert token["metadata"]["name"] == "runyard-logs"
        assert token["data"]["service"] == "runyard-system/runyard-store:http"


@pytest.mark.parametrize("fault", ["break", "short", Unavailable("away")])
async def test_a_log_that_breaks_off_is_read_again(tmp_path: Path, fault: Any) -> None:
    """A torn one is never kept, even where the stream ends as if all were well."""
    kube = Pods(pod("a"))
    kube.faults = [fault, fault]
    async with case(tmp_path, kube) as each:
        found = await each.keep()
        assert (found.message, found.size_bytes) == (None, len(text("a")))
        assert len(each.slept) == 2
        assert gzip.decompress(each.file(each.manifest()["files"][0]["name"])) == text("a")
        assert list((tmp_path / "incoming").iterdir()) == []


async def test_a_log_that_stays_short_is_kept_as_such(tmp_path: Path) -> None:
    """What there is is worth keeping; the manifest and the status say what it is."""
    kube = Pods(pod("a"))
    kube.faults = ["short"] * 5
    async with case(tmp_path, kube) as each:
        found = await each.keep()
        assert "its end is missing" in found.message
        assert each.manifest()["files"][0]["truncated"] is True


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NotFound("no pod"), "the pod was gone before its log was read"),
        (Forbidden("no right"), "may not read it"),
        (Invalid("waiting to start"), "there is none: waiting to start"),
    ],
)
async def test_a_log_that_cannot_be_had_is_named(tmp_path: Path, fault: Any, said: str) -> None:
    """The others are kept all the same."""
    kube = Pods(pod("a", 0), pod("b", 1))
    kube.faults = [fault]
    async with case(tmp_path, kube, streams=1) as each:
        found = await each.keep()
        assert said in found.message
        assert [bool(one["problem"]) for one in each.manifest()["files"]] == [True, False]
        assert each.names() == ["b.main.log.gz", "manifest.json"]


async def test_a_node_without_the_file_is_named(tmp_path: Path) -> None:
    """The kubelet says it in place of the log, as if it were one."""
    kube = Pods(pod("a"))
    kube.logs["a", "main"] = b"unable to retrieve container logs for containerd://0123"
    async with case(tmp_path, kube) as each:
        assert "the node had no log of it any more" in (await each.keep()).message


async def test_pods_that_are_gone_are_never_passed_over(tmp_path: Path) -> None:
    """By name where they are known, by number where not, and when there is nothing at all."""
    kube = Pods(pod("b", 1))
    async with case(tmp_path, kube) as each:
        found = await each.keep(replace(SUBJECT, nodes=3), [pod("a", 0), pod("b", 1)])
        assert "the pod a was gone" in found.message
        assert "1 of 3 pods were gone" in found.message
        kube.pods = []
        none = await each.keep(replace(SUBJECT, attempt=2))
        assert (none.location, none.message) == (
            "",
            "the pods were gone before their logs were read",
        )


async def test_what_was_kept_is_not_overwritten_by_less(tmp_path: Path) -> None:
    """An operator that starts anew asks again, perhaps when the pods are gone."""
    kube = Pods(pod("a"))
    async with case(tmp_path, kube) as each:
        first = await each.keep()
    kube.pods = []
    async with case(tmp_path, kube) as each:
        assert await each.keep() == first
        assert kube.most == 1
        each.archiver.forget(SUBJECT.uid, 1)
        assert each.archiver.result(SUBJECT.uid, 1) is None


async def test_an_archive_that_does_not_answer_is_tried_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then it is told; the unit need not wait for ever."""
    monkeypatch.setattr(archiver_module, "PATIENCE_SECONDS", 100.0)
    each = Case(Pods(pod("a")), StoreSink("http://127.0.0.1:9", KEY), tmp_path)
    found = await each.keep()
    assert found.location == ""
    assert "not kept: the archive does not answer" in found.message
    assert sum(each.slept) >= 100.0
    await each.archiver.close()


async def test_a_key_that_the_store_does_not_know_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's own words reach the status."""
    monkeypatch.setattr(archiver_module, "PATIENCE_SECONDS", 1.0)
    kube = Pods(pod("a"))
    async with log_store(tmp_path, kube) as url:
        each = Case(kube, StoreSink(url, b"another key of enough bytes"), tmp_path)
        assert "(403)" in (await each.keep()).message
        await each.archiver.close()


async def test_no_more_streams_than_allowed(tmp_path: Path) -> None:
    """Whatever the number of pods."""
    kube = Pods(*(pod(f"p{number}", number) for number in range(12)))
    async with case(tmp_path, kube, streams=3) as each:
        await each.keep()
        assert len(each.names()) == 13
        assert kube.most == 3


async def test_a_foreign_configmap_stays(tmp_path: Path) -> None:
    """The logs are kept, and that users cannot read them is said."""
    kube = Pods(pod("a"))
    kube.found = {"metadata": {"name": "runyard-logs"}}
    async with case(tmp_path, kube) as each:
        found = await each.keep()
        assert "is not Runyard's" in found.message
        assert found.location
        assert kube.applied == []


def test_file_names_fit_and_differ() -> None:
    """However long the names of pods are."""
    names = {file_name("p" * 250 + end, "main") for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) <= 128
