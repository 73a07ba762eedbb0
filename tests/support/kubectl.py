"""kubectl for tests: the real binary of the testbed, JSON in and out."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl against one cluster and namespace."""

    binary: Path
    kubeconfig: Path
    namespace: str

    def run(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Standard output of the command.

        Raises:
            AssertionError: it failed and `check` is set; with its standard error.
        """
        done = self.result(*args, stdin=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def result(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """The finished command, whatever its exit code."""
        command = [str(self.binary), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace]
        return subprocess.run(
            [*command, *args], input=stdin, text=True, capture_output=True, check=False, timeout=300
        )

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Server-side apply of the manifests, as a user named `test` would do it."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        return self.run("apply", "--server-side", "--field-manager=test", "-f", "-", stdin=document)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def list(self, kinds: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of the kinds in the namespace."""
        text = self.run("get", kinds, "-o", "json", *(["-l", selector] if selector else []))
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items
