"""The installer of packages, as the task's image runs it: its own Python, with pip beside it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runyard_operator.unpack import install, tools
from tests.support.pyindex import Index, package_index, wheel

SAY = {"say/__init__.py": "def main():\n    print('said')\n"}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an image: without pip, and with one package of its own."""
    place = tmp_path_factory.mktemp("image")
    venv.create(place, with_pip=False, symlinks=True)
    site = next(place.glob("lib/python*/site-packages"))
    (site / "torch-2.6.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\n"
    (site / "torch-2.6.0.dist-info/METADATA").write_text(metadata)
    (site / "torch.py").write_text("WHOSE = 'the image'\n")
    return place / "bin" / "python3"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installer, where the first init container puts it."""
    folder = tmp_path_factory.mktemp("tools")
    assert tools.copy_to(str(folder)) > 100
    return folder / tools.INSTALLER


@pytest.fixture
def index() -> Iterator[Index]:
    with package_index() as running:
        needs = ("torch>=2", "helper>1")
        running.add(wheel("say", "1.5", SAY, needs=needs, programs={"say": "say:main"}))
        running.add(wheel("helper", "2.0", {"helper.py": "VALUE = 2\n"}))
        running.add(wheel("torch", "9.9", {"torch.py": "WHOSE = 'the index'\n"}))
        yield running


class Pod:
    """One pod: a job folder, and what runs in it."""

    def __init__(self, folder: Path, image: Path, program: Path, index: Index) -> None:
        folder.mkdir()
        self.packages = folder / "packages"
        self._image = image
        self._command = [str(image), str(program)]
        self._environ = {
            "PATH": os.environ["PATH"],
            install.INDEX: index.url,
            install.TARGET: str(self.packages),
        }

    def install(self, *requirements: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command,
            env={**self._environ, install.REQUIREMENTS: json.dumps(requirements), **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    def python(self, text: str) -> str:
        """What the task's Python prints."""
        done = subprocess.run(
            [str(self._image), "-c", text],
            env={"PYTHONPATH": str(self.packages)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture
def pod(tmp_path: Path, image: Path, program: Path, index: Index) -> Pod:
    return Pod(tmp_path / "job", image, program, index)


def test_packages_are_installed_beside_what_the_image_has(pod: Pod, index: Index) -> None:
    """What is missing comes with its needs and programs; what is there and fits is not doubled."""
    for _ in ("once", "again, as after a restart of the container"):
        done = pod.install("say~=1.0")
        assert done.returncode == 0, done.stdout + done.stderr
    assert pod.python("import say, helper, torch; print(helper.VALUE, torch.WHOSE)") == (
        "2 the image"
    )
    run = subprocess.run([pod.packages / "bin/say"], env={"PYTHONPATH": str(pod.packages)},
                         capture_output=True, text=True, check=True)  # fmt: skip
    assert run.stdout.strip() == "said"
    assert not [path for path in index.downloads if "torch" in path]
    assert sorted(os.listdir(pod.packages.parent)) == ["packages"]
    assert os.stat(pod.packages).st_mode & 0o777 == 0o755


def test_another_version_goes_before_the_images(pod: Pod) -> None:
    """When the image has one that does not fit."""
    assert pod.install("torch>9").returncode == 0
    assert pod.python("import torch; print(torch.WHOSE)") == "the index"


def test_the_image_has_it_all(pod: Pod, index: Index) -> None:
    """Then nothing is fetched, and the folder is there all the same."""
    done = pod.install("torch")
    assert (done.returncode, os.listdir(pod.packages), index.downloads) == (0, [], [])
    assert "the image has all of it" in done.stdout


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("nothing-like-it", "No matching distribution found for nothing-like-it"),
        ("say>7", "No matching distribution found for say>7"),
        ("say==1.5 nonsense", "Invalid requirement"),
        ("helper==2.0 --hash=sha256:" + "0" * 64, "DO NOT MATCH THE HASHES"),
    ],
)
def test_the_resolvers_word_is_the_reason(pod: Pod, requirement: str, said: str) -> None:
    """The last line on stderr, which becomes the message in the unit's status."""
    done = pod.install(requirement)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("runyard: the packages cannot be installed: ")
    assert said in last
    assert len(last) < 1000


def test_two_that_do_not_go_together(pod: Pod, index: Index) -> None:
    """The conflict is told."""
    index.add(wheel("other", "1.0", {}, needs=("helper<2",)))
    assert "conflicting dependencies" in pod.install("say", "other").stderr


def test_an_index_that_is_away(pod: Pod) -> None:
    """Told from a package that does not exist."""
    away = {install.INDEX: "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    last = pod.install("say", **away).stderr.strip().splitlines()[-1]
    assert "the package index http://127.0.0.1:9/simple cannot be reached: " in last


def test_credentials_of_an_index_are_not_shown(pod: Pod, index: Index) -> None:
    """Neither in the log nor in the reason; with a wrong password, either."""
    index.login = "robot:s3cr3t"
    bare = index.url.removeprefix("http://")
    done = pod.install("say", **{install.INDEX: f"http://robot:s3cr3t@{bare}"})
    assert done.returncode == 0, done.stderr
    wrong = pod.install("say", **{install.INDEX: f"http://robot:wr0ng@{bare}"})
    assert wrong.returncode == 1
    said = "".join(each.stdout + each.stderr for each in (done, wrong))
    assert "s3cr3t" not in said
    assert "wr0ng" not in said


def test_the_second_pod_installs_nothing(
    tmp_path: Path, image: Path, program: Path, index: Index
) -> None:
    """What one pod has put into the cache is the next one's; the key tells other wishes apart."""
    cache = tmp_path / "cache"
    cache.mkdir()
    pods = [Pod(tmp_path / name, image, program, index) for name in ("one", "two", "three")]
    for pod in pods[:2]:
        done = pod.install("say", "helper", **{install.CACHE: str(cache)})
        assert done.returncode == 0, done.stderr
        assert pod.python("import say, helper; print(helper.VALUE)") == "2"
    assert len(index.downloads) == 2
    assert "in the cache" in done.stdout
    assert pods[0].packages.resolve() == pods[1].packages.resolve()
    pods[2].install("helper", **{install.CACHE: str(cache)})
    assert pods[2].packages.resolve() != pods[0].packages.resolve()
    assert not [name for name in os.listdir(cache) if name.startswith(".installing")]


def test_pods_that_start_together(tmp_path: Path, image: Path, program: Path, index: Index) -> None:
    """One installs and the others wait for it; what a killed one left is cleared away."""
    cache = tmp_path / "cache"
    cache.mkdir()
    pods = [Pod(tmp_path / f"pod{number}", image, program, index) for number in range(3)]
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda pod: pod.install("say", **{install.CACHE: str(cache)}), pods))
    assert [end.returncode for end in ends] == [0, 0, 0]
    assert len([path for path in index.downloads if "say" in path]) == 1
    assert len({pod.packages.resolve() for pod in pods}) == 1


def test_a_dead_holder_of_the_lock(
    tmp_path: Path, image: Path, program: Path, index: Index
) -> None:
    """Its lock ended with it, and its half-made folder is not taken for whole."""
    cache = tmp_path / "cache"
    cache.mkdir()
    first = Pod(tmp_path / "first", image, program, index)
    assert first.install("say", **{install.CACHE: str(cache)}).returncode == 0
    key = first.packages.resolve().name
    first.packages.resolve().rename(cache / f".installing-{key}-dead")
    pod = Pod(tmp_path / "second", image, program, index)
    assert pod.install("say", **{install.CACHE: str(cache)}).returncode == 0
    assert pod.python("import say") == ""
    assert sorted(os.listdir(cache)) == [f".{key}.lock", key]
    with (cache / f".{key}.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_key_says_what_makes_a_difference() -> None:
    """Requirements in any order, index, image; not the password of the index."""

    def key(*requirements: str, index: str = "https://a/simple", have: str = "torch==2") -> str:
        return install.key_of(requirements, {install.INDEX: index}, [have])

    assert key("a", "b") == key("b", "a") == key("a", "b", index="https://u:p@a/simple")
    different = {key("a"), key("a", "b"), key("a", index="https://b/simple"), key("a", have="x")}
    assert len(different) == 4


def test_the_installer_runs_on_old_pythons() -> None:
    """It is the image's Python that reads it: no syntax beyond 3.9, nothing but the library."""
    import ast

    source = Path(install.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    modules = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {each.split(".")[0] for each in modules} <= sys.stdlib_module_names | {"__future__"}
