"""An environment with py-consul: it installs the same package name as python-consul2, so the two cannot live together."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys

from tests.support.real_servers import CACHE

REQUIREMENT = "py-consul>=1.6,<2"


@functools.cache
def interpreter() -> str:
    """The path of a Python that has py-consul; made once, and kept in the project's cache."""
    folder = CACHE / f"py-consul-{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT)
        complete.touch()  # last, so that an interrupted installation is never taken for a finished one
    return str(python)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"No py-consul for the tests: `{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")
