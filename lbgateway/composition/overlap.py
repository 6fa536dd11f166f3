"""Which routes can meet in one request, and which of them then wins: the order of `dataplane.routing`, for settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config.route import PLACEHOLDER

if TYPE_CHECKING:
    from lbgateway.config import RouteSettings

Segments = tuple[str, ...]


def segments_of(prefix: str) -> Segments:
    """``/api/orders`` as ``("api", "orders")``; ``/`` has none."""
    return tuple(prefix.split("/")[1:]) if prefix != "/" else ()


def covers(above: Segments, below: Segments) -> bool:
    """Whether all paths of `below` are paths of `above`, too."""
    return below[: len(above)] == above


def rank(route: RouteSettings) -> tuple[object, ...]:
    """The larger the more specific. Of two routes that meet, the larger one gets the request; equal ones are a tie."""
    host = (0, 0) if route.host is None else (1, len(route.host)) if route.host.startswith("*.") else (2, 0)
    return host, len(segments_of(route.prefix)), not route.by_name, route.methods is not None, len(route.headers)


def meet(one: RouteSettings, other: RouteSettings) -> bool:
    """Whether there is a request that both would take."""
    return (
        _hosts_meet(one.host, other.host)
        and _prefixes_meet(segments_of(one.prefix), segments_of(other.prefix))
        and (one.methods is None or other.methods is None or bool(set(one.methods) & set(other.methods)))
        and _headers_meet(one, other)
    )


def _hosts_meet(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return True
    return _in_wildcard(one, other) or _in_wildcard(other, one)


def _in_wildcard(host: str, pattern: str) -> bool:
    return pattern.startswith("*.") and host.removeprefix("*").endswith(pattern[1:])


def _prefixes_meet(one: Segments, other: Segments) -> bool:
    # A name is compared without regard to case: /api/{service} takes /api/Orders, too, but that meets the placeholder anyway.
    return all(mine == theirs or PLACEHOLDER in (mine, theirs) for mine, theirs in zip(one, other, strict=False))


def _headers_meet(one: RouteSettings, other: RouteSettings) -> bool:
    mine = {name.lower(): value for name, value in one.headers.items()}
    return all(mine.get(name.lower(), value) == value for name, value in other.headers.items())
