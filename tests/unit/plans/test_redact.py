"""Secrets do not reach a plan, whatever way they went into the objects."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.redact import HIDDEN, Redactor, looks_secret, secret_values


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "WANDB_API_KEY",
        "apiKey",
        "db-password",
        "AWS_SECRET_ACCESS_KEY",
        "X_AUTH",
        "KEY",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    """Also in other cases and with other separators."""
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "AUTHOR", "LR", "OMP_NUM_THREADS"]
)
def test_names_that_only_resemble_them_are_not(name: str) -> None:
    """Machine learning is full of tokens that are none."""
    assert not looks_secret(name)


def test_values_of_secret_variables_are_hidden_and_the_others_stay() -> None:
    """The form of the object stays."""
    container = {"env": [{"name": "HF_TOKEN", "value": "hf_abcdef"}, {"name": "LR", "value": "1"}]}
    assert Redactor().document({"spec": {"containers": [container]}}) == {
        "spec": {
            "containers": [
                {"env": [{"name": "HF_TOKEN", "value": HIDDEN}, {"name": "LR", "value": "1"}]}
            ]
        }
    }


def test_references_stay() -> None:
    """They name a secret and do not tell it."""
    env: list[dict[str, Any]] = [
        {"name": "A_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
        {"name": "B_TOKEN", "value": "${tasks.login.outputs.token}"},
        {"name": "C_TOKEN", "value": "$(A_TOKEN)"},
        {"name": "D_TOKEN", "value": ""},
    ]
    assert Redactor().document(env) == env


def test_a_secret_is_hidden_wherever_its_value_occurs() -> None:
    """A parameter may stand in an argument of any name."""
    spec = {"params": [{"name": "token", "value": "hf_abcdef"}], "tasks": [{"name": "a"}]}
    redactor = Redactor(secret_values(spec))
    assert redactor.document({"command": ["sh", "curl -H 'Bearer hf_abcdef'"]}) == {
        "command": ["sh", f"curl -H 'Bearer {HIDDEN}'"]
    }
    assert redactor.text("refused: hf_abcdef") == f"refused: {HIDDEN}"


def test_short_values_are_not_hunted_for() -> None:
    """They would tear other texts apart."""
    redactor = Redactor(["a", "true"])
    assert redactor.text("a true story") == "a true story"


def test_of_two_secrets_the_longer_one_is_hidden_whole() -> None:
    """One may be the head of the other."""
    assert Redactor(["secret", "secret-2"]).text("secret-2!") == f"{HIDDEN}!"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--token=abc", "x"], [f"--token={HIDDEN}", "x"]),
        (["--api-key", "abc", "x"], ["--api-key", HIDDEN, "x"]),
        (["--api-key", "--verbose", "x"], ["--api-key", "--verbose", "x"]),
        (["--token", "${params.t}"], ["--token", "${params.t}"]),
        (["--lr=1", "--max-tokens", "8"], ["--lr=1", "--max-tokens", "8"]),
    ],
)
def test_arguments_lose_their_secrets(given: list[str], shown: list[str]) -> None:
    """Both ways of giving an option its value."""
    assert Redactor().document({"args": given}) == {"args": shown}


def test_passwords_in_urls_are_hidden() -> None:
    """As in the address of a git repository."""
    assert Redactor().text("https://me:pw@example.org/a") == f"https://me:{HIDDEN}@example.org/a"


def test_a_secret_object_shows_its_keys_only() -> None:
    """Should a backend ever make one."""
    shown = Redactor().document({"kind": "Secret", "data": {"a": "YQ=="}, "stringData": {"b": "b"}})
    assert shown == {"kind": "Secret", "data": {"a": HIDDEN}, "stringData": {"b": HIDDEN}}
