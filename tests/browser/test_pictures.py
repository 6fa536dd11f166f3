"""The pictures of the docs can be taken at any time, so they can show what is."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.pictures import DESK, LOW, PHONE, PICTURES, take_all

SIZES = {"light": DESK, "dark": DESK, "trouble": DESK, "explain": DESK, "phone": PHONE, "routes": LOW}
PNG = b"\x89PNG\r\n\x1a\n"


def size_of(picture: Path) -> dict[str, int]:
    """Width and height stand in the head of a PNG."""
    head = picture.read_bytes()[:24]
    assert head.startswith(PNG)
    return {"width": int.from_bytes(head[16:20]), "height": int.from_bytes(head[20:24])}


def test_each_picture_of_the_docs_is_taken_anew(browser: Browser, tmp_path: Path) -> None:
    """Of a gateway under traffic with a pool in trouble; after a moment here, after minutes for the docs."""
    take_all(browser, tmp_path, lived_s=2)

    assert {path.name: size_of(path) for path in tmp_path.iterdir()} == {f"page-{name}.png": size for name, size in SIZES.items()}
    assert {path.name for path in PICTURES.iterdir()} == {path.name for path in tmp_path.iterdir()}
