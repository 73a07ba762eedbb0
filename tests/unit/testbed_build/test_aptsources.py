"""Where the machine's own Debian packages come from, in both formats of apt."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.build import BuildError
from testbed.build.recipes.aptsources import (
    Source,
    codename,
    mirror,
    parse_deb822,
    parse_list,
    read,
)

_KEYS = "/usr/share/keyrings/debian.gpg"


def test_one_line_sources_with_and_without_options() -> None:
    """Options in brackets are read; sources of source packages and comments are not."""
    text = f"""
    # deb http://old.example/debian bullseye main
    deb http://mirror.example/debian bookworm main contrib # the mirror
    deb [arch=amd64 signed-by={_KEYS}] https://mirror.example/debian bookworm-updates main
    deb-src http://mirror.example/debian bookworm main
    deb [trusted=yes] file:/srv/local ./
    """
    assert parse_list(text) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib")),
        Source("https://mirror.example/debian", "bookworm-updates", ("main",), _KEYS),
        Source("file:/srv/local", "./", ()),
    ]


def test_deb822_sources_with_several_values_and_stanzas() -> None:
    """Each address and suite is one source; disabled stanzas, comments and inline keys are not."""
    text = f"""# made by an installer
Types: deb deb-src
# a note in the middle
URIs: http://a.example/debian http://b.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: {_KEYS}

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

types: deb
uris: http://c.example/debian
suites: bookworm
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS
 -----END PGP PUBLIC KEY BLOCK-----
"""
    both = ("main", "contrib")
    assert parse_deb822(text) == [
        Source("http://a.example/debian", "bookworm", both, _KEYS),
        Source("http://a.example/debian", "bookworm-updates", both, _KEYS),
        Source("http://b.example/debian", "bookworm", both, _KEYS),
        Source("http://b.example/debian", "bookworm-updates", both, _KEYS),
        Source("http://c.example/debian", "bookworm", ("main",)),
    ]


def test_the_mirror_is_the_release_itself_and_not_its_updates(tmp_path: Path) -> None:
    """Foreign repositories, updates and CDs do not serve; the first that does is taken."""
    (tmp_path / "sources.list").write_text(
        "deb cdrom:[Debian 12]/ bookworm main\ndeb http://sec.example/ bookworm-security main\n"
    )
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a.list").write_text("deb http://tools.example/apt stable main\n")
    (folder / "b.sources").write_text(
        "Types: deb\nURIs: http://deb.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    (folder / "ignored.save").write_text("deb http://saved.example/debian bookworm main\n")
    assert mirror(read(tmp_path), "bookworm").uri == "http://deb.example/debian"


def test_a_machine_that_follows_a_suite_by_its_role() -> None:
    """A source that says stable instead of the release's name serves as well."""
    source = Source("http://deb.example/debian", "stable", ("main",))
    assert mirror([source], "bookworm") == source


def test_no_mirror_is_an_error_that_says_what_to_add() -> None:
    """The message names the release and the file."""
    with pytest.raises(BuildError, match=r"serves bookworm/main.*sources\.list"):
        mirror([], "bookworm")


@pytest.mark.parametrize(
    ("text", "expected"),
    [('VERSION_CODENAME="bookworm"\n', "bookworm"), ("ID=debian\nVERSION_CODENAME=sid\n", "sid"),
     ("ID=debian\n", "")],
)  # fmt: skip
def test_the_release_is_read_from_the_system(tmp_path: Path, text: str, expected: str) -> None:
    """The name is taken with or without quotes; a system without one has none."""
    (tmp_path / "os-release").write_text(text)
    assert codename(tmp_path / "os-release") == expected
