"""The operators' page as files: who gets it, and with which headers. What it does is tested in tests/browser."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.page import POLICY, STATIC, assets, prefers_html
from tests.support.fake_gateway import FakeGateway

LIMIT_BYTES = 100 * 1024
LIMIT_LINES = 300
LIMIT_COLUMNS = 140


@pytest.fixture
def http() -> httpx.AsyncClient:
    app = build_app(FakeGateway(), ControlPlaneSettings(admin=AdminAccess(token="s3cret")))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/assets/main.js", "/admin/assets/page.css", "/admin/assets/icon.svg"])
async def test_the_page_needs_no_token_and_is_locked_down(http, path):
    """It holds no data; what it may load and who may frame it is said on each file."""
    async with http:
        answer, head = await http.get(path), await http.head(path)

    assert answer.status_code == head.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].split(";")[0] in ("text/html", "text/javascript", "text/css", "image/svg+xml")


@pytest.mark.parametrize(
    ("access", "peer", "word"),
    [
        (AdminAccess(token="s3cret"), "192.0.2.7", "wanted"),
        (AdminAccess(token="s3cret", allow_loopback=True), "192.0.2.7", "wanted"),
        (AdminAccess(token="s3cret", allow_loopback=True), "127.0.0.1", "needless"),
        (AdminAccess(allow_loopback=True), "::1", "needless"),
        (AdminAccess(), "192.0.2.7", "needless"),  # closed: the API says how to open it
    ],
)
@pytest.mark.parametrize("path", ["/admin", "/admin/upstreams"])
async def test_the_shell_tells_whether_a_token_is_wanted(access, peer, word, path):
    """By who opens it: the page then asks its reader before it asks the API."""
    app = build_app(FakeGateway(), ControlPlaneSettings(admin=access))
    transport = httpx.ASGITransport(app, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers={"Accept": "text/html"}) as http:
        answer = await http.get(path)
        again = await http.get(path, headers={"If-None-Match": answer.headers["etag"]})

    assert f'<meta name="lbgateway-token" content="{word}">' in answer.text
    assert again.status_code == 304


async def test_what_a_browser_has_is_not_sent_again(http):
    """Asked for each time, so that a new version is seen at once, and answered with 304."""
    async with http:
        first = await http.get("/admin/assets/page.css")
        again = await http.get("/admin/assets/page.css", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("name", ["nothing.js", "page.py", "..%2fpage.py", "%2e%2e/page.py", "", "a/b"])
async def test_nothing_else_can_be_had(http, name):
    """A name is looked up, never followed."""
    async with http:
        answer = await http.get(f"/admin/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("Text/HTML; q=0.5", True),
        ("application/json, text/html;q=0.9", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
        ("text/html;q=0", False),
        ("text/html;q=much", False),
        ("text/*", False),
    ],
)
def test_who_is_a_browser(accept, html):
    """Whoever names HTML and does not like JSON better."""
    assert prefers_html(accept) is html


def test_the_page_is_small_and_whole():
    """Each file that one names is there, none is left over; nothing inline, no address elsewhere."""
    files = assets()
    text = {name: asset.body.decode() for name, asset in files.items()}
    named = {found for body in text.values() for found in re.findall(r"(?:/admin/assets/|from \"\./)([\w.-]+)", body)}

    assert named | {"index.html"} == files.keys() == {path.name for path in Path(STATIC).iterdir()}
    assert sum(len(asset.body) for asset in files.values()) < LIMIT_BYTES
    assert [name for name, body in text.items() if body.count("\n") > LIMIT_LINES] == []
    assert [name for name, body in text.items() if name.endswith(".js") and max(map(len, body.splitlines())) > LIMIT_COLUMNS] == []
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text["index.html"])
    assert not [name for name, body in text.items() if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", body)]
    assert {url for body in text.values() for url in re.findall(r"https?://[\w./]+", body)} == {"http://www.w3.org/2000/svg"}
