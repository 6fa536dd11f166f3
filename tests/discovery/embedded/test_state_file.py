"""When the file of the registry is written, and what happens where that fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from discovery.embedded.state_file import StateFile
from tests.support.registry_client import until


class Content:
    """Counts how often it was asked for."""

    def __init__(self) -> None:
        self.written = 0

    def __call__(self) -> bytes:
        self.written += 1
        return b"%d" % self.written


async def test_changes_are_written_together_and_the_end_at_once(tmp_path: Path) -> None:
    """Three changes make one write; closing twice makes one more."""
    content = Content()
    file = StateFile(tmp_path / "registry.json", content, save_after_s=0.01)
    assert file.read() is None
    file.start()
    for _ in range(3):
        file.touch()
    await until(lambda: file.read() == b"1")
    await asyncio.sleep(0.05)
    assert content.written == 1
    await file.aclose()
    await file.aclose()
    assert (file.read(), file.path.stat().st_mode & 0o777) == (b"2", 0o600)


async def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The registry goes on; when it can be written again, it is."""
    (tmp_path / "blocked").write_bytes(b"a file, not a folder")
    content = Content()
    file = StateFile(tmp_path / "blocked" / "registry.json", content, save_after_s=0.01)
    file.start()
    for written in (1, 2):
        file.touch()
        await until(lambda written=written: content.written == written)
    (tmp_path / "blocked").unlink()
    await file.aclose()
    assert file.read() == b"3"
    assert [(record.levelno, record.message.partition(":")[0]) for record in caplog.records] == [
        (logging.WARNING, "the embedded registry cannot be saved")
    ]
