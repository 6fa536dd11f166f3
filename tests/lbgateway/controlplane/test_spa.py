"""Which file an address of the single-page application leads to, and what no address leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lbgateway.controlplane.file_answer import FileAnswer
from lbgateway.controlplane.spa import IMMUTABLE, REVALIDATE, Found, Spa, accepts, media_type_of

HTML = "text/html,application/xhtml+xml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build as bundlers leave it, a secret beside it, and links of both kinds."""
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / ".well-known").mkdir()
    (dist / ".git").mkdir()
    for name in ("index.html", "assets/app-BqX1yz12.js", "robots.txt", ".env", ".git/config", ".well-known/security.txt", "a b.txt"):
        (dist / name).write_text(name)
    for ending in (".br", ".gz"):
        (dist / f"assets/app-BqX1yz12.js{ending}").write_text(ending)
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "distant").mkdir()
    (tmp_path / "distant" / "x.txt").write_text("secret")
    (dist / "inside.txt").symlink_to(dist / "robots.txt")
    (dist / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (dist / "out").symlink_to(tmp_path)
    (dist / "circle").symlink_to(dist / "circle")
    os.mkfifo(dist / "pipe.txt")
    return dist


def found(folder: Path, path: str, accept: str = "*/*", accept_encoding: str = "") -> str | None:
    """The content of what is found."""
    file = Spa(str(folder), "index.html").find(path, accept, accept_encoding)
    return None if file is None else text_of(file)


def text_of(found: Found) -> str:
    """All of it; closed then."""
    text = found.file.read(0, 1_000_000).decode()
    found.file.close()
    return text


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", "index.html"),
        ("/index.html", "index.html"),
        ("/robots.txt", "robots.txt"),
        ("/a%20b.txt", "a b.txt"),
        ("/inside.txt", "robots.txt"),
        ("/.well-known/security.txt", ".well-known/security.txt"),
        ("/orders/17", "index.html"),
        ("/.git/config", "index.html"),
        ("/assets", "index.html"),
        ("/assets/", "index.html"),
        ("/caf%C3%A9", "index.html"),
    ],
)
def test_files_are_files_and_everything_else_is_the_browsers(folder, path, content):
    """A folder is no file."""
    assert found(folder, path) == content


def test_a_missing_file_is_missing_unless_somebody_navigates(folder):
    """A script that turns out to be HTML is a riddle; a user's name with a dot is a page."""
    assert found(folder, "/assets/app-old.js") is None
    assert found(folder, "/users/john.doe", HTML) == "index.html"
    assert found(folder, "/users/john.doe") is None


@pytest.mark.parametrize(
    "path",
    [
        "/outside.txt",
        "/out/secret.txt",
        "/out/distant/x.txt",
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/robots.txt%00.js",
        "/.env",
        "/assets/../.env",
        "/pipe.txt",
        "/circle.txt",
        "/" + "a" * 5000 + ".txt",
        "//etc/passwd.txt",
    ],
)
def test_nothing_outside_and_nothing_hidden_is_ever_read(folder, path):
    """Whatever the spelling, links included; the same is true where the index would be the answer."""
    assert found(folder, path) is None
    assert found(folder, path, HTML) == "index.html"


@pytest.mark.parametrize(
    ("path", "cache"),
    [("/", REVALIDATE), ("/orders", REVALIDATE), ("/robots.txt", REVALIDATE), ("/assets/app-BqX1yz12.js", IMMUTABLE)],
)
def test_only_what_is_named_by_its_content_never_changes(folder, path, cache):
    """The index least of all."""
    file = Spa(str(folder), "index.html").find(path, "*/*", "")

    assert file is not None
    assert file.cache == cache


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("main.8f3a9c1b.css", True), ("app-DfG3kL9a.js.map", True), ("chunk-1234567890abcdef.js", True), ("jquery-3.6.0.min.js", False),
        ("jquery-validation.js", False), ("bootstrap.bundle.min.js", False), ("logo.svg", False), ("my-component.js", False),
        ("index-B-x1_yZ2.js", True), ("report-2024-final.pdf", False), ("terms-20240101.html", False), ("photo-20240101.jpg", False),
        ("q3-report2024.pdf", False), ("release-v12345678.zip", False),
    ],
)  # fmt: skip
def test_a_hash_is_told_from_a_word(tmp_path, name, hashed):
    """In a word or a date letters and digits do not take turns; doubt costs a 304 and no more."""
    (tmp_path / name).write_text("")
    file = Spa(str(tmp_path), "index.html").find(f"/{name}", "*/*", "")

    assert file is not None
    assert (file.cache == IMMUTABLE) is hashed


@pytest.mark.parametrize(
    ("accept_encoding", "coding", "content"),
    [("gzip, br", "br", ".br"), ("gzip", "gzip", ".gz"), ("br;q=0, gzip;q=0.5", "gzip", ".gz"), ("", None, "assets/app-BqX1yz12.js")],
)
def test_the_compressed_neighbour_is_sent_to_who_takes_it(folder, accept_encoding, coding, content):
    """With the type of what is in it; caches learn that there are several either way."""
    file = Spa(str(folder), "index.html").find("/assets/app-BqX1yz12.js", "*/*", accept_encoding)

    assert file is not None
    assert (file.coding, file.varies, text_of(file)) == (coding, True, content)
    answer = file.answer({}, head_only=True)
    assert isinstance(answer, FileAnswer)
    assert {name: answer.headers.get(name) for name in ("content-type", "content-encoding", "vary")} == {
        "content-type": "text/javascript; charset=utf-8", "content-encoding": coding, "vary": "Accept-Encoding",
    }  # fmt: skip


def test_where_nothing_is_compressed_nothing_varies(folder):
    """And caches keep one answer for all."""
    file = Spa(str(folder), "index.html").find("/robots.txt", "*/*", "gzip, br")

    assert file is not None
    assert (file.coding, file.varies) == (None, False)


def test_a_folder_that_is_a_link_may_be_moved_to_the_next_version(tmp_path):
    """As deployments do, without a word to the gateway."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "index.html").write_text(version)
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "one")
    spa = Spa(str(current), "index.html")
    before = spa.find("/", HTML, "")
    current.unlink()
    current.symlink_to(tmp_path / "two")
    after = spa.find("/", HTML, "")

    assert before is not None
    assert after is not None
    assert (text_of(before), text_of(after)) == ("one", "two")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"), ("a.css", "text/css; charset=utf-8"), ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"), ("a.wasm", "application/wasm"), ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"), ("a.js.gz", "application/octet-stream"), ("a.js.br", "application/octet-stream"),
        ("a.tar.gz", "application/octet-stream"),
    ],
)  # fmt: skip
def test_the_type_of_a_file(name, kind):
    """Browsers are told not to guess; what is packed, and asked for as that, is no script."""
    assert media_type_of(name) == kind


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_files_are_closed_again(folder):
    """Whatever was asked for, also those that were looked at and not sent."""
    spa, before = Spa(str(folder), "index.html"), descriptors()
    for path in ("/", "/assets/app-BqX1yz12.js", "/pipe.txt", "/outside.txt", "/orders", "/gone.js"):
        for coding in ("", "br", "gzip"):
            file = spa.find(path, "*/*", coding)
            del file
    assert descriptors() == before


def test_without_an_index_there_is_nothing_to_fall_back_to(tmp_path):
    """404, not a crash."""
    assert found(tmp_path, "/orders", HTML) is None


@pytest.mark.parametrize(
    ("field", "taken"),
    [("br", True), ("BR", True), ("gzip;q=1, br;q=0.1", True), ("br;q=0", False), ("br; q = 0.00", False), ("", False), ("brotli", False)],
)
def test_what_a_client_takes(field, taken):
    """RFC 9110, section 12.5.3."""
    assert accepts(field, "br") is taken
