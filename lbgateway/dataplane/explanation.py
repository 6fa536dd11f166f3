"""``X-Gateway-Explain``: what was decided about one request, in the head of its answer, for whoever may know.

A list of structured fields (RFC 9651), one line for each decision in the order in which they were made: ``route``,
``service``, then ``pick`` and ``attempt`` for each try, and ``answer``. Pure, but for what the exchange knows.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from lbgateway.dataplane.trace import Trace

if TYPE_CHECKING:
    from lbgateway.dataplane.exchange import Exchange
    from lbgateway.dataplane.history import Pick
    from lbgateway.dataplane.route import Route
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.telemetry.span_records import AttemptRecord, PickRecord

    Value = str | bool | int | float | None

MAX_LETTERS = 256
"""Of one value: ids and reasons are short, and a head has to fit into what clients take."""

PRIVATE = b"Cache-Control: no-store\r\n"
"""Beside whatever the service says: a cache must not show to others what was meant for an operator."""


def explained(trace: Trace | None) -> Trace:
    """The trace of an exchange that is to be explained: its own, or one that leads nowhere."""
    trace = trace or Trace(None, None, 0, None)
    trace.explained = True
    return trace


def explanation_lines(exchange: Exchange, status: int) -> bytes:
    """Complete header lines, for an answer of `status`."""
    trace, route, upstream = exchange.trace, _route_of(exchange), _upstream_of(exchange)
    assert trace is not None
    lines = []
    if route is not None:
        view = route.view
        lines.append(_line("route", label=route.label, source=view["source"], auth=view["auth"]))
    if exchange.identity is not None:
        lines.append(_line("identity", subject=str(exchange.identity.claims.get("sub"))))
    if upstream is not None:
        endpoints = upstream.endpoints
        facts = {"name": upstream.name, "balancer": upstream.balancer_name, "breaker": str(upstream.breaker.state.value)}
        lines.append(_line("service", **facts, ready=len(endpoints.ready), panic=endpoints.panic))
    lines += [_pick_line(pick, why) for pick, why in zip(trace.picks, trace.reasons, strict=True)]
    if trace.is_picking:
        lines.append(_line("pick", instance=None, reason="no instance can be used"))
    lines += map(_attempt_line, trace.attempts)
    now_s = monotonic()
    if exchange.attempt is not None:
        exchange.attempt.ended_s = now_s
        lines.append(_attempt_line(exchange.attempt))
    by, error = ("gateway", exchange.error.slug) if exchange.error is not None else ("service" if exchange.attempt else "gateway", None)
    lines.append(_line("answer", status=status, by=by, error=error, ms=(now_s - exchange.started_s) * 1000))
    return b"".join(lines) + PRIVATE


def _route_of(exchange: Exchange) -> Route | None:
    return exchange.route


def _upstream_of(exchange: Exchange) -> Upstream | None:
    return exchange.upstream


def _pick_line(pick: PickRecord, why: Pick | None) -> bytes:
    waited_ms = (pick.ended_s - pick.began_s) * 1000
    if why is None:
        return _line("pick", instance=pick.endpoint, ms=waited_ms)
    named = ", ".join(
        f"{each.id} active={each.active}" + ("" if each.cost is None else f" cost={each.cost:.3g}") for each in why.candidates
    )  # fmt: skip
    return _line("pick", instance=pick.endpoint, of=why.of, reason=why.reason, candidates=named or None, ms=waited_ms)


def _attempt_line(attempt: AttemptRecord) -> bytes:
    ms = (attempt.ended_s - attempt.began_s) * 1000
    return _line(
        "attempt", instance=attempt.endpoint, status=attempt.status or None, outcome=attempt.outcome or None, error=attempt.slug, ms=ms
    )  # fmt: skip


def _line(decision: str, **facts: Value) -> bytes:
    """One member of the list: a token with parameters; those that are None are left out."""
    parameters = "".join(f"; {name}={_item(value)}" for name, value in facts.items() if value is not None)
    return f"X-Gateway-Explain: {decision}{parameters}\r\n".encode()


def _item(value: object) -> str:
    """A bare item (RFC 9651, 3.3): a boolean, an integer, a decimal of three places, or a string of printable ASCII."""
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return str(value)
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in str(value)[:MAX_LETTERS])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
