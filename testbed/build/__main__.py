"""Builds named parts alone: ``python3 -m testbed.build NAME...`` (no name: lists them)."""

from __future__ import annotations

import sys

from testbed import build
from testbed.build.progress import Progress


def main(names: list[str]) -> int:
    """Build the parts and print where each of them lies. Returns the exit code."""
    if not names:
        print("\n".join(build.catalogue()))
        return 0
    progress = Progress()
    try:
        work = build.start(names, progress)
        try:
            paths = work.wait()
        except KeyboardInterrupt:
            work.cancel()
            raise
    except build.BuildError as error:
        progress.close()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.close()
        print("stopped; what is finished is kept", file=sys.stderr)
        return 130
    progress.close()
    for name in names:
        print(f"{name}\t{paths[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
