"""What a page of another origin may try to read answers with its visitor's cookies: one row, one idea. The tables grow, they never shrink.

Every request goes over a real socket to a gateway that lets the pages of a few origins in. A row names the origin that the
answer names; None: the answer says nothing of origins but ``Vary``. None may end in 500. A page that may not read an answer
gets it all the same, it is its browser that keeps it; only preflights never reach a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.live_gateway import LiveGateway
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo
from tests.support.wire import Message

APP, SHOP = "https://app.example", "https://berlin.shop.example"
CONFIG: dict[str, Any] = {
    "auth": {"default": "none", "options_public": False, "jwt": {"secret": "0123456789abcdef0123456789abcdef"}},
    "admin": {"token": "the-admin-token"},
    "cors": {
        "allow_origins": [APP, "http://localhost:5173"],
        "allow_origin_regex": r"https://[a-z]+\.shop\.example|https://shop\.test",
        "allow_credentials": True,
        "expose_headers": ["X-Total"],
    },
    "routes": [
        {"prefix": "/api/{service}", "strip_prefix": True},
        {"prefix": "/anybody", "service": "orders", "cors": {"allow_origins": ["*"], "allow_credentials": False}},
        {"prefix": "/careless", "service": "orders", "cors": {"allow_origin_regex": ".*", "allow_credentials": False}},
        {"prefix": "/listed", "service": "orders", "methods": ["GET"], "cors": {"allow_methods": ["GET"], "allow_headers": ["X-A"]}},
        {"prefix": "/members", "service": "orders", "auth": "required"},
    ],
}
ASKS = {
    "answer": ("GET /api/orders/x", 200),
    "preflight": ("OPTIONS /members", 204),
    "refusal": ("GET /members", 401),
    "no route": ("GET /nowhere", 404),
}
"""How a page may ask: the request, and the status of its answer, whoever asks."""


@pytest.fixture(scope="module")
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(service: UpstreamServer) -> Iterator[LiveGateway]:
    with LiveGateway(CONFIG, orders=[service.port]) as made:
        yield made
        made.disconnect_all()
        made.assert_settled()


def request(start: str, *lines: str) -> bytes:
    return "\r\n".join((f"{start} HTTP/1.1", "Host: shop.example", *lines, "", "")).encode("latin-1")


def said_of_origins(answer: Message) -> dict[str, str]:
    """Every ``Access-Control-*`` field, each there once."""
    found = [(name.lower(), value) for name, value in answer.fields if name.lower().startswith("access-control-")]
    assert len(dict(found)) == len(found)
    return dict(found)


@dataclass(frozen=True)
class Page:
    """What a page, or who pretends to be one, says of its origin."""

    idea: str
    lines: tuple[str, ...]
    granted: str | None = None


def page(idea: str, *origins: str, granted: str | None = None) -> Page:
    return Page(idea, tuple(f"Origin: {origin}" for origin in origins), granted)


PAGES = [
    page("one that is allowed, so that the table proves something", APP, granted=APP),
    page("one with a port that is allowed", "http://localhost:5173", granted="http://localhost:5173"),
    page("one that the pattern allows", SHOP, granted=SHOP),
    page("one that the end of the pattern allows", "https://shop.test", granted="https://shop.test"),
    page("nobody's: a page in a sandbox, a file, a redirect", "null"),
    page("nobody's in capitals", "NULL"),
    page("a file", "file://"),
    page("empty", ""),
    page("everybody", "*"),
    page("one that begins like it", f"{APP}.evil"),
    page("one that begins like it, without a dot", f"{APP}evil.example"),
    page("one that ends like it", "https://evilapp.example"),
    page("a domain below it", "https://evil.app.example"),
    page("the domain above it", "https://example"),
    page("a letter for its dot", "https://appxexample"),
    page("another scheme", "http://app.example"),
    page("a scheme that begins like it", "httpsx://app.example"),
    page("no scheme", "app.example"),
    page("another port", f"{APP}:8443"),
    page("its own port, as no browser says it", f"{APP}:443"),
    page("a port that begins like it", "http://localhost:51730"),
    page("no port where there is one", "http://localhost"),
    page("another name of the same machine", "http://127.0.0.1:5173"),
    page("capitals", "https://APP.example"),
    page("a scheme in capitals", "HTTPS://app.example"),
    page("a dot at the end", f"{APP}."),
    page("a slash at the end", f"{APP}/"),
    page("a path", f"{APP}/x"),
    page("it as a user", f"{APP}@evil.example"),
    page("it as a user's password", "https://a:app.example@evil.example"),
    page("it in a path", f"https://evil.example/{APP}"),
    page("it in a query", f"https://evil.example?{APP}"),
    page("it in a fragment", f"https://evil.example#{APP}"),
    page("a backslash behind it", f"{APP}\\.evil.example"),
    page("an escaped end", f"{APP}%00.evil.example"),
    page("an escaped line", f"{APP}%0d%0aX-Evil: 1"),
    page("escaped letters", "https://%61pp.example"),
    page("a letter that looks like it", "https://xn--pp-7kc.example"),
    page("bytes above ASCII", f"{APP}\xff"),
    page("a tab in it", "https://app\t.example"),
    page("in quotes", f'"{APP}"'),
    page("a list with it first", f"{APP}, https://evil.example"),
    page("a list with it last", f"https://evil.example, {APP}"),
    page("a list as of redirects", f"{APP} https://evil.example"),
    page("two fields, both of them allowed", APP, APP),
    page("two fields, the good one first", APP, "https://evil.example"),
    page("two fields, the good one last", "https://evil.example", APP),
    page("two fields, an empty one first", "", APP),
    page("two fields, an empty one last", APP, ""),
    page("three fields", "", "", APP),
    Page("two fields in other letters", (f"Origin: {APP}", "ORIGIN: https://evil.example")),
    Page("what others say beside it", ("Origin: https://evil.example", f"X-Origin: {APP}", f"Referer: {APP}/", "Host-Origin: x")),
    Page("underscores beside it", ("Origin: https://evil.example", f"O_rigin: {APP}", f"X_Origin: {APP}")),
    Page("a forwarded host like it", ("Origin: https://evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")),
    Page("Connection takes it away", ("Connection: Origin", "Origin: https://evil.example")),
    Page("with cookies", ("Origin: https://evil.example", "Cookie: sid=1")),
    Page("with a token", ("Origin: https://evil.example", "Authorization: Basic YTpi")),
    page("pattern: nothing where its letters are", "https://.shop.example"),
    page("pattern: the domain above it", "https://shop.example"),
    page("pattern: two labels for one", "https://a.b.shop.example"),
    page("pattern: more behind it", f"{SHOP}.evil.example"),
    page("pattern: more before it", f"https://evil.example/{SHOP}"),
    page("pattern: more behind its last branch", "https://shop.test.evil.example"),
    page("pattern: more before its last branch", "xhttps://shop.test"),
    page("pattern: its dot is a dot", "https://berlinxshop.example"),
    page("pattern: a line behind it", f"{SHOP}%0a"),
    page("pattern: capitals", "https://BERLIN.shop.example"),
    page("pattern: a port", f"{SHOP}:444"),
    page("pattern: very long", f"https://{'a' * 8000}.shop.example.evil"),
]


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("row", PAGES, ids=lambda row: row.idea)
def test_a_page_reads_only_if_its_origin_is_allowed(gateway: LiveGateway, service: UpstreamServer, row: Page, ask: str, warm: bool) -> None:
    """Whatever is asked, and behind a request of an allowed page on the same connection: what is remembered is nobody else's."""
    start, status = ASKS[ask]
    with gateway.connect() as client:
        if warm:
            assert said_of_origins(client.get("/api/orders/warm", f"Origin: {APP}").message())["access-control-allow-origin"] == APP
        before = len(service.requests)
        client.send(request(start, "Access-Control-Request-Method: DELETE", *row.lines))
        answer = client.message()
    assert (answer.status, len(service.requests) - before) == (status, status == 200)
    assert "Origin" in [name.strip() for value in answer.all("Vary") for name in value.split(",")]
    if row.granted is None:
        assert said_of_origins(answer) == {}
        return
    said = said_of_origins(answer)
    assert (said["access-control-allow-origin"], said["access-control-allow-credentials"]) == (row.granted, "true")
    assert said.get("access-control-allow-methods") == ("DELETE" if ask == "preflight" else None)


@dataclass(frozen=True)
class Ask:
    """`said`: all fields of the answer that speak of origins, or only those that are named where `whole` is false."""

    idea: str
    start: str
    lines: tuple[str, ...]
    status: int = 204
    said: dict[str, str] = field(default_factory=dict)
    whole: bool = False


METHOD, NAMES = "Access-Control-Request-Method: ", "Access-Control-Request-Headers: "
MINE = f"Origin: {APP}"
NO_METHOD = {"access-control-allow-origin": APP, "access-control-allow-methods": ""}
NO_NAMES = {
    "access-control-allow-origin": APP,
    "access-control-allow-credentials": "true",
    "access-control-allow-methods": "GET",
    "access-control-max-age": "600",
}
EVERYBODY = {"access-control-allow-origin": "*", "access-control-expose-headers": "X-Total"}


def preflight(idea: str, *lines: str, path: str = "/api/orders/x", status: int = 204, **more: Any) -> Ask:
    return Ask(f"preflight: {idea}", f"OPTIONS {path}", lines, status, **more)


def careless(idea: str, *origins: str, said: dict[str, str] | None = None) -> Ask:
    """Where a pattern allows whatever there is."""
    return Ask(f"careless: {idea}", "GET /careless", tuple(f"Origin: {origin}" for origin in origins), 200, said or {}, whole=not said)


REQUESTS = [
    preflight("a good one, so that the table proves something", MINE, METHOD + "GET", said=NO_NAMES, whole=True),
    preflight("a method that nobody knows is the service's business", MINE, METHOD + "BREW", said={"access-control-allow-methods": "BREW"}),
    preflight("a method that the route does not take", MINE, METHOD + "BREW", path="/listed", status=405),
    preflight("its method in small letters", MINE, METHOD + "get", path="/listed", status=405),
    preflight("a list of methods", MINE, METHOD + "GET, DELETE", said=NO_METHOD),
    preflight("a list of methods where the route has its own", MINE, METHOD + "GET, DELETE", path="/listed", status=405),
    preflight("bytes that are no method", MINE, METHOD + "\xff\xfe", said=NO_METHOD),
    preflight("a tab in the method", MINE, METHOD + "GET\tX", said=NO_METHOD),
    preflight("two methods in two fields are no preflight", MINE, METHOD + "GET", METHOD + "GET", path="/members", status=401),
    preflight("no method is none", MINE, path="/members", status=401),
    preflight("an empty method is none", MINE, METHOD, path="/members", status=401),
    preflight("no origin is none", METHOD + "GET", path="/members", status=401, whole=True),
    preflight("an override", MINE, METHOD + "GET", "X-HTTP-Method-Override: DELETE", said=NO_NAMES, whole=True),
    preflight("names that are none", MINE, METHOD + "GET", NAMES + "a b\xff: x", said=NO_NAMES, whole=True),
    preflight("names that are none in a second field", MINE, METHOD + "GET", NAMES + "x-a", NAMES + ";", said=NO_NAMES, whole=True),
    preflight(
        "names that a route has not", MINE, METHOD + "GET", NAMES + "x-b", path="/listed", said={"access-control-allow-headers": "X-A"}
    ),
    preflight("a private network", MINE, METHOD + "GET", "Access-Control-Request-Private-Network: true", said=NO_NAMES, whole=True),
    preflight("with a token", MINE, METHOD + "GET", "Authorization: Bearer x", path="/members", said=NO_NAMES, whole=True),
    preflight("a path with two readings", MINE, METHOD + "GET", path="/api/orders%2f..%2f..%2fmembers", status=400),
    preflight("of the inside", MINE, METHOD + "GET", path="/admin/config", status=405, whole=True),
    preflight(
        "of the inside, where one would send a token", MINE, METHOD + "POST", NAMES + "authorization", path="//admin/config", status=405
    ),
    Ask(
        "the inside tells no page, also one with the token",
        "GET /admin/config",
        (MINE, "Authorization: Bearer the-admin-token"),
        200,
        whole=True,
    ),
    Ask("the inside tells no page anything", "GET /admin/config", (MINE,), 401, whole=True),
    Ask("all may read, with cookies nobody", "GET /anybody", ("Origin: https://evil.example", "Cookie: a=b"), 200, EVERYBODY, whole=True),
    Ask("all may read, also two at once", "GET /anybody", (MINE, MINE), 200, EVERYBODY, whole=True),
    Ask("all may read, also nobody's pages", "GET /anybody", ("Origin: null",), 200, EVERYBODY, whole=True),
    careless("a pattern for all is for all", "https://evil.example", said={"access-control-allow-origin": "https://evil.example"}),
    careless("but two origins are none", APP, "https://evil.example"),
    careless("nor is nothing", ""),
    careless("nor are bytes that are none", "https://app.example\xff"),
    careless("nor are several words", "https://evil.example https://app.example"),
    careless("nor a tab", "https://evil\t.example"),
    Ask("a control character in it", "GET /careless", ("Origin: https://app.example\x00",), 400),
    Ask("a bare line end in it", "GET /careless", ("Origin: https://app.example\nX-Evil: 1",), 400),
    Ask("a folded line", "GET /careless", (MINE, " .evil.example"), 400),
    Ask("a blank before its colon", "GET /careless", (f"Origin : {APP}",), 400),
]


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.idea)
def test_what_is_said_of_origins_is_what_was_configured(gateway: LiveGateway, service: UpstreamServer, row: Ask) -> None:
    """Nothing that a client makes up comes back unless it is what it should be; only what is answered with 200 asks a service."""
    before = len(service.requests)
    with gateway.connect() as client:
        client.send(request(row.start, *row.lines))
        answer = client.message()
    asked_service = row.status == 200 and "/admin" not in row.start
    assert (answer.status, len(service.requests) - before) == (row.status, asked_service)
    assert answer.head.isascii()
    assert b"\0" not in answer.head
    said = said_of_origins(answer)
    assert said == row.said if row.whole else row.said.items() <= said.items()


def test_the_tables_are_long_and_tell_their_rows_apart() -> None:
    """Each idea once."""
    assert len({row.idea for row in PAGES}) == len(PAGES) >= 60
    assert len({row.idea for row in REQUESTS}) == len(REQUESTS) >= 30
