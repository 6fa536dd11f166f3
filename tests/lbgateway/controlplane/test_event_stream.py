"""Events on the wire, as a browser's EventSource reads them."""

from __future__ import annotations

import json

import pytest

from lbgateway.controlplane.event_stream import HEARTBEAT, OPENING, parse_start, stream
from lbgateway.errors import BadRequest
from lbgateway.telemetry.events import Events


async def test_a_stream_is_a_sequence_of_events_with_ids():
    """What has been, a comment while nothing comes, and an end."""
    events = Events(keep=2, wall=lambda: 1.0)
    for number in range(3):
        events.tell("ejection", service="größe\n", number=number)
    parts = stream(events, after=f"{events.boot}-0", replay=0, heartbeat_s=0.0)
    assert await anext(parts) == OPENING
    assert await anext(parts) == b'event: missed\ndata: {"missed":1}\n\n'
    blocks = (await anext(parts)).decode().split("\n\n")
    assert [block.split("\n")[:2] for block in blocks[:-1]] == [[f"id: {events.boot}-{n}", "event: ejection"] for n in (2, 3)]
    assert json.loads(blocks[0].split("\n")[2].removeprefix("data: ")) == {
        "at": "1970-01-01T00:00:01.000Z",
        "service": "größe\n",
        "number": 1,
    }
    assert await anext(parts) == HEARTBEAT
    events.close()
    assert [part async for part in parts] == []
    assert events.readers == set()


async def test_a_client_that_leaves_is_forgotten():
    """Its generator is closed, and with it the reader."""
    events = Events()
    parts = stream(events, after=None, replay=0)
    await anext(parts)
    await parts.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert events.readers == set()


@pytest.mark.parametrize(
    ("headers", "query", "start"),
    [
        ({}, {}, (None, 100)),
        ({}, {"replay": "0"}, (None, 0)),
        ({"last-event-id": "3e8-7"}, {"last_event_id": "3e8-1"}, ("3e8-7", 100)),
        ({}, {"last_event_id": "3e8-1"}, ("3e8-1", 100)),
    ],
)
def test_where_a_stream_begins(headers, query, start):
    """A browser says so by a header, a program may by a parameter."""
    assert parse_start(headers, query) == start


def test_a_replay_is_a_number():
    """Anything else is named."""
    with pytest.raises(BadRequest, match="replay"):
        parse_start({}, {"replay": "all"})
