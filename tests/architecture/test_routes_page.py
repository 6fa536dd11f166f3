"""What docs/routes.md says of tags and keys is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from lbgateway.composition.declaration import declare
from lbgateway.config.fragment import load_fragment
from lbgateway.config.tag_keys import HARMLESS
from lbgateway.telemetry.exposition import CONFIG_KEY_STATES
from tests.lbgateway.composition.registrations import instance

PAGE = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading row that begins with `title`."""
    table = PAGE[PAGE.index(f"| {title}") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def keys_of(cell: str) -> list[str]:
    """```lbgateway.timeout.connect`, `.response``` are two keys of one group."""
    first, *others = re.findall(r"`(?:lbgateway)?\.([\w.]+)`", cell)
    group = first.rpartition(".")[0]
    return [first, *(f"{group}.{other}" if group else other for other in others)]


def test_each_harmless_key_has_its_row():
    """And no other key has one."""
    assert sorted(key for cell, *_ in rows("tag ") for key in keys_of(cell)) == sorted(HARMLESS)


def test_each_example_is_taken():
    """As a tag of a service."""
    for cell, example, *_ in rows("tag "):
        for key in keys_of(cell) if example else ():
            told = declare("shop", [instance("shop", 1, f"lbgateway.{key}={example.strip('`')}")])
            assert told is not None
            assert told.problems == ()


def test_each_state_of_the_key_is_explained():
    """In the order in which it may come to them."""
    assert [cell.strip("`") for cell, *_ in rows("`config_key.state`")] == list(CONFIG_KEY_STATES)


def test_the_key_s_text_is_taken():
    """Word by word."""
    text = PAGE[PAGE.index("# routes.yaml") :].split("```")[0]
    fragment = load_fragment(text, "kv:lbgateway/routes")
    assert (len(fragment.routes), set(fragment.services)) == (1, {"orders"})
