"""Every example as the real API server sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.examples import FILES
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_is_accepted(kube: Kubectl, path: Path) -> None:
    """A strict dry run on the server accepts the file: no unknown field, no broken rule."""
    kube.run("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(path))
