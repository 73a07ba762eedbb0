"""Makes torchrun work with Debian's torch, which is built without libuv.

Some callers of TCPStore do not look at USE_LIBUV, so the answer is written into them. Fails when
the known callers are not found: another version of torch is noticed here and not in a training.
"""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import py_compile
import sys

KNOWN = {
    "elastic/rendezvous/c10d_rendezvous_backend.py",
    "elastic/rendezvous/dynamic_rendezvous.py",
    "elastic/rendezvous/static_tcp_rendezvous.py",
    "rendezvous.py",
}


def patched(source: str) -> str:
    """Return the source with ``use_libuv=False`` in every call of TCPStore that says nothing."""
    lines = source.splitlines(keepends=True)
    for node in reversed(list(ast.walk(ast.parse(source)))):
        if not isinstance(node, ast.Call) or node.end_lineno is None or not node.end_col_offset:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name != "TCPStore" or any(word.arg == "use_libuv" for word in node.keywords):
            continue
        # Offsets count bytes; the closing parenthesis is the last one of the call.
        line = lines[node.end_lineno - 1].encode()
        before = line[: node.end_col_offset - 1]
        so_far = "".join(lines[: node.end_lineno - 1]) + before.decode()
        comma = b"" if so_far.rstrip().endswith((",", "(")) else b", "
        after = line[node.end_col_offset - 1 :]
        lines[node.end_lineno - 1] = (before + comma + b"use_libuv=False" + after).decode()
    return "".join(lines)


def main() -> None:
    """Patch the installed torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("torch is not installed")
    root = pathlib.Path(spec.origin).parent / "distributed"
    changed = set()
    for path in sorted(root.rglob("*.py")):
        source = path.read_text()
        text = patched(source) if "TCPStore(" in source else source
        if text != source:
            path.write_text(text)
            py_compile.compile(str(path), doraise=True)
            changed.add(str(path.relative_to(root)))
    if not changed >= KNOWN:
        sys.exit(f"torch has changed: no call of TCPStore patched in {sorted(KNOWN - changed)}")
    print("patched:", *sorted(changed))


if __name__ == "__main__":
    main()
