"""What the pages for people show in blocks: programs, commands, what they print."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(kind: str) -> list[tuple[str, str]]:
    """``page:line`` and text of each block of that kind, ``sh`` or ``python``, in their order."""
    texts = {page: page.read_text() for page in PAGES}
    block = re.compile(rf"^```{kind}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    places = [(page, found) for page, text in texts.items() for found in block.finditer(text)]
    return [(f"{page.relative_to(ROOT)}:{texts[page].count(chr(10), 0, found.start()) + 1}", found.group(1)) for page, found in places]
