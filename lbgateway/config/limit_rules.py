"""What limits can have wrong between routes, the default and who is asking. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config.ratelimit import NO_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.errors import KeyPath
    from lbgateway.config.route import RouteSettings
    from lbgateway.config.settings import Settings


def check_limits(settings: Settings, routes: dict[int, RouteSettings]) -> Iterator[tuple[KeyPath, str]]:
    """Limits that say too little. `routes` by their place in the file."""
    for index, route in routes.items():
        limit = settings.route_limit(route)
        if limit is not None and limit.requests is None:
            yield ("routes", index, "rate_limit"), NO_REQUESTS


def warn_limits(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Limits by who is asking, where nobody proves who it is."""
    for index, route in enumerate(settings.routes):
        limit = settings.route_limit(route)
        if limit is None or settings.route_auth(route) != "none":
            continue
        if limit.key == "subject" or limit.key.startswith("claim:"):
            path: KeyPath = ("routes", index) if route.rate_limit is None else ("routes", index, "rate_limit")
            yield path, f"counts by {limit.key}, which nobody proves where auth is none: clients are counted by their address"
