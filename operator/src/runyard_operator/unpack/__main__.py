"""The program of the init container."""

from __future__ import annotations

import os
import sys

from runyard_operator.unpack import UnpackError, run
from runyard_operator.unpack.problems import one_line


def main() -> int:
    """0 when the code is in place, else 1 with the reason as the last line on stderr."""
    # What is made here is for the task's user, whoever that is.
    os.umask(0o022)
    try:
        count = run(os.environ)
    except (UnpackError, OSError) as problem:
        said = one_line(str(problem))
        print(f"runyard: the code cannot be unpacked: {said}", file=sys.stderr)
        return 1
    print(f"runyard: {count} files in place")
    return 0


if __name__ == "__main__":
    sys.exit(main())
