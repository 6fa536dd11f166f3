"""What an operator reads in the head of an answer, and who else reads nothing of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.dataplane.explanation import MAX_LETTERS, _item
from lbgateway.dataplane.trace import Tracing
from lbgateway.explaining import MayExplain
from lbgateway.telemetry.span_records import TraceRecord
from tests.support.playbook import World, get, ok, request

ASK = "X-Gateway-Explain: Bearer admin-token"
MEMBER = re.compile(
    rb'X-Gateway-Explain: [a-z]+(; [a-z]+=("([ !#-\[\]-~]|\\["\\])*"|\?[01]|-?[0-9]{1,15}|-?[0-9]{1,12}\.[0-9]{1,3}))*',
)
"""A token with parameters, as RFC 9651 has them."""


def explaining(text: str = "", **services: int) -> World:
    world = World(text, **services)
    world.plane.may_explain = MayExplain(AdminAccess(token="admin-token"), secluded=False)
    return world


def explained(message: bytes) -> list[str]:
    """The lines of an explanation without their times; each is a structured field."""
    head = message.partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-gateway-explain")]
    assert all(MEMBER.fullmatch(line) for line in lines), lines
    assert (b"\r\nCache-Control: no-store" in head) is bool(lines)
    return [re.sub(r"; ms=[0-9.]+", "", line.decode().partition(": ")[2]) for line in lines]


def test_an_operator_reads_what_was_decided():
    """The route, the service, whom the balancer chose and why, what came of it, and who answered. The instance hears nothing of it."""
    world = explaining(orders=2)
    client = world.client().sends(get("/api/orders/1", ASK))
    upstream = world.connects()
    assert b"explain" not in upstream.got().lower()
    upstream.sends(ok(b"fine", "X-Gateway-Explain: forged"))
    answer = client.got()
    assert answer.endswith(b"fine")
    assert explained(answer) == [
        'route; label="/api/{service}"; source="built-in"; auth="none"',
        'service; name="orders"; balancer="round_robin"; breaker="closed"; ready=2; panic=?0',
        'pick; instance="orders-1"; of=2; reason="next in turn"; candidates="orders-1 active=0 cost=0, orders-2 active=0 cost=0"',
        'attempt; instance="orders-1"; status=200',
        'answer; status=200; by="service"',
    ]
    assert world.left == []


def test_each_attempt_is_told():
    """Why the first one was not enough, and that the second choice was another one."""
    world = explaining(orders=2)
    client = world.client().sends(get("/api/orders/1", ASK))
    world.connect.fails()
    world.connects().sends(ok())
    _, _, *tries, answer = explained(client.got())
    assert [line.partition(";")[0] for line in tries] == ["pick", "pick", "attempt", "attempt"]
    assert 'reason="another attempt, on another instance' in tries[1]
    assert tries[2:] == [
        'attempt; instance="orders-1"; outcome="failed_local"; error="connect_failed"',
        'attempt; instance="orders-2"; status=200',
    ]
    assert answer == 'answer; status=200; by="service"'


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("/nowhere", ['answer; status=404; by="gateway"; error="no_route"']),
        (
            "/api/orders/1",
            [
                'route; label="/api/{service}"; source="built-in"; auth="none"',
                'service; name="orders"; balancer="round_robin"; breaker="closed"; ready=0; panic=?0',
                'pick; reason="no instance can be used"',
                'answer; status=503; by="gateway"; error="no_endpoint"',
            ],
        ),
    ],
)
def test_what_the_gateway_answers_itself_is_explained(path: str, lines: list[str]):
    """As far as the request came."""
    world = explaining(orders=0)
    assert explained(world.client().sends(get(path, ASK)).got()) == lines


def test_every_request_asks_for_itself():
    """Also where a head repeats itself: the next one without the field is answered as ever."""
    world = explaining(orders=1)
    client = world.client().sends(get("/api/orders/1", ASK))
    upstream = world.connects().sends(ok())
    assert explained(client.got())
    for asks, count in ((True, 5), (True, 5), (False, 0), (True, 5), (False, 0)):
        client.sends(get("/api/orders/1", *[ASK] * asks))
        upstream.sends(ok())
        assert len(explained(client.got())) == count


@pytest.mark.parametrize("asks", ["X-Gateway-Explain: 1", "X-Gateway-Explain: Bearer wrong", "X_Gateway_Explain: Bearer admin-token"])
@pytest.mark.parametrize("trusted", [False, True])
def test_nobody_else_is_answered_or_heard(asks: str, trusted: bool):
    """The answer is that of a request without the field, and the field goes no further, whoever sends it and however it is spelt."""
    world = explaining(orders=1)
    client = world.client(trusted=trusted).sends(get("/api/orders/1", asks))
    upstream = world.connects()
    assert b"explain" not in upstream.got().lower()
    upstream.sends(ok())
    assert explained(client.got()) == []


def test_a_trusted_proxy_does_not_pass_the_token_on():
    """What else it says is appended to; this field ends here."""
    world = explaining(orders=1)
    world.client(trusted=True).sends(get("/api/orders/1", ASK, "X-Forwarded-For: 203.0.113.9"))
    message = world.connects().got()
    assert b"X-Forwarded-For: 203.0.113.9, 192.0.2.7" in message
    assert b"admin-token" not in message


def test_a_service_cannot_explain_in_our_name():
    """Its field of that name does not pass, asked or not."""
    world = explaining(orders=1)
    client = world.client().sends(get("/api/orders/1"))
    world.connects().sends(ok(b"", "X-Gateway-Explain: route"))
    assert b"Explain" not in client.got()


def test_what_is_traced_can_be_explained_and_the_other_way_round():
    """One changes nothing of the other: what is not recorded is not exported for having been explained."""
    world, records = explaining(orders=1), list[TraceRecord]()
    for sample in (0.0, 1.0):
        world.plane.tracing = Tracing(sample, records.append)
        client = world.client().sends(get("/api/orders/1", ASK))
        upstream = world.connects() if world.asked else world.upstreams[0]
        assert upstream.got().count(b"traceparent: ") == 1
        upstream.sends(ok())
        assert len(explained(client.got())) == 5
    assert [len(record.attempts) for record in records] == [1]


def test_a_preflight_is_explained_too():
    """It is the gateway's own answer."""
    world = explaining("cors: {allow_origins: ['https://app.example']}\n", orders=1)
    asked = request("OPTIONS", "/api/orders/", "Origin: https://app.example", "Access-Control-Request-Method: GET", ASK)
    assert explained(world.client().sends(asked).got())[-1] == 'answer; status=204; by="gateway"'


@pytest.mark.parametrize(
    ("value", "item"),
    [
        (True, "?1"),
        (3, "3"),
        (1.5, "1.500"),
        ("a b", '"a b"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("ä\r\n", '"???"'),
        ("x" * 999, f'"{"x" * MAX_LETTERS}"'),
    ],
)
def test_values_are_structured_fields(value: object, item: str):
    """No name can end a string, a line or the head."""
    assert _item(value) == item


@given(st.text())
def test_no_text_breaks_out_of_its_string(text: str):
    """Whatever a registry calls an instance."""
    assert MEMBER.fullmatch(f"X-Gateway-Explain: pick; instance={_item(text)}".encode())
