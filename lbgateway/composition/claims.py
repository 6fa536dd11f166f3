"""May a service have the route that its tags ask for? Pure.

A service may claim ``/api/<its own name>`` and what the operator grants it (``discovery.consul.tag_prefixes``). Even
there it takes no request away from a route of the file or of the key-value store, nor from another service: a claim
that would win over such a route, or tie with it, is refused. Broader routes of an operator (``/``, or the
``/api/{service}`` that leads to this very service) are not taken from: they are what the claim makes more precise.
Between services the first one registered wins.

A route below ``/api/{service}`` keeps whatever that route says of who may come in and how much: a tag can
never make it laxer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.composition.overlap import covers, meet, rank, segments_of
from lbgateway.config.section import merged

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from lbgateway.composition.declaration import Wish
    from lbgateway.composition.overlap import Segments
    from lbgateway.config import RouteSettings

GUARDS = ("auth", "scopes", "rate_limit", "cors", "cache", "max_body", "request_headers", "response_headers", "timeout", "retry")
"""What a claim takes over from the ``{service}`` route above it. Its own words, where an operator allows them, come after."""
PATH = ("strip_prefix", "add_prefix")
"""Taken over, too, where the prefix is only implied: what is not said stays as it was."""


class Refusal(ValueError):
    """Why a service may not have a route; its text is for the operator."""


class Taken:
    """The routes that services hold already, found by their prefixes: hundreds of services ask for one each."""

    def __init__(self) -> None:
        self._at: dict[Segments, list[RouteSettings]] = {}
        self._below: dict[Segments, list[RouteSettings]] = {}

    def add(self, route: RouteSettings) -> None:
        segments = segments_of(route.prefix)
        self._at.setdefault(segments, []).append(route)
        for length in range(len(segments) + 1):
            self._below.setdefault(segments[:length], []).append(route)

    def near(self, route: RouteSettings) -> Iterator[RouteSettings]:
        """All whose prefixes lie above, at or below that of `route`."""
        segments = segments_of(route.prefix)
        for length in range(len(segments)):
            yield from self._at.get(segments[:length], ())
        yield from self._below.get(segments, ())


def claim(
    wish: Wish, operators: Sequence[RouteSettings], taken: Taken, *, granted: Sequence[str], exposed: Container[str]
) -> RouteSettings:
    """The route as it comes into force. `operators`: routes of the file and the store; `exposed`: names that requests reach.

    Raises:
        Refusal: the service may not have it.

    """
    route, own = wish.route, segments_of(f"/api/{wish.route.service}")
    if "{" in route.prefix or "}" in route.prefix:
        raise Refusal("a tag claims a prefix as requests have it, without a placeholder")
    segments = segments_of(route.prefix)
    grants = [grant for grant in (own, *map(segments_of, granted)) if covers(grant, segments)]
    if not grants:
        raise Refusal(_not_granted(route, granted))
    widest = min(grants, key=len)
    for other in operators:
        if _takes_from(route, other) and not _makes_precise(route, other, widest, exposed):
            raise Refusal(f"would take requests from the route {_spelled(other)}, which an operator wrote")
    for other in taken.near(route):
        if other.service != route.service and _takes_from(route, other):
            raise Refusal(f"would take requests from {other.service}, which came first, at {_spelled(other)}")
        if other.service == route.service and rank(other) == rank(route) and meet(other, route):
            raise Refusal(f"claimed twice: {_spelled(other)} is there already")
    return _guarded(wish, operators)


def _takes_from(route: RouteSettings, other: RouteSettings) -> bool:
    return meet(route, other) and not rank(other) > rank(route)


def _makes_precise(route: RouteSettings, other: RouteSettings, grant: Segments, exposed: Container[str]) -> bool:
    """Whether `other` is so broad that a route within `grant` is meant to stand out of it."""
    if other.methods is not None or other.headers:
        return False
    above = segments_of(other.prefix)
    if not other.by_name:
        return len(above) < len(grant) and covers(above, grant)
    head, segments = above[:-1], segments_of(route.prefix)
    if len(segments) <= len(head):
        return False  # All names lie below it, not one.
    name = segments[len(head)].lower()
    return name == route.service or name not in exposed


def _guarded(wish: Wish, operators: Iterable[RouteSettings]) -> RouteSettings:
    """The route over that of ``{service}`` which has led its requests so far, if one has."""
    route = wish.route
    above = [other for other in operators if other.by_name and meet(other, route) and _names(other, route) and rank(route) > rank(other)]
    if not above:
        return route
    kept = (*GUARDS, *PATH) if wish.spelled is None else GUARDS
    nearest = max(above, key=rank)
    given = nearest.model_fields_set & set(kept)
    if not given:
        return route
    base = type(route)().model_copy(update={key: getattr(nearest, key) for key in given})
    return merged(base, route)


def _names(template: RouteSettings, route: RouteSettings) -> bool:
    """Whether the template leads the paths of `route` to the service of `route`."""
    head, segments = segments_of(template.prefix)[:-1], segments_of(route.prefix)
    return len(segments) > len(head) and segments[len(head)].lower() == route.service


def _not_granted(route: RouteSettings, granted: Iterable[str]) -> str:
    may = " and ".join((f"/api/{route.service}", *granted))
    needed = f"discovery.consul.tag_prefixes: {{{route.service}: [{', '.join((*granted, route.prefix))}]}}"
    return f"{route.service} may claim {may}, and nothing else; an operator may grant more: {needed}"


def _spelled(route: RouteSettings) -> str:
    return f"{route.host or ''}{route.prefix}"
