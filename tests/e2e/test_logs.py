"""Logs of real pods: followed through a killed client, kept in the archive, and cheap to send."""

from __future__ import annotations

import gzip
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import Cluster
from tests.support.cli import Cli
from tests.support.experiments import UNIT, experiment, finished, job, train_job
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.proxy import Proxy, Way, address, behind
from tests.support.s3 import REACHED_BY_PODS, s3_server
from tests.support.storepod import StorePod, store_pod
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

COUNT = 400
TALK = f"i=0; while [ $i -lt {COUNT} ]; do echo line $i; i=$((i+1)); sleep 0.05; done"
RANKS = "for i in 1 2 3 4; do echo rank $JOB_COMPLETION_INDEX line $i; sleep 2; done"
FLAKY = """
echo this is attempt $RUNYARD_ATTEMPT
[ $RUNYARD_ATTEMPT -gt 1 ] || exit 3
echo 7 > "$RUNYARD_OUTPUTS/answer"
"""
SIZE = 100_000_000
"""Lines of a hundred bytes that do not compress well."""
BIG = f"""
import random
chance = random.Random(1)
for number in range({SIZE} // 100):
    print(f"{{number:08}} {{chance.getrandbits(90 * 4):090x}}")
"""


@pytest.fixture
def kept(cluster: Cluster, kube: Kubectl, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs an operator and a store; what it is given adds to the store's environment."""

    @contextmanager
    def run(environ: dict[str, str] | None = None) -> Iterator[StorePod]:
        with store_pod(kube, tmp_path, environ) as store:
            operator = OperatorProcess(
                cluster.kubeconfig, tmp_path / "operator.log", namespaces=(kube.namespace,)
            )
            operator.more = store.settings
            operator.start()
            try:
                yield store
            finally:
                operator.ensure()
                kinds = "experiments.runyard.dev,executionunits.runyard.dev"
                kube.run("delete", kinds, "--all", "--timeout=120s")
                operator.stop()
                print(operator.tail(40), store.log(), sep="\n")

    return run


def archived(kube: Kubectl, unit: str, attempts: int = 1) -> list[dict[str, Any]]:
    """What the unit's status says of the archived log of each attempt."""

    def look() -> list[dict[str, Any]] | None:
        found = (kube.get(UNIT, unit) or {}).get("status", {}).get("attempts") or []
        logs = [each["log"] for each in found if "log" in each]
        return logs if len(logs) == attempts else None

    return eventually(look, f"the logs of {unit} are archived")


def numbers(lines: list[str]) -> list[int]:
    """The numbers of the lines that the talking task wrote."""
    return [int(line.split()[-1]) for line in lines if "line " in line]


def test_logs_survive_clients_and_pods(
    cluster: Cluster, kube: Kubectl, tmp_path: Path, kept: Callable[..., Any]
) -> None:
    """A follower that is killed or interrupted goes on where it was; after the pods the archive
    tells the same."""
    cli = Cli(cluster.kubeconfig, kube.namespace)
    retry = {"limit": 1, "failureClasses": ["Error"], "backoff": {"seconds": 1}}
    with kept():
        kube.apply(
            experiment(
                "tell",
                job("talk", TALK),
                job("flaky", FLAKY, retry=retry, outputs=[{"name": "answer"}]),
                train_job("train", RANKS),
            )
        )
        check_resuming(cli, tmp_path / "places")
        assert finished(kube, "tell")["status"]["phase"] == "Succeeded"
        for unit, attempts in (("tell-talk", 1), ("tell-flaky", 2), ("tell-train", 1)):
            for log in archived(kube, unit, attempts):
                assert log["location"], log
                assert "message" not in log
        questions = [
            ("tell", "talk"),
            ("tell", "flaky"),
            ("tell", "flaky", "--previous"),
            ("tell", "flaky", "--attempt", "1"),
            ("tell", "train"),
            ("tell", "train", "--rank", "1", "--tail", "2"),
            ("tell", "train", "--timestamps"),
            ("tell", "train", "--since", since(cli)),
        ]
        before = [cli.run("logs", *each).stdout for each in questions]
        assert numbers(before[0].splitlines()) == list(range(COUNT))
        assert before[1:4] == [f"this is attempt {number}\n" for number in (2, 1, 1)]
        assert len(before[4].splitlines()) == 8
        assert before[5] == "rank 1 line 3\nrank 1 line 4\n"
        assert 0 < len(before[7].splitlines()) < 8

        kube.run("delete", "pods", "-l", "runyard.dev/experiment", "--timeout=120s")
        after = [cli.run("logs", *each) for each in questions]
        assert [each.stdout for each in after] == before
        assert all("their lines come from the archive" in each.stderr for each in after)
        with cli.start("logs", "tell", "talk", "-f", "--resume", str(tmp_path / "places")) as again:
            assert again.finish() == 0
            assert numbers(again.seen) == []

        shown = json.loads(cli.run("results", "tell", "flaky", "-o", "json").stdout)["results"]
        assert shown[0]["outputs"] == [{"name": "answer", "value": "7"}]
        assert [each["attempt"] for each in shown[0]["logs"]] == [1, 2]


def check_resuming(cli: Cli, places: Path) -> None:
    """Three clients, one after the other, miss no line."""
    follow = ("logs", "tell", "talk", "-f", "--resume", str(places))
    with cli.start(*follow) as first:
        first.wait_for(lambda line: line.endswith("line 60"))
        first.process.send_signal(signal.SIGKILL)
        assert first.finish() == -signal.SIGKILL
    with cli.start(*follow) as second:
        second.wait_for(lambda line: line.endswith("line 150"))
        second.process.send_signal(signal.SIGINT)
        assert second.finish() == 130
    with cli.start(*follow) as third:
        assert third.finish() == 0
    begun, left, rest = (numbers(each.seen) for each in (first, second, third))
    # Who is killed may see the lines of its last moment again, who is interrupted sees none.
    assert begun == list(range(len(begun)))
    assert left == list(range(left[0], left[-1] + 1))
    assert begun[-1] - 40 < left[0] <= begun[-1] + 1
    assert rest == list(range(left[-1] + 1, COUNT))


def since(cli: Cli) -> str:
    """The time of a line in the middle of a rank's log."""
    stamped = cli.run("logs", "tell", "train", "--rank", "0", "--timestamps").stdout
    return stamped.splitlines()[2].split()[0]


@contextmanager
def counted(cluster: Cluster, kube: Kubectl, copy: Path) -> Iterator[tuple[Cli, Proxy]]:
    """The command line, whose way to the API server counts bytes."""
    host, port = address(cluster.kubeconfig)
    with Proxy(host, port) as proxy:
        config = yaml.safe_load(behind(proxy, cluster.kubeconfig, copy).read_text())
        config["clusters"][0]["cluster"]["tls-server-name"] = host
        copy.write_text(yaml.safe_dump(config), encoding="utf-8")
        yield Cli(copy, kube.namespace), proxy


def test_a_big_log_costs_its_size_and_is_kept_in_s3(
    cluster: Cluster, kube: Kubectl, tmp_path: Path, kept: Callable[..., Any]
) -> None:
    """Read or followed to its end: at most 2 % more bytes than it has. The archive in S3 has the
    very same text."""
    task = job("print", "python3 -u /nemo_run/code/big.py")
    code = {"inline": [{"path": "big.py", "content": BIG}]}
    with (
        s3_server(tmp_path / "s3", "logs", host=REACHED_BY_PODS) as s3,
        kept(
            {
                "RUNYARD_LOG_ARCHIVE_TYPE": "s3",
                "RUNYARD_LOG_ARCHIVE_BUCKET": "logs",
                "RUNYARD_LOG_ARCHIVE_ENDPOINT": s3.endpoint,
                "AWS_ACCESS_KEY_ID": s3.access_key,
                "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            }
        ),
        counted(cluster, kube, tmp_path / "kubeconfig") as (cli, proxy),
    ):
        kube.apply(experiment("big", task, code=code))
        spent = []

        def read(*args: str) -> str:
            before = proxy.carried[Way.ANSWERS]
            done = cli.run("logs", "big", "print", *args)
            assert done.returncode == 0, done.stderr
            spent.append(proxy.carried[Way.ANSWERS] - before)
            return done.stdout

        followed = read("-f")
        assert len(followed) == SIZE
        # Nothing twice. Of a log that is being written, the API server sends each line on its own.
        assert spent[-1] <= SIZE + SIZE // 100 * 40
        assert finished(kube, "big")["status"]["phase"] == "Succeeded"
        for again in ((), ("-f",)):
            assert read(*again) == followed
            assert spent[-1] <= 1.02 * SIZE
        last = followed.splitlines(keepends=True)[-5:]
        assert read("--tail", "5") == "".join(last)
        assert spent[-1] < 100_000

        (log,) = archived(kube, "big-print")
        kube.run("delete", "pods", "-l", "runyard.dev/experiment", "--timeout=120s")
        assert sha256(read().encode()).digest() == sha256(followed.encode()).digest()
        assert spent[-1] <= 1.02 * SIZE
        assert read("--tail", "5") == "".join(last)
        assert spent[-1] < SIZE / 10
        print(f"bytes for live, once, follow, tail, archive, archive's tail: {spent}")
        check_object(s3.buckets / "logs", log)


def check_object(bucket: Path, log: dict[str, Any]) -> None:
    """The manifest has the status's digest, and the text the manifest's."""
    (path,) = bucket.rglob("manifest.json")
    manifest = path.read_bytes()
    assert log["digest"] == f"sha256:{sha256(manifest).hexdigest()}"
    (file,) = json.loads(manifest)["files"]
    stored = (path.parent / file["name"]).read_bytes()
    text = gzip.decompress(stored)
    assert (file["sha256"], file["sizeBytes"]) == (sha256(text).hexdigest(), len(text))
    assert (file["storedBytes"], file["lines"]) == (len(stored), SIZE // 100)
    assert len(stored) > 16_000_000, "several parts were sent"
    assert log["sizeBytes"] == len(text)
