import getpass

import pytest

from ich_mlflow.system import provenance


@pytest.mark.parametrize(
    ("said", "who"),
    [
        ({"user.name": "Ada", "user.email": "ada@example.org"}, "Ada <ada@example.org>"),
        ({"user.name": "Ada"}, "Ada"),
        ({"user.email": "ada@example.org"}, "<ada@example.org>"),
        ({}, "the account"),
    ],
)
def test_who_is_gits_user_or_the_account(monkeypatch, said, who):
    monkeypatch.setattr(provenance, "_git", lambda command, name: said.get(name))
    monkeypatch.setattr(getpass, "getuser", lambda: "the account")
    assert provenance.who() == who


def test_an_account_without_a_name_is_unknown(monkeypatch):
    def nobody():
        raise OSError("no such user")

    monkeypatch.setattr(provenance, "_git", lambda *arguments: None)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert provenance.who() == "unknown"
