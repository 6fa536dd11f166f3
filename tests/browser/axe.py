"""axe-core over what a page shows, as everybody may have it: in both themes, on a large screen and on the smallest one."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

DESK = {"width": 1280, "height": 800}
SMALL = {"width": 320, "height": 640}
"""What WCAG 1.4.10 asks for: an old phone, or a window at 400 %."""


def assert_accessible(page: Page) -> None:
    """WCAG 2.2 AA and the best practices of axe: contrast, names, roles, order of headings; and nothing to be scrolled sideways."""
    for screen in (DESK, SMALL):
        page.set_viewport_size({"width": screen["width"], "height": screen["height"]})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            found = Axe().run(page)
            assert found.violations_count == 0, f"{screen['width']} px, {theme}: {found.generate_report()}"
        assert page.evaluate("document.scrollingElement.scrollWidth") <= screen["width"]
