"""Makes torchrun work with Debian's torch, which is built without libuv.

Some callers of TCPStore do not look at USE_LIBUV, so the answer is written into them. Fails when a
file does not look as expected: another version of torch is noticed here and not in a training.
"""

from __future__ import annotations

import importlib.util
import pathlib
import py_compile
import sys

# The one line of each file, within the call, after which the argument is added.
CALLS = {
    "elastic/rendezvous/static_tcp_rendezvous.py": "                multi_tenant=True,\n",
    "elastic/rendezvous/c10d_rendezvous_backend.py": "                multi_tenant=True,\n",
    "rendezvous.py": "            is_master=False,\n",
}


def main() -> None:
    """Patch the three files of the installed torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("torch is not installed")
    for name, line in CALLS.items():
        path = pathlib.Path(spec.origin).parent / "distributed" / name
        text = path.read_text()
        if text.count(line) != 1:
            sys.exit(f"{path}: {line.strip()!r} is there {text.count(line)} times")
        indent = line[: len(line) - len(line.lstrip())]
        path.write_text(text.replace(line, f"{line}{indent}use_libuv=False,\n"))
        py_compile.compile(str(path), doraise=True)


if __name__ == "__main__":
    main()
