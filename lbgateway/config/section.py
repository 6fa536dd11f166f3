"""The base of every part of the configuration: no unknown keys, immutable, mergeable."""

from __future__ import annotations

from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A map of the file. Attribute names are the contract's keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_map(cls, value: object) -> object:
        """A key with everything below it commented out reads as null in YAML, and means an empty map."""
        return {} if value is None else value

    def beneath(self, over: Self) -> Self:  # noqa: ARG002 for those that have alternatives
        """What of this stays where `over` is written over it."""
        return self


AnySection = TypeVar("AnySection", bound=Section)


def merged(base: AnySection, over: AnySection) -> AnySection:
    """`base` with every key that was written in `over`: maps key by key, lists and values replaced."""
    base = base.beneath(over)
    changes: dict[str, object] = {}
    for key in over.model_fields_set:
        below, above = getattr(base, key), getattr(over, key)
        both_maps = isinstance(below, Section) and isinstance(above, Section)
        changes[key] = merged(below, above) if both_maps else above
    return base.model_copy(update=changes)
