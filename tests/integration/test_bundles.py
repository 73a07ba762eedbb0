"""Code that is pushed: in ConfigMaps of a real API server, and in the store behind it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import signal
import socket
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runyard.api.code import CodeBundle
from runyard.bundles import names
from runyard.bundles.archive import pack
from runyard_operator.bundles import tokens
from runyard_operator.bundles.claim import claim
from runyard_operator.bundles.sweep import sweep
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.storage.depot import Depot, Limits
from runyard_operator.storage.folder import Folder
from runyard_operator.storage.sweep import sweep as sweep_store
from testbed.cluster import Cluster
from tests.support.cli import Cli
from tests.support.codestore import StoreProcess, store_behind
from tests.support.experiments import EXPERIMENT, experiment, job
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

SMALL, BIG = 2_200_000, 3_500_000
CAP = 64_000_000
PUTS = 'runyard_store_requests_total{kind="bundles",method="PUT",status="200"}'


def code(folder: Path, size: int, seed: int = 1) -> Path:
    """A folder of code that packs to about so many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text("print('hello')\n")
    (folder / "weights.bin").write_bytes(random.Random(seed).randbytes(size))
    return folder


def push(cli: Cli, folder: Path, *options: str) -> dict[str, Any]:
    """The bundle that `runyard code push` prints."""
    done = cli.run("code", "push", str(folder), "-o", "json", *options)
    assert done.returncode == 0, done.stderr
    bundle: dict[str, Any] = json.loads(done.stdout)["code"]["bundle"]
    return {**bundle, "said": done.stderr}


def bundle_of(pushed: dict[str, Any]) -> CodeBundle:
    return CodeBundle(digest=pushed["digest"], size=pushed["size"])


def config_maps(kube: Kubectl) -> dict[str, dict[str, Any]]:
    """Those of pushed code, by name."""
    found = kube.list("configmaps", "app.kubernetes.io/managed-by=runyard")
    return {each["metadata"]["name"]: each for each in found}


def joined(kube: Kubectl, digest: str) -> bytes:
    """The archive as a pod would put it together."""
    found = config_maps(kube)
    manifest = found[names.manifest_name(digest)]
    parts = int(manifest["data"]["parts"])
    return b"".join(
        base64.b64decode(found[f"{names.manifest_name(digest)}-{index}"]["binaryData"]["part"])
        for index in range(parts)
    )


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    return Cli(kube.kubeconfig, kube.namespace)


@pytest.fixture
def store(kube: Kubectl, tmp_path: Path) -> Iterator[StoreProcess]:
    with store_behind(kube, tmp_path) as running:
        yield running


@pytest.fixture
async def api(kube: Kubectl) -> AsyncIterator[HttpKubeApi]:
    client = HttpKubeApi(await load_configuration(str(kube.kubeconfig)))
    yield client
    await client.close()


def owner_of(kube: Kubectl, name: str) -> dict[str, Any]:
    """An experiment as an owner; nothing runs it."""
    kube.apply(experiment(name, job("first", "true")))
    found = kube.get(EXPERIMENT, name)
    assert found is not None
    head = {key: found[key] for key in ("apiVersion", "kind")}
    return {**head, **{key: found["metadata"][key] for key in ("name", "uid")}}


async def take(
    api: HttpKubeApi, kube: Kubectl, pushed: CodeBundle, owner: dict[str, Any], **more: Any
) -> str | None:
    """What the operator does when an experiment names the code."""
    manager = f"runyard-experiment-{owner['uid']}"
    chosen = {"key": None, "cap": CAP, **more}
    return await claim(api, pushed, kube.namespace, owner, manager=manager, **chosen)


def test_small_code_lies_in_config_maps(cli: Cli, kube: Kubectl, tmp_path: Path) -> None:
    """Whole, unchangeable, owned by their manifest; not sent twice, and shown by `list`."""
    folder = code(tmp_path / "code", SMALL)
    pushed = push(cli, folder)
    found = config_maps(kube)
    name = names.manifest_name(pushed["digest"])
    assert set(found) == {name, f"{name}-0", f"{name}-1", f"{name}-2"}
    assert found[name]["data"] == {"location": "ConfigMaps", "parts": "3"}
    assert all(each["immutable"] for each in found.values())
    owners = [found[f"{name}-{n}"]["metadata"]["ownerReferences"][0]["uid"] for n in range(3)]
    assert set(owners) == {found[name]["metadata"]["uid"]}
    archive = joined(kube, pushed["digest"])
    assert len(archive) == pushed["size"]
    tar = gzip.decompress(archive)
    assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == pushed["digest"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert opened.getnames() == ["main.py", "weights.bin"]

    again = push(cli, folder)
    assert "unchanged" in again["said"]
    assert (again["digest"], again["size"]) == (pushed["digest"], pushed["size"])
    after = config_maps(kube)
    assert {each: found[each]["metadata"]["uid"] for each in found} == {
        each: after[each]["metadata"]["uid"] for each in after
    }
    listed = json.loads(cli.run("code", "list", "-o", "json").stdout)["items"]
    assert [(each["name"], each["owners"]) for each in listed] == [(name, 0)]
    assert pushed["digest"] in cli.run("code", "list").stdout
    assert name in cli.run("code", "prune-dry").stdout
    spec = experiment("uses", job("a", "true"), code={"bundle": bundle_of(pushed).to_dict()})
    kube.apply(spec)


def test_pushes_at_the_same_time_make_one_bundle(cli: Cli, kube: Kubectl, tmp_path: Path) -> None:
    """Whoever is second takes what is there; all succeed."""
    folder = code(tmp_path / "code", SMALL)
    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(lambda _: push(cli, folder), range(4)))
    assert len({each["digest"] for each in pushed}) == 1
    assert len(config_maps(kube)) == 4
    tar = gzip.decompress(joined(kube, pushed[0]["digest"]))
    assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == pushed[0]["digest"]


def test_what_a_broken_push_has_left_is_no_hindrance(
    cli: Cli, kube: Kubectl, tmp_path: Path
) -> None:
    """Parts of ours are used, parts of another compression replaced, missing ones made again."""
    folder = code(tmp_path / "code", SMALL)
    with pack(folder) as archive:
        content, digest = archive.path.read_bytes(), archive.digest
    now = datetime.now(UTC)
    left = [names.part(digest, 0, content[:1_000_000], now=now)]
    left.append(names.part(digest, 1, b"of another zlib", now=now))
    kube.apply(*left)
    first = config_maps(kube)[names.part_names(digest, SMALL)[0]]["metadata"]["uid"]
    pushed = push(cli, folder)
    assert joined(kube, digest) == content
    name = names.manifest_name(digest)
    assert config_maps(kube)[f"{name}-0"]["metadata"]["uid"] == first
    kube.run("delete", "configmap", f"{name}-2")
    assert "sent" in push(cli, folder)["said"]
    kube.run("delete", "configmap", "--selector", names.LABEL_PART)
    assert "sent" in push(cli, folder)["said"]
    assert joined(kube, digest) == content
    assert pushed["size"] == len(content)


def test_a_taken_name_is_told(cli: Cli, kube: Kubectl, tmp_path: Path) -> None:
    """Nothing of others is overwritten."""
    folder = code(tmp_path / "code", 1000)
    with pack(folder) as archive:
        name = names.manifest_name(archive.digest)
    kube.run("create", "configmap", name, "--from-literal=a=b")
    done = cli.run("code", "push", str(folder))
    assert done.returncode == 1
    assert f"the ConfigMap {name} exists and is not the code" in done.stderr
    assert f"kubectl delete configmap {name}" in done.stderr


async def test_experiments_keep_their_code_and_take_it_along(
    api: HttpKubeApi, cli: Cli, kube: Kubectl, tmp_path: Path
) -> None:
    """Each is one more owner; with the last one manifest and parts go."""
    pushed = bundle_of(push(cli, code(tmp_path / "code", SMALL)))
    owners = [owner_of(kube, name) for name in ("one", "two")]
    for owner in (*owners, owners[0]):
        assert await take(api, kube, pushed, owner) is None
    name = names.manifest_name(pushed.digest)
    listed = config_maps(kube)[name]["metadata"]["ownerReferences"]
    assert sorted(each["name"] for each in listed) == ["one", "two"]
    kube.run("delete", EXPERIMENT, "one")
    later = datetime.now(UTC) + timedelta(hours=9)
    assert await sweep(api, [kube.namespace], later) == 0
    assert len(config_maps(kube)) == 4
    kube.run("delete", EXPERIMENT, "two")
    eventually(lambda: not config_maps(kube), "the garbage collector takes all four")
    problem = await take(api, kube, pushed, owners[0])
    assert problem is not None
    assert "push it with runyard code push" in problem


async def test_what_is_wrong_with_a_bundle_is_said(
    api: HttpKubeApi, cli: Cli, kube: Kubectl, tmp_path: Path
) -> None:
    """Absent, of another size, too much for the namespace; nothing is then owned."""
    owner = owner_of(kube, "one")
    absent = CodeBundle(digest=f"sha256:{'a' * 64}", size=10)
    assert "push it with" in str(await take(api, kube, absent, owner))
    assert not config_maps(kube), "asking made nothing"
    pushed = bundle_of(push(cli, code(tmp_path / "code", 1000)))
    other = CodeBundle(digest=pushed.digest, size=pushed.size + 1)
    assert f"write size: {pushed.size}" in str(await take(api, kube, other, owner))
    problem = await take(api, kube, pushed, owner, cap=pushed.size - 1)
    assert problem is not None
    assert names.manifest_name(pushed.digest) in problem
    assert (
        "ownerReferences" not in config_maps(kube)[names.manifest_name(pushed.digest)]["metadata"]
    )


async def test_what_nothing_owns_is_swept_after_an_hour(
    api: HttpKubeApi, cli: Cli, kube: Kubectl, tmp_path: Path
) -> None:
    """Bundles, parts without a manifest, tickets; not what was pushed again, or is a user's."""
    push(cli, code(tmp_path / "code", SMALL))
    orphan = names.part(f"sha256:{'b' * 64}", 0, b"x", now=datetime.now(UTC))
    kube.apply(orphan, names.ticket("runyard-upload-1", f"sha256:{'b' * 64}", "t" * 32))
    kube.run("create", "configmap", "mine", "--from-literal=a=b")
    now = datetime.now(UTC)
    assert await sweep(api, [kube.namespace], now + timedelta(minutes=50)) == 0
    for name in config_maps(kube):
        if name.startswith("code-") and names.short(f"sha256:{'b' * 64}") not in name:
            when = names.timestamp(now + timedelta(minutes=55))
            kube.run(
                "annotate", "configmap", name, f"{names.ANNOTATION_PUSHED}={when}", "--overwrite"
            )
    assert await sweep(api, [kube.namespace], now + timedelta(minutes=65)) == 2
    assert len(config_maps(kube)) == 4
    assert await sweep(api, [kube.namespace], now + timedelta(minutes=125)) == 1
    eventually(lambda: not config_maps(kube), "the parts go with their manifest")
    assert kube.get("configmap", "mine") is not None


async def test_the_store_keeps_big_code_once(
    api: HttpKubeApi, cli: Cli, kube: Kubectl, store: StoreProcess, cluster: Cluster, tmp_path: Path
) -> None:
    """Sent once from each namespace, stored once, readable with the operator's token alone."""
    at = ("--store-namespace", kube.namespace)
    folder = code(tmp_path / "code", BIG)
    pushed = push(cli, folder, *at)
    manifest = config_maps(kube)[names.manifest_name(pushed["digest"])]
    assert manifest["data"] == {"location": "Store", "parts": "0"}
    assert len(config_maps(kube)) == 1, "the ticket is gone"
    assert "unchanged" in push(cli, folder, *at)["said"]
    assert (
        store.count('runyard_store_requests_total{kind="bundles",method="PUT",status="200"}') == 1
    )
    bundle, owner = bundle_of(pushed), owner_of(kube, "one")
    assert "no code store" in str(await take(api, kube, bundle, owner))
    assert await take(api, kube, bundle, owner, key=store.key) is None

    with cluster.fresh_namespace(wait=False) as other:
        theirs = Kubectl(kube.binary, kube.kubeconfig, other)
        # Who knows the digest alone gets nothing: a manifest of one's own making is worthless.
        forged = {key: each for key, each in manifest.items() if key != "metadata"}
        annotations = manifest["metadata"]["annotations"]
        labels = manifest["metadata"]["labels"]
        name = manifest["metadata"]["name"]
        forged["metadata"] = {"name": name, "annotations": annotations, "labels": labels}
        theirs.apply(forged)
        problem = await take(api, theirs, bundle, owner_of(theirs, "two"), key=store.key)
        assert "not written by the code store" in str(problem)
        second = push(Cli(kube.kubeconfig, other), folder, *at)
        assert "sent" in second["said"]
        assert await take(api, theirs, bundle, owner_of(theirs, "two"), key=store.key) is None
    kept = [each for each in store.files() if each.startswith("bundles/")]
    assert len(kept) == 1
    assert store.count('runyard_store_objects{kind="bundles"}') == 1

    address = f"/v1/bundles/{pushed['digest']}"
    assert store.ask("GET", address)[0] == 403
    token = tokens.get_token(store.key, pushed["digest"])
    status, content, _ = store.ask("GET", address, X_Runyard_Token=token)
    tar = gzip.decompress(content)
    assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == pushed["digest"]
    status, part, headers = store.ask(
        "GET", address, X_Runyard_Token=token, Range="bytes=1000-1999"
    )
    assert (status, part) == (206, content[1000:2000])
    assert headers["Content-Range"] == f"bytes 1000-1999/{len(content)}"


def impersonating(cluster: Cluster, user: str, path: Path) -> Path:
    """A kubeconfig of somebody else."""
    document = json.loads(cluster.kubeconfig.read_text())
    document["users"][0]["user"]["as"] = user
    path.write_text(json.dumps(document))
    return path


def test_who_may_edit_may_push_and_who_may_not_is_told(
    kube: Kubectl, store: StoreProcess, cluster: Cluster, tmp_path: Path
) -> None:
    """No right to pods or volumes is needed; what is missing is named."""
    at = ("--store-namespace", kube.namespace)
    config = impersonating(cluster, "ann", tmp_path / "config")
    with cluster.fresh_namespace(wait=False) as team:
        there = Kubectl(kube.binary, kube.kubeconfig, team)
        ann = Cli(config, team)
        done = ann.run("code", "push", str(code(tmp_path / "small", 1000)), *at)
        assert done.returncode == 1
        assert "ann may not get configmaps" in done.stderr
        rules = ("--verb=get,list,create,patch,delete", "--resource=configmaps")
        there.run("create", "role", "pusher", *rules)
        there.run("create", "rolebinding", "ann", "--role=pusher", "--user=ann")
        eventually(lambda: ann.run("code", "list").returncode == 0, "the right is known")
        push(ann, tmp_path / "small", *at)
        push(ann, code(tmp_path / "big", BIG), *at)
        kube.run("delete", "rolebinding", "runyard-store-users")
        code(tmp_path / "big", BIG, seed=2)

        def refused() -> str | None:
            done = ann.run("code", "push", str(tmp_path / "big"), *at)
            return done.stderr if done.returncode else None

        assert "bundleStore.uploaders" in eventually(refused, "the right is gone")
        done = ann.run("code", "push", str(tmp_path / "big"), "--store-namespace", "kube-system")
        assert done.returncode == 1
    done = Cli(kube.kubeconfig, kube.namespace).run(
        "code", "push", str(tmp_path / "big"), "--store-namespace", "default"
    )
    assert "there is no code store in the namespace default" in done.stderr


def test_no_ticket_no_upload(kube: Kubectl, store: StoreProcess, tmp_path: Path) -> None:
    """Unknown, of another bundle, with a wrong token, from another namespace: all the same no."""
    with pack(code(tmp_path / "code", BIG)) as archive:
        content, digest = archive.path.read_bytes(), archive.digest
    token = "t" * 40
    kube.apply(names.ticket("good", digest, token))
    kube.apply(names.ticket("other", f"sha256:{'c' * 64}", token))
    plain = names.ticket("plain", digest, token)
    del plain["metadata"]["labels"]
    kube.apply(plain)

    def put(ticket: str, body: bytes = content, name: str = digest) -> tuple[int, str]:
        headers = {names.TICKET_HEADER.replace("-", "_"): ticket}
        status, said, _ = store.ask("PUT", f"/v1/bundles/{name}", body, **headers)
        return status, said.decode() if status == 200 else json.loads(said)["reason"]

    space = kube.namespace
    wrong = [f"{space}/{name}:{token}" for name in ("none", "other", "plain")]
    wrong += [f"{space}/good:{'u' * 40}", f"default/good:{token}"]
    assert {put(ticket, b"x" * 4_000_000) for ticket in wrong} == {(403, "TicketRefused")}
    shapes = ["", "x", f"{space}:{token}", f"../{space}/good:{token}", f"{space}/good:short"]
    assert {put(ticket, b"x" * 4_000_000) for ticket in shapes} == {(401, "TicketRefused")}
    good = f"{space}/good:{token}"
    assert put(good, gzip.compress(bytes(100), 0) + bytes(4_000_000)) == (422, "ContentRefused")
    assert put(good, content[:-1])[0] == 422
    assert put(good, content, f"sha256:{'G' * 64}") == (400, "ContentRefused")
    assert store.files() == []
    assert put(good)[0] == 200
    assert json.loads(put(good)[1])["size"] == len(content)
    assert len(store.files()) == 2


def half_sent(store: StoreProcess, digest: str, ticket: str, content: bytes) -> socket.socket:
    """A connection on which half of an upload has been sent."""
    connection = socket.create_connection((store.host, store.port), timeout=60)
    head = f"PUT /v1/bundles/{digest} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n"
    connection.sendall(f"{head}{names.TICKET_HEADER}: {ticket}\r\n\r\n".encode())
    connection.sendall(content[: len(content) // 2])
    return connection


def test_an_upload_that_is_cut_off_is_never_seen(
    cli: Cli, kube: Kubectl, store: StoreProcess, tmp_path: Path
) -> None:
    """Killed in the middle nothing is there; asked to end, the store takes the rest first."""
    folder = code(tmp_path / "code", BIG)
    with pack(folder) as archive:
        content, digest = archive.path.read_bytes(), archive.digest
    token = "t" * 40
    kube.apply(names.ticket("good", digest, token))
    ticket = f"{kube.namespace}/good:{token}"

    with half_sent(store, digest, ticket, content):
        eventually(lambda: any("incoming/" in each for each in store.files()), "it is coming in")
        store.send(signal.SIGKILL)
        store.ended()
    store.start()
    assert store.files() == []

    with half_sent(store, digest, ticket, content):
        eventually(lambda: any("incoming/" in each for each in store.files()), "it is coming in")
    eventually(lambda: store.files() == [], "a client that goes away leaves nothing")

    with half_sent(store, digest, ticket, content) as connection:
        eventually(lambda: any("incoming/" in each for each in store.files()), "it is coming in")
        store.send(signal.SIGTERM)
        eventually(lambda: "uploads that are under way" in store.log.read_text(), "it ends")
        connection.sendall(content[len(content) // 2 :])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert store.ended() == 0
    store.start()
    assert "unchanged" in push(cli, folder, "--store-namespace", kube.namespace)["said"]


def test_a_push_waits_for_a_store_that_restarts(
    cli: Cli, kube: Kubectl, store: StoreProcess, tmp_path: Path
) -> None:
    """It tries again, and again; a terminal shows how far it is."""
    folder = code(tmp_path / "code", BIG)
    store.send(signal.SIGKILL)
    store.ended()
    back = threading.Timer(3, store.start)
    back.start()
    try:
        terminal = cli.on_terminal("code", "push", str(folder), "--store-namespace", kube.namespace)
        terminal.wait_for("3.5 MB of 3.5 MB")
        assert terminal.finish() == 0
        assert "sent 3.5 MB" in terminal.drawn
    finally:
        back.join()


async def test_the_store_forgets_what_no_namespace_speaks_of(
    api: HttpKubeApi, cli: Cli, kube: Kubectl, store: StoreProcess, tmp_path: Path
) -> None:
    """An hour after the last manifest; one of nobody's making keeps nothing."""
    pushed = push(cli, code(tmp_path / "code", BIG), "--store-namespace", kube.namespace)
    store.send(signal.SIGTERM)
    store.ended()
    depot, scopes = Depot(Folder(store.data), Limits()), [kube.namespace]
    later = datetime.now(UTC) + timedelta(hours=2)
    assert await sweep_store(depot, api, store.key, scopes, later) == 0
    name = names.manifest_name(pushed["digest"])
    kube.run("annotate", "configmap", name, f"{names.ANNOTATION_PROOF}=forged", "--overwrite")
    soon = datetime.now(UTC) + timedelta(minutes=50)
    assert await sweep_store(depot, api, store.key, scopes, soon) == 0
    assert await sweep_store(depot, api, store.key, ["default"], later) == 0
    assert len(store.files()) == 2
    assert await sweep_store(depot, api, store.key, scopes, later) == 1
    assert store.files() == []


def test_logs_are_kept_and_read_in_parts(store: StoreProcess) -> None:
    """The operator writes with its key, a namespace reads its own; nothing else is reachable."""
    path = "team-a/5f0c2f7e-0000-4000-8000-000000000000/1/0-pod-main.log.gz"

    def ask(
        method: str, path: str, token: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        return store.ask(method, f"/v1/logs/{path}", body, X_Runyard_Token=token, **headers)[:2]

    write, read = tokens.put_logs_token(store.key, path), tokens.logs_token(store.key, "team-a")
    content = b"".join(b"line %d\n" % number for number in range(100_000))
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert ask("PUT", path, read, content)[0] == 403
    assert ask("PUT", path, write, content, X_Runyard_Digest=f"sha256:{'0' * 64}")[0] == 422
    assert store.files() == []
    status, said = ask("PUT", path, write, content, X_Runyard_Digest=digest)
    assert (status, json.loads(said)) == (200, {"sizeBytes": len(content), "digest": digest})
    assert ask("GET", path, read) == (200, content)
    assert ask("GET", path, read, Range="bytes=100-199") == (206, content[100:200])
    assert ask("GET", path, read, Range="bytes=-50") == (206, content[-50:])
    assert ask("GET", path, read, Range=f"bytes={len(content)}-")[0] == 416
    assert ask("HEAD", path, read)[0] == 200
    assert ask("GET", path, tokens.logs_token(store.key, "team-b"))[0] == 403
    unit = path.rsplit("/", 2)[0]
    (listed,) = json.loads(ask("GET", unit, read)[1])["files"]
    assert (listed["name"], listed["sizeBytes"]) == ("1/0-pod-main.log.gz", len(content))
    for wrong in ("team-a/../x/1/a", "team-a/u/1/.hidden", "team-a/u/x/a", "Team/u/1/a"):
        quoted = wrong.replace("/../", "/%2e%2e/")
        assert ask("GET", quoted, read)[0] in (400, 403, 404), wrong
    with socket.create_connection((store.host, store.port)) as connection:
        head = f"PUT /v1/logs/{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall(f"{head}X-Runyard-Token: {write}\r\n\r\n5\r\nother\r\n".encode())
        eventually(lambda: any("incoming/" in each for each in store.files()), "it is coming in")
    eventually(lambda: len(store.files()) == 1, "what broke off is gone")
    assert ask("GET", path, read) == (200, content)
