"""`python3 -m devtools`; `./dev` finds the right Python for it."""

from __future__ import annotations

import sys

from devtools.cli import main

if __name__ == "__main__":
    sys.exit(main())
