"""``/admin/events``: server-sent events (HTML standard, 9.2), one for each thing that happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lbgateway.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from lbgateway.telemetry.events import Event, Events

MEDIA_TYPE = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}
"""Proxies in front that gather answers before they pass them on would pass on nothing."""

HEARTBEAT_S = 15.0
"""Below the usual patience of proxies (60 s)."""

REPLAY = 100
"""So many of the past a newcomer gets unless it says otherwise."""

OPENING = b"retry: 2000\n\n"
HEARTBEAT = b": still here\n\n"


def parse_start(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str | None, int]:
    """The id of the last event that the client has seen, if it has seen any, and how many of the past it wants otherwise."""
    replay = query.get("replay", str(REPLAY))
    if not (replay.isascii() and replay.isdigit()):
        raise BadRequest("replay: a whole number, of events of the past")
    return headers.get("last-event-id") or query.get("last_event_id"), int(replay[:9])


async def stream(events: Events, *, after: str | None, replay: int, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
    """The body: what has been, what comes, and a comment now and then. It ends when the gateway drains."""
    reader = events.read(after, replay=replay)
    try:
        yield OPENING
        while (batch := await reader.next(heartbeat_s)) is not None:
            if batch.missed:
                yield b'event: missed\ndata: {"missed":%d}\n\n' % batch.missed
            yield b"".join(rendered(event, events.id_of(event)) for event in batch.events) or HEARTBEAT
    finally:
        reader.close()


def rendered(event: Event, id_: str) -> bytes:
    """One event. JSON has no line ends of its own, so that one ``data`` line is enough."""
    at = datetime.fromtimestamp(event.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = json.dumps({"at": at, **event.facts}, separators=(",", ":"), ensure_ascii=False)
    return f"id: {id_}\nevent: {event.kind}\ndata: {data}\n\n".encode()
