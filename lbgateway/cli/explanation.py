"""``/admin/upstreams/{service}/explain`` as a table, and of one instance alone its past, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.cli.admin_tables import Page, clean, service_line, summary, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lbgateway.cli.admin_tables import Body


def explanation(body: Body) -> Page:
    """``/admin/upstreams/{service}/explain``: who may be picked now, at what cost, and why or why not."""
    rows = [
        [
            text(each.get("id")),
            f"{clean(each.get('address'))}:{clean(each.get('port'))}",
            text(each.get("state")),
            "yes" if each.get("pickable") else "no",
            text(each.get("cost")),
            text(each.get("active_requests")),
            clean(each.get("why")),
        ]
        for each in body.get("instances", ())
    ]
    above = [summary(body), service_line(body)]
    columns = ("INSTANCE", "ADDRESS", "STATE", "PICKABLE", "COST", "ACTIVE", "WHY")
    alone = body["instances"][0] if len(rows) == 1 else {}
    below = [*_state(alone), *_limit(alone), *_order(alone.get("order")), *_changes(alone), *_picks(alone)]
    return Page(above if rows else [*above, "It has no instances."], columns, rows, below)


def _state(instance: Mapping[str, Any]) -> list[str]:
    """Since when the one instance is as it is, how often it was out, and what its check and its last failure said."""
    if "since" not in instance:
        return []
    until = f", now until {clean(instance['ejected_until'])}" if instance.get("ejected_until") else ""
    out = f"; ejected {text(instance.get('ejections_total'))} times{until}" if instance.get("ejections_total") else ""
    said = [f"State: {text(instance.get('state'))} since {clean(instance['since'])}{out}"]
    if instance.get("check_output"):
        said.append(f"Its check says: {clean(instance['check_output'])}")
    if instance.get("last_error"):
        said.append(f"Its last failure: {clean(instance['last_error'])}")
    return said


def _limit(instance: Mapping[str, Any]) -> list[str]:
    """How many requests at once the one instance may have, where its latency says so."""
    adaptive = instance.get("adaptive")
    if adaptive is None:
        return []
    baseline_ms = adaptive.get("baseline_ms")
    why = "not measured yet" if baseline_ms is None else f"a request takes {text(baseline_ms)} ms when there are few"
    return [f"Limit: {text(instance.get('limit'))} requests at once, by its own latency ({why})"]


def _order(order: Mapping[str, Any] | None) -> list[str]:
    """What operators want of the one instance."""
    if order is None:
        return []
    until = f" until {clean(order['ejected_until'])}" if order.get("ejected_until") else ""
    said = [
        f"drained by {clean(order['drained_by'])}" if order.get("drained_by") else "",
        f"ejected by {clean(order['ejected_by'])}{until}" if order.get("ejected_by") else "",
        f"weight {text(order['weight'])} by {clean(order.get('weighed_by'))}" if order.get("weight") is not None else "",
    ]
    return [f"Ordered: {', '.join(filter(None, said))}"]


def _changes(instance: Mapping[str, Any]) -> list[str]:
    """The last changes of the one instance, the newest first."""
    changes = [
        f"  {clean(each.get('at'))}  {clean(each.get('from'))} -> {clean(each.get('to'))}{_because(each.get('reason'))}"
        for each in instance.get("changes", ())
    ]
    return ["Changes of state, the newest first:", *changes] if changes else []


def _picks(instance: Mapping[str, Any]) -> list[str]:
    """The last picks that chose the one instance, the newest first, each with the others that could have been."""
    picks = []
    for each in instance.get("picks", ()):
        costs = [f"{clean(one.get('instance'))} {text(one.get('cost'))}" for one in each.get("candidates", ())]
        among = f" [cost: {', '.join(costs)}]" if costs else ""
        picks.append(f"  {clean(each.get('at'))}  {clean(each.get('reason'))}, of {text(each.get('of'))}{among}")
    return ["Picks, the newest first:", *picks] if picks else []


def _because(reason: Any) -> str:
    return f": {clean(reason)}" if reason else ""
