"""docs/tutorial.md, run as its reader runs it: one terminal, one folder, its commands in their order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.support.launch import wait_until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
GIVEN = ("make install", "mkdir -p tutorial", "consul agent -dev")
"""Lines for what the test has already: an installation, a folder, a Consul on a free port."""

STEP_WITHIN_S = 60.0


def steps() -> Iterator[tuple[str, str, str]]:
    """Kind, text, and the output that the page shows for it (empty without one)."""
    found = BLOCK.findall(PAGE.read_text())
    for index, (kind, text) in enumerate(found):
        if kind in ("sh", "python", "yaml"):
            shown = found[index + 1][1] if index + 1 < len(found) and found[index + 1][0] == "text" else ""
            yield kind, text, shown


class Terminal:
    """A bash that stays: variables and background processes last from one block to the next."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.log = folder / "terminal.log"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("wb") as output:
            self.shell = subprocess.Popen(
                ["bash"],
                cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **environment},
                stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, start_new_session=True,
            )  # fmt: skip
        self.said = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.communicate()

    def run(self, number: int, text: str) -> str:
        """Type `text`; what came out until its last command was over."""
        end = f"--- step {number} is over ---"
        assert self.shell.stdin is not None
        self.shell.stdin.write(f"{text}\necho '{end}'\n")
        self.shell.stdin.flush()
        wait_until(lambda: end in self.fresh(), STEP_WITHIN_S, lambda: f"does not end:\n{text}\n{self.fresh()}")
        said, self.said = self.fresh().partition(end)[0], len(self.log.read_text())
        return said

    def fresh(self) -> str:
        return self.log.read_text()[self.said :]


def agrees(shown: str, said: str) -> bool:
    """Each line that the page shows was said, in that order; ``…`` is anything, spaces are one."""
    rest = iter([" ".join(line.split()) for line in said.splitlines()])
    patterns = [re.compile(".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))) for line in shown.splitlines()]
    return all(any(pattern.fullmatch(line) for line in rest) for pattern in patterns)
