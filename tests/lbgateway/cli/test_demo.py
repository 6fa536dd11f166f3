"""The parts of the demo; tests/integration/test_demo.py runs the whole."""

from __future__ import annotations

import socket

import httpx
import jwt
import pytest

from lbgateway.cli import demo

SECRET = "a secret that is long enough for HS256"


def test_a_busy_port_is_replaced_by_the_next_free_one() -> None:
    """Another demo, or somebody's development server, is no reason to fail."""
    with demo.listen(20_000) as first, demo.listen(first.getsockname()[1]) as second:
        assert second.getsockname()[1] > first.getsockname()[1]
        with socket.create_connection(second.getsockname(), timeout=1):
            pass


def test_the_replacement_is_said_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    """Or the curl lines of a README would talk to the wrong server."""
    demo.say_if_moved("gateway", 8080, 8080)
    assert capsys.readouterr().out == ""
    demo.say_if_moved("gateway", 8080, 8081)
    assert capsys.readouterr().out == "Port 8080 is taken, so the gateway listens on 8081.\n"


def test_a_real_consul_in_the_environment_is_forgotten() -> None:
    """The demo registers nothing where it does not belong."""
    environment = {"CONSUL_HTTP_ADDR": "consul.example:8500", "CONSUL_HTTP_TOKEN": "secret", "PATH": "/bin"}
    demo.forget_consul(environment)
    assert environment == {"PATH": "/bin"}


def test_the_configuration_is_one_that_a_file_could_hold() -> None:
    """It passes the same checks, and the token that is printed fits to it."""
    settings = demo.configuration(8080, "http://127.0.0.1:8500", SECRET)
    assert settings.server.port == 8080
    assert settings.discovery.consul.url == "http://127.0.0.1:8500"
    assert settings.admin.allow_loopback
    claims = jwt.decode(demo.dev_token(SECRET, 1_000.0), SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"sub": "demo", "iat": 1_000, "exp": 1_000 + 86_400}


def test_what_to_paste_is_complete() -> None:
    """Every line can be pasted as it is: addresses, token, process ids."""
    text = demo.welcome("http://127.0.0.1:8081", "http://127.0.0.1:8501", "a.b.c", {"echo-1": 4711, "echo-2": 4712})
    assert "  TOKEN=a.b.c\n" in text
    assert 'curl -s -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8081/api/echo/hello' in text
    assert "  curl -i http://127.0.0.1:8081/api/echo/hello\n" in text
    assert "lbgateway upstreams --admin http://127.0.0.1:8081\n" in text
    assert "  kill 4711\n" in text
    assert "http://127.0.0.1:8501" in text
    assert "8080" not in text


@pytest.mark.parametrize(
    ("status", "body", "count"),
    [
        (200, {"name": "echo", "instances": [{"state": "ready"}, {"state": "critical"}]}, 1),
        (200, {"services": [{"name": "echo", "instances": [{"state": "ready"}, {"state": "ready"}]}]}, 2),
        (404, {"status": 404}, 0),
    ],
)
async def test_only_instances_that_get_traffic_count_as_ready(status: int, body: dict[str, object], count: int) -> None:
    """The greeting waits for all of them."""
    answers = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    async with httpx.AsyncClient(transport=answers, base_url="http://gateway") as client:
        assert await demo.ready(client) == count


async def test_a_gateway_that_does_not_listen_yet_has_nothing_ready() -> None:
    """The greeting asks again."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://gateway") as client:
        assert await demo.ready(client) == 0
