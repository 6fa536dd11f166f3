"""What may come next, as a table: the words before the cursor, the word under it, and what is offered."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from lbgateway.cli import COMMANDS, parser
from lbgateway.cli.completing import FILES, Candidate, ask_gateway, candidates, main, split, written

ASKED: list[tuple[str, Namespace]] = []
INSTANCES = [
    {"id": "o-1", "node": "n1", "state": "ready"},
    {"id": "o-2", "node": "n1", "state": "critical"},
    {"id": "o-2", "node": "n2", "state": "ready"},
    {"id": "$(reboot)", "node": "n1", "state": "ready"},
    {"id": "--json", "node": "n1", "state": "ready"},
]


def gateway(path: str, access: Namespace) -> dict[str, Any]:
    ASKED.append((path, access))
    if path.startswith("/admin/upstreams/orders?"):
        return {"instances": INSTANCES}
    return {"services": [{"name": "orders", "states": {"ready": 2, "gone": 0}}, {"name": "users", "states": {}}, {"name": "a b"}]}


def offered(line: str) -> list[str] | None:
    """The words that may replace the last one of `line`, which is empty behind a space."""
    *words, current = line.split(" ")
    found = candidates(words, current, gateway)
    return None if found is None else [each.word for each in found if each.word.startswith(current)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dr", ["drain"]),
        ("config ", ["schema"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("demo --transport ", ["native", "httpx"]),
        ("demo --transport=h", ["--transport=httpx"]),
        ("explain ", ["orders", "users"]),
        ("explain orders ", ["o-1", "n1:o-2", "n2:o-2"]),
        ("explain --json orders o", ["o-1"]),
        ("explain orders o-1 ", []),
        ("explain --token x --admin http://a:1 o", ["orders"]),
        ("weight orders o-1 ", ["default"]),
        ("upstreams --state cr", ["critical"]),
        ("explain --tok", ["--token"]),
        ("explain --token x --tok", []),
        ("register --tag a --ta", ["--tag"]),
        ("explain --nonsense ", ["orders", "users"]),
        ("nonsense ", []),
        ("check ", None),
        ("run --config ", None),
        ("run --config=x", None),
        ("register --service a -- ", None),
        ("top ", []),
    ],
)
def test_what_may_come_next(line: str, words: list[str] | None):
    """None stands for the names of files; what a shell would read as more than a name is not offered."""
    assert offered(line) == words


def test_all_commands_and_options_are_offered():
    """Those of the parser, with what they do."""
    assert set(offered("") or ()) == set(COMMANDS)
    found = candidates(["top"], "-", gateway)
    assert found is not None
    assert {each.word for each in found} == {"--help", "--admin", "--token", "--cacert", "--json"}
    assert all(each.meaning for each in found)


def test_names_are_those_of_the_gateway_that_would_be_asked():
    """With the access that is on the line already."""
    ASKED.clear()
    assert offered("drain --admin http://a:1 --token=secret orders ") == ["o-1", "n1:o-2", "n2:o-2"]
    [(path, access)] = ASKED
    assert path.startswith("/admin/upstreams/orders?")
    assert (access.admin, access.token, access.cacert) == ("http://a:1", "secret", None)


def test_a_gateway_that_does_not_answer_is_no_news(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A tab that offers nothing, and says nothing."""
    monkeypatch.delenv("LBGATEWAY_ADMIN_URL", raising=False)
    assert ask_gateway("/admin/upstreams", Namespace(admin="http://127.0.0.1:1", token=None, cacert=None)) == {}
    assert ask_gateway("/admin/upstreams", Namespace(admin="ftp://nonsense", token=None, cacert=None)) == {}
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("given", "index", "words", "current"),
    [
        (["lbgateway", "dr"], 1, [], "dr"),
        (["lbgateway", "drain", "orders", ""], 3, ["drain", "orders"], ""),
        (["lbgateway", "drain", "orders", "10.0.0.1", ":", "90"], 5, ["drain", "orders"], "10.0.0.1:90"),
        (["lbgateway", "drain", "orders", "10.0.0.1", ":"], 4, ["drain", "orders"], "10.0.0.1:"),
        (["lbgateway", "top", "--admin", "http", ":", "//a", ":", "1", "--j"], 8, ["top", "--admin", "http://a:1"], "--j"),
        (["lbgateway", "top", "--admin", "=", "x", "y"], 5, ["top", "--admin=x"], "y"),
        (["lbgateway", "drain", "orders"], 1, [], "drain"),
        (["lbgateway"], 1, [], ""),
    ],
)
def test_the_words_of_bash_are_put_together_again(given: list[str], index: int, words: list[str], current: str):
    """It takes them apart at colons and equals signs."""
    assert split(given, index) == (words, current)


@pytest.mark.parametrize(
    ("shell", "current", "line"),
    [
        ("bash", "n1:", "o-2"),
        ("bash", "", "n1:o-2"),
        ("zsh", "n1:", r"n1\:o-2:ready"),
        ("fish", "n1:", "n1:o-2\tready"),
    ],
)
def test_each_shell_gets_what_it_can_read(shell: str, current: str, line: str):
    """Bash replaces what comes after the last colon only, and shows no meanings."""
    assert written(Candidate("n1:o-2", "ready"), current, shell) == line


def test_a_shell_is_answered_line_by_line(capsys: pytest.CaptureFixture[str]):
    """Or told to look for files by itself."""
    assert main(["bash", "2", "lbgateway", "explain", "us"], gateway) == 0
    assert main(["zsh", "2", "lbgateway", "check", ""], gateway) == 0
    assert capsys.readouterr().out == f"users\n{FILES}\n"


def test_every_argument_that_has_names_offers_them():
    """An option that is added without a thought of completion is seen here."""
    known = {"SERVICE", "INSTANCE", "STATE", "FILE", "COMMAND", "N"}
    free = {"URL", "TOKEN", "TIME", "S", '"a b"', "H", "P", "NAME", "A", "I", "T", "K=V", "PATH", "http:PATH|ttl", "WHAT", None}
    (commands,) = (each for each in parser()._actions if hasattr(each, "_get_subactions"))
    assert commands.choices is not None
    found = {action.metavar for command in commands.choices.values() for action in command._actions}
    assert found <= known | free
