"""Orders from the command line: against the real application, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbgateway.cli import parser
from lbgateway.cli.admin_actions import act, outcome
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.port import Command
from tests.support.asgi_bridge import AsgiBridge
from tests.support.fake_gateway import FakeGateway, instance


def run(port: FakeGateway, *words: str) -> int:
    args = parser().parse_args([*words, "--token", "s3cret", "--admin", "http://127.0.0.1:8080"])
    return act(args, transport=AsgiBridge(build_app(port, ControlPlaneSettings(admin=AdminAccess(token="s3cret")))))


def gateway() -> FakeGateway:
    draining = instance("o-1", state="draining", reason="drained by admin token", active_requests=2)
    return FakeGateway({"orders": [draining, instance("twin"), instance("twin", node="n2"), instance("a b/c")]})


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["drain"], Command("drain", "admin token")),
        (["undrain"], Command("undrain", "admin token")),
        (["eject"], Command("eject", "admin token")),
        (["eject", "--for", "30s"], Command("eject", "admin token", for_s=30.0)),
        (["uneject"], Command("uneject", "admin token")),
        (["weight", "5"], Command("weight", "admin token", weight=5)),
        (["weight", "default"], Command("weight", "admin token", weight=None)),
    ],
)
def test_what_is_ordered_arrives(words: list[str], command: Command, capsys: pytest.CaptureFixture[str]):
    """And what has become of the instance is said in a line."""
    port = gateway()
    verb, *rest = words
    assert run(port, verb, "orders", "o-1", *rest) == 0
    assert port.commands == [("orders/o-1", command)]
    said = "orders: n1:o-1 is draining (drained by admin token), weight 1; 2 requests still running\n"
    assert capsys.readouterr().out.endswith(said)


def test_a_program_gets_the_instance(capsys: pytest.CaptureFixture[str]):
    """All of it."""
    assert run(gateway(), "drain", "orders", "a b/c", "--json") == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{\n") :])["id"] == "a b/c"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["drain", "orders", "twin"], "name one as NODE:ID. There are n1:twin, n2:twin."),
        (["drain", "orders", "absent"], 'orders has no instance "absent".'),
        (["drain", "absent", "o-1"], 'There is no service "absent".'),
    ],
)
def test_what_is_refused_says_why(words: list[str], says: str, capsys: pytest.CaptureFixture[str]):
    """One sentence, and exit code 1."""
    assert run(gateway(), *words) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["weight", "orders", "o-1", "much"], '"much" is no weight: a whole number from 0 to 65535, or `default` for the registry\'s own'),
        (["weight", "orders", "o-1", "65536"], '"65536" is no weight'),
        (["eject", "orders", "o-1", "--for", "soon"], "for: a time above 0"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words: list[str], says: str, capsys: pytest.CaptureFixture[str]):
    """One sentence that says what it should be, and exit code 2."""
    assert run(gateway(), *words) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "orders: n1:o-1 is ready, weight 1"),
        ({"node": ""}, "orders: o-1 is ready, weight 1"),
        ({"active_requests": 1}, "orders: n1:o-1 is ready, weight 1; 1 request still running"),
        ({"weight": 0.5, "reason": "a\x1b[31m\nb"}, "orders: n1:o-1 is ready (a [31m b), weight 0.5"),
    ],
)
def test_the_outcome_is_one_line(changes: dict[str, Any], line: str):
    """Whatever the registry's texts hold."""
    assert outcome("orders", {**instance("o-1"), **changes}) == line
