"""The catalogue itself: complete, in order, and keyed by what each part is made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed.build import catalogue, image_ref
from testbed.build.artifact import ON_THE_MACHINE, Artifact, digest_tree, key_of
from testbed.build.recipes.golang import MODULES, GoBinaries, binary_name
from testbed.build.schedule import LANES, TOGETHER
from testbed.build.store import leaf
from tests.support.build_parts import Writer
from tests.support.build_parts import catalogue as parts_of

_NAMES = list(catalogue())


@pytest.mark.parametrize("name", _NAMES)
def test_needs_are_in_the_catalogue(name: str) -> None:
    """Every need is a part, its recipe runs in a known lane, and its size is said."""
    part = catalogue()[name]
    assert set(part.needs) <= set(_NAMES)
    assert part.recipe.lane in LANES
    assert part.size > 0


def test_the_control_plane_comes_first() -> None:
    """Go builds what a first cluster needs first, and last what level ml adds to a node."""
    order = [name for name, part in catalogue().items() if part.recipe.lane == "go"]
    assert order[:4] == ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"]
    assert order[-2:] == ["kuberay-operator", "kueue"]
    assert order.index("kube-apiserver-oldest") < order.index("kubelet")


def test_no_two_parts_share_a_place() -> None:
    """Names stay distinct as folders of the cache, and as binaries of one command."""
    assert len({name.replace("/", "--") for name in _NAMES}) == len(_NAMES)
    for recipe in {part.recipe for part in catalogue().values() if part.recipe.lane in TOGETHER}:
        names = [leaf(part.name) for part in catalogue().values() if part.recipe == recipe]
        assert len(set(names)) == len(names)


def test_pinned_modules_have_their_checksums() -> None:
    """Each module of a Go recipe has both files, and pins what its sources come from."""
    recipes = {p.recipe for p in catalogue().values() if isinstance(p.recipe, GoBinaries)}
    for recipe in recipes:
        assert isinstance(recipe, GoBinaries)
        assert (MODULES / recipe.module / "go.sum").stat().st_size > 0
        assert (MODULES / recipe.module / "go.mod").stat().st_size > 0


def test_keys_are_stable_and_distinct() -> None:
    """A key is the same every time, and no two parts of the cache have the same one."""
    keys = {name: key_of(part, catalogue()) for name, part in catalogue().items()}
    assert keys == {name: key_of(part, catalogue()) for name, part in catalogue().items()}
    cached = [key for key in keys.values() if key != ON_THE_MACHINE]
    assert len(set(cached)) == len(cached)


@pytest.mark.parametrize(
    "changed",
    [
        Artifact("part", Writer(), "source", ("base",), size=5),
        Artifact("part", Writer(content="two"), "source", ("base",)),
        Artifact("part", Writer(), "another", ("base",)),
        Artifact("part", Writer(), "source"),
        Artifact("part", Writer(), "source", ("deep",)),
    ],
    ids=["size", "recipe", "source", "need", "need of a need"],
)
def test_a_key_changes_with_what_the_part_is_made_from(changed: Artifact) -> None:
    """The recipe's inputs, the source and the needs' own keys count; the size on disk does not."""
    deep = Artifact("deep", Writer(content="deeper"), "x")
    parts = parts_of(Artifact("base", Writer()), deep)
    before = Artifact("part", Writer(), "source", ("base",))
    same = key_of(before, parts) == key_of(changed, parts)
    assert same == (changed.size == 5)


def test_a_folders_digest_follows_its_files(tmp_path: Path) -> None:
    """Contents, names and modes count; Python's caches and hidden files do not."""
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    file = tmp_path / "code" / "a.py"
    file.write_text("1")
    first = digest_tree(tmp_path, "code")
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_text("cache")
    (tmp_path / "code" / ".hidden").write_text("hidden")
    assert digest_tree(tmp_path, "code") == first
    file.chmod(0o755)
    second = digest_tree(tmp_path, "code")
    file.write_text("2")
    third = digest_tree(tmp_path, "code")
    file.rename(tmp_path / "code" / "b.py")
    assert len({first, second, third, digest_tree(tmp_path, "code")}) == 4


@pytest.mark.parametrize(
    ("package", "expected"),
    [("go.etcd.io/etcd/server/v3", "server"), ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
     ("./coredns", "coredns"), ("github.com/a/v2tool", "v2tool")],
)  # fmt: skip
def test_binaries_are_found_under_the_name_that_go_gives_them(package: str, expected: str) -> None:
    """The last element counts, but for a major version."""
    assert binary_name(package) == expected


def test_images_have_references_of_their_own() -> None:
    """No two images share a reference, and all are of the testbed's own registry name."""
    refs = [image_ref(name) for name in _NAMES if name.startswith("image/")]
    assert len(set(refs)) == len(refs)
    assert {ref.split("/")[0] for ref in refs} == {"testbed.local"}
    assert image_ref("image/worker") == "testbed.local/worker:dev"
    assert image_ref("image/pause") == "testbed.local/pause:1"


def test_the_catalogue_is_plain_data() -> None:
    """What a key is made of can be written down, for a look at why it changed."""
    for part in catalogue().values():
        inputs = part.recipe.inputs(part.source)
        assert inputs is None or json.dumps(dict(inputs))
