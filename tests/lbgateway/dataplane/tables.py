"""Route tables from text, and a naive reading of them to compare with."""

from __future__ import annotations

from lbgateway.config import RouteSettings, load_text
from lbgateway.dataplane.compiling import compile_routes
from lbgateway.dataplane.routing import RouteTable

FIELDS = [b"", b"X-BETA", b": ", b"1", b"\r\n", b"X-More", b": ", b"a b", b"\r\n"]
"""As `RequestHead.lines` keeps them."""


def table_of(text: str) -> RouteTable:
    return compile_routes(load_text(text, "gw.yaml", {}))


def covers(prefix: str, path: str) -> bool:
    """Whole segments; a name may be anything but empty."""
    wanted = [] if prefix == "/" else prefix.split("/")[1:]
    given = path.split("/")[1:]
    return len(given) >= len(wanted) and all(
        want == have or (want == "{service}" and have != "") for want, have in zip(wanted, given, strict=False)
    )


def serves_host(pattern: str | None, host: str) -> bool:
    return pattern is None or pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def naive(routes: list[RouteSettings], host: str, path: str, method: str, fields: dict[str, str]) -> int | list[str] | None:
    """The place of the best route, else the methods that would do, else None: every rule of the contract once, slowly."""
    near = [
        (index, route)
        for index, route in enumerate(routes)
        if serves_host(route.host, host)
        and covers(route.prefix, path)
        and all(fields.get(k.lower()) == v for k, v in route.headers.items())
    ]
    fit = [(index, route) for index, route in near if route.methods is None or method in route.methods]
    if not fit:
        return sorted({name for _, route in near for name in route.methods or ()}) or None
    return max(fit, key=lambda one: rank(one[1]))[0]


def rank(route: RouteSettings) -> tuple[object, ...]:
    """The larger the more specific."""
    host = (0, 0) if route.host is None else (1, len(route.host)) if route.host.startswith("*") else (2, 0)
    segments = 0 if route.prefix == "/" else route.prefix.count("/")
    return host, segments, "{service}" not in route.prefix, route.methods is not None, len(route.headers)
