"""What Ray runs on the head, by a real shell; and what the submitter makes of the driver's log."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard_operator.backends.pods.wrapper import wrapped
from runyard_operator.backends.ray import entrypoint
from runyard_operator.backends.ray.protocol import (
    DRIVER_MARK,
    Driver,
    Lines,
    read_mark,
    read_trouble,
    trouble,
)
from runyard_operator.backends.ray.submitter import end_of, older_than

JOB = "0c9f9b6e-6d0a-4a59-9d3e-1f2a3b4c5d6e-1"
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd()]))"
HOSTILE = [
    "",
    " ",
    "'",
    '"',
    "$(touch pwned)",
    "`id`",
    "a\nb",
    "; exit 7",
    "-x",
    "é",
    "\\",
    "$HOME",
]


def run(
    folder: Path, command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The line that Ray gets, run as Ray runs it: by `sh -c`, its outputs in one log."""
    where = folder / "jobs" / "it's one"
    script = entrypoint.driver(JOB, folder=str(where), code=str(folder), command=command)
    files = entrypoint.packed({entrypoint.DRIVER_FILE: script, "train.sh": "echo from the file"})
    outputs = {"RUNYARD_OUTPUTS": f"{where}/outputs", entrypoint.FILES_VARIABLE: files}
    return subprocess.run(
        ["sh", "-c", entrypoint.line_with_files(str(where))],
        env={**os.environ, **outputs, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def read(log: str) -> tuple[str, Driver | None]:
    """The log as the submitter prints it, and how the driver ended."""
    printed: list[str] = []
    lines = Lines(JOB, printed.append)
    lines.take(log)
    lines.finish()
    return "".join(printed), lines.driver


def test_hostile_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    """Nothing in them is a shell's; the program runs in the code folder."""
    done = run(tmp_path, [sys.executable, "-c", SHOW, *HOSTILE])
    log, driver = read(done.stdout)
    assert json.loads(log) == [HOSTILE, str(tmp_path)]
    assert driver == Driver(0, "")
    assert done.returncode == 0
    assert not (tmp_path / "pwned").exists()


@settings(max_examples=30, deadline=None)
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_any_words_reach_the_program_as_they_are(
    words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a user writes as arguments."""
    done = run(tmp_path_factory.mktemp("any"), [sys.executable, "-c", SHOW, *words])
    assert json.loads(read(done.stdout)[0])[0] == words


def test_files_travel_with_the_job(tmp_path: Path) -> None:
    """The script is beside the driver."""
    done = run(tmp_path, ["sh", str(tmp_path / "jobs" / "it's one" / "train.sh")])
    assert read(done.stdout) == ("from the file\n", Driver(0, ""))


def test_the_same_files_are_packed_to_the_same_text() -> None:
    """Plans are compared by their digests."""
    files = {"b": "2", "a": "1"}
    assert entrypoint.packed(files) == entrypoint.packed(dict(sorted(files.items())))


@pytest.mark.parametrize("code", [0, 1, 3, 137])
def test_the_exit_code_is_told(tmp_path: Path, code: int) -> None:
    """Ray itself says only whether it was 0."""
    done = run(tmp_path, ["sh", "-c", f"printf 'no end of line'; exit {code}"])
    assert read(done.stdout) == ("no end of line\n", Driver(code, ""))
    assert done.returncode == code


def test_outputs_are_told_in_the_last_line(tmp_path: Path) -> None:
    """The wrapper of other executors writes the same frame for the kubelet."""
    write = 'printf "0.5" > "$RUNYARD_OUTPUTS/loss"; echo done'
    done = run(tmp_path, wrapped(["sh", "-c", write], ["loss"]))
    log, driver = read(done.stdout)
    assert log == "done\n"
    assert driver == Driver(0, "runyard-outputs/1\nloss 3\n0.5\n")


def test_an_output_that_is_missing_is_told(tmp_path: Path) -> None:
    """With the wrapper's own exit code and message."""
    driver = read(run(tmp_path, wrapped(["true"], ["loss"])).stdout)[1]
    assert driver is not None
    assert driver.code == 65
    assert driver.frame.startswith("runyard-outputs-error/1\noutput loss is missing")


MARK = f"{DRIVER_MARK} {JOB} 3 {base64.b64encode(b'frame').decode()}"


@given(cuts=st.lists(st.integers(0, 200), max_size=8), again=st.integers(0, 8))
def test_the_log_is_whole_however_it_comes(cuts: list[int], again: int) -> None:
    """In any pieces, and from its beginning again after the connection broke."""
    log = f"one\n\n\ntwo {DRIVER_MARK} x\nrunyard\r50%\r100%\n\n\n{MARK}\n"
    edges = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    pieces = [log[a:b] for a, b in itertools.pairwise(edges)]
    printed: list[str] = []
    lines = Lines(JOB, printed.append)
    for piece in pieces[:again]:
        lines.take(piece)
    lines.again()
    for piece in pieces:
        lines.take(piece)
    lines.finish()
    # One empty line is the wrapper's.
    assert "".join(printed) == log.removesuffix(f"\n{MARK}\n")
    assert lines.driver == Driver(3, "frame")
    assert lines.ended.is_set()


@pytest.mark.parametrize(
    "line",
    [
        f"{DRIVER_MARK} other 0 -",
        f"{DRIVER_MARK} {JOB} x -",
        f"{DRIVER_MARK} {JOB} 0 not!base64",
        f"say {DRIVER_MARK} {JOB} 0 -",
        "",
    ],
)
def test_other_lines_are_no_marks(line: str) -> None:
    """They are the task's."""
    assert read_mark(line, JOB) is None


def test_progress_is_printed_before_its_line_ends() -> None:
    """Only what may become a mark is kept back."""
    printed: list[str] = []
    lines = Lines(JOB, printed.append)
    lines.take("50%\r")
    assert printed == ["50%\r"]


def test_rays_word_about_the_entrypoint_is_left_out() -> None:
    """It would show the wrapper."""
    assert read(f"Running entrypoint for job {JOB}: sh x\nhello\n")[0] == "hello\n"


def test_trouble_is_written_and_read() -> None:
    """In one termination message."""
    assert read_trouble(trouble("Lost", "two\nlines")) == ("Lost", "two\nlines")
    assert read_trouble("Lost\nwords") is None
    assert len(trouble("Lost", "x" * 9000)) <= 4096


@pytest.mark.parametrize(
    ("found", "driver", "code", "word"),
    [
        ({"status": "SUCCEEDED"}, Driver(0, "frame"), 0, "frame"),
        ({"status": "SUCCEEDED"}, None, 0, ""),
        ({"status": "FAILED"}, Driver(3, ""), 3, ""),
        ({"status": "FAILED", "driver_exit_code": 4}, None, 4, ""),
        ({"status": "FAILED", "driver_exit_code": -9}, None, 137, ""),
        ({"status": "FAILED", "message": "pip failed"}, None, 66, "runyard-ray/1 Launch"),
        ({"status": "FAILED", "message": "?"}, Driver(0, "f"), 66, "runyard-ray/1 Launch"),
        (
            {
                "status": "FAILED",
                "message": "1 worker(s) were killed due to the node running low on"
                " memory. Memory on the node was 1.46GB",
            },
            Driver(137, ""),
            137,
            "runyard-ray/1 Memory\n1 worker(s) were killed due to the node running low on memory:",
        ),
        (
            {
                "status": "FAILED",
                "message": "setup failed. Full traceback:\nTrace\n  x\nE: y\n",
            },
            None,
            66,
            "runyard-ray/1 Launch\nRay could not run the job: setup failed. (E: y)",
        ),
        ({"status": "STOPPED", "message": "by hand"}, None, 66, "runyard-ray/1 Stopped"),
    ],
)
def test_how_the_submitter_ends(
    found: dict[str, object], driver: Driver | None, code: int, word: str
) -> None:
    """With the driver's code where it has one; 0 is Ray's word for success alone."""
    end = end_of(found, driver)
    assert end.code == code
    assert end.message.startswith(word)
    assert bool(end.message) == bool(word)


def test_older_attempts_are_known_by_their_names() -> None:
    """Only those of the same task that may still run."""
    jobs: list[dict[str, object]] = [
        {"submission_id": "u-1", "status": "RUNNING"},
        {"submission_id": "u-2", "status": "FAILED"},
        {"submission_id": "u-3", "status": "PENDING"},
        {"submission_id": "u-4", "status": "RUNNING"},
        {"submission_id": "u-10", "status": "RUNNING"},
        {"submission_id": "v-1", "status": "RUNNING"},
        {"submission_id": None, "status": "RUNNING"},
        {"submission_id": "u-x", "status": "RUNNING"},
    ]
    assert older_than("u-4", jobs) == ["u-1", "u-3"]
