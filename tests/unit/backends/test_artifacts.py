"""The shell that measures artifacts and asks for the finished flag, run for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.api.packages import Artifact
from runyard.api.unit import ArtifactStatus
from runyard_operator.backends.pods import outputs
from runyard_operator.backends.pods.command import PLACED, placed
from runyard_operator.backends.pods.wrapper import EXIT_OUTPUTS, wrapped
from runyard_operator.engine import results
from tests.unit.backends.samples import expand

SHELLS = [
    each for each in (["/bin/sh"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(each[0])
]
SHA = "a" * 64


@dataclass
class Box:
    """A folder that stands for a container, and the shell that is its `sh`."""

    root: Path
    shell: list[str]
    path: str

    @property
    def log(self) -> Path:
        return self.root / "log"

    def run(
        self,
        script: str,
        *artifacts: Artifact,
        names: tuple[str, ...] = (),
        flag: str | None = None,
        index: str = "0",
    ) -> subprocess.CompletedProcess[str]:
        words = wrapped(["sh", "-c", script], names, artifacts, flag)
        env = {
            "PATH": self.path,
            "RUNYARD_OUTPUTS": str(self.root),
            "RUNYARD_ARTIFACTS": str(self.root / "told"),
            "RUNYARD_TERMINATION_LOG": str(self.log),
            "JOB_COMPLETION_INDEX": index,
        }
        return subprocess.run(
            [*self.shell, *words[1:]],
            cwd=self.root,
            env=env,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )

    def told(self, *artifacts: Artifact) -> tuple[ArtifactStatus, ...]:
        return outputs.artifacts(self.log.read_text(), artifacts)

    def at(self, name: str, path: str = "") -> Artifact:
        """An artifact at a path of the box."""
        return Artifact(name=name, path=str(self.root / (path or name)))


@pytest.fixture(params=SHELLS, ids=" ".join)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    """A box for each shell that this machine has."""
    return Box(root=tmp_path, shell=request.param, path=os.environ["PATH"])


def test_a_file_is_measured(box: Box) -> None:
    """Size and sha256 of its bytes; its name may have spaces and signs of the shell."""
    model = box.at("model", "my $(model) *.bin")
    done = box.run("head -c 70000 /dev/zero > 'my $(model) *.bin'", model)
    assert done.returncode == 0, done.stderr
    digest = f"sha256:{hashlib.sha256(bytes(70000)).hexdigest()}"
    assert box.told(model) == (
        ArtifactStatus(name="model", path=model.path, size_bytes=70000, digest=digest),
    )


def test_a_folder_is_measured_by_the_sorted_list_of_its_files(box: Box) -> None:
    """Names with spaces, a file named `total`, many files; links are not followed."""
    script = """
    mkdir -p model/deep model/empty
    for each in $(seq 200); do echo $each > model/deep/$each; done
    echo x > 'model/a  b'; echo total > model/total; ln -s /etc/passwd model/link
    """
    model, empty = box.at("model"), box.at("empty", "model/empty")
    done = box.run(script, model, empty)
    assert done.returncode == 0, done.stderr
    files = [each for each in (box.root / "model").rglob("*") if each.is_file()]
    files = [each for each in files if not each.is_symlink()]
    lines = sorted(
        f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(box.root / 'model')}\n"
        for each in files
    )
    whole, nothing = box.told(model, empty)
    assert whole.digest == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
    assert whole.size_bytes == sum(each.stat().st_size for each in files)
    assert nothing.size_bytes == 0
    assert nothing.digest == f"sha256:{hashlib.sha256().hexdigest()}"


@pytest.mark.parametrize(
    ("text", "size", "digest"),
    [(f"12 sha256:{SHA}\\n", 12, f"sha256:{SHA}"), (f"0 sha256:{SHA}", 0, f"sha256:{SHA}")],
)
def test_the_task_may_tell_of_a_uri(box: Box, text: str, size: int, digest: str) -> None:
    """With or without a newline at the end."""
    there = Artifact(name="there", uri="s3://bucket/key")
    done = box.run(f"printf '{text}' > $RUNYARD_ARTIFACTS/there", there)
    assert done.returncode == 0, done.stderr
    assert box.told(there) == (
        ArtifactStatus(name="there", uri="s3://bucket/key", size_bytes=size, digest=digest),
    )


def test_a_uri_that_nothing_is_told_of_is_listed(box: Box) -> None:
    """Without size and digest; outputs beside it come through."""
    there = Artifact(name="there", uri="s3://bucket/key")
    done = box.run("echo 7 > x", there, names=("x",))
    assert done.returncode == 0, done.stderr
    assert box.told(there) == (ArtifactStatus(name="there", uri="s3://bucket/key"),)
    assert outputs.parse(box.log.read_text(), ["x"]) == (("x", "7"),)


@pytest.mark.parametrize(
    "text", ["", "12", f"x sha256:{SHA}", f"12 {SHA}", "12 sha256:a", f"{'9' * 20} sha256:{SHA}"]
)
def test_what_a_task_tells_wrongly_is_refused(box: Box, text: str) -> None:
    """A wrong digest in the status would be worse than none."""
    there = Artifact(name="there", uri="s3://bucket/key")
    done = box.run(f"echo '{text}' > $RUNYARD_ARTIFACTS/there", there)
    assert done.returncode == EXIT_OUTPUTS
    assert "artifact there" in (outputs.refusal(box.log.read_text()) or "")


def test_a_missing_artifact_is_named(box: Box) -> None:
    """As a missing output: the task has failed."""
    model = box.at("model")
    done = box.run("true", model)
    assert done.returncode == EXIT_OUTPUTS
    refusal = outputs.refusal(box.log.read_text())
    assert refusal == f"artifact model is missing: the task succeeded without writing {model.path}"
    assert box.run("true", model, index="1").returncode == 0


def test_without_sha256sum_there_is_no_digest(box: Box, tmp_path: Path) -> None:
    """It is said in the log, and the size is there."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "wc", "mkdir", "find", "sort", "sed", "bash", "busybox"):
        if (found := shutil.which(name)) is not None:
            (tools / name).symlink_to(found)
    box.shell = [shutil.which(box.shell[0]) or "", *box.shell[1:]]
    if "busybox" in box.shell[0]:
        return  # its shell has the tool built in
    box.path = str(tools)
    one, two = box.at("one"), box.at("two")
    done = box.run("echo 1 > one; mkdir two; echo 22 > two/x", one, two)
    assert done.returncode == 0, done.stderr
    assert "artifact one has no digest" in done.stderr
    assert "artifact two has no digest" in done.stderr
    assert [(each.size_bytes, each.digest) for each in box.told(one, two)] == [(2, None), (3, None)]


def test_as_many_as_may_be_declared_fit(box: Box) -> None:
    """The longest sizes and digests stay within what `results` counts them as."""
    declared = [
        Artifact(name=f"{index:02d}".rjust(63, "a"), uri=f"s3://{index}") for index in range(16)
    ]
    script = "".join(
        f"echo '{'9' * 19} sha256:{SHA}' > $RUNYARD_ARTIFACTS/{each.name};" for each in declared
    )
    done = box.run(f"{script} echo 1 > x", *declared, names=("x",))
    assert done.returncode == 0, done.stderr
    most = results.frame_bytes(["x"], [each.name for each in declared])
    assert len(box.log.read_bytes()) <= most + len("1\n") <= results.MESSAGE_BYTES
    assert len(box.told(*declared)) == 16


def test_the_finished_flag_decides(box: Box) -> None:
    """A program of ft_launcher that ends well without it is not done."""
    flag = str(box.root / "finished")
    done = box.run("true", flag=flag)
    assert done.returncode == EXIT_OUTPUTS
    assert outputs.is_unfinished(box.log.read_text())
    assert flag in (outputs.refusal(box.log.read_text()) or "")
    assert box.run("true", flag=flag, index="1").returncode == 0
    assert box.run("exit 4", flag=flag).returncode == 4
    box.log.unlink()
    assert box.run(": > finished", flag=flag).returncode == 0
    assert not box.log.exists()


@given(st.text(alphabet="$()Aa{ ", max_size=12))
def test_kubernetes_gives_back_what_was_written(text: str) -> None:
    """No `$(NAME)` of a user is expanded but the names of `PLACED`, and no `$$` is halved."""
    assert expand(placed(text)) == text


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}:1", "{}:1"),
        ("$({}):1", "VALUE:1"),
        ("$$({}):1", "$({}):1"),
        ("$$$({})", "$$({})"),
        ("$({0})$({0})$(X)$", "VALUEVALUE$(X)$"),
    ],
)
def test_where_a_program_runs_may_be_named(name: str, text: str, expected: str) -> None:
    """As Kubernetes has it, and doubled it stays as it is written."""
    word = placed(text.format(name))
    got = expand(word.replace("$$", "\0").replace(f"$({name})", "VALUE").replace("\0", "$$"))
    assert got == expected.format(name)
