"""Installing JobSet, Kubeflow Trainer, KubeRay and Kueue, and waiting until they really work."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from testbed import build, state
from testbed.artefacts import Artefacts
from testbed.errors import ClusterError
from testbed.kubeapi import FIELD_MANAGER, KubeApi
from testbed.layout import Home
from testbed.ml import overlays, probes
from testbed.node import images
from testbed.procs import ProcessId
from testbed.state import State
from testbed.waiting import until

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Addition:
    """One upstream project: its built manifests and image, and where its manager runs."""

    name: str
    manifests: str
    image: str
    overlay: Callable[[], overlays.Overlay]
    deployment: str  # namespace/name


_JOBSET = Addition(
    "JobSet", "manifests/jobset", "image/jobset", overlays.jobset,
    "jobset-system/jobset-controller-manager",
)  # fmt: skip
_TRAINER = Addition(
    "Kubeflow Trainer", "manifests/trainer", "image/trainer-controller-manager", overlays.trainer,
    "kubeflow-system/kubeflow-trainer-controller-manager",
)  # fmt: skip
_KUBERAY = Addition(
    "KubeRay", "manifests/kuberay", "image/kuberay-operator", overlays.kuberay,
    "ray-system/kuberay-operator",
)  # fmt: skip

_KUEUE = Addition(
    "Kueue", "manifests/kueue", "image/kueue", overlays.kueue,
    "kueue-system/kueue-controller-manager",
)  # fmt: skip

WORKER = "image/worker"


def _additions(*, kuberay: bool, kueue: bool) -> list[Addition]:
    return [_JOBSET, _TRAINER, *([_KUBERAY] if kuberay else []), *([_KUEUE] if kueue else [])]


def parts(*, kuberay: bool, kueue: bool) -> tuple[str, ...]:
    """Return the names of the built parts that level ml needs beyond the node."""
    additions = _additions(kuberay=kuberay, kueue=kueue)
    found = [name for one in additions for name in (one.manifests, one.image)]
    return (*found, WORKER)


def _kubectl(home: Home, *arguments: str, text: str | None = None) -> str:
    command = [str(home.root / "bin" / "kubectl"), "--kubeconfig", str(home.kubeconfig)]
    done = subprocess.run(
        [*command, *arguments], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
    return done.stdout


def _render(home: Home, one: Addition, built: Artefacts, digest: str) -> str:
    folder = home.root / "manifests" / one.manifests.rsplit("/", 1)[1]
    overlays.write(one.overlay(), built.path(one.manifests), folder, digest)
    return _kubectl(home, "kustomize", str(folder))


def _apply(home: Home, text: str) -> None:
    _kubectl(
        home, "apply", "--server-side", "--force-conflicts",
        f"--field-manager={FIELD_MANAGER}", "--filename", "-", text=text,
    )  # fmt: skip


@dataclass(slots=True)
class _Installer:
    """Applies additions and remembers from what, so that a resumed cluster is not asked twice."""

    home: Home
    known: State
    built: Artefacts
    node: ProcessId
    say: Say

    def install(self, one: Addition) -> None:
        """Load the addition's image and apply its manifests, unless both are there already."""
        images.load(self.home, self.node, self.built, [one.image], self.say)
        digest = _digest(one, self.built)
        if self.known.applied.get(one.name) == digest:
            return
        _apply(self.home, _render(self.home, one, self.built, digest))
        self.known = replace(self.known, applied={**self.known.applied, one.name: digest})
        state.save(self.home, self.known)


def _digest(one: Addition, built: Artefacts) -> str:
    """Name what the installed manifests and the program were made from."""
    places = (built.path(each).resolve() for each in (one.manifests, one.image))
    facts = f"{' '.join(map(str, places))} {one.overlay()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _wait_manager(api: KubeApi, one: Addition) -> None:
    namespace, name = one.deployment.split("/")

    def available() -> bool:
        answer = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
        return answer.ok and bool(answer.json()["status"].get("availableReplicas"))

    def complaint() -> str:
        return (
            f"{one.name} does not become available; "
            f"see `kubectl -n {namespace} describe pods` and `logs deployment/{name}`"
        )

    until(available, 180.0, complaint, pause=0.2)


def _apply_runtime(home: Home, built: Artefacts) -> None:
    folder = built.path(_TRAINER.manifests)
    upstream = (folder / "base" / "runtimes" / "torch_distributed.yaml").read_text()
    image = build.image_ref(WORKER)
    _apply(home, re.sub(r"(?m)^(\s*)image: .*$", rf"\g<1>image: {image}", upstream))


def ensure(
    home: Home, known: State, api: KubeApi, built: Artefacts, node: ProcessId, say: Say
) -> None:
    """Have everything of level ml installed and answering.

    Raises ClusterError, naming what does not work.
    """
    begin = time.monotonic()
    installer = _Installer(home, known, built, node, say)
    installer.install(_JOBSET)
    installer.install(_TRAINER)
    images.load(home, node, built, [WORKER], say)
    additions = _additions(kuberay=known.kuberay, kueue=known.kueue)
    for one in additions:  # KubeRay and Kueue, the last to be built; the others are there
        installer.install(one)
    probes.wait_jobset(api)
    _wait_manager(api, _TRAINER)
    probes.wait_trainjob(api)
    _apply_runtime(home, built)
    for one in additions:
        _wait_manager(api, one)
    if known.kueue:
        probes.wait_kueue(api)
    names = ", ".join(one.name for one in additions)
    say(f"{names} ready ({time.monotonic() - begin:.1f} s)")
