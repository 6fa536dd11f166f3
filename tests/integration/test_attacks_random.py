"""Requests that nobody thought of: random targets and header values, as far as HTTP allows their bytes, over real sockets.

Every one has an answer, none of 500 or more, and what reaches the service is what a careful reader would let through: on a path
that lies below its route in every reading, by somebody who has said who it is where that is asked for.
"""

from __future__ import annotations

import collections
import json
import posixpath
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.support.live_gateway import LiveGateway
from tests.support.tokens import SECRET, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo
from tests.support.wire import Message, Wire


def route(name: str, prefix: str, **more: Any) -> dict[str, Any]:
    """One that tells the service its name."""
    return {"prefix": prefix, "service": "orders", "request_headers": {"set": {"X-Route": name}}, **more}


APP = b"https://app.example"
CONFIG: dict[str, Any] = {
    "server": {"trusted_proxies": ["127.0.0.0/8"]},
    "auth": {"default": "required", "options_public": False, "jwt": {"secret": SECRET, "cookie": "access_token"}},
    "cors": {"allow_origins": [APP.decode()], "allow_origin_regex": r"https://[a-z]+\.shop\.example", "allow_credentials": True},
    "rate_limit": {"default": {"requests": 1_000_000, "per": "1s", "key": "client"}},
    "routes": [
        {**route("api", "/api/{service}", strip_prefix=True), "service": None},
        route("open", "/open", auth="none", strip_prefix=True, add_prefix="/public"),
        route("kept", "/kept", auth="optional"),
        route("vault", "/vault", scopes=["nobody:has"]),
        route("inside", "/open/inside", scopes=["nobody:has"]),
        route("below", "/kept/a/b", scopes=["nobody:has"], strip_prefix=True),
    ],
}
LEADS = {"api": (b"/api/orders", b""), "open": (b"/open", b"/public"), "kept": (b"/kept", b"/kept")}
"""The routes on which anybody may get through -> the prefix of a request, and that of what the service gets."""
CLOSED = (b"/vault", b"/open/inside", b"/kept/a/b")
GOOD, STALE = (token("HS256", SECRET, **claims).encode() for claims in ({}, {"exp": 1}))

# -- what is sent --------------------------------------------------------------------------------

VISIBLE = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))


def made_of(alphabet: bytes, size: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=size).map(lambda raw: bytes(alphabet[byte % len(alphabet)] for byte in raw))


def joined(*parts: bytes, most: int = 6) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(parts), max_size=most).map(b"".join)


STARTS = [
    b"/api/orders", b"/api/orders", b"/open", b"/open", b"/kept", b"/kept", b"/vault", b"/open/inside", b"/kept/a/b", b"/admin",
    b"/", b"", b"*", b"http://a", b"https://a/open",
]  # fmt: skip
PIECES = (
    b"/", b"//", b"/.", b"/..", b"/../", b"/%2e%2e", b"/.%2E/", b"%2f", b"%2F..", b"\\", b"%5c..", b";", b";x=1", b"/..;", b"/;", b"%3b",
    b"%3B/", b"%00", b"%0d%0a", b"%", b"%zz", b"%25", b"%252e", b"%c0%ae", b"%ef%bc%8e", b"?", b"?a=/../", b"#", b"/a", b"/b", b"/inside",
    b"/vault", b"/kept", b"/open", b"/api", b"/orders", b"inside", b"%69nside", b"Inside", b".", b"..", b"\xff", b"\xc0\xae",
)  # fmt: skip
PLAIN = (
    b"/", b"//", b"/.", b"/../", b"/%2e%2e/", b";x", b"%3B", b"/..;", b"/;/", b"%252e", b"?/..;", b"/a", b"/b", b"/inside",
    b"/%69nside", b"/vault", b"/kept", b"/open",
)  # fmt: skip
"""Those that may get through."""
rests = st.one_of(joined(*PLAIN, most=3), joined(*PLAIN), joined(*PIECES), made_of(VISIBLE, 12))
targets = st.tuples(st.sampled_from(STARTS), rests).map(b"".join).filter(bool)

WORDS = (
    b"Bearer ", b"bearer", b"Basic ", GOOD, GOOD, STALE, GOOD[:-3], b".", b",", b", ", b";", b"; ", b"=", b'"', b"access_token=",
    b"Access_Token=", b"\xff", b"%20",
)  # fmt: skip
ADDRESSES = (
    b"1.1.1.1", b"203.0.113.9", b"127.0.0.1", b", ", b",", b":", b"[::1]", b"::ffff:1.2.3.4", b"fe80::1%eth0", b"unknown", b"for=",
    b';proto="', b"_x", b"\xfe",
)  # fmt: skip
ORIGINS = (APP, APP, b"null", b"https://a.shop.example", b"https://", b".evil", b"@", b", ", b" ", b"\t", b"*", b"%00", b"\xff")


def value(*parts: bytes) -> st.SearchStrategy[bytes]:
    """A field's value (RFC 9110, 5.5): visible bytes, blanks and tabs between them; or nothing."""
    return st.one_of(joined(*parts, most=4), joined(*parts, most=4), made_of(VISIBLE + b" \t", 20)).map(lambda raw: raw.strip(b" \t"))


FIELDS = {
    b"Authorization": st.one_of(st.just(b"Bearer " + GOOD), value(*WORDS)),
    b"Cookie": st.one_of(st.just(b"a=b; access_token=" + GOOD), value(*WORDS)),
    b"Origin": value(*ORIGINS),
    b"X-Forwarded-For": value(*ADDRESSES),
    b"X-Forwarded-Proto": value(b"http", b"https", b"HTTPS", *ADDRESSES),
    b"X-Forwarded-Host": value(b"shop.example", b":443", *ADDRESSES),
    b"X-Forwarded-Port": value(b"443", b"-1", *ADDRESSES),
    b"Forwarded": value(*ADDRESSES),
    b"X-Request-Id": value(b"a", b"-", b"\xff"),
    b"X-User-Id": value(b"root"),
    b"X_Route": value(b"kept"),
    b"X-Route": value(b"kept"),
    b"Access-Control-Request-Method": value(b"GET", b"DELETE", b",", b"\xff"),
    b"Access-Control-Request-Headers": value(b"x-a", b",", b"\xff", b":"),
    b"Connection": st.sampled_from([b"keep-alive", b"Authorization", b"X-User-Id, X-Route", b"Cookie, Origin", b"X-Forwarded-For"]),
}


@dataclass(frozen=True)
class Request:
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    def render(self) -> bytes:
        lines = b"".join(b"%b: %b\r\n" % one for one in self.fields)
        return b"%b %b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n%b\r\n" % (self.method, self.target, lines)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


def named(name: bytes) -> st.SearchStrategy[tuple[bytes, bytes]]:
    return FIELDS[name].map(lambda value: (name, value))


def twice(name: bytes) -> st.SearchStrategy[tuple[tuple[bytes, bytes], ...]]:
    """The same field two times: which of them counts?"""
    return st.tuples(named(name), st.one_of(named(name), st.just((name, b"")))).flatmap(st.permutations).map(tuple)


fields = st.lists(st.sampled_from([*FIELDS, b"Authorization", b"Authorization", b"Cookie", b"Origin"]).flatmap(named), max_size=5).map(
    tuple
)
methods = st.sampled_from([b"GET", b"GET", b"GET", b"POST", b"DELETE", b"OPTIONS", b"BREW"])
preflights = st.builds(Request, st.just(b"OPTIONS"), targets, st.tuples(named(b"Origin"), named(b"Access-Control-Request-Method")))
doubled = st.builds(Request, methods, targets, st.sampled_from([b"Authorization", b"Cookie", b"Origin", b"X-Forwarded-For"]).flatmap(twice))
requests = st.one_of(*[st.builds(Request, methods, targets, fields)] * 8, doubled, doubled, preflights)

# -- what may become of it -----------------------------------------------------------------------


def readings(path: bytes) -> set[bytes]:
    """A path as services may read it: escapes resolved, backslashes taken for slashes or not, with parameters and without."""
    raw = unquote_to_bytes(path)
    return {
        posixpath.normpath(re.sub(rb"//+", b"/", without))
        for slashes in (raw, raw.replace(b"\\", b"/"))
        for without in (slashes, re.sub(rb";[^/]*", b"", slashes))
    }


def below(path: bytes, prefix: bytes) -> bool:
    return path == prefix or path.startswith(prefix.rstrip(b"/") + b"/")


def who(request: Request) -> bytes | None:
    """The one good credential that a request has; None for one without any, and b"" for any other."""
    given = request.all(b"Authorization")
    given += [
        b"bearer " + found for cookie in request.all(b"Cookie") for found in re.findall(rb"(?:^|;)[ \t]*access_token=([^;]*)", cookie)
    ]
    if not given:
        return None
    found = re.fullmatch(rb"(?i:bearer) +([^ ]+)", given[0].strip())
    return found[1] if len(given) == 1 and found is not None and found[1] == GOOD else b""


def check_arrival(request: Request, seen: dict[str, Any]) -> str:
    """The route that has led `request` to the service, if it may have."""
    told: dict[str, list[str]] = collections.defaultdict(list)
    for name, text in seen["headers"]:
        told[re.sub(r"[^a-z0-9]", "-", name.lower())].append(text)
    [name] = told["x-route"]
    prefix, onwards = LEADS[name]
    asked = re.sub(rb"^https?://[^/?]*", b"", request.target, flags=re.IGNORECASE).partition(b"?")[0] or b"/"
    assert all(below(path, prefix) and not any(below(path, closed) for closed in CLOSED) for path in readings(asked))
    got, _, _ = seen["target"].encode("latin-1").partition(b"?")
    assert got.startswith(b"/")
    assert all(below(path, onwards or b"/") for path in readings(got))
    assert {path[len(prefix) :].strip(b"/") for path in readings(asked)} == {path[len(onwards) :].strip(b"/") for path in readings(got)}

    credential = who(request)
    assert credential == GOOD or (name == "kept" and credential is None) or name == "open"
    assert told["x-user-id"] == (["ann"] if credential == GOOD and name != "open" else [])
    assert [chain.rpartition(",")[2].strip() for chain in told["x-forwarded-for"]] == ["127.0.0.1"]
    return name


def check_origin(request: Request, answer: Message) -> None:
    """Nobody may read it but a page that is allowed."""
    granted = answer.all("Access-Control-Allow-Origin")
    if granted:
        assert [origin.decode("latin-1") for origin in request.all(b"Origin")] == granted
        assert re.fullmatch(r"https://app\.example|https://[a-z]+\.shop\.example", granted[0])


class Story:
    """One client that goes on after whatever it was told, on a new connection if it has to."""

    def __init__(self, gateway: LiveGateway, service: UpstreamServer) -> None:
        self.gateway, self.service = gateway, service
        self.client: Wire | None = None
        self.outcomes: collections.Counter[object] = collections.Counter()

    def play(self, request: Request) -> None:
        before = len(self.service.requests)
        client = self.client = self.client or self.gateway.connect()
        answer = client.send(request.render()).message()
        arrived = self.service.requests[before:]

        assert 200 <= answer.status < 500
        self.outcomes[answer.status] += 1
        check_origin(request, answer)
        assert len(arrived) == (
            answer.get("Content-Type") == "application/json" and answer.get("Proxy-Status") is None and b'"target"' in answer.body
        )
        if arrived:
            self.outcomes[check_arrival(request, json.loads(answer.body))] += 1
        if answer.get("Connection") == "close":
            assert client.ended()
            self.drop()

    def drop(self) -> None:
        """The next request goes over a connection of its own."""
        if self.client is not None:
            self.client.close()
            self.client = None


@pytest.fixture
def story() -> Iterator[Story]:
    with ExitStack() as stack:
        service = stack.enter_context(UpstreamThread(echo))
        gateway = stack.enter_context(LiveGateway(CONFIG, orders=[service.port]))
        yield Story(gateway, service)
        gateway.disconnect_all()
        gateway.assert_settled()


def test_every_request_has_an_answer_and_nothing_leaves_its_route(story: Story) -> None:
    """Whatever is in it; several in a row on one connection, so that what is remembered of heads and paths is in play."""

    @hypothesis.settings(max_examples=hypothesis.settings.get_profile("lbgateway").max_examples * 20)
    @hypothesis.given(st.lists(requests, min_size=1, max_size=6))
    def play(sent: list[Request]) -> None:
        story.drop()
        for request in sent:
            story.play(request)

    play()
    assert story.outcomes.keys() >= {200, 204, 400, 401, 403, 404, *LEADS}, story.outcomes
