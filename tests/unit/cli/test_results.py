"""`runyard results` as a program, against a scripted API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from runyard.cli.results import code_of, sized
from tests.support.httpserver import Answer, Request, serving
from tests.unit.cli.objects import experiment, member, unit

MODEL = {"name": "model", "path": "/data/model", "sizeBytes": 1_300_000, "digest": "sha256:ab"}
LOG = {"location": "store://team-a/unit-train/1", "sizeBytes": 17, "digest": "sha256:cd"}
COMMIT = "0123456789012345678901234567890123456789"


def run(tmp_path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The finished command; prepare has given something, sweep is a matrix, report has not run."""
    spec = experiment({"prepare": [], "train": [], "sweep": [], "report": ["train"]})
    spec["spec"]["tasks"][2]["matrix"] = {"parameters": {"n": ["1", "2"]}}
    spec["status"] = {"code": {"commit": COMMIT}, "tasks": [{"name": "sweep", "states": "SS"}]}
    train = unit(
        "train",
        phase="Succeeded",
        artifacts=[MODEL],
        attempts=[{"number": 1, "key": "k"}, {"number": 2, "key": "k", "log": LOG}],
    )
    train["spec"]["code"] = {"git": {"url": "https://git.example/x", "commit": COMMIT}}
    units = [
        unit("prepare", phase="Succeeded", outputs=[{"name": "rows", "value": "12\n\x1b[31m"}]),
        train,
        *(
            member(
                "sweep", at, {}, phase="Succeeded", outputs=[{"name": "loss", "value": f"0.{at}"}]
            )
            for at in (0, 1)
        ),
    ]

    def script(request: Request) -> Answer:
        found: Any = spec if request.path.endswith("/sft") else {"metadata": {}, "items": units}
        return Answer(json.dumps(found).encode())

    with serving(script) as served:
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "namespace": "team-a"}}],
            "clusters": [{"name": "x", "cluster": {"server": served.url}}],
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(config))
        return subprocess.run(
            [sys.executable, "-m", "runyard.cli.main", "results", "sft", *args],
            env={**os.environ, "KUBECONFIG": str(path)},
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )


def test_the_table_has_a_line_for_each_result(tmp_path: Path) -> None:
    """Outputs, artifacts, code and logs; text of users does nothing to the terminal."""
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    words = [line.split() for line in done.stdout.splitlines()]
    assert words[0] == ["TASK", "KIND", "NAME", "VALUE", "SIZE", "DIGEST"]
    assert words[1][:4] == ["prepare", "output", "rows", "12"]
    assert "\x1b" not in done.stdout
    assert words[2] == ["train", "artifact", "model", "/data/model", "1.2", "MiB", "sha256:ab"]
    assert words[3] == ["train", "code", "git", "https://git.example/x", "@", COMMIT]
    assert words[4][:5] == ["train", "log", "attempt", "2", LOG["location"]]
    assert [line[0] for line in words[5:]] == ["sweep[0]", "sweep[1]"]


def test_programs_get_all_of_it(tmp_path: Path) -> None:
    """As JSON or YAML, of one task or of all."""
    done = run(tmp_path, "sweep[1]", "-o", "json")
    assert json.loads(done.stdout) == {
        "experiment": "sft",
        "namespace": "team-a",
        "results": [
            {
                "task": "sweep",
                "member": 1,
                "phase": "Succeeded",
                "outputs": [{"name": "loss", "value": "0.1"}],
                "artifacts": [],
            }
        ],
    }
    found = yaml.safe_load(run(tmp_path, "-o", "yaml").stdout)["results"]
    assert [each["task"] for each in found] == ["prepare", "train", "sweep", "sweep", "report"]
    assert found[1]["logs"] == [{"attempt": 2, **LOG}]
    assert found[1]["code"]["commit"] == COMMIT
    assert (found[4]["phase"], found[4]["outputs"]) == ("Pending", [])


def test_a_task_that_has_given_nothing_is_told(tmp_path: Path) -> None:
    """Scripts see it by the exit code."""
    done = run(tmp_path, "report")
    assert (done.returncode, done.stdout) == (1, "")
    assert "report has given no output and no artifact (it is Pending)" in done.stderr
    assert run(tmp_path, "train").returncode == 0
    assert "did you mean train?" in run(tmp_path, "trane").stderr
    assert "sweep has no member 9" in run(tmp_path, "sweep[9]").stderr


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_570, "1.0 MiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes_are_short(size: int, text: str) -> None:
    """In the step that makes them so."""
    assert sized(size) == text


def test_code_is_named_by_what_finds_it_again() -> None:
    """A commit, a digest, a place."""
    bundle = {"bundle": {"digest": "sha256:ab", "size": 3}}
    assert code_of(bundle, {}) == {"source": "bundle", "digest": "sha256:ab"}
    assert code_of({"git": {"url": "u"}}, {"commit": COMMIT}) == {
        "source": "git",
        "location": "u",
        "commit": COMMIT,
    }
    assert code_of({"pvc": {"claimName": "c", "subPath": "s"}}, {})["location"] == "c/s"
    assert code_of({"inline": [{"path": "a"}]}, {}) == {"source": "inline"}
    assert code_of({}, {}) == {}
