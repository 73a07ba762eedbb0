"""The words that launchers make: their shape, and that a script's own words stay as they are."""

from __future__ import annotations

import string
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.api.launcher import Launcher
from runyard_operator.launchers import Program, Shape, Variable, start
from runyard_operator.launchers.torch import HOSTING

RANK = Variable("$RANK")
TWO = Shape(nodes=2, nprocs=8, head="head-0", node_rank=RANK, run_id="key-1")
ALONE = Shape(nprocs=4, run_id="key-1")
PYTHON = Program(entrypoint="python3", path="train.py", args=("--lr", "1e-4"))
HOSTILE = st.lists(
    st.text(alphabet=st.sampled_from("$({})local_rank \"'\\\n;-%`"), max_size=24), max_size=4
)


def words(program: Program, launcher: dict[str, Any] | None, shape: Shape = TWO) -> str:
    """The words as one line; no word of these tests has a space in it."""
    made = None if launcher is None else Launcher.model_validate(launcher)
    return " ".join(each for each in start(program, made, shape) if each != HOSTING)


def rendezvous(endpoint: str, nodes: str, processes: int, rank: str, identity: str) -> str:
    """The options that NeMo-Run gives to torchrun, in its order."""
    return (
        f"--rdzv-backend c10d --rdzv-endpoint {endpoint} --rdzv-id {identity} --nnodes {nodes}"
        f" --nproc-per-node {processes} --node-rank {rank} --tee 3"
    )


HOSTED = "sh -c runyard $RANK join_timeout=900,read_timeout=900"
ON_TWO = rendezvous("head-0:29500", "2", 8, "$RANK", "key-1")
ON_ONE = rendezvous("localhost:0", "1", 4, "0", "key-1")


@pytest.mark.parametrize(
    ("program", "alone", "under_torchrun"),
    [
        (PYTHON, "python3 train.py --lr 1e-4", "train.py --lr 1e-4"),
        (
            Program(entrypoint="python", module="pkg.train", args=("1",)),
            "python -m pkg.train 1",
            "-m pkg.train 1",
        ),
        (
            Program(entrypoint="bash", path="run.sh", args=("1",)),
            "bash run.sh 1",
            "--no-python bash run.sh 1",
        ),
        (
            Program(entrypoint="/opt/venv/bin/python", module="pkg.train"),
            "/opt/venv/bin/python -m pkg.train",
            "--no-python /opt/venv/bin/python -m pkg.train",
        ),
        (Program(entrypoint="sh", path="-x.sh"), "sh ./-x.sh", "--no-python sh ./-x.sh"),
    ],
)
def test_each_form_of_a_script(program: Program, alone: str, under_torchrun: str) -> None:
    """Torchrun stands for a plain Python; any other program it starts itself."""
    assert words(program, None) == alone
    assert words(program, {"torchrun": {}}) == f"{HOSTED} torchrun {ON_TWO} {under_torchrun}"


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({}, ALONE, ON_ONE),
        ({"rdzvPort": 1234}, ALONE, ON_ONE.replace("localhost:0", "localhost:1234")),
        ({"rdzvPort": 1234}, TWO, ON_TWO.replace("29500", "1234")),
        ({"rdzvId": "my"}, TWO, ON_TWO.replace("key-1", "my")),
        ({"maxRestarts": 0}, TWO, f"{ON_TWO} --max-restarts 0"),
        (
            {"rdzvBackend": "static"},
            ALONE,
            ON_ONE.replace("c10d", "static").replace("localhost:0", "localhost:29500"),
        ),
        (
            {"maxRestarts": 3},
            Shape(nodes=4, min_nodes=2, nprocs=8, head="head-0", node_rank=RANK, run_id="k"),
            rendezvous("head-0:29500", "2:4", 8, "$RANK", "k") + " --max-restarts 3",
        ),
    ],
)  # fmt: skip
def test_options_of_the_rendezvous(options: dict[str, Any], shape: Shape, expected: str) -> None:
    """Alone, c10d takes any free port: several roles may share one host."""
    alone = shape.nodes == 1
    start_of_line = "torchrun" if alone else f"{HOSTED} torchrun"
    made = words(PYTHON, {"torchrun": options}, shape)
    assert made == f"{start_of_line} {expected} train.py --lr 1e-4"


@pytest.mark.parametrize(("rank", "hosts"), [("0", "1"), ("1", "0"), ("12", "0")])
def test_node_0_is_told_that_it_hosts_the_rendezvous(rank: str, hosts: str) -> None:
    """Otherwise DNS decides; the shell hands on every other word as it is."""
    made = start(PYTHON, Launcher.model_validate({"torchrun": {}}), TWO)
    shell = [{"$RANK": rank, "torchrun": "echo"}.get(each, each) for each in made]
    said = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    conf = f"--rdzv-conf join_timeout=900,read_timeout=900,is_host={hosts}"
    assert said.strip() == f"{conf} {ON_TWO} train.py --lr 1e-4".replace("$RANK", rank)


def test_the_static_backend_needs_no_host() -> None:
    """Node 0 is the host there by its rank."""
    made = start(PYTHON, Launcher.model_validate({"torchrun": {"rdzvBackend": "static"}}), TWO)
    assert made[0] == "torchrun"


def test_the_fault_tolerant_launcher() -> None:
    """Its own options come first; told nothing, it is told its default, or it would not start."""
    options = {
        "cfgPath": "/cfg.yaml",
        "workloadCheckInterval": 5,
        "initialRankHeartbeatTimeout": 600,
        "rankHeartbeatTimeout": 60,
        "rankTerminationSignal": "SIGTERM",
        "logLevel": "DEBUG",
        "maxRestarts": 2,
    }
    told = (
        "--ft-cfg-path /cfg.yaml --ft-workload-check-interval 5"
        " --ft-initial-rank-heartbeat-timeout 600 --ft-rank-heartbeat-timeout 60"
        " --ft-rank-termination-signal SIGTERM --ft-log-level DEBUG"
    )
    assert words(PYTHON, {"ft": options}) == (
        f"{HOSTED} ft_launcher {told} {ON_TWO} --max-restarts 2 train.py --lr 1e-4"
    )
    assert words(PYTHON, {"ft": {}}) == (
        f"{HOSTED} ft_launcher --ft-log-level INFO {ON_TWO} train.py --lr 1e-4"
    )


FOLDER = "/nemo_run/nsys_profile"
NSYS = (
    "nsys profile{metrics} -s none -t nvtx,cuda -o {folder}/profile_%p --force-overwrite=true"
    " --capture-range=cudaProfilerApi --capture-range-end=stop --cuda-graph-trace=node"
    " --cuda-event-trace=false"
)


@pytest.mark.parametrize(
    ("launcher", "shape", "start_of_line", "end_of_line"),
    [
        (
            {"nsys": {}},
            TWO,
            "runyard /nemo_run/nsys_profile "
            + NSYS.format(metrics="", folder="/nemo_run/nsys_profile"),
            "python3 train.py --lr 1e-4",
        ),
        (
            {"nsys": {"folder": "/data/p"}, "torchrun": {}},
            TWO,
            "runyard /data/p " + NSYS.format(metrics="", folder="/data/p"),
            f"{HOSTED} torchrun {ON_TWO} train.py --lr 1e-4",
        ),
        (
            {"nsys": {"gpuMetrics": True}},
            ALONE,
            f"runyard {FOLDER} " + NSYS.format(metrics=" --gpu-metrics-devices=all", folder=FOLDER),
            "python3 train.py --lr 1e-4",
        ),
        (
            {"nsys": {"gpuMetrics": True}},
            TWO,
            f"runyard {FOLDER} $RANK " + NSYS.format(metrics="", folder=FOLDER),
            "python3 train.py --lr 1e-4",
        ),
    ],
)
def test_the_profiler_goes_before_all(
    launcher: dict[str, Any], shape: Shape, start_of_line: str, end_of_line: str
) -> None:
    """NeMo-Run's line, in a shell that makes the folder; metrics of GPUs on node 0 alone."""
    made = start(PYTHON, Launcher.model_validate(launcher), shape)
    assert made[:2] == ["sh", "-c"]
    told = " ".join(each for each in made[3:] if each != HOSTING)
    assert told == f"{start_of_line} {end_of_line}"


@given(HOSTILE, st.sampled_from([None, "torchrun", "ft", "nsys"]))
def test_words_of_a_script_are_never_interpreted(args: list[str], name: str | None) -> None:
    """Torchrun reads them as templates, as its own `macros.substitute` does."""
    launcher = None if name is None else Launcher.model_validate({name: {}})
    program = Program(entrypoint="python3", path="train.py", args=tuple(args))
    made = start(program, launcher, TWO)
    got = made[len(made) - len(args) :]
    if name in ("torchrun", "ft"):
        got = [string.Template(each).safe_substitute(local_rank="7") for each in got]
    assert got == args


def test_places_keep_their_variables() -> None:
    """Only whole words are a place's own; the rest is escaped by it."""
    made = start(PYTHON, Launcher.model_validate({"torchrun": {}}), TWO)
    assert [each for each in made if isinstance(each, Variable)] == ["$RANK", "$RANK"]
    head = Shape(nodes=2, head=Variable("$HEAD"), node_rank=RANK)
    made = start(PYTHON, Launcher.model_validate({"torchrun": {}}), head)
    assert [each for each in made if isinstance(each, Variable)] == [
        "$RANK",
        "$HEAD:29500",
        "$RANK",
    ]
