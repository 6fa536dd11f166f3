"""From the words of a service to what it asks for: routes, settings, and what of it cannot be understood. Pure.

A word that is wrong disables itself and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lbgateway.composition.words import Problem, Word, disagreements, speaker_of, words_of
from lbgateway.config.document import parse_value
from lbgateway.config.errors import did_you_mean
from lbgateway.config.fragment import route_of, service_of
from lbgateway.config.section import merged
from lbgateway.config.tag_keys import HARMLESS, allowed, tag_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from discovery.instance import Instance
    from lbgateway.config import RouteSettings, ServiceSettings
    from lbgateway.config.fragment import Keys

PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Wish:
    """A route that a service asks for. ``spelled`` is the word with its prefix; None where the prefix is only implied."""

    route: RouteSettings
    spelled: str | None


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that a service asks for. ``came`` is the registry's index at which its first instance was registered."""

    service: str
    wishes: tuple[Wish, ...]
    settings: ServiceSettings
    problems: tuple[Problem, ...]
    came: int


@dataclass(slots=True)
class _Sorted:
    """Words by what they are about: `prefixes`, then key -> (value, word) of the route and of the service."""

    prefixes: list[Word] = field(default_factory=list)
    route: dict[Keys, tuple[object, Word]] = field(default_factory=dict)
    service: dict[Keys, tuple[object, Word]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def declare(service: str, instances: Sequence[Instance], granted: Collection[str] = ()) -> Declaration | None:
    """What a service asks for; None if none of its instances says anything. `granted`: ``allow_tag_keys``."""
    if not any(words_of(instance) for instance in instances):
        return None
    speaker = speaker_of(instances)
    said = _sort(words_of(speaker), granted)
    route, wrong = route_of({keys: value for keys, (value, _) in said.route.items()})
    said.problems += _problems(said.route, wrong)
    settings, wrong = service_of({keys: value for keys, (value, _) in said.service.items()})
    said.problems += _problems(said.service, wrong)
    wishes = _wishes(service, route, said)
    problems = (*said.problems, *disagreements(instances, speaker))
    return Declaration(service, wishes, settings, problems, min(one.create_index for one in instances))


def _sort(words: Sequence[Word], granted: Collection[str]) -> _Sorted:
    said = _Sorted()
    for word in words:
        message = _refused(word, granted)
        if message is not None:
            said.problems.append(Problem(word.spelled, message))
        elif word.key == PREFIX:
            said.prefixes.append(word)
        else:
            _put(said, word)
    return said


def _refused(word: Word, granted: Collection[str]) -> str | None:
    if word.key not in tag_keys():
        return f"no setting that a tag can have{did_you_mean(word.key, sorted(HARMLESS))}"
    if not allowed(word.key, granted):
        return f"not for services to set; an operator may allow it: discovery.consul.allow_tag_keys: [{word.key}]"
    return None if word.value else "has no value"


def _put(said: _Sorted, word: Word) -> None:
    holder = said.route if tag_keys()[word.key] == "route" else said.service
    keys = tuple(word.key.split("."))
    try:
        value = _value(word)
    except ValueError as error:
        said.problems.append(Problem(word.spelled, str(error)))
        return
    first = holder.setdefault(keys, (value, word))[1]
    if first is not word:
        said.problems.append(Problem(word.spelled, f"said twice: {first.spelled} came first"))


def _value(word: Word) -> object:
    """A list may be written with commas alone: YAML's brackets are no habit in tags."""
    text = word.value or ""
    listed = word.key in ("methods", "scopes") and not text.startswith("[")
    return [part.strip() for part in text.split(",")] if listed else parse_value(text)


def _problems(said: Mapping[Keys, tuple[object, Word]], wrong: Mapping[Keys, str]) -> list[Problem]:
    return [Problem(said[keys][1].spelled, message) for keys, message in wrong.items()]


def _wishes(service: str, route: RouteSettings, said: _Sorted) -> tuple[Wish, ...]:
    """One for each prefix. Without a prefix, what is said of a route is about ``/api/<service>``."""
    wanted: list[tuple[str, str | None]] = [(word.value or "", word.spelled) for word in said.prefixes]
    if not wanted and route.model_fields_set:
        wanted = [(f"/api/{service}", None)]
    wishes = []
    for prefix, spelled in wanted:
        own, wrong = route_of({(PREFIX,): prefix, ("service",): service})
        if wrong:
            said.problems.append(Problem(spelled or f"/api/{service}", next(iter(wrong.values()))))
        else:
            wishes.append(Wish(merged(own, route), spelled))
    return tuple(wishes)
