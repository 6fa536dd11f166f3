"""The single-page application behind the same door as the services: what it answers, and what stays the gateway's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbgateway.controlplane.spa import ENCODINGS
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Message, ok

Pair = tuple[LiveGateway, Listener]
SCRIPT = b"export const answer = 42\n" * 10_000
SECRET = b"what lies outside"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    dist = tmp_path_factory.mktemp("dist")
    (dist / "assets").mkdir()
    (dist / "index.html").write_text("<!doctype html><title>Shop</title>")
    (dist / "assets/app-BqX1yz12.js").write_bytes(SCRIPT)
    (dist / "assets/app-BqX1yz12.js.gz").write_bytes(b"packed")
    for name in ("api", "admin", "health", "metrics", "v1"):
        (dist / name).write_text("shadow")
    routes = [
        {"prefix": "/api/{service}", "strip_prefix": True},
        {"prefix": "/v1", "service": "orders", "methods": ["GET"]},
    ]
    with one_upstream({"spa": {"directory": str(dist)}, "routes": routes}) as pair:
        yield pair


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A folder in which links lead out of it, in every way that a file of it is looked for."""
    top = tmp_path_factory.mktemp("linked")
    dist, outside, beside = top / "dist", top / "outside", top / "dist-old"
    for folder in (dist / "assets", outside, beside):
        folder.mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>Shop</title>")
    for folder in (outside, beside):
        for name in ("secret.txt", "secret.js", "index.html"):
            (folder / name).write_bytes(SECRET)
    for name in ("app", "own"):
        (dist / f"{name}.js").write_bytes(SCRIPT)
    for coding, ending in ENCODINGS:
        (dist / f"app.js{ending}").symlink_to(outside / "secret.txt")
        (dist / f"assets{ending}").symlink_to(outside)
        (dist / f"index.html{ending}").symlink_to("../outside/index.html")
        (dist / f"own.{coding}").write_bytes(coding.encode())
        (dist / f"own.js{ending}").symlink_to(f"own.{coding}")
    links = {
        "absolute.txt": str(outside / "secret.txt"),
        "relative.txt": "../outside/secret.txt",
        "beside.txt": "../dist-old/secret.txt",
        "twice.txt": "absolute.txt",
        "round.txt": "assets/../../outside/secret.txt",
        "folder": str(outside),
        "up": "..",
        "assets/up": "../..",
        "script.js": "../outside/secret.js",
        "gone.txt": "../outside/gone.txt",
        "circle.txt": "circle.txt",
        "system.txt": "/etc/passwd",
    }
    for name, leads_to in links.items():
        (dist / name).symlink_to(leads_to)
    with one_upstream({"spa": {"directory": str(dist)}}) as pair:
        yield pair


def get(pair: Pair, path: str, *lines: str, method: str = "GET", bodyless: bool = False) -> Message:
    with pair[0].connect() as client:
        client.send("\r\n".join((f"{method} {path} HTTP/1.1", "Host: gw", *lines, "", "")).encode())
        return client.message(bodyless=bodyless)


@pytest.mark.parametrize("path", ["/", "/orders/17?tab=1", "/index.html"])
def test_addresses_of_the_browser_get_the_index(pair: Pair, path: str) -> None:
    """Never from a cache without asking."""
    got = get(pair, path, "Accept: text/html")

    assert (got.status, got.body) == (200, b"<!doctype html><title>Shop</title>")
    assert (got.get("Cache-Control"), got.get("Via"), got.get("X-Content-Type-Options")) == ("no-cache", "1.1 lbgateway", "nosniff")
    assert str(got.get("Content-Type")).startswith("text/html")
    assert got.get("X-Request-Id")


def test_a_file_comes_whole_in_parts_or_not_at_all(pair: Pair) -> None:
    """ETag, If-None-Match, If-Modified-Since, Range, HEAD."""
    path = "/assets/app-BqX1yz12.js"
    whole = get(pair, path)
    assert (whole.body, whole.get("Cache-Control")) == (SCRIPT, "public, max-age=31536000, immutable")

    assert get(pair, path, f"If-None-Match: {whole.get('ETag')}", bodyless=True).status == 304
    assert get(pair, path, f"If-Modified-Since: {whole.get('Last-Modified')}", bodyless=True).status == 304
    assert get(pair, path, 'If-None-Match: "other"').status == 200
    part = get(pair, path, "Range: bytes=7-11")
    assert (part.status, part.body, part.get("Content-Range")) == (206, b"const", f"bytes 7-11/{len(SCRIPT)}")
    past = get(pair, path, f"Range: bytes={len(SCRIPT)}-")
    assert (past.status, past.get("Content-Type"), past.get("Content-Range")) == (416, "application/problem+json", f"bytes */{len(SCRIPT)}")
    assert [get(pair, path, f"Range: {none}").status for none in ("bytes=x", "items=0-1", "bytes=0-1,3-4")] == [200] * 3
    assert get(pair, path, 'If-Match: "other"').status == 412
    head = get(pair, path, method="HEAD", bodyless=True)
    assert (head.status, head.get("Content-Length")) == (200, str(len(SCRIPT)))


def test_who_takes_gzip_gets_what_was_packed_beforehand(pair: Pair) -> None:
    """Under a tag of its own."""
    packed, plain = (get(pair, "/assets/app-BqX1yz12.js", f"Accept-Encoding: {coding}") for coding in ("gzip", "identity"))

    assert (packed.body, packed.get("Content-Encoding"), packed.get("Vary")) == (b"packed", "gzip", "Accept-Encoding")
    assert (plain.get("Content-Encoding"), plain.get("Vary")) == (None, "Accept-Encoding")
    assert packed.get("ETag") != plain.get("ETag")


OUT = [
    "/absolute.txt", "/relative.txt", "/beside.txt", "/twice.txt", "/round.txt", "/script.js", "/gone.txt", "/circle.txt",
    "/system.txt", "/folder/secret.txt", "/folder/secret.js", "/folder/index.html", "/up/outside/secret.txt", "/up/dist-old/secret.txt",
    "/assets/up/outside/secret.txt", "/assets/../up/outside/secret.txt", "/%66older/secret.txt",
    "//folder//secret.txt", "/assets.gz/secret.txt",
]  # fmt: skip
"""Files that are there, for whoever follows links."""


@pytest.mark.parametrize("coding", ["identity", "gzip", "br", "zstd"])
@pytest.mark.parametrize("path", OUT)
def test_no_link_leads_out_of_the_folder(linked: Pair, path: str, coding: str) -> None:
    """What lies behind one is not there: 404 for who wants a file, the index for who navigates, no byte of it for anybody."""
    for method in ("GET", "HEAD"):
        got = get(linked, path, f"Accept-Encoding: {coding}", method=method, bodyless=method == "HEAD")
        assert (got.status, got.get("Content-Type")) == (404, "application/problem+json")
    part = get(linked, path, "Range: bytes=0-3")
    page = get(linked, path, "Accept: text/html", f"Accept-Encoding: {coding}")

    assert (part.status, page.status, page.body) == (404, 200, b"<!doctype html><title>Shop</title>")
    assert page.get("Content-Encoding") is None


def test_nothing_leads_out_while_links_come_and_go(tmp_path: Path) -> None:
    """Somebody who may write into the folder exchanges a script for a link to a secret; what is looked at is what is sent."""
    folder, secret, done = tmp_path / "dist", tmp_path / "secret.js", threading.Event()
    folder.mkdir()
    (folder / "index.html").write_text("index")
    (folder / "app.js").write_text("public")
    secret.write_text("secret")

    def exchange() -> None:
        while not done.is_set():
            (folder / "link").symlink_to(secret)
            (folder / "app.js").rename(folder / "real")
            (folder / "link").rename(folder / "app.js")
            (folder / "app.js").unlink()
            (folder / "real").rename(folder / "app.js")

    mover = threading.Thread(target=exchange)
    with one_upstream({"spa": {"directory": str(folder)}}) as pair, pair[0].connect() as client:
        mover.start()
        try:
            answers = [client.get("/app.js").message() for _ in range(1500)]
        finally:
            done.set()
            mover.join()
        assert {(each.status, each.body if each.status == 200 else b"") for each in answers} == {(200, b"public"), (404, b"")}
        wait_until(lambda: opened(folder) == [], 2.0, lambda: f"still open: {opened(folder)}")


def opened(folder: Path) -> list[str]:
    """Files in it that this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return [name for name in found if name.startswith(str(folder))]


def test_a_client_that_leaves_leaves_no_file_open(tmp_path: Path) -> None:
    """In the midst of a large one, of which it has read nothing; nor does any other answer leave one."""
    (tmp_path / "index.html").write_text("index")
    (tmp_path / "large.bin").write_bytes(bytes(20_000_000))
    with one_upstream({"spa": {"directory": str(tmp_path)}}) as pair:
        client = pair[0].connect(receive_buffer=4096)
        client.get("/large.bin")
        wait_until(lambda: len(opened(tmp_path)) == 1, 5.0, lambda: "it is not open")
        client.close()
        wait_until(lambda: opened(tmp_path) == [], 5.0, lambda: f"still open: {opened(tmp_path)}")
        tag = get(pair, "/").get("ETag")
        for lines in ((f"If-None-Match: {tag}",), ("Range: bytes=99-",), ('If-Match: "x"',)):
            get(pair, "/", *lines, bodyless="None" in lines[0])
        get(pair, "/", method="HEAD", bodyless=True)
        wait_until(lambda: opened(tmp_path) == [], 2.0, lambda: f"still open: {opened(tmp_path)}")


@pytest.mark.parametrize("path", ["/up", "/up/", "/folder", "/folder/", "/assets/up", "/up/outside", "/up/up/up/etc/passwd"])
def test_a_folder_behind_a_link_is_an_address_of_the_browser(linked: Pair, path: str) -> None:
    """Answered with the index of the application, not with one that lies there."""
    assert get(linked, path).body == b"<!doctype html><title>Shop</title>"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "br, zstd, gzip"])
def test_a_packed_neighbour_that_leads_out_is_not_there(linked: Pair, coding: str) -> None:
    """The file itself comes, unpacked; one that leads to another file of the folder is one."""
    for path, body in (
        ("/app.js", SCRIPT),
        ("/", b"<!doctype html><title>Shop</title>"),
        ("/orders/17", b"<!doctype html><title>Shop</title>"),
    ):
        got = get(linked, path, f"Accept-Encoding: {coding}")
        assert (got.status, got.body, got.get("Content-Encoding"), got.get("Vary")) == (200, body, None, None)
    for _, ending in ENCODINGS:
        assert get(linked, f"/app.js{ending}", f"Accept-Encoding: {coding}").status == 404

    first = coding.partition(",")[0]
    own = get(linked, "/own.js", f"Accept-Encoding: {coding}")
    assert (own.body, own.get("Content-Encoding"), own.get("Vary")) == (first.encode(), first, "Accept-Encoding")


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/api", 404, "application/problem+json"),
        ("/api/", 404, "application/problem+json"),
        ("/api/nothing", 404, "application/problem+json"),
        ("/admin", 200, "text/html"),
        ("/admin/routes", 403, "application/problem+json"),
        ("/admin/upstreams", 403, "application/problem+json"),
        ("/admin/nothing", 404, "application/problem+json"),
        ("/health", 200, "application/json"),
        ("/health/nothing", 404, "application/problem+json"),
        ("/metrics", 200, "text/plain"),
        ("/assets/gone-12345678.js", 404, "application/problem+json"),
    ],
)
def test_what_is_the_gateways_is_never_shadowed(pair: Pair, path: str, status: int, kind: str) -> None:
    """By no file, and by no index: a client of an API is not helped by a page."""
    got = get(pair, path, "Accept: */*")

    assert (got.status, str(got.get("Content-Type")).partition(";")[0]) == (status, kind)


def test_routes_come_first(pair: Pair) -> None:
    """Also where a file has their name; below them the method decides, and nothing falls through."""
    with pair[0].connect() as client:
        client.get("/v1")
        server = pair[1].accept()
        assert server.message().start.startswith("GET /v1 ")
        server.send(ok(b"service", "Connection: close"))
        assert client.message().body == b"service"
    refused = get(pair, "/v1/orders", method="POST")
    assert (refused.status, refused.get("Allow")) == (405, "GET")


def test_a_page_takes_no_other_method(pair: Pair) -> None:
    """405 with what it does take; the body is read, and the connection goes on."""
    with pair[0].connect() as client:
        client.send(b"POST /orders HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nabc")
        refused = client.message()
        client.send(b"GET /orders HTTP/1.1\r\nHost: gw\r\n\r\n")

        assert (refused.status, refused.get("Allow"), client.message().status) == (405, "GET, HEAD", 200)


def test_a_folder_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    """Said when the file is read, not to the first visitor."""
    from tests.lbgateway.config.reading import errors_of

    assert errors_of(f"auth: {{default: none}}\nspa: {{directory: {tmp_path}/gone}}") == [
        f"gw.yaml:2: spa.directory: there is no folder {tmp_path}/gone"
    ]
    assert errors_of(f"auth: {{default: none}}\nspa: {{directory: {tmp_path}, index: ../x}}") == [
        "gw.yaml:2: spa.index: must be the name of a file inside of the directory"
    ]
