"""A real Chromium for the tests: the distribution's, driven by Playwright, which downloads none of its own."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support.real_servers import CHROMIUM, Binary, own_server

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{folder}</dir>
  <cachedir>{cache}</cachedir>
  {aliases}
</fontconfig>
"""
ALIAS = "<alias binding='strong'><family>{name}</family><prefer><family>{font}</family></prefer></alias>"


@functools.cache
def chromium() -> Binary:
    """The program; raises `FetchError` with one sentence if there is none and none can be had."""
    found = own_server(CHROMIUM)
    assert isinstance(found, Binary)
    return found


@contextlib.contextmanager
def browser(fonts: Path | None = None) -> Iterator[Browser]:
    """A running browser without a window. `fonts`: a folder to take its letters from, beside those of the machine."""
    program, folder = chromium(), tempfile.mkdtemp(prefix="lbgateway-chromium-")
    environment: dict[str, str | float | bool] = {**os.environ, **program.environment, "HOME": folder}
    if fonts is not None:
        aliases = "".join(ALIAS.format(name=name, font="Inter") for name in ("system-ui", "sans-serif"))
        file = Path(folder) / "fonts.conf"
        file.write_text(FONTS.format(folder=fonts, cache=folder, aliases=aliases))
        environment["FONTCONFIG_FILE"] = str(file)
    try:
        with sync_playwright() as playwright:
            # Its sandbox needs rights that a container, or root, does not have; the pages are ours.
            running = playwright.chromium.launch(executable_path=program.path, env=environment, args=["--no-sandbox"])
            try:
                yield running
            finally:
                running.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
