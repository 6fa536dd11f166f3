"""How many Python calls a request costs when everything is warm. Counted, not timed: the number is the same on every machine.

A call costs about as much as everything that one usually looks for with a profiler; they creep in one by
one, and this is where they are noticed. Raising the budget takes a line in the changelog.
"""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Self

import jwt
import pytest

from lbgateway.dataplane.recorder import BURST
from lbgateway.dataplane.request_ids import IDS, draw
from lbgateway.dataplane.trace import Tracing
from lbgateway.policies.identity import Identity
from lbgateway.policies.memory import digest_of
from lbgateway.policies.security_headers import SecurityHeaders
from lbgateway.ratelimit.limiter import Limits
from tests.lbgateway.ratelimit.test_shared_limit import HandStore
from tests.support.playbook import Client, Peer, World, get, ok

CALLS, PER_FIELD, PER_POLICY, FIRST = 25, 1, 2, 5
TRACED, RECORDED = 13, 24
WARM = 20
SECRET = "a secret of thirty-two bytes or more"
AUTH = "auth: {default: required, jwt: {algorithms: [HS256], required_claims: [sub], secret: '" + SECRET + "'}}\n"
LIMIT = "rate_limit: {default: {requests: 100000, key: %s}}\n"
HEDGE = "services: {orders: {hedge: {after: 10s}}}\n"
CORS = "cors: {allow_origins: ['https://app.example']}\n"
DOUBLES = Path(__file__).parents[1]

REQUEST_FIELDS = ("User-Agent: wrk/4.2", "Accept: */*", "Accept-Encoding: gzip", "X-Trace: abc")
RESPONSE_FIELDS = ("Content-Type: application/json", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "Server: svc")


class Calls:
    """Counts calls of Python functions while it is entered; those of the tests' own doubles do not count.

    Nor do those of what earlier tests have left behind: it is not collected meanwhile.
    """

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def __enter__(self) -> Self:
        gc.disable()
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

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


def warm_world(
    *,
    auth: bool = False,
    access_log: bool = False,
    browsers: bool = False,
    repeats: bool = True,
    limit: str = "",
    hedge: bool = False,
    limits: Limits | None = None,
) -> tuple[World, Client, Peer, tuple[str, ...]]:
    """So many requests have been answered that every memory there is has been filled."""
    text = (AUTH if auth else "") + (CORS if browsers else "") + (LIMIT % limit if limit else "") + HEDGE * hedge
    world = World(text, balancer="ewma", limits=limits, orders=1)
    world.hurries = False
    if browsers:
        world.plane.security = SecurityHeaders({})
    if access_log:
        world.plane.access_log = Lines()  # type: ignore[assignment]  # as much of it as is used on the way
    token = jwt.encode({"sub": "ann"}, SECRET, algorithm="HS256")
    fields = (*REQUEST_FIELDS, *[f"Authorization: Bearer {token}"] * auth, *["Origin: https://app.example"] * browsers)
    return (world, *warmed(world, fields, repeats=repeats), fields)


def warmed(world: World, fields: tuple[str, ...], *, repeats: bool) -> tuple[Client, Peer]:
    """A client that has asked often, and the instance that has answered."""
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
    return client, upstream


def spent(client: Client, upstream: Peer, request: bytes, response: bytes) -> Calls:
    """The calls of one exchange, fed as asyncio would: one read on each side."""
    protocol, connection = client.protocol, upstream.transport.protocol
    IDS.append(draw())  # one request in 512 draws for the others
    with Calls() as calls:
        protocol.data_received(request)
        connection.data_received(response)
    answer = client.got()
    assert (answer[:15], answer[-2:]) == (b"HTTP/1.1 200 OK", b"{}")
    assert upstream.got().startswith(b"GET /items?x=")
    return calls


@pytest.mark.parametrize("browsers", [False, True])
@pytest.mark.parametrize("access_log", [False, True])
@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_warm_get_keeps_to_its_budget(auth, access_log, browsers, repeats):
    """25 calls, one for each header field in either direction, two for each policy: whether or not its head repeats itself."""
    world, client, upstream, fields = warm_world(auth=auth, access_log=access_log, browsers=browsers, repeats=repeats)
    if not repeats:
        fields = (*fields, "X-Unique: 7f83b165")
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    # Host and Content-Length are fields, too.
    budget = CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + PER_POLICY * (auth + access_log + 2 * browsers)
    assert calls.counted.total() <= budget, f"budget {budget}, {calls}"
    assert world.left == []


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("limit", ["client", "subject", "header:X-Trace", "claim:sub", "route"])
def test_a_limit_costs_no_more_than_another_policy(limit, shared):
    """Whoever it counts, and with whom: its own call, and that of its key."""
    limits = Limits("shared", HandStore(late=True)) if shared else None  # type: ignore[arg-type]  # as much of a store as is used
    world, client, upstream, fields = warm_world(auth=True, limit=limit, limits=limits)
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    budget = CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + PER_POLICY * 2
    assert calls.counted.total() <= budget, f"budget {budget}, {calls}"
    assert calls.counted["SharedLimit.admit" if shared else "RateLimit.admit"] == 1
    assert world.left == []


KNOWN = Identity({"sub": "ann", "scope": "a b"}, b"X-User-Id: ann\r\n", math.inf)
JWT = "jwt: {algorithms: [HS256], required_claims: [sub], secret: '" + SECRET + "'}"
STORE, ASKED = "session: {store: 'redis://127.0.0.1:1'}", "introspection: {service: auth}"


@pytest.mark.parametrize("scopes", ["", ", scopes: [a, b]"])
@pytest.mark.parametrize(
    ("checks", "policies"),
    [((JWT,), 1), ((ASKED,), 1), ((STORE,), 1), ((JWT, STORE), 2), ((JWT, ASKED), 2), ((ASKED, STORE), 2), ((JWT, ASKED, STORE), 3)],
)
@pytest.mark.parametrize("repeats", [True, False])
def test_each_check_of_a_credential_keeps_to_its_two_calls(checks, policies, scopes, repeats):
    """What is known is in memory: a token, what others say of it, a session by cookie or claim, the scopes of a route."""
    routes = f"routes: [{{prefix: '/api/{{service}}', strip_prefix: true{scopes}}}]\nservices: {{auth: {{instances: ['127.0.0.1:1']}}}}\n"
    world = World(f"auth: {{default: required, {', '.join(checks)}}}\n{routes}", balancer="ewma", orders=1)
    token = jwt.encode({"sub": "ann", "scope": "a b", "sid": "abc"}, SECRET, algorithm="HS256")
    remember(world, token)
    fields = (*REQUEST_FIELDS, f"Authorization: Bearer {token}", "Cookie: a=1; sid=abc")
    client, upstream = warmed(world, fields, repeats=repeats)
    if not repeats:
        fields = (*fields, "X-Unique: 7f83b165")
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    budget = CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + PER_POLICY * (policies + bool(scopes))
    assert calls.counted.total() <= budget, f"budget {budget}, {calls}"
    assert sum(n for name, n in calls.counted.items() if name in CHECKING) <= PER_POLICY * (policies + bool(scopes)), str(calls)
    assert world.left == []


CHECKING = (
    "JwtAuth.required", "SessionAuth._judge", "SessionAuth.confirm", "TokenConfirmed.confirm",
    "RequiredScopes.__call__", "only_cookie", "credential_of", "bearer_token", "needs_none", "digest_of",
)  # fmt: skip


def remember(world: World, token: str) -> None:
    """Whoever is asked about credentials has answered."""
    checks = world.prepared.checks
    assert checks is not None
    for check in (checks.token, checks.confirmation, checks.session):
        authority = getattr(check, "authority", None) or getattr(check, "verifier", None)
        for credential in (token, "abc"):
            if authority is not None:
                authority.remembered.remember(digest_of(credential.encode()), KNOWN)


def test_a_service_that_is_hedged_costs_no_more_than_another_policy():
    """Whoever waits is noted down; there is no timer for each."""
    world, client, upstream, fields = warm_world(hedge=True)
    calls = spent(client, upstream, get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS))
    budget = CALLS + PER_FIELD * (len(fields) + 1 + len(RESPONSE_FIELDS) + 1) + PER_POLICY
    assert calls.counted.total() <= budget, f"budget {budget}, {calls}"
    assert [call for call in calls.counted if call.startswith("Hedging")] == ["Hedging.watch"]
    assert (world.left, len(world.loop.timers)) == ([], 1)


@pytest.mark.parametrize(("sample", "more"), [(0.0, TRACED), (1.0, RECORDED)])
def test_a_trace_costs_a_bounded_number_of_calls_more(sample, more):
    """One that is passed on, and one that is recorded; without tracing there is none of them."""
    world, client, upstream, fields = warm_world()
    request, response = get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS)
    spent(client, upstream, request, response)
    before = spent(client, upstream, request, response)
    recorded: list[Any] = []
    world.plane.tracing = Tracing(sample, recorded.append)
    spent(client, upstream, request, response)
    calls = spent(client, upstream, request, response)
    assert calls.counted.total() <= before.counted.total() + more, str(calls)
    assert not any(call.startswith("Trac") for call in before.counted)
    assert len(recorded) == (2 if sample else 0)


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
    assert calls.counted["Authentication.__init__"] == 1
    assert not {"get", "World.turn", "len"} & calls.counted.keys()


def test_picks_that_are_recorded_do_not_burden_those_that_are_not():
    """The recording pick removes itself when its allowance is spent: then a warm GET costs to the call what it did."""
    world, client, upstream, fields = warm_world()
    request, response = get("/api/orders/items?x=2", *fields), ok(b"{}", *RESPONSE_FIELDS)
    spent(client, upstream, request, response)
    before = spent(client, upstream, request, response).counted.total()
    for _ in range(BURST):
        world.plane.upstreams["orders"].recorder.tick()
    during = [spent(client, upstream, request, response).counted.total() for _ in range(BURST)]
    assert min(during) > before
    assert spent(client, upstream, request, response).counted.total() == before
