"""What services say of themselves: tags ``lbgateway.KEY=VALUE``, or Meta ``lbgateway-KEY: VALUE``. Pure.

Meta keys may hold no dots in Consul, so there each dot is a dash. Of the instances of one service the one that was
registered last speaks for all: during a deploy that is the new release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lbgateway.config.tag_keys import tag_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from discovery.instance import Instance

TAG: Final = "lbgateway."
META: Final = "lbgateway-"
ENABLE: Final = "enable"
"""Read by `discovery.registry`: it decides whether a service may be reached at all."""
MAX_NAMED: Final = 3
"""Instances that a message names; a deploy may have hundreds."""

_SEPARATOR = re.compile(r"[._-]")


@dataclass(frozen=True, slots=True)
class Word:
    """One setting as an instance says it. ``value`` is None where a tag has no ``=``."""

    key: str
    value: str | None
    spelled: str
    """As it stands in the registry, for people."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A word that is not in force, or not everybody's, and why."""

    spelled: str
    message: str


def words_of(instance: Instance) -> tuple[Word, ...]:
    """The words of one instance, tags first, each once."""
    return _words(instance.tags, tuple(sorted(instance.meta.items())))


@lru_cache(maxsize=4096)  # instances of a service say the same, and are asked again with every change
def _words(tags: tuple[str, ...], meta: tuple[tuple[str, str], ...]) -> tuple[Word, ...]:
    said = [word for tag in tags if (word := _from_tag(tag)) is not None]
    said += [word for key, value in meta if (word := _from_meta(key, value)) is not None]
    first: dict[tuple[str, str | None], Word] = {}
    for word in said:
        first.setdefault((word.key, word.value), word)
    return tuple(first.values())


def _from_tag(tag: str) -> Word | None:
    if not tag.lower().startswith(TAG):
        return None
    key, equals, value = tag[len(TAG) :].partition("=")
    key = key.strip().lower()
    return None if key == ENABLE else Word(key, value.strip() if equals else None, tag)


def _from_meta(name: str, value: str) -> Word | None:
    if not name.lower().startswith(META):
        return None
    folded = _fold(name[len(META) :].lower())
    key = next((key for key in tag_keys() if _fold(key) == folded), folded.replace("-", "."))
    return None if key == ENABLE else Word(key, value.strip(), f"{name}={value}")


def _fold(key: str) -> str:
    return _SEPARATOR.sub("-", key)


def speaker_of(instances: Iterable[Instance]) -> Instance:
    """Who speaks: the newest registration, whatever its health. `ValueError` if there is nobody."""
    return max(instances, key=lambda one: (one.modify_index, one.create_index, one.key))


def disagreements(instances: Sequence[Instance], speaker: Instance) -> list[Problem]:
    """What others say that the speaker does not, and what the speaker says that others do not."""
    theirs: dict[str, list[str]] = {}
    silent: dict[str, list[str]] = {}
    spoken = words_of(speaker)
    own = {word.spelled: word for word in spoken}
    for instance in instances:
        words = words_of(instance)
        if words == spoken:
            continue
        said = {word.spelled: word for word in words}
        for spelled in said.keys() - own.keys():
            theirs.setdefault(spelled, []).append(instance.id)
        keys = {word.key for word in said.values()}
        for spelled, word in own.items():
            if word.key not in keys:
                silent.setdefault(spelled, []).append(instance.id)
    found = [
        Problem(spelled, f"not in force: said by {_some(ids)}, but {speaker.id}, registered later, speaks for the service")
        for spelled, ids in sorted(theirs.items())
    ]
    return found + [
        Problem(spelled, f"in force: said by {speaker.id}, registered last, though not by {_some(ids)}")
        for spelled, ids in sorted(silent.items())
    ]


def _some(ids: list[str]) -> str:
    named = ", ".join(sorted(ids)[:MAX_NAMED])
    return named if len(ids) <= MAX_NAMED else f"{named} and {len(ids) - MAX_NAMED} more"
