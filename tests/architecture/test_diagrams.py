"""The diagrams of the documentation are those of the code."""

from __future__ import annotations

import pytest

from tests.support.state_diagrams import COMMAND, PAGE, PARTS, filled


def test_the_page_on_discovery_shows_the_states_of_the_code() -> None:
    """Whoever changes a transition draws it anew."""
    page = PAGE.read_text()

    assert filled(page) == page, f"docs/discovery.md is not what the code says any more; run `{COMMAND}`"


@pytest.mark.parametrize("name", PARTS)
def test_a_change_of_the_code_would_be_seen(name: str) -> None:
    """Each part is compared: with another text in its place the page differs."""
    page = PAGE.read_text()
    begin = page.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
    broken = page[:begin] + "something else\n" + page[begin:]

    assert filled(broken) == page != broken
