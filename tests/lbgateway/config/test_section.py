"""Merging."""

import pytest
from pydantic import ValidationError

from lbgateway.config.section import Section, merged


class Inner(Section):
    """Two values."""

    a: int = 1
    b: int = 2


class Outer(Section):
    """A map, a list, an optional map."""

    inner: Inner = Inner()
    items: tuple[int, ...] = ()
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({}, {}, {}),
        ({"inner": {"a": 5}}, {"inner": {"b": 6}}, {"inner": {"a": 5, "b": 6}}),
        ({"items": [1, 2]}, {"items": [3]}, {"items": [3]}),
        ({"maybe": {"a": 5}}, {"maybe": None}, {"maybe": None}),
        ({}, {"maybe": {"a": 5}}, {"maybe": {"a": 5}}),
        ({"inner": {"a": 5}}, {"inner": {}}, {"inner": {"a": 5}}),
        ({"inner": {"a": 5}}, {"inner": {"a": 1}}, {"inner": {"a": 1}}),
    ],
)
def test_maps_merge_key_by_key_and_lists_replace(base, over, result):
    """Only what was written wins; a default that was written is written."""
    assert merged(Outer.model_validate(base), Outer.model_validate(over)) == Outer.model_validate(result)


def test_merges_can_be_repeated():
    """What a merge wrote counts as written in the next one."""
    first = merged(Outer(), Outer.model_validate({"inner": {"a": 5}}))

    assert merged(Outer.model_validate({"inner": {"a": 9, "b": 9}}), first).inner == Inner(a=5, b=9)


def test_a_map_with_nothing_below_it_is_an_empty_map():
    """YAML reads `inner:` with everything commented out as null."""
    assert Outer.model_validate({"inner": None}).inner == Inner()


def test_sections_are_closed_and_immutable():
    """An unknown key is an error, a late change too."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        Inner.model_validate({"c": 1})
    with pytest.raises(ValidationError, match="frozen"):
        Inner().a = 2  # type: ignore[misc] the point of the test
