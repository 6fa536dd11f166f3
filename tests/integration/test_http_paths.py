"""One reading of a path: what is routed is what the upstream sees, and what can be read in two ways is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, ok

Pair = tuple[LiveGateway, Listener]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with one_upstream({"routes": [{"prefix": "/public", "service": "orders"}, {"prefix": "/api/{service}", "strip_prefix": True}]}) as made:
        yield made


@pytest.fixture(autouse=True)
def _clean(pair: Pair) -> Iterator[None]:
    """One test's leftovers are not another's."""
    yield
    pair[1].close_all()


SEEN = {
    "/api/orders": "/",
    "/api/orders/": "/",
    "/api/orders?q": "/?q",
    "/api/orders/a%2Db": "/a-b",
    "/api/orders/%7euser": "/~user",
    "/api/orders/a%3fb": "/a%3Fb",
    "/api/orders/a%20b": "/a%20b",
    "/api/orders/%c3%a9": "/%C3%A9",
    "/api/orders/%25%32%66": "/%252f",
    "/api//orders///a//b": "/a/b",
    "//api/orders/a": "/a",
    "/api/orders/a/./b": "/a/b",
    "/api/orders/a/../b": "/b",
    "/api/orders/a/%2e%2e/b": "/b",
    "/api/orders/a/.%2E/b": "/b",
    "/api/orders/a/..": "/",
    "/api/orders/.": "/",
    "/public/../api/orders/secret": "/secret",
    "/api/orders/a;v=1/b": "/a;v=1/b",
    "/api/orders/a?x=%2F..%2F&y=\\": None,
    "/api/orders/a?x=/../%00": "/a?x=/../%00",
    "/api/orders/a?b?c": "/a?b?c",
    "/public/a": "/public/a",
    "/publicity": None,
    "/%61pi/orders/x": "/x",
    "/api/%6frders/x": "/x",
}


@pytest.mark.parametrize("target", [target for target, path in SEEN.items() if path is not None])
def test_the_upstream_sees_what_was_routed(pair: Pair, target: str) -> None:
    """Escapes, dots and doubled slashes are resolved once, for both."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.get(target)
        with upstream.accept() as server:
            request = server.message()
            server.send(ok())
            assert client.message().status == 200

    assert request.target == SEEN[target]


REFUSED = [
    "/api/orders/a%2Fb",
    "/api/orders/a%2fb",
    "/api/orders%2Fx",
    "/api/orders/a\\b",
    "/api/orders/a%5Cb",
    "/api/orders/a%5cb",
    "/api/orders/%00",
    "/api/orders/a%00b",
    "/api/orders/%0d%0aX-A:b",
    "/api/orders/a%7fb",
    "/..",
    "/../api/orders/",
    "/api/orders/../../../etc/passwd",
    "/api/orders/%2e%2e/%2e%2e/%2e%2e/x",
    "/api/orders/..;/x",
    "/api/orders/..;a=b/x",
    "/api/orders/%2e%2e;/x",
    "/api/orders/..%3B/x",
    "/public/..;/api/orders/x",
    "/api/orders/.;/x",
    "/api/orders/a//../b",
    "/api/orders/%c0%ae%c0%ae/x",
    "/api/orders/%c0%af",
    "/api/orders/%e0%80%af",
    "/api/orders/%zz",
    "/api/orders/%2",
    "/api/orders/%",
    "/api/orders/a#b",
    "/api/orders/\xe9",
    "/api/orders/?a#b",
    "http://user@a/api/orders/",
    "ftp://a/api/orders/",
    "http:///api/orders/",
    "api/orders/",
    "*",
]


@pytest.mark.parametrize("target", REFUSED)
def test_a_path_with_two_readings_is_refused(pair: Pair, target: str) -> None:
    """400, the end of the connection, and the upstream sees nothing."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))

        answer = client.message()
        assert (answer.status, answer.get("Content-Type")) == (400, "application/problem+json")
        assert client.ended(1.0)
        assert upstream.nobody()


@pytest.mark.parametrize("target", ["/publicity", "/apix/orders", "/", "/api/nobody/x", "/api", "/api/", "/favicon.ico"])
def test_what_no_route_matches_is_404(pair: Pair, target: str) -> None:
    """Prefixes are whole segments; the connection stays."""
    gateway, _ = pair
    with gateway.connect() as client:
        for _ in range(2):
            assert client.get(target).message().status == 404


@pytest.mark.parametrize("target", ["/api/orders/../../health/live", "//health/live", "/health/./live", "/%68ealth/live"])
def test_the_gateways_own_paths_are_read_the_same_way(pair: Pair, target: str) -> None:
    """No spelling reaches a route where the gateway would have answered."""
    gateway, upstream = pair
    with gateway.connect() as client:
        assert client.get(target).message().status == 200
        assert upstream.nobody()
