"""A real browser, and what each of its pages must never do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.control_plane import TOKEN
from tests.support import chromium

NewPage = Callable[..., Page]

PATIENCE_MS = 20_000
"""A page looks every two seconds; a busy machine takes its time on top."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium.browser() as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages of a fresh profile each, opened at an address and with the token given.

    In the end none of them may have raised anything, or tried what the content security policy forbids.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def make(url: str, token: str | None = TOKEN, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None)
        page.goto(url)
        if token is not None:
            page.get_by_label("Admin token").fill(token)
            page.keyboard.press("Enter")
            page.get_by_role("link", name="Services").wait_for()
        return page

    yield make
    for context in contexts:
        context.close()
    assert wrong == []
