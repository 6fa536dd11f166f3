"""The admin API's JSON as tables: decided here as plain rows; `lbgateway.cli.drawing` shows them.

Keys may be missing: the gateway may be older or newer than this command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_CELL = 60


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, a table, and lines again. `least`: the columns that a narrow terminal can do without, the first of them first."""

    above: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    below: Sequence[str] = field(default_factory=list)
    least: Sequence[str] = ()


Body = dict[str, Any]


def routes(body: Body) -> Page:
    """``/admin/routes``: one row per route, then what is wrong with some, then what no route reaches."""
    rows = [
        [
            text(route.get("host") or "*"),
            text(route.get("prefix")),
            text(route.get("methods") or "*"),
            _target(route),
            _path(route),
            text(" ".join([str(route.get("auth")), *route.get("scopes", ())])),
            _limit(route.get("limit")),
            text(route.get("source")),
            "disabled" if route.get("error") else "ok",
        ]
        for route in body.get("routes", ())
        if not route.get("tag")
    ]
    wrong = [_wrong(route) for route in body.get("routes", ()) if route.get("error")]
    columns = ("HOST", "PREFIX", "METHODS", "TO", "PATH", "AUTH", "LIMIT", "SOURCE", "STATE")
    below = [*wrong, *_config_key(body), *_unexposed(body)]
    return Page([] if rows else ["There are no routes."], columns, rows, below, ("SOURCE", "PATH", "METHODS", "LIMIT"))


def _wrong(route: Mapping[str, Any]) -> str:
    """Why a route, or a tag that is about one, is not in force."""
    if route.get("tag"):
        return f"{clean(route.get('service'))}: tag {clean(route['tag'])}: {clean(route['error'])}"
    owner = f" of {clean(route['service'])}" if route.get("service") else ""
    return f"{clean(route.get('host') or '')}{clean(route.get('prefix'))}{owner} is disabled: {clean(route['error'])}"


def _config_key(body: Body) -> list[str]:
    key = body.get("config_key")
    if not key or not key.get("error"):
        return []
    return [f"config_key {clean(key.get('key'))} ({clean(key.get('state'))}): {clean(line)}" for line in key["error"].splitlines()]


def _target(route: Mapping[str, Any]) -> str:
    redirect = route.get("redirect")
    if redirect:
        return text(f"{redirect.get('status', '')} {redirect.get('to', '')}".strip())
    # A template leads to as many services as there are; the name in the path says which.
    template = "{service}" if "{service}" in str(route.get("prefix")) else None
    return text(route.get("service") or template)


def _limit(limit: Mapping[str, Any] | None) -> str:
    """``100/1s by client``, with the burst where that is another number."""
    if not limit:
        return "-"
    burst = "" if limit.get("burst") == limit.get("requests") else f" burst {limit.get('burst')}"
    return text(f"{limit.get('requests')}/{limit.get('per_seconds', 0):g}s{burst} by {limit.get('key')}")


def _path(route: Mapping[str, Any]) -> str:
    """What happens to the path on its way."""
    words = ["strip prefix"] if route.get("strip_prefix") else []
    if route.get("add_prefix"):
        words.append(f"add {route['add_prefix']}")
    return text(", ".join(words) or "as it is")


def _unexposed(body: Body) -> list[str]:
    return [f"{clean(each.get('service'))}: {clean(each.get('what_to_do'))}" for each in body.get("unexposed", ())]


_OVERVIEW: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("INSTANCE", lambda each: each.get("id")),
    ("ADDRESS", lambda each: f"{each.get('address')}:{each.get('port')}"),
    ("STATE", lambda each: each.get("state")),
    ("WEIGHT", lambda each: each.get("weight")),
    ("ACTIVE", lambda each: each.get("active_requests")),
    ("REQUESTS", lambda each: each.get("requests_total")),
    ("FAILURES", lambda each: each.get("failures_total")),
    ("LATENCY", lambda each: _ms(each.get("latency_ewma_ms"))),
)
_REASON = ("REASON", lambda each: each.get("reason") or each.get("last_error"))
_DETAILS: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    *_OVERVIEW,
    ("P50", lambda each: _ms((each.get("latency_ms") or {}).get("p50"))),
    ("P99", lambda each: _ms((each.get("latency_ms") or {}).get("p99"))),
    ("IDLE", lambda each: (each.get("connections") or {}).get("idle")),
    ("NODE", lambda each: each.get("node")),
    ("TAGS", lambda each: each.get("tags")),
    ("SINCE", lambda each: each.get("since")),
    _REASON,
)


_PANIC = "PANIC: too few of its instances are usable, so all of them are used."


def upstreams(body: Body) -> Page:
    """``/admin/upstreams``: one row per instance; a service without any has a row that says so."""
    columns = (*_OVERVIEW, _REASON)
    rows = []
    for service in body.get("services", ()):
        name = text(service.get("name"))
        instances = service.get("instances", ())
        rows += [[name, *(text(value(each)) for _, value in columns)] for each in instances]
        if not instances:
            rows.append([name, "no instances", *("-" for _ in columns[1:])])
    above = [summary(body)] if rows else [summary(body), "No service is known."]
    titles = ("SERVICE", *(title for title, _ in columns))
    return Page(above, titles, rows, [*_in_trouble(body), *_unexposed(body)], ("WEIGHT", "LATENCY", "ADDRESS", "REQUESTS"))


def _in_trouble(body: Body) -> list[str]:
    """What is the matter with whole services, which no row of an instance can say."""
    lines = []
    for service in body.get("services", ()):
        name, breaker = clean(service.get("name")), service.get("breaker") or {}
        if breaker.get("state") not in (None, "closed"):
            failed = breaker.get("failure_ratio", 0)
            lines.append(f"{name}: its breaker is {clean(breaker['state'])}, {failed:.0%} of recent requests failed")
        if service.get("panic"):
            lines.append(f"{name}: {_PANIC}")
    return lines


def summary(body: Body) -> str:
    gateway, discovery = body.get("gateway", {}), body.get("discovery", {})
    age = discovery.get("age_seconds")
    confirmed = f", confirmed {age:.1f} s ago" if isinstance(age, (int, float)) else ""
    state = discovery.get("state") or "nothing known yet"
    line = f"lbgateway {clean(gateway.get('version'))}; {clean(discovery.get('provider'))}: {state}{confirmed}"
    error = discovery.get("last_error")
    return f"{line}; last error: {clean(error)}" if error else line


def upstream(body: Body) -> Page:
    """``/admin/upstreams/{service}``: the service's own lines, then its instances with all there is to know."""
    above = [summary(body), service_line(body)]
    if body.get("panic"):
        above.append(_PANIC)
    rows = [[text(value(each)) for _, value in _DETAILS] for each in body.get("instances", ())]
    least = ("IDLE", "P50", "SINCE", "TAGS", "NODE", "WEIGHT", "LATENCY", "ADDRESS", "P99", "REQUESTS")
    return Page(above if rows else [*above, "It has no instances."], [title for title, _ in _DETAILS], rows, least=least)


def service_line(body: Body) -> str:
    breaker, hedge = body.get("breaker") or {}, body.get("hedge")
    facts = (
        f"balancer {clean(body.get('balancer'))}",
        f"discovery {clean(body.get('discovery_state'))} at index {text(body.get('discovery_index'))}",
        f"breaker {clean(breaker.get('state'))}",
        f"{body.get('requests_per_second', 0):.1f} requests/s",
        *([f"{text(hedge.get('hedges_total'))} hedges"] if hedge else ()),
    )
    return f"{clean(body.get('name'))}: {', '.join(facts)}"


def text(value: Any) -> str:
    """A cell: short, on one line, and never empty."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        value = ",".join(map(str, value))
    line = clean(value)
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def clean(value: Any) -> str:
    """On one line and printable: a registry's texts (tags, check outputs) may hold anything, a terminal obeys some of it."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def _ms(value: Any) -> str | None:
    return f"{value:.1f}ms" if isinstance(value, (int, float)) else None
