"""The live view: pages from numbers, and the loop around them without a clock."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from lbgateway.cli import parser
from lbgateway.cli.top import COLUMNS, counts_of, main, page_of
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from tests.support.asgi_bridge import AsgiBridge
from tests.support.fake_gateway import FakeGateway, instance


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """The gateway's log goes elsewhere than the command's output: here they would share a process."""
    with structlog.testing.capture_logs():
        yield


class Terminal(io.StringIO):
    """What is written to it, a terminal would show."""

    def isatty(self) -> bool:
        return True


def body(**totals: int) -> dict:
    instances = [instance(name, requests_total=count, failures_total=count // 10) for name, count in totals.items()]
    return {"gateway": {"version": "1"}, "discovery": {}, "services": [{"name": "orders", "instances": instances}]}


def run(out: io.StringIO, *words: str, pause=lambda _seconds: None, token: str = "s3cret") -> int:
    args = parser().parse_args(["top", "--admin", "http://127.0.0.1:8080", "--token", token, *words])
    app = build_app(FakeGateway({"orders": [instance("o-1")]}), ControlPlaneSettings(admin=AdminAccess(token="s3cret")))
    return main(args, transport=AsgiBridge(app), out=out, pause=pause)


def test_the_busiest_come_first_with_their_rates():
    """Since the last look; who was not there then has none yet."""
    page = page_of(body(a=100, b=300, c=900), counts_of(body(a=0, b=290)), 2.0)
    shown = [dict(zip(COLUMNS, row, strict=True)) for row in page.rows]
    assert [(row["INSTANCE"], row["REQ/S"], row["FAIL/S"]) for row in shown] == [("a", "50.0", "5.0"), ("b", "5.0", "0.5"), ("c", "-", "-")]
    assert (shown[0]["LATENCY"], shown[0]["P99"], shown[0]["REASON"]) == ("1.9ms", "4.0ms", "-")


def test_a_gateway_that_was_restarted_has_no_negative_rates():
    """It counts from zero."""
    assert page_of(body(a=5), counts_of(body(a=100)), 1.0).rows[0][3] == "0.0"


def test_nothing_is_said_to_be_nothing():
    """Not an empty table."""
    assert page_of({"services": []}, {}, 0.0).above[-1] == "No instance is known."


def test_without_a_terminal_it_is_one_look():
    """As a table for people, or as JSON."""
    out = io.StringIO()
    assert run(out) == 0
    assert out.getvalue().splitlines()[2].split()[:3] == ["orders", "o-1", "ready"]
    out = io.StringIO()
    assert run(out, "--json") == 0
    assert json.loads(out.getvalue())["services"][0]["name"] == "orders"


def test_on_a_terminal_it_looks_until_it_is_stopped():
    """Ctrl-C is its good end."""
    looks = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    out = Terminal()
    assert run(out, pause=pause) == 0
    assert looks == [1.0, 1.0, 1.0]
    assert "o-1" in out.getvalue()


def test_who_may_not_look_is_told_so(capsys: pytest.CaptureFixture[str]):
    """As by the other commands."""
    assert run(io.StringIO(), token="wrong") == 1
    assert "does not accept this token" in capsys.readouterr().err
