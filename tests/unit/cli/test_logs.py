"""`runyard logs` as a program, against a scripted API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from runyard.cli.logs import Wanted, moment
from runyard.cli.slots import TERMINAL
from runyard_operator.logs import plan
from runyard_operator.logs.plan import Packer
from tests.support.httpserver import Answer, Request, serving
from tests.unit.cli.objects import NOW, experiment, member, unit

LOG = b"2026-03-01T12:00:00.000000001Z hello\n"


def pod(task: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"{task}-pod",
            "namespace": "team-a",
            "uid": f"uid-{task}",
            "labels": {"runyard.dev/task": task, "runyard.dev/experiment": "sft"},
            "resourceVersion": "1",
        },
        "spec": {"containers": [{"name": "main"}]},
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "main", "state": {"terminated": {}}}],
        },
    }


class Api:
    """An API server that knows one experiment; `log` answers for every pod."""

    def __init__(self, log: Answer, pods: list[str], phase: str = "Succeeded") -> None:
        self.log = log
        self.pods = [pod(task) for task in pods]
        self.experiment = experiment({"prepare": [], "train": ["prepare"]}, phase=phase)
        self.experiment["metadata"]["resourceVersion"] = "1"
        lines = [{"number": 1, "key": "k", "lastLogLines": ["last words"]}]
        self.units = [unit("prepare", phase=phase), unit("train", phase=phase, attempts=lines)]

    def __call__(self, request: Request) -> Answer:
        if "watch" in request.query:
            return Answer()
        kind = request.path.rsplit("/", 1)[-1]
        if kind == "log":
            stamped = self.log.code != 200 or request.query.get("timestamps") == "true"
            return self.log if stamped else Answer(self.log.body.split(b" ", 1)[1])
        if kind == "sft":
            return Answer(json.dumps(self.experiment).encode())
        if kind.endswith("-pod"):
            return Answer(json.dumps(pod(kind.removesuffix("-pod"))).encode())
        items = {
            "experiments": [self.experiment],
            "executionunits": self.units,
            "pods": self.pods,
        }[kind]
        document = {"metadata": {"resourceVersion": "1"}, "items": items}
        return Answer(json.dumps(document).encode())


@contextmanager
def configured(api: Api, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a program that talks to the scripted server."""
    with serving(api) as served:
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "namespace": "team-a"}}],
            "clusters": [{"name": "x", "cluster": {"server": served.url}}],
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(config))
        yield {**os.environ, "KUBECONFIG": str(path)}


def run(api: Api, tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    with configured(api, tmp_path) as environment:
        return subprocess.run(
            [sys.executable, "-m", "runyard.cli.main", "logs", *args],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )


def test_both_ways_print_the_same(tmp_path: Path) -> None:
    """With and without -f, an experiment that has ended gives all its lines, then the end."""
    api = Api(Answer(LOG), ["prepare", "train"])
    for args in (("sft",), ("sft", "-f")):
        done = run(api, tmp_path, *args)
        assert (done.returncode, done.stderr) == (0, "")
        words = [line.split() for line in done.stdout.splitlines()]
        assert sorted(words) == [["prepare/0", "|", "hello"], ["train/0", "|", "hello"]]


def test_one_pod_needs_no_prefix(tmp_path: Path) -> None:
    """A single source's lines come bare, ready for other programs."""
    api = Api(Answer(LOG), ["train"])
    for args in (("sft", "train"), ("sft", "train", "-f")):
        assert run(api, tmp_path, *args).stdout == "hello\n"


def test_the_status_stands_in_for_pods_that_are_gone(tmp_path: Path) -> None:
    """The last lines are shown, with a note on standard error."""
    api = Api(Answer(LOG), [])
    for args in (("sft", "train"), ("sft", "train", "-f")):
        done = run(api, tmp_path, *args)
        assert (done.returncode, done.stdout) == (0, "last words\n")
        assert "the pods of train are gone" in done.stderr


def test_a_member_of_a_matrix_is_chosen(tmp_path: Path) -> None:
    """By its index; the others' pods are not asked for, and tasks of `finally` have logs, too."""
    api = Api(Answer(LOG), [])
    api.experiment["spec"]["tasks"][1]["matrix"] = {"parameters": {"n": ["1", "2"]}}
    api.experiment["spec"]["finally"] = [{"name": "report"}]
    lines = [{"number": 1, "key": "k", "lastLogLines": ["of member 1"]}]
    api.units = [member("train", index, {}, phase="Failed") for index in (0, 1)]
    api.units[1]["status"]["attempts"] = lines
    for chosen in ("train[1]", "train/1"):
        for args in (("sft", chosen), ("sft", chosen, "-f")):
            done = run(api, tmp_path, *args)
            assert (done.returncode, done.stdout) == (0, "of member 1\n")
            assert "the pods of train[1] are gone" in done.stderr
    assert run(api, tmp_path, "sft").stdout == "train[1] | of member 1\n"
    assert "train[0] has ended (Failed)" in run(api, tmp_path, "sft", "train[0]").stderr
    assert "train has no member 7" in run(api, tmp_path, "sft", "train[7]").stderr
    done = run(api, tmp_path, "sft", "prepare[0]")
    assert (done.returncode, "'prepare' has no matrix" in done.stderr) == (2, True)
    api.pods = [pod("report"), pod("train")]
    api.pods[1]["metadata"]["labels"]["runyard.dev/member"] = "1"
    words = [line.split() for line in run(api, tmp_path, "sft").stdout.splitlines()]
    assert words == [["train-1/0", "|", "hello"], ["report/0", "|", "hello"]]


def test_a_matrix_is_followed_until_its_last_member_has_ended(tmp_path: Path) -> None:
    """Not only until the one that was seen last has."""
    api = Api(Answer(LOG), [], phase="Running")
    api.experiment["spec"]["tasks"][1]["matrix"] = {"parameters": {"n": ["1", "2"]}}
    units = [member("train", index, {}, phase="Succeeded") for index in (0, 1)]
    for states, open_ones in (("SS", 0), ("+S", 1), ("..", 2)):
        api.experiment["status"]["tasks"] = [{"name": "train", "states": states}]
        found = Wanted("sft", "train").slots(api.experiment, [] if open_ones else units)
        assert sum(slot.phase not in TERMINAL for slot in found) == open_ones
    api.experiment["status"]["tasks"] = []
    (unknown,) = Wanted("sft", "train").slots(api.experiment, [])
    assert unknown.phase == "Pending"


def test_a_missing_right_to_read_logs_is_told(tmp_path: Path) -> None:
    """Also when it turns up in the thread that follows a pod."""
    said = (
        'pods "train-pod" is forbidden: User "ann" cannot get resource "pods/log" in API group'
        ' "" in the namespace "team-a"'
    )
    refused = Answer(json.dumps({"kind": "Status", "message": said}).encode(), 403)
    for args in (("sft", "train"), ("sft", "train", "-f")):
        done = run(Api(refused, ["train"]), tmp_path, *args)
        assert done.returncode == 1
        assert "ann may not get pods/log in namespace team-a" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_follower(tmp_path: Path) -> None:
    """With `| head`, following ends quietly although the task goes on."""
    reader, writer = os.pipe()
    os.close(reader)
    api = Api(Answer(LOG), ["train"], phase="Running")
    with configured(api, tmp_path) as environment:
        done = subprocess.run(
            [sys.executable, "-m", "runyard.cli.main", "logs", "sft", "-f"],
            env=environment,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


class Archived(Api):
    """Beside it the archive, with the log of attempt 1 of train; the pods are gone."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(Answer(LOG), [])
        text = b"2026-03-01T12:00:00Z hello\n2026-03-01T12:00:07Z archived\n"
        packer = Packer()
        data = packer.feed(text) + packer.finish()
        (source,) = plan.sources([pod("train")])
        kept = plan.Kept(
            source=source,
            size=packer.size,
            sha256=packer.sha256,
            lines=packer.lines,
            blocks=packer.blocks,
        )
        subject = plan.Subject(namespace="team-a", name="sft-train", uid="unit-train", attempt=1)
        manifest = plan.manifest(subject, [kept], ["the pod b was gone"], "now")
        self.files = {
            "unit-train/1/manifest.json": manifest,
            f"unit-train/1/{source.file}": data[:20] if broken else data,
        }
        digest = f"sha256:{sha256(manifest).hexdigest()}"
        log = {"location": "s3://logs/x", "sizeBytes": packer.size, "digest": digest}
        attempts = self.units[1]["status"]["attempts"]
        attempts[0]["log"] = log
        attempts.append({"number": 2, "key": "k2", "lastLogLines": ["words of attempt 2"]})

    def __call__(self, request: Request) -> Answer:
        if request.path.endswith("/configmaps/runyard-logs"):
            data = {"service": "runyard-system/runyard-store:http", "token": "t"}
            return Answer(json.dumps({"metadata": {}, "data": data}).encode())
        if "/proxy/v1/logs/" in request.path:
            found = self.files.get(request.path.partition("/v1/logs/team-a/")[2])
            return Answer(b"{}", 404) if found is None else Answer(found)
        return super().__call__(request)


def test_the_archive_stands_in_for_pods_that_are_gone(tmp_path: Path) -> None:
    """With the same options; where the lines come from is told beside them."""
    api = Archived()
    for args, lines in (
        (("--attempt", "1"), ["hello", "archived"]),
        (("--previous",), ["hello", "archived"]),
        (("--previous", "-f"), ["hello", "archived"]),
        (("--previous", "--tail", "1"), ["archived"]),
        (("--previous", "--since", "2026-03-01T12:00:05Z"), ["archived"]),
        (("--previous", "--timestamps", "--tail", "1"), ["2026-03-01T12:00:07Z archived"]),
    ):
        done = run(api, tmp_path, "sft", "train", *args)
        assert (done.returncode, done.stdout.splitlines()) == (0, lines)
        assert "the pods of train are gone: their lines come from the archive" in done.stderr
        assert "s3://logs/x" in done.stderr
        assert "is not whole: the pod b was gone" in done.stderr
    newest = run(api, tmp_path, "sft", "train")
    assert newest.stdout == "words of attempt 2\n"
    none = run(api, tmp_path, "sft", "train", "--attempt", "3")
    assert (none.returncode, none.stdout) == (1, "")
    assert "train has no attempt 3: it has 1, 2" in none.stderr


def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The last lines of the status are better than nothing, a torn log is an error."""
    torn = run(Archived(broken=True), tmp_path, "sft", "train", "--previous")
    assert torn.returncode == 1
    assert "the archived log broke off" in torn.stderr
    assert "Traceback" not in torn.stderr
    changed = Archived()
    changed.files["unit-train/1/manifest.json"] += b" "
    done = run(changed, tmp_path, "sft", "train", "--previous")
    assert (done.returncode, done.stdout) == (0, "last words\n")
    assert "it was changed" in done.stderr
    changed.files.clear()
    assert (
        "has the log of train no more"
        in run(changed, tmp_path, "sft", "train", "--previous").stderr
    )


def test_a_second_call_goes_on_where_the_first_was(tmp_path: Path) -> None:
    """With the file of places; from the pod, then from the archive."""
    api = Archived()
    api.pods = [pod("train")]
    api.pods[0]["metadata"]["labels"]["runyard.dev/attempt"] = "1"
    places = str(tmp_path / "places")
    resumed = ("sft", "train", "--attempt", "1", "--resume", places)
    assert run(api, tmp_path, *resumed).stdout == "hello\n"
    assert run(api, tmp_path, *resumed).stdout == ""
    api.pods = []
    assert run(api, tmp_path, *resumed).stdout == "archived\n"
    assert run(api, tmp_path, *resumed, "-f").stdout == ""
    Path(places).write_text("mine", encoding="utf-8")
    refused = run(api, tmp_path, *resumed)
    assert (refused.returncode, "no file of positions" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("90", "2026-03-01T11:58:30Z"),
        ("1h30m", "2026-03-01T10:30:00Z"),
        ("2026-03-01T12:00:00.9Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00Z"),
    ],
)
def test_a_moment_is_a_duration_or_a_time(text: str, second: str) -> None:
    """In UTC and whole seconds, as the kubelet wants it."""
    assert moment(text, NOW) == second
