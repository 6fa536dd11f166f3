"""The pages of docs/reference/ are what the program itself goes by."""

from __future__ import annotations

import pytest

from tests.support.reference_pages import COMMAND, FOLDER, pages


@pytest.mark.parametrize("name", pages())
def test_a_page_of_the_reference_is_what_the_program_says(name: str) -> None:
    """Whoever changes a key, an option, a metric, an error or a path writes the pages anew."""
    assert (FOLDER / name).read_text() == pages()[name], f"docs/reference/{name} is not what the program says any more; run `{COMMAND}`"


def test_no_page_of_the_reference_is_written_by_hand() -> None:
    """What lies there comes from the program."""
    assert {path.name for path in FOLDER.iterdir()} == set(pages())
