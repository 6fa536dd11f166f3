"""CORS as browsers see it: pages of two origins, one of which may read what the gateway answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.live_gateway import LiveGateway
from tests.support.upstream_server import UpstreamServer, UpstreamThread

ASK = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options)
        const [total, hidden] = ["X-Total", "X-Hidden"].map(name => answer.headers.get(name))
        return {status: answer.status, total, hidden, text: await answer.text()}
    } catch (error) {
        return {refused: error.name}
    }
}"""


class Page(BaseHTTPRequestHandler):
    """An empty page: only its origin matters."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the library's name
        """Nobody reads it."""


@pytest.fixture(scope="module")
def origins() -> Iterator[tuple[str, str]]:
    """The application, and a stranger: the same machine, other ports."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Page) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    app, stranger = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    yield app, stranger
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(origins: tuple[str, str], upstream: UpstreamServer) -> Iterator[LiveGateway]:
    config = {
        "cors": {"allow_origins": [origins[0]], "allow_credentials": True, "expose_headers": ["X-Total"]},
        "auth": {"default": "none", "jwt": {"algorithms": ["HS256"], "secret": "0123456789abcdef0123456789abcdef"}},
        "routes": [
            {"prefix": "/api/orders", "service": "orders", "response_headers": {"set": {"X-Total": "7", "X-Hidden": "8"}}},
            {"prefix": "/api/closed", "service": "orders", "auth": "required"},
            {"prefix": "/api/open", "service": "orders", "cors": {"allow_origins": ["*"], "allow_credentials": False}},
        ],
    }
    with LiveGateway(config, orders=[int(upstream.address.rpartition(":")[2])]) as gateway:
        yield gateway


def ask(browser: Browser, origin: str, gateway: LiveGateway, path: str, **options: Any) -> dict[str, Any]:
    """What a script on a page of `origin` gets to see of one request."""
    page = browser.new_page()
    try:
        page.goto(origin)
        seen: dict[str, Any] = page.evaluate(ASK, [f"http://127.0.0.1:{gateway.port}{path}", options])
        return seen
    finally:
        page.close()


def test_the_application_may_read_and_a_stranger_may_not(browser: Browser, origins: tuple[str, str], gateway: LiveGateway) -> None:
    """With cookies; of the fields it sees what is exposed, and nothing else."""
    seen = ask(browser, origins[0], gateway, "/api/orders/1", credentials="include")
    assert (seen["status"], seen["total"], seen["hidden"]) == (200, "7", None)
    assert ask(browser, origins[1], gateway, "/api/orders/1", credentials="include") == {"refused": "TypeError"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_what_needs_a_preflight_passes_for_the_application_only(
    browser: Browser, origins: tuple[str, str], gateway: LiveGateway, upstream: UpstreamServer, method: str
) -> None:
    """A method and a field of its own; a stranger's request never reaches the service."""
    options = {"method": method, "headers": {"X-Thing": "1", "Content-Type": "application/json"}, "credentials": "include"}
    assert ask(browser, origins[0], gateway, "/api/orders/1", **options)["status"] == 200
    before = len(upstream.requests)
    assert ask(browser, origins[1], gateway, "/api/orders/1", **options) == {"refused": "TypeError"}
    assert len(upstream.requests) == before


def test_errors_can_be_read(browser: Browser, origins: tuple[str, str], gateway: LiveGateway) -> None:
    """401 with its problem, though the preflight had no token to show; 404 as well."""
    closed = ask(browser, origins[0], gateway, "/api/closed/1", headers={"Authorization": "Bearer none"}, credentials="include")
    assert (closed["status"], "unauthenticated" in closed["text"]) == (401, True)
    missing = ask(browser, origins[0], gateway, "/nowhere")
    assert (missing["status"], "no_route" in missing["text"]) == (404, True)
    assert ask(browser, origins[1], gateway, "/api/closed/1") == {"refused": "TypeError"}


def test_an_open_route_is_read_by_anybody_without_cookies(browser: Browser, origins: tuple[str, str], gateway: LiveGateway) -> None:
    """With cookies the browser itself says no."""
    assert ask(browser, origins[1], gateway, "/api/open/1")["status"] == 200
    assert ask(browser, origins[1], gateway, "/api/open/1", credentials="include") == {"refused": "TypeError"}
