"""Bodies to commands: a table."""

from __future__ import annotations

import pytest

from lbgateway.controlplane.actions import parse_command
from lbgateway.controlplane.port import Command
from lbgateway.errors import BadRequest

JSON = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("verb", "body", "command"),
    [
        ("drain", b"", Command("drain", "ann")),
        ("undrain", b" {} ", Command("undrain", "ann")),
        ("eject", b"", Command("eject", "ann")),
        ("eject", b'{"for": null}', Command("eject", "ann")),
        ("eject", b'{"for": "1m30s"}', Command("eject", "ann", for_s=90.0)),
        ("uneject", b"{}", Command("uneject", "ann")),
        ("weight", b'{"weight": 5}', Command("weight", "ann", weight=5)),
        ("weight", b'{"weight": 0}', Command("weight", "ann", weight=0)),
        ("weight", b'{"weight": null}', Command("weight", "ann", weight=None)),
    ],
)
def test_what_can_be_ordered(verb: str, body: bytes, command: Command):
    """No body is an empty one."""
    assert parse_command(verb, body, JSON if body else "", "ann") == command


@pytest.mark.parametrize(
    ("verb", "query", "command"),
    [
        ("weight", {"weight": "5"}, Command("weight", "ann", weight=5)),
        ("weight", {"weight": "0", "other": "x"}, Command("weight", "ann", weight=0)),
        ("eject", {"for": "30s"}, Command("eject", "ann", for_s=30.0)),
        ("drain", {"for": "30s"}, Command("drain", "ann")),
    ],
)
def test_what_can_be_ordered_without_a_body(verb: str, query: dict[str, str], command: Command):
    """By the query; a body wins over it."""
    assert parse_command(verb, b"", "", "ann", query) == command
    assert parse_command("weight", b'{"weight": 7}', JSON, "ann", query) == Command("weight", "ann", weight=7)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "65536", "null", "9" * 5000, "\u0665"])
def test_a_query_may_be_wrong_as_well(text: str):
    """It is held to the same bounds."""
    with pytest.raises(BadRequest, match="weight: a whole number"):
        parse_command("weight", b"", "", "ann", {"weight": text})
    with pytest.raises(BadRequest, match="for: a time above 0"):
        parse_command("eject", b"", "", "ann", {"for": text})


@pytest.mark.parametrize(
    ("verb", "body", "content_type", "says"),
    [
        ("drain", b'{"for": "30s"}', JSON, "for: unknown; drain takes no body"),
        ("weight", b'{"wieght": 5}', JSON, "wieght: unknown; weight takes only `weight`"),
        ("weight", b"", JSON, "weight: a whole number"),
        ("weight", b"{}", JSON, "weight: a whole number"),
        ("weight", b'{"weight": true}', JSON, "weight: a whole number"),
        ("weight", b'{"weight": 1.5}', JSON, "weight: a whole number"),
        ("weight", b'{"weight": -1}', JSON, "weight: a whole number"),
        ("weight", b'{"weight": 65536}', JSON, "weight: a whole number"),
        ("eject", b'{"for": 30}', JSON, "for: a time above 0"),
        ("eject", b'{"for": "0s"}', JSON, "for: a time above 0"),
        ("eject", b'{"for": "soon"}', JSON, "for: a time above 0"),
        ("drain", b"{", JSON, "not JSON"),
        ("drain", b"\xff", JSON, "not JSON"),
        ("drain", b"[" * 60_000, JSON, "not JSON"),
        ("drain", b"[]", JSON, "not an object"),
        ("drain", b"{}", "text/plain", "application/json"),
        ("drain", b"{}", "", "application/json"),
    ],
)
def test_what_cannot(verb: str, body: bytes, content_type: str, says: str):
    """Each with what it should have been."""
    with pytest.raises(BadRequest, match=says):
        parse_command(verb, body, content_type, "ann")
