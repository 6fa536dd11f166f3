"""Outgoing proxies on the way to a service: named in the configuration, or in the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http2_server import Http2Server
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.outgoing_proxy import OutgoingProxy
from tests.support.wire import ok


@pytest.fixture(scope="module")
def server() -> Iterator[Http2Server]:
    with Http2Server() as running:
        yield running


def behind(proxy: str, **more: Any) -> dict[str, Any]:
    return {"services": {"*": {"transport": "httpx", "httpx": {"proxy": proxy}, "retry": {"attempts": 0}, **more}}}


def test_a_proxy_gets_the_whole_address() -> None:
    """And the password that is part of its own, which nobody else gets to see."""
    with OutgoingProxy() as proxy, one_upstream(behind(f"http://me:pw@127.0.0.1:{proxy.port}")) as (gateway, upstream):
        client = gateway.connect().get("/api/orders/a?b={c}")
        server = upstream.accept()
        seen = server.message()
        server.send(ok(b"through"))

        assert client.message().body == b"through"
        assert proxy.asked == [f"GET http://127.0.0.1:{upstream.port}/a?b={{c}} HTTP/1.1"]
        assert proxy.authorizations == ["Basic bWU6cHc="]
        assert seen.target == "/a?b={c}"
        assert "pw" not in json.dumps(gateway.call(lambda root: root.view.config()))


def test_https_goes_through_a_tunnel(server: Http2Server) -> None:
    """The proxy sees an address, and nothing of the request."""
    with OutgoingProxy() as proxy:
        config = behind(f"http://127.0.0.1:{proxy.port}", scheme="https", tls={"ca": server.path("ca.pem")})
        with LiveGateway(config, orders=[server.tls]) as gateway:
            assert gateway.connect().get("/api/orders/version").message().body == b"HTTP/2.0"
            assert proxy.asked == [f"CONNECT 127.0.0.1:{server.tls} HTTP/1.1"]


def test_a_proxy_that_refuses_is_a_failed_connect(server: Http2Server) -> None:
    """Nothing was sent, so any request may be tried elsewhere."""
    with OutgoingProxy(refuses="407 Proxy Authentication Required") as proxy:
        config = behind(f"http://127.0.0.1:{proxy.port}", scheme="https", tls={"ca": server.path("ca.pem")})
        with LiveGateway(config, orders=[server.tls]) as gateway:
            answer = gateway.connect().get("/api/orders/version").message()

            assert (answer.status, json.loads(answer.body)["type"]) == (502, "urn:lbgateway:problem:connect_failed")
            assert "407" in str(gateway.endpoints("orders")[0].series.last_error)


@pytest.mark.parametrize(("more", "through"), [({}, 1), ({"NO_PROXY": "127.0.0.0/8"}, 0), ({"NO_PROXY": "other.example"}, 1)])
def test_the_environment_names_a_proxy(more: dict[str, str], through: int) -> None:
    """As for other programs, with its exceptions."""
    with OutgoingProxy() as proxy:
        environ = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", **more}
        with one_upstream({"services": {"*": {"transport": "httpx"}}}, environ) as (gateway, upstream):
            client = gateway.connect().get()
            upstream.serve(ok(b"fine"))

            assert (client.message().body, len(proxy.asked)) == (b"fine", through)


def test_the_word_none_stands_above_the_environment() -> None:
    """An operator can have one service reached directly."""
    with OutgoingProxy() as proxy:
        environ = {"ALL_PROXY": f"http://127.0.0.1:{proxy.port}"}
        with one_upstream(behind("none"), environ) as (gateway, upstream):
            client = gateway.connect().get()
            upstream.serve(ok(b"fine"))

            assert (client.message().body, proxy.asked) == (b"fine", [])
