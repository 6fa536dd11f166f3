"""``/admin/upstreams`` as JSON in slices, page by page if asked.

20,000 instances are 16 MB of JSON and more than half a second of work; the event loop that calls this forwards
requests too, so a slice is a few milliseconds' worth, and between two slices others run.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from balancers.endpoint import EndpointState
from lbgateway.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from lbgateway.controlplane.port import GatewayPort, InstanceOrder, InstanceView

SLICE_INSTANCES = 50
STATES = tuple(state.value for state in EndpointState)

R = TypeVar("R")

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

Position = tuple[str, str, str]
"""Service, instance id, node: after this one the next page begins."""


class Instances(Protocol):
    """The instances of one service, as `GatewayPort.instances` and `GatewayPort.explain` give them."""

    def __call__(
        self, name: str, *, state: str | None = None, after: InstanceOrder | None = None, only: str | None = None
    ) -> Iterator[InstanceView]: ...


@dataclass(frozen=True, slots=True)
class UpstreamsQuery:
    """What of it is asked for; None means no restriction. ``limit`` counts instances."""

    service: str | None = None
    state: str | None = None
    limit: int | None = None
    after: Position | None = None
    instance: str | None = None
    """Of one service only: ``id``, or ``node:id``."""
    summary: bool = False
    """Counts in place of instances, for those who look often."""


def parse_query(parameters: Mapping[str, str]) -> UpstreamsQuery:
    """The query of a request; raises `BadRequest` that names the parameter. Unknown parameters are ignored, empty ones are not there."""
    parameters = {name: value for name, value in parameters.items() if value}
    state = parameters.get("state")
    if state is not None and state not in STATES:
        raise BadRequest(f"state: one of {', '.join(STATES)}")
    limit = parameters.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdigit() and int(limit[:9]) >= 1):
        raise BadRequest("limit: a whole number from 1 upwards")
    if parameters.get("summary", "false") not in ("true", "false"):
        raise BadRequest("summary: true or false")
    cursor = parameters.get("cursor")
    return UpstreamsQuery(
        service=parameters.get("service"),
        state=state,
        limit=None if limit is None else int(limit[:9]),
        after=None if cursor is None else read_cursor(cursor),
        instance=parameters.get("instance"),
        summary=parameters.get("summary") == "true",
    )


def write_cursor(position: Position) -> str:
    """Opaque to clients, so that it may change."""
    return base64.urlsafe_b64encode(encode(position).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Position:
    try:
        match json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)):
            case [str(service), str(id_), str(node)]:
                return service, id_, node
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise BadRequest("cursor: take next_cursor of the page before")


def envelope(port: GatewayPort, generated_at: str) -> dict[str, Any]:
    """What every answer about upstreams begins with."""
    return {
        "generated_at": generated_at,
        "gateway": {"id": port.id, "version": port.version, "workers": port.workers(), "uptime_seconds": round(port.uptime_s(), 3)},
        "discovery": port.discovery(),
    }


def unexposed(port: GatewayPort) -> list[dict[str, str]]:
    """Registered services that no route may reach, each with what to do about it."""
    return [{"service": name, "what_to_do": how_to_expose(name)} for name in port.unexposed()]


def how_to_expose(service: str) -> str:
    """What an operator does to let a route reach a registered service."""
    tag, entry = '"lbgateway.enable=true"', f'"services: {{{service}: {{}}}}"'
    return f"Registered, but not exposed: give it the tag {tag}, or put {entry} into the configuration."


def upstreams(port: GatewayPort, query: UpstreamsQuery, generated_at: str) -> Iterator[bytes]:
    """The document of all services, or of those that `query` wants, in slices.

    ``next_cursor`` is null on the last page. Services are sorted by name; with `query.state` those
    without a matching instance are left out. With `query.summary` the other restrictions of instances do not count.
    """
    opening = envelope(port, generated_at)
    if query.service is None:
        opening["unexposed"] = unexposed(port)
    yield encode(opening)[:-1].encode() + b',"services":['
    yield _closing((yield from (_summaries if query.summary else _services)(port, query)))


def _services(port: GatewayPort, query: UpstreamsQuery) -> Generator[bytes, None, Position | None]:
    """The services' objects; returns where the next page begins, if there is one."""
    left, last, comma = query.limit, None, b""
    for name in _names(port, query):
        head = port.service(name)
        after = query.after[1:] if query.after and query.after[0] == name else None
        instances = port.instances(name, state=query.state, after=after)
        first = next(instances, None)
        if head is None or (first is None and (query.state or after)):
            continue
        if left == 0:
            return last
        yield comma + encode(head)[:-1].encode() + b',"instances":['
        everything = chain(() if first is None else (first,), instances)
        count, final = yield from _instances(islice(everything, left))
        yield b"]}"
        comma = b","
        if final is not None:
            last = (name, final["id"], final["node"])
        if left is not None:
            left -= count
            if left == 0 and next(everything, None) is not None:
                return last
    return None


def _summaries(port: GatewayPort, query: UpstreamsQuery) -> Generator[bytes, None, None]:
    """The services' objects with counts instead of instances; never more than one page."""
    comma = b""
    for name in _names(port, query):
        summary = port.summary(name)
        if summary is not None:
            yield comma + encode(summary).encode()
            comma = b","


def _names(port: GatewayPort, query: UpstreamsQuery) -> list[str]:
    names = port.service_names() if query.service is None else [query.service]
    return [name for name in names if query.after is None or name >= query.after[0]]


def _instances(views: Iterator[Mapping[str, Any]]) -> Generator[bytes, None, tuple[int, Mapping[str, Any] | None]]:
    """The elements of an array; returns how many there were, and the last."""
    count, last = 0, None
    while part := list(islice(views, SLICE_INSTANCES)):
        yield (b"," if count else b"") + ",".join(map(encode, part)).encode()
        count, last = count + len(part), part[-1]
    return count, last


def upstream(port: GatewayPort, name: str, query: UpstreamsQuery, generated_at: str, instances: Instances) -> Iterator[bytes] | None:
    """The document of one service: that of all with this one alone, and its keys beside the envelope's, too. None if it is not known.

    State, limit, cursor and instance of `query` hold for its instances, which `instances` gives: `port.instances` or `port.explain`.
    """
    head = port.service(name)
    if head is None:
        return None
    views = instances(name, state=query.state, after=query.after[1:] if query.after else None, only=query.instance)
    return _upstream(envelope(port, generated_at), head, views, query.limit)


def _upstream(
    opening: Mapping[str, Any], head: Mapping[str, Any], instances: Iterator[Mapping[str, Any]], limit: int | None
) -> Iterator[bytes]:
    parts: list[bytes] = []
    yield encode({**opening, **head})[:-1].encode() + b',"instances":['
    _, last = yield from _noted(_instances(islice(instances, limit)), parts)
    yield b'],"services":[' + encode(head)[:-1].encode() + b',"instances":['
    yield from parts
    yield b"]}"
    more = last is not None and next(instances, None) is not None
    yield _closing((head["name"], last["id"], last["node"]) if last and more else None)


def _noted(slices: Generator[bytes, None, R], parts: list[bytes]) -> Generator[bytes, None, R]:
    """The slices as they come, and once more in `parts`."""
    while True:
        try:
            part = next(slices)
        except StopIteration as end:
            result: R = end.value
            return result
        parts.append(part)
        yield part


def _closing(next_page: Position | None) -> bytes:
    cursor = None if next_page is None else write_cursor(next_page)
    return b'],"next_cursor":' + encode(cursor).encode() + b"}\n"
