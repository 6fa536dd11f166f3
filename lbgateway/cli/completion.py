"""``lbgateway completion bash|zsh|fish``: the script that makes a shell ask `lbgateway.cli.completing` at each tab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

SCRIPTS = Path(__file__).parent / "shells"


def main(args: Namespace) -> int:
    """Print it."""
    print((SCRIPTS / f"lbgateway.{args.shell}").read_text(), end="")
    return 0
