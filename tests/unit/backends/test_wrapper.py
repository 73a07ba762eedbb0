"""The shell wrapper around tasks with outputs, run for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.unit import UnitSpec
from runyard_operator.backends.pods import outputs
from runyard_operator.backends.pods.command import command, literal
from runyard_operator.backends.pods.wrapper import EXIT_OUTPUTS
from runyard_operator.launchers import Shape
from tests.unit.backends.samples import expand, job_spec

SHELLS = [
    each
    for each in (["/bin/sh"], ["bash", "--posix"], ["bash"], ["busybox", "sh"])
    if shutil.which(each[0])
]


@dataclass
class Box:
    """A folder that stands for a container, and the shell that is its `sh`."""

    root: Path
    shell: list[str]
    env: dict[str, str]

    @property
    def log(self) -> Path:
        return self.root / "termination-log"

    def argv(self, *args: str, names: tuple[str, ...], entrypoint: str = "sh") -> list[str]:
        spec = job_spec(
            script={"path": "task.sh", "entrypoint": entrypoint, "args": list(args)},
            outputs=[{"name": name} for name in names],
        )
        words = [expand(each) for each in command(UnitSpec.model_validate(spec), "unit", Shape())]
        return [*self.shell, *words[1:]] if names else words

    def start(
        self, script: str, *args: str, names: tuple[str, ...] = ("x",), entrypoint: str = "sh"
    ) -> subprocess.Popen[bytes]:
        (self.root / "task.sh").write_text(script)
        return subprocess.Popen(
            self.argv(*args, names=names, entrypoint=entrypoint),
            cwd=self.root,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, script: str, *args: str, names: tuple[str, ...] = ("x",), stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        process = self.start(script, *args, names=names)
        out, err = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def parse(self, *names: str) -> dict[str, str]:
        return dict(outputs.parse(self.log.read_text(), names))


@pytest.fixture(params=SHELLS, ids=" ".join)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    """A box for each shell that this machine has."""
    (tmp_path / "outputs").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "RUNYARD_OUTPUTS": str(tmp_path / "outputs"),
        "RUNYARD_TERMINATION_LOG": str(tmp_path / "termination-log"),
    }
    return Box(root=tmp_path, shell=request.param, env=env)


def test_outputs_reach_the_termination_message(box: Box) -> None:
    """Each declared file is framed with its name and length, whatever its bytes."""
    script = r"""
    printf '12\n' > "$RUNYARD_OUTPUTS/x"
    printf 'a\nb c\n\n' > "$RUNYARD_OUTPUTS/y"
    : > "$RUNYARD_OUTPUTS/z"
    printf 'x 5\nünï' > "$RUNYARD_OUTPUTS/w"
    """
    done = box.run(script, names=("x", "y", "z", "w"))
    assert done.returncode == 0, done.stderr
    assert box.parse("x", "y", "z", "w") == {
        "x": "12",
        "y": "a\nb c\n",
        "z": "",
        "w": "x 5\nünï",
    }


@pytest.mark.parametrize("code", [1, 2, 3, 64, 65, 126, 127, 255])
def test_the_exit_code_of_the_command_is_kept(box: Box, code: int) -> None:
    """A failing command ends the container with its own code and writes no outputs."""
    done = box.run(f"echo 1 > $RUNYARD_OUTPUTS/x; exit {code}")
    assert done.returncode == code
    assert not box.log.exists()


def test_a_command_that_is_not_there_ends_with_127(box: Box) -> None:
    """The shell's own code for a missing program comes through."""
    process = box.start("", entrypoint="no-such-program")
    process.communicate(timeout=60)
    assert process.returncode == 127


def test_a_missing_output_is_named(box: Box) -> None:
    """A command that succeeds without a declared output fails with 65 and says which one."""
    done = box.run("echo 1 > $RUNYARD_OUTPUTS/x", names=("x", "loss"))
    assert done.returncode == EXIT_OUTPUTS
    assert b"output loss is missing" in done.stderr
    refusal = outputs.refusal(box.log.read_text())
    assert refusal is not None
    assert "output loss is missing" in refusal


def test_a_folder_is_no_output(box: Box) -> None:
    """Only a plain file counts."""
    done = box.run("mkdir $RUNYARD_OUTPUTS/x")
    assert done.returncode == EXIT_OUTPUTS


def test_outputs_up_to_the_limit_fit(box: Box) -> None:
    """The largest outputs that are allowed come through whole."""
    done = box.run(
        f"head -c {MAX_OUTPUT_BYTES - 1} /dev/zero | tr '\\0' a > $RUNYARD_OUTPUTS/x;"
        " echo > $RUNYARD_OUTPUTS/y",
        names=("x", "y"),
    )
    assert done.returncode == 0, done.stderr
    assert box.parse("x", "y") == {"x": "a" * (MAX_OUTPUT_BYTES - 1), "y": ""}


def test_one_byte_too_many_is_refused(box: Box) -> None:
    """All outputs together may take so many bytes; the message says how many."""
    done = box.run(
        f"head -c {MAX_OUTPUT_BYTES} /dev/zero > $RUNYARD_OUTPUTS/x; echo > $RUNYARD_OUTPUTS/y",
        names=("x", "y"),
    )
    assert done.returncode == EXIT_OUTPUTS
    assert f"at most {MAX_OUTPUT_BYTES} are kept".encode() in done.stderr


def test_a_huge_output_is_refused_at_once(box: Box) -> None:
    """A large file by mistake ends in the same clear refusal."""
    done = box.run("head -c 50000000 /dev/zero > $RUNYARD_OUTPUTS/x")
    assert done.returncode == EXIT_OUTPUTS
    assert b"output x is too large" in done.stderr


def test_long_names_count(box: Box) -> None:
    """The kubelet keeps 4096 bytes: what does not fit with its names is refused, not cut."""
    names = tuple(f"{'n' * 61}{index:02d}" for index in range(32))
    fits = box.run(
        "".join(f"printf %040d 7 > $RUNYARD_OUTPUTS/{name};" for name in names), names=names
    )
    assert fits.returncode == 0, fits.stderr
    assert len(box.log.read_bytes()) <= 4096
    assert len(box.parse(*names)) == 32
    done = box.run(
        "".join(f"printf %080d 7 > $RUNYARD_OUTPUTS/{name};" for name in names), names=names
    )
    assert done.returncode == EXIT_OUTPUTS
    assert b"declare fewer outputs" in done.stderr


def test_other_ranks_report_nothing(box: Box) -> None:
    """Only completion index 0 reports outputs; the others need not write them."""
    box.env["JOB_COMPLETION_INDEX"] = "1"
    done = box.run("true")
    assert done.returncode == 0
    assert not box.log.exists()


def test_arguments_and_streams_are_untouched(box: Box) -> None:
    """Arguments arrive as they were written, standard input and output are the command's own."""
    words = ["a b", "", "*", "$HOME", "$(date)", "$$", "'\"", "-e", "\\n", "line\nline"]
    script = 'echo 1 > "$RUNYARD_OUTPUTS/x"; for each; do printf "[%s]" "$each"; done; cat'
    done = box.run(script, *words, stdin=b"from outside")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "".join(f"[{each}]" for each in words) + "from outside"


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def test_sigterm_reaches_the_command(box: Box) -> None:
    """The kubelet signals the container's first process; the command hears it and decides."""
    script = """
    trap 'echo stopping; echo 7 > "$RUNYARD_OUTPUTS/x"; exit 42' TERM
    : > started
    while :; do sleep 0.05; done
    """
    process = box.start(script)
    _wait_for(box.root / "started")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 42
    assert out == b"stopping\n"


def test_a_command_that_ends_well_on_sigterm_keeps_its_outputs(box: Box) -> None:
    """A checkpoint-and-exit on SIGTERM counts as the success that it says it is."""
    script = """
    trap 'echo 7 > "$RUNYARD_OUTPUTS/x"; exit 0' TERM
    : > started
    while :; do sleep 0.05; done
    """
    process = box.start(script)
    _wait_for(box.root / "started")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert box.parse("x") == {"x": "7"}


def test_a_command_that_ignores_the_first_sigterm_is_waited_for(box: Box) -> None:
    """Several signals are each passed on, and the exit code is still the command's."""
    script = """
    count=0
    trap 'count=$((count + 1)); : > "got$count"; [ "$count" -lt 3 ] || exit 9' TERM
    : > started
    while :; do sleep 0.05; done
    """
    process = box.start(script)
    _wait_for(box.root / "started")
    for number in (1, 2, 3):
        process.send_signal(signal.SIGTERM)
        _wait_for(box.root / f"got{number}")
    process.communicate(timeout=60)
    assert process.returncode == 9


def test_a_command_killed_by_sigterm_ends_with_143(box: Box) -> None:
    """A command without a handler dies of the signal, and the code says so."""
    process = box.start(": > started; exec sleep 600")
    _wait_for(box.root / "started")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_without_outputs_nothing_is_wrapped() -> None:
    """A task that declares no outputs needs no shell in its image."""
    spec = UnitSpec.model_validate(job_spec(script={"path": "a.py", "entrypoint": "python3"}))
    assert command(spec, "unit", Shape()) == ["python3", "a.py"]


@settings(max_examples=200)
@given(st.text(alphabet="$()Aa{ ", max_size=12))
def test_kubernetes_gives_back_what_was_written(text: str) -> None:
    """No `$(NAME)` of a user is expanded and no `$$` is halved."""
    escaped = literal(text)
    assert expand(escaped) == text
    rest = escaped.replace("$$", "")
    assert "$(" not in rest
