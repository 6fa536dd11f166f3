"""How many Python calls a request costs when everything is warm. Counted, not timed: the number is the same on every machine.

A call costs about as much as everything that one usually looks for with a profiler; they creep in one by
one, and this is where they are noticed. Raising the budget takes a line in the changelog.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Self

import jwt
import pytest

from lbgateway.policies.jwt_auth import TokenVerifier
from tests.support.playbook import Client, Peer, World, get, ok

CALLS, PER_FIELD, PER_POLICY, FIRST = 30, 1, 2, 5
WARM = 20
SECRET = "a secret of thirty-two bytes or more"
AUTH = "auth: {default: required, jwt: {algorithms: [HS256], secret: '" + SECRET + "'}}\n"
DOUBLES = Path(__file__).parents[1]

REQUEST_FIELDS = ("User-Agent: wrk/4.2", "Accept: */*", "Accept-Encoding: gzip", "X-Trace: abc")
RESPONSE_FIELDS = ("Content-Type: application/json", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Server: svc")


class Calls:
    """Counts calls of Python functions while it is entered; those of the tests' own doubles do not count."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __enter__(self) -> Self:
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and not Path(frame.f_code.co_filename).is_relative_to(DOUBLES):
            self.counted[frame.f_code.co_qualname] += 1

    def __str__(self) -> str:
        return f"{self.counted.total()} calls: {dict(self.counted.most_common())}"


class Lines:
    """Stands in for the access log: takes lines, writes none."""

    def __init__(self) -> None:
        self.taken: list[tuple[Any, ...]] = []

    def append(self, line: tuple[Any, ...]) -> None:
        self.taken.append(line)


def verifier() -> TokenVerifier:
    return TokenVerifier(
        secret=SECRET, algorithms=("HS256",), issuer=None, audience=None, leeway_s=0.0, required_claims=("sub",),
        claims_to_headers={"sub": "X-User-Id"}, count_failure=lambda _reason: None,
    )  # fmt: skip


def warm_world(*, auth: bool = False, access_log: bool = False, repeats: bool = True) -> tuple[World, Client, Peer, tuple[str, ...]]:
    """So many requests have been answered that every memory there is has been filled."""
    world = World(AUTH if auth else "", verifier=verifier() if auth else None, balancer="ewma", orders=1)
    if access_log:
        world.plane.access_log = Lines()  # type: ignore[assignment]  # as much of it as is used on the way
    token = jwt.encode({"sub": "ann"}, SECRET, algorithm="HS256")
    fields = (*REQUEST_FIELDS, *((f"Authorization: Bearer {token}",) if auth else ()))
    client = world.client().sends(get("/api/orders/items?x=0", *fields, "X-Unique: 0"))
    upstream = world.connects().sends(ok(b"{}", *RESPONSE_FIELDS))
    for number in range(WARM):
        unique = () if repeats else (f"X-Unique: {number}",)
        client.sends(get("/api/orders/items?x=1", *fields, *unique))
        upstream.sends(ok(b"{}", *RESPONSE_FIELDS))
    assert client.got().count(b"HTTP/1.1 200 OK") == WARM + 1
    # What is worked out ten times a second belongs to no request.
    world.plane.upstreams["orders"].endpoints.balancer.refresh_at_s = math.inf  # type: ignore[attr-defined]  # it is an Ewma
    upstream.got()
    return world, client, upstream, fields


def spent(client: Client, upstream: Peer, request: bytes, response: bytes) -> Calls:
    """The calls of one exchange, fed as asyncio would: one read on each side."""
    protocol, connection = client.protocol, upstream.transport.protocol
    with Calls() as calls:
        protocol.data_received(request)
        connection.data_received(response)
    answer = client.got()
    assert (answer[:15], answer[-2:]) == (b"HTTP/1.1 200 OK", b"{}")
    assert upstream.got().startswith(b"GET /items?x=")
    return calls


@pytest.mark.parametrize("access_log", [False, True])
@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_warm_get_keeps_to_its_budget(auth, access_log, repeats):
    """30 calls, one for each header field in either direction, two for each policy: whether or not its head repeats itself."""
    world, client, upstream, fields = warm_world(auth=auth, access_log=access_log, repeats=repeats)
    if not repeats:
        fields = (*fields, "X-Unique: 7f83b165")
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    # Host and Content-Length are fields, too.
    budget = CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + PER_POLICY * (auth + access_log)
    assert calls.counted.total() <= budget, f"budget {budget}, {calls}"
    assert world.left == []


def test_a_head_that_repeats_itself_costs_no_call_per_field():
    """However many fields a client sends, again and again; the response has one."""
    world, client, upstream, fields = warm_world()
    many = (*fields, *(f"X-Field-{number}: {number}" for number in range(40)))
    spent(client, upstream, get("/api/orders/items?x=2", *many), ok(b"{}"))
    calls = spent(client, upstream, get("/api/orders/items?x=3", *many), ok(b"{}"))
    assert calls.counted.total() <= CALLS + PER_FIELD, str(calls)
    assert world.left == []


def test_a_new_connection_costs_a_bounded_number_of_calls_more():
    """The first request of a client repeats nothing, and whence it comes has to be written once."""
    world, _, upstream, fields = warm_world()
    client = world.client()
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    assert calls.counted.total() <= CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + FIRST, str(calls)
    assert world.left == []


def test_the_counter_counts():
    """Calls of the gateway count, calls of the tests and of C do not."""

    def ours() -> None:
        len(())
        get()

    with Calls() as calls:
        ours()
        World.turn(World())
    assert calls.counted["DataPlane.__init__"] == 1
    assert not {"get", "World.turn", "len"} & calls.counted.keys()
