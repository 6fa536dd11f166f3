"""The pictures of docs/admin-page.md, taken of a real gateway under traffic: ``make pictures``.

It takes three minutes: the lines of the last minutes have to be lived through. Look at them before you commit them.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.scene import TOKEN, scene
from tests.support import chromium
from tests.support.distribution import release_in_use, sources_in_use, unpack_package
from tests.support.real_servers import CACHE, ROOT

PICTURES = ROOT / "docs" / "pictures"
LIVED_S = 170.0
SETTLED_MS = 6000
FAILING = re.compile(r"payments-[34]")
"""The first of them fails always, and is out after five failures, or is being tried again."""
DESK = {"width": 1320, "height": 860}
LOW = {"width": 1320, "height": 400}
PHONE = {"width": 390, "height": 844}


def fonts() -> Path:
    """A folder with Inter, which looks as fonts do on the systems of most readers; a bare server has only DejaVu."""
    folder = CACHE / "fonts-inter"
    if not folder.exists():
        unpack_package("fonts-inter", sources_in_use(release_in_use()), CACHE, with_dependencies=False)
    return folder / "usr/share/fonts"


def main() -> int:
    PICTURES.mkdir(exist_ok=True)
    with chromium.browser(fonts()) as browser:
        take_all(browser, PICTURES, float(sys.argv[1]) if len(sys.argv) > 1 else LIVED_S)
    return 0


def take_all(browser: Browser, folder: Path, lived_s: float) -> None:
    """All of them into `folder`, as ``page-NAME.png``, after `lived_s` seconds of traffic."""

    def take(name: str) -> None:
        page.wait_for_timeout(600)
        page.screenshot(path=folder / f"page-{name}.png")

    with tempfile.TemporaryDirectory() as place, scene(Path(place)) as gateway:
        page = browser.new_page(viewport=DESK, color_scheme="light")
        page.goto(f"{gateway.url}/admin")
        page.get_by_label("Admin token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_timeout(lived_s * 1000)
        take("light")
        page.emulate_media(color_scheme="dark")
        take("dark")
        page.emulate_media(color_scheme="light")
        page.get_by_role("button", name="Not ready").click()
        page.wait_for_timeout(SETTLED_MS)
        take("trouble")
        page.get_by_role("button", name=FAILING).first.click()
        page.get_by_role("heading", name="Last changes").wait_for()
        take("explain")
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.set_viewport_size(PHONE)
        take("phone")
        page.set_viewport_size(LOW)
        page.get_by_role("link", name="Routes").click()
        take("routes")
        page.close()


if __name__ == "__main__":
    sys.exit(main())
