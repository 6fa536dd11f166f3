"""What the pages show works: every configuration in them is one that the gateway takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lbgateway.config import ConfigErrors, load_text
from tests.support.certificates import Authority
from tests.support.tokens import pem_of, private_key

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_FILE = re.compile(r"# ([\w./-]+\.ya?ml)\b")
"""A block that begins so is not the gateway's configuration, but the file that it names."""

NAMES = ("JWT_SECRET", "ADMIN_TOKEN", "CONSUL_HTTP_TOKEN", "REDIS_PASSWORD", "INTROSPECTION_SECRET")
ENVIRONMENT = dict.fromkeys(NAMES, "0123456789abcdef0123456789abcdef")


def configurations() -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}", found.group(1))
        for page in PAGES
        for text in [page.read_text()]
        for found in BLOCK.finditer(text)
        if not OTHER_FILE.match(found.group(1))
    ]


@pytest.mark.parametrize(("place", "text"), configurations(), ids=[place for place, _ in configurations()])
def test_each_configuration_of_the_docs_is_taken(place: str, text: str, tmp_path: Path) -> None:
    """Word by word, the page's other files beside it; only where it says nothing of authentication nobody needs a token."""
    base = "" if "auth" in yaml.safe_load(text) else "auth: {default: none}\n"
    write_other_files(ROOT / place.partition(":")[0], tmp_path)
    write_certificates(tmp_path)
    try:
        load_text(base + text, str(tmp_path / "gateway.yaml"), ENVIRONMENT)
    except ConfigErrors as refused:
        pytest.fail("\n".join(str(error) for error in refused.errors))


def write_certificates(folder: Path) -> None:
    """Under the names that all pages use."""
    authority = Authority(folder, "ca")
    for name in ("server", "gateway"):
        cert, key = authority.issue(f"{name}.example")
        Path(cert).rename(folder / f"{name}.pem")
        Path(key).rename(folder / f"{name}.key")


def test_each_picture_of_the_docs_is_there() -> None:
    """And none lies about that no page shows."""
    shown = {(page.parent / link).resolve() for page in PAGES for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())}
    assert shown == {path.resolve() for path in (ROOT / "docs").rglob("*.png")}


def write_other_files(page: Path, folder: Path) -> None:
    """Those that the page shows, and the public key of an issuer."""
    (folder / "issuer.pem").write_text(pem_of(private_key("ES256")))
    for block in BLOCK.findall(page.read_text()):
        named = OTHER_FILE.match(block)
        if named and "/" not in named[1]:
            (folder / named[1]).write_text(block)


def anchors(page: Path) -> set[str]:
    """Of all headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[tuple[Path, str]]:
    everywhere = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [(page, link) for page in everywhere for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]


def test_each_link_leads_somewhere() -> None:
    """To a file that exists, and to a heading of it."""
    assert len(links()) > 100
    dead = []
    for page, link in links():
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert dead == []


def test_each_page_can_be_reached_from_the_readme() -> None:
    """By links, over any number of pages."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for source, link in links() if source == page and link[0] != "#"]
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()
