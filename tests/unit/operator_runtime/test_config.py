"""Settings: flags before environment variables before defaults, and errors that say what to do."""

from __future__ import annotations

import pytest

from runyard_operator.config import Config, parse
from runyard_operator.flags import UsageError

IMAGE = {"RUNYARD_IMAGE": "registry.example/runyard:1"}


def test_only_the_image_has_no_default() -> None:
    """With nothing but the image, all namespaces are served and the server is on loopback."""
    config = parse([], IMAGE)
    assert config == Config(image="registry.example/runyard:1")
    assert config.scopes == (None,)


def test_in_a_pod_the_probes_can_reach_us() -> None:
    """Inside a cluster the server listens on all addresses of the pod."""
    config = parse([], {**IMAGE, "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert config.http_host == "0.0.0.0"  # noqa: S104


def test_the_image_is_asked_for() -> None:
    """Without an image the message names the variable and the flag."""
    with pytest.raises(UsageError, match="set RUNYARD_IMAGE or --image"):
        parse([], {})


def test_flags_win_over_the_environment() -> None:
    """A flag beats its variable; namespaces may be given either way, each counting once."""
    environ = {**IMAGE, "RUNYARD_WORKERS": "3", "RUNYARD_NAMESPACES": "a, b,a,"}
    assert parse([], environ).workers == 3
    assert parse([], environ).namespaces == ("a", "b")
    argv = ["--workers", "5", "--namespace", "x", "--namespace", "y", "--log-format", "text"]
    config = parse(argv, environ)
    assert (config.workers, config.namespaces, config.scopes) == (5, ("x", "y"), ("x", "y"))
    assert config.log_format == "text"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RUNYARD_WORKERS": "0"}, "0 is not a number above 0"),
        ({"RUNYARD_WORKERS": "many"}, "many is not a number above 0"),
        ({"RUNYARD_HTTP_PORT": "70000"}, "70000 is not a port"),
        ({"RUNYARD_LOG_LEVEL": "loud"}, "loud is not one of DEBUG, INFO, WARNING, ERROR"),
        ({"RUNYARD_LOG_FORMAT": "xml"}, "xml is neither json nor text"),
        ({"RUNYARD_LEADER_ELECT": "perhaps"}, "perhaps is neither true nor false"),
        ({"RUNYARD_PACKAGE_INDEX": "ftp://a/simple"}, "ftp://a/simple is not an http or https"),
        ({"RUNYARD_PACKAGE_INDEX": "https://u:p@a/simple"}, "the address has credentials"),
        ({"RUNYARD_LEASE_SECONDS": "2"}, "2 is not a number of seconds: give 3 to 600"),
    ],
)
def test_bad_values_are_named(environ: dict[str, str], message: str) -> None:
    """A malformed setting is refused with its value, wherever it comes from."""
    with pytest.raises(UsageError, match=message):
        parse([], {**IMAGE, **environ})


def test_an_election_is_asked_for() -> None:
    """Alone the flag means true; the environment can say either, and the flag can take it back."""
    assert not parse([], IMAGE).leader_elect
    assert parse(["--leader-elect"], IMAGE).leader_elect
    environ = {**IMAGE, "RUNYARD_LEADER_ELECT": "true", "RUNYARD_LEASE_NAME": "mine"}
    assert parse([], environ).leader_elect
    assert parse([], environ).lease_name == "mine"
    assert not parse(["--leader-elect", "false"], environ).leader_elect


def test_unknown_flags_are_refused() -> None:
    """A misspelt flag is an error, not ignored."""
    with pytest.raises(UsageError, match="--help"):
        parse(["--namespaces", "a"], IMAGE)
