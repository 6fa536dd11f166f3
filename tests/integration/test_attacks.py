"""What an attacker may try, and the safe outcome of each: one row, one idea. The table grows, it never shrinks.

Every request goes over a real socket through a gateway to a service that tells what it got. A row names the status, and
where the request gets through, what the service must have seen. None may end in 500, and what is refused never reaches
the service. Addresses, origins and keys that tokens bring along have
tables of their own: `test_attacks_addresses`, `test_attacks_origins`, `test_attacks_keys`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.live_gateway import LiveGateway
from tests.support.tokens import OTHER, SECRET, forged, jwk_of, part, pem_of, private_key, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

PEM = pem_of(private_key("RS256"))
CONFIG: dict[str, Any] = {
    "auth": {
        "default": "required",
        "jwt": {
            "algorithms": ["HS256", "RS256"],
            "secret": SECRET,
            "public_key": PEM,
            "issuer": "us",
            "audience": ["shop"],
            "required_claims": ["exp", "sub"],
            "cookie": "access_token",
        },
        "forward_claims": {"tenant": "X_Tenant", "admin": "X-Admin"},
        "public_paths": {"exact": ["/api/orders/open"], "prefixes": ["/api/orders/public"]},
    },
    "admin": {"token": "the-admin-token", "allow_loopback": False},
    "routes": [
        {"prefix": "/api/{service}", "strip_prefix": True},
        {"prefix": "/secret", "service": "orders", "scopes": ["orders:write"]},
        {"prefix": "/anyone", "service": "orders", "auth": "optional"},
        {"prefix": "/anyone/inside", "service": "orders"},
    ],
}
CLAIMS = {"iss": "us", "aud": "shop", "sub": "ann", "scope": "orders:read"}
HEAD = {"alg": "HS256", "typ": "JWT"}
SIGNED = {**CLAIMS, "exp": 4_000_000_000}
NOBODY: dict[str, list[str]] = {"x-user-id": [], "x-user-scope": [], "x-tenant": [], "x-admin": []}
ANN = {**NOBODY, "x-user-id": ["ann"], "x-user-scope": ["orders:read"]}


def good(**claims: Any) -> str:
    return token("HS256", **{**CLAIMS, **claims})


def bearer(raw: str) -> str:
    return f"Authorization: Bearer {raw}"


GOOD, STALE = good(), good(exp=1)


@dataclass(frozen=True)
class Row:
    """One attack. `seen`: names as CGI reads them -> the values that the service may have got."""

    idea: str
    lines: tuple[str, ...] = ()
    status: int = 401
    path: str = "/api/orders/x"
    method: str = "GET"
    target: str | None = None
    seen: dict[str, list[str]] | None = None

    def request(self) -> bytes:
        return "\r\n".join((f"{self.method} {self.path} HTTP/1.1", "Host: shop.example", *self.lines, "", "")).encode("latin-1")


def tok(idea: str, raw: str, status: int = 401, **more: Any) -> Row:
    return Row(f"token: {idea}", (bearer(raw),), status, **more)


def swapped(raw: str, index: int, value: Any) -> str:
    """A token with one part replaced, its signature kept."""
    parts = raw.split(".")
    parts[index] = value if isinstance(value, str) else part(value)
    return ".".join(parts)


def own_key(**head: Any) -> str:
    """Signed by the attacker's own key, which the head recommends."""
    return token("RS256", private_key("RS256", "b"), head=head, **CLAIMS)


TOKENS = [
    tok("a good one, so that the table proves something", GOOD, 200, seen=ANN),
    tok("a good one by the key pair", token("RS256", **CLAIMS), 200, seen=ANN),
    Row("token: none at all"),
    tok("alg none, no signature", f"{part({'alg': 'none'})}.{part(SIGNED)}."),
    tok("alg none, a signature nevertheless", forged({"alg": "none"}, SIGNED)),
    tok("alg None in other letters", forged({"alg": "nOnE"}, SIGNED)),
    tok("alg empty", forged({"alg": ""}, SIGNED)),
    tok("alg missing", forged({"typ": "JWT"}, SIGNED)),
    tok("alg a list", forged({"alg": ["HS256"]}, SIGNED)),
    tok("alg twice, the good one last", forged(b'{"alg":"none","alg":"HS256"}', SIGNED)),
    tok("an algorithm of the same secret that is not configured", token("HS512", SECRET, **CLAIMS)),
    tok("an algorithm of the same key that is not configured", token("PS256", private_key("RS256"), **CLAIMS)),
    tok("HMAC by the public key", forged(HEAD, SIGNED, PEM)),
    tok("HMAC by the public key without its last newline", forged(HEAD, SIGNED, PEM.strip())),
    tok("HMAC by an empty secret", forged(HEAD, SIGNED, "")),
    tok("HMAC by another secret", token(key=OTHER, **CLAIMS)),
    tok("RS256 in the head, HMAC in the signature", forged({"alg": "RS256"}, SIGNED)),
    tok("by somebody else's key", token("RS256", private_key("RS256", "b"), **CLAIMS)),
    tok("by a key that it brings along (jwk)", own_key(jwk=jwk_of(private_key("RS256", "b")))),
    tok("kid a path", own_key(kid="../../dev/null")),
    tok("kid an injection", own_key(kid="' or '1'='1")),
    tok("kid a number", forged({**HEAD, "kid": 7}, SIGNED)),
    tok("kid without end", forged({**HEAD, "kid": "x" * 5_000}, SIGNED)),
    tok("crit that nobody knows", forged({**HEAD, "crit": ["x"], "x": 1}, SIGNED)),
    tok("crit empty", forged({**HEAD, "crit": []}, SIGNED)),
    tok("unencoded payload (b64 false)", forged({**HEAD, "b64": False, "crit": ["b64"]}, SIGNED)),
    tok("the claims of another", swapped(GOOD, 1, {**SIGNED, "sub": "root"})),
    tok("the signature cut off", swapped(GOOD, 2, "")),
    tok("the signature of another token", swapped(GOOD, 2, good(sub="bob").split(".")[2])),
    tok("the signature shortened", GOOD[:-2]),
    tok("a padded signature", GOOD + "="),
    tok("one part too many", GOOD + ".x"),
    tok("five parts, as if encrypted", f"{GOOD}.x.y"),
    tok("two parts", GOOD.rpartition(".")[0]),
    tok("over for long", STALE),
    tok("without an end", good(exp=None)),
    tok("its end as a text", forged(HEAD, {**SIGNED, "exp": "4000000000"})),
    tok("its end as true", forged(HEAD, {**SIGNED, "exp": True})),
    tok("its end infinite", forged(HEAD, json.dumps(SIGNED).replace("4000000000", "Infinity").encode())),
    tok("its end beyond all numbers", forged(HEAD, json.dumps(SIGNED).replace("4000000000", "9" * 4_000).encode()), 200, seen=ANN),
    tok("its end twice", forged(HEAD, json.dumps(SIGNED).replace('"exp"', '"exp":1,"exp"').encode())),
    tok("not yet valid", good(nbf=4_000_000_000)),
    tok("from the future", good(iat=4_000_000_000)),
    tok("another issuer", good(iss="them")),
    tok("the issuer in a list", forged(HEAD, {**SIGNED, "iss": ["us"]})),
    tok("for somebody else", good(aud="bank")),
    tok("for nobody", good(aud=[])),
    tok("without a subject", good(sub=None)),
    tok("a subject that is a number", forged(HEAD, {**SIGNED, "sub": 0})),
    tok("claims that are a list", forged(HEAD, [SIGNED])),
    tok("claims that nest without end", forged(HEAD, b'{"a":' * 2_000)),
    tok("a head that nests without end", forged(b"[" * 8_000, SIGNED)),
    tok("too long to be one", forged(HEAD, {**SIGNED, "pad": "x" * 20_000})),
    tok("not base64", "!!!.???.***"),
    tok("bytes above ASCII", "\xff\xfe.\xff.\xff"),
    tok("a word", "admin"),
    Row("token: another scheme", (f"Authorization: Basic {GOOD}",)),
    Row("token: another scheme of the same length", (f"Authorization: Digest {GOOD}",)),
    Row("token: no scheme", (f"Authorization: {GOOD}",)),
    Row("token: a scheme and nothing", ("Authorization: Bearer",)),
    Row("token: an empty field", ("Authorization:",)),
    Row("token: two in one field", (f"Authorization: Bearer {GOOD}, Bearer {GOOD}",)),
    Row("token: two fields", (bearer(GOOD), bearer(GOOD))),
    Row("token: two fields, a bad one first", (bearer(STALE), bearer(GOOD))),
    Row("token: two fields in other letters", (bearer(GOOD), f"AUTHORIZATION: Bearer {STALE}")),
    Row("token: in a cookie, so that the next rows prove something", (f"Cookie: access_token={GOOD}",), 200, seen=ANN),
    Row("token: header and cookie", (bearer(GOOD), f"Cookie: access_token={GOOD}")),
    Row("token: another scheme and a cookie", ("Authorization: Basic YTpi", f"Cookie: access_token={GOOD}")),
    Row("token: two cookies", (f"Cookie: access_token={STALE}; access_token={GOOD}",)),
    Row("token: two cookie fields", (f"Cookie: access_token={GOOD}", f"Cookie: access_token={STALE}")),
    Row("token: a cookie of nearly that name", (f"Cookie: Access_Token={GOOD}",)),
    Row("token: in the query", path=f"/api/orders/x?access_token={GOOD}"),
    Row("token: in another header", (f"X-Access-Token: {GOOD}", f"Proxy-Authorization: Bearer {GOOD}")),
    tok("a scope that is missing", good(scope="orders:read"), 403, path="/secret"),
    tok("a scope that begins like it", good(scope="orders:writeall"), 403, path="/secret"),
    tok("a scope in other letters", good(scope="ORDERS:WRITE"), 403, path="/secret"),
    tok("no scope at all", good(scope=None), 403, path="/secret"),
    tok("the scope in a map", good(scope={"orders:write": True}), 403, path="/secret"),
    tok("a bad token where none is needed", STALE, path="/anyone"),
    Row("token: none where none is needed", status=200, path="/anyone", seen=NOBODY),
]

PATHS = [
    Row("path: a stale token on a public path does no harm", (bearer(STALE),), 200, "/api/orders/open", seen=NOBODY),
    Row("path: nobody is known on a public path", (bearer(GOOD),), 200, "/api/orders/public/x", seen=NOBODY),
    Row("path: out of a public prefix", path="/api/orders/public/../x"),
    Row("path: out of a public prefix, escaped", path="/api/orders/public/%2e%2e/x"),
    Row("path: out of a public prefix, half escaped", path="/api/orders/public/.%2E/x"),
    Row("path: out of a public prefix by an escaped slash", status=400, path="/api/orders/public%2f..%2fx"),
    Row("path: out of a public prefix by a backslash", status=400, path="/api/orders/public/..\\x"),
    Row("path: out of a public prefix by an escaped backslash", status=400, path="/api/orders/public/..%5cx"),
    Row("path: out of a public prefix with parameters", status=400, path="/api/orders/public/..;/x"),
    Row("path: out of a public prefix with escaped parameters", status=400, path="/api/orders/public/..%3b/x"),
    Row("path: dots escaped twice", (), 200, "/api/orders/public/%252e%252e/x", target="/public/%252e%252e/x", seen=NOBODY),
    Row("path: like a public prefix", path="/api/orders/publicity"),
    Row("path: like a public path", path="/api/orders/open/"),
    Row("path: like a public path with parameters", status=400, path="/api/orders/open;x"),
    Row("path: like a public path with escaped parameters", status=400, path="/api/orders/open%3bx"),
    Row("path: parameters that decide nothing", (), 200, "/api/orders/public/a;v=1/b", target="/public/a;v=1/b", seen=NOBODY),
    Row("path: past a guarded route by parameters", status=400, path="/anyone/inside;x/y"),
    Row("path: past a guarded route by escaped parameters", status=400, path="/anyone/inside%3b/y"),
    Row("path: past a guarded route by a segment of parameters", status=400, path="/anyone/;x/inside/y"),
    Row("path: past a guarded route by parameters and dots", status=400, path="/anyone/;x/../inside;/y"),
    Row("path: like the gateway's own with parameters", status=400, path="/admin;x/config"),
    Row("path: like the gateway's own with escaped parameters", status=400, path="/health%3bx"),
    Row("path: like the gateway's own behind a segment of parameters", status=400, path="/;x/metrics"),
    Row("path: a service's name with parameters", (bearer(GOOD),), 404, "/api/orders;x/y"),
    Row("path: a public path in other letters", path="/api/orders/OPEN"),
    Row("path: a public path in the query", path="/api/orders/x?/api/orders/open"),
    Row("path: a public path as the host of an absolute target", path="http://a/api/orders/x?/api/orders/open"),
    Row("path: a public path, doubled slashes", (), 200, "//api//orders//open", target="/open", seen=NOBODY),
    Row("path: a public path, escaped", (), 200, "/api/orders/%6fpen", target="/open", seen=NOBODY),
    Row("path: NUL ends it", status=400, path="/api/orders/x%00/api/orders/open"),
    Row("path: a raw control character", status=400, path="/api/orders/open\x01"),
    Row("path: a line of its own", status=400, path="/api/orders/open%0d%0aX-Admin:1"),
    Row("path: overlong dots", status=400, path="/api/orders/public/%c0%ae%c0%ae/x"),
    Row("path: an overlong slash", status=400, path="/api/orders/public%c0%afx"),
    Row("path: full-width dots stay what they are", (), 200, "/api/orders/public/%ef%bc%8e%ef%bc%8e/x", seen=NOBODY),
    Row("path: out of the root", status=400, path="/../api/orders/open"),
    Row("path: a fragment", status=400, path="/api/orders/x#/api/orders/open"),
    Row("path: a broken escape", status=400, path="/api/orders/open%"),
    Row("path: scoped route by dots", (bearer(GOOD),), 403, "/api/../secret"),
    Row("path: scoped route by doubled slashes", (bearer(GOOD),), 403, "//secret//x"),
    Row("path: scoped route by escapes", (bearer(GOOD),), 403, "/%73ecret"),
    *(
        Row(f"path: another in {name}", (f"{name}: /secret",), 200, "/api/orders/open", seen={"x-original-url": [], "x-rewrite-url": []})
        for name in ("X-Original-URL", "X-Rewrite-URL", "x_original_url", "X.Rewrite_Url")
    ),
    Row("path: admin by dots", (bearer(GOOD),), 403, "/api/orders/../../admin/config"),
    Row("path: admin by doubled slashes", (bearer(GOOD),), 403, "//admin/config"),
    Row("path: admin by escapes", (bearer(GOOD),), 403, "/%61dmin/config"),
    Row("path: admin in other letters is no route", (bearer(GOOD),), 404, "/Admin/config"),
    Row("path: authority form", (bearer(GOOD),), 400, "shop.example:443"),
    Row("path: asterisk with GET", (bearer(GOOD),), 400, "*"),
    Row("method: OPTIONS needs no token, and tells nobody who asks", (bearer(GOOD),), 200, method="OPTIONS", seen=NOBODY),
    Row("method: OPTIONS in other letters is no method", (), 400, method="Options"),
    Row("method: overridden", ("X-HTTP-Method-Override: OPTIONS",), 401),
    Row("method: CONNECT", (bearer(GOOD),), 405, method="CONNECT", path="shop.example:443"),
    Row("method: TRACE", (bearer(GOOD),), 405, method="TRACE"),
]


def spoof(name: str) -> Row:
    return Row(f"header: {name!r} from a client", (bearer(GOOD), f"{name}: root"), 200, seen=ANN)


TOLD = {"x-tenant": ["a"], "x-admin": ["true"]}

HEADERS = [
    *map(spoof, ("X-User-Id", "x-user-id", "X_User_Id", "X-User_Id", "X.User.Id", "X~User!Id", "x-user-scope", "X-USER_SCOPE")),
    *map(spoof, ("X_Tenant", "X-Tenant", "x.tenant", "X-Admin", "x_admin")),
    Row("header: a claim's name with a space behind it", (bearer(GOOD), "X-User-Id : root"), 400),
    Row("header: a claim's name with a space before it", (bearer(GOOD), " X-User-Id: root"), 400),
    Row("header: a claim's name with a tab behind it", (bearer(GOOD), "X-User-Id\t: root"), 400),
    Row("header: a claim's name behind a bare CR", (bearer(GOOD), "X-A: b\rX-User-Id: root"), 400),
    Row("header: a claim's name behind a bare LF", (bearer(GOOD), "X-A: b\nX-User-Id: root"), 400),
    Row("header: a folded line", (bearer(GOOD), "X-A: b", " X-User-Id: root"), 400),
    Row("header: Connection takes a claim away", (bearer(GOOD), "Connection: X-User-Id, X-User-Scope"), 200, seen=ANN),
    Row("header: Connection takes the token away", (bearer(GOOD), "Connection: Authorization"), 200, seen=ANN),
    Row("header: twice", (bearer(GOOD), "X-User-Id: root", "X-User-Id: ann"), 200, seen=ANN),
    Row("header: on a public path", ("X-User-Id: root",), 200, "/api/orders/open", seen=NOBODY),
    Row("header: where no token is needed", ("X-User-Id: root", "X_Tenant: a"), 200, "/anyone", seen=NOBODY),
    Row("header: with OPTIONS", ("X-User-Id: root",), 200, method="OPTIONS", seen=NOBODY),
    tok("header: a claim that begins a line", good(tenant="a\r\nX-Admin: 1"), 200, seen=ANN),
    tok("header: a claim that nearly is another", good(tenant=" root "), 200, seen=ANN),
    tok("header: a claim that is a map", good(admin={"yes": 1}), 200, seen=ANN),
    tok("header: a claim with a direction mark", good(tenant="\u202eroot"), 200, seen=ANN),
    tok("header: claims, so that these rows prove something", good(tenant="a", admin=True), 200, seen={**ANN, **TOLD}),
]

PEER = {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"]}

ADDRESSES = [
    Row("address: nobody is local by a header", ("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"), 401, "/admin/config"),
    Row("address: nor by Forwarded", ("Forwarded: for=127.0.0.1",), 401, "/admin/config"),
    Row("address: the admin token in the query", (), 401, "/admin/config?token=the-admin-token"),
    Row("address: a token without the admin scope", (bearer(GOOD),), 403, "/admin/config"),
    Row("address: two tokens for admin", (bearer(good(scope="admin")), bearer(GOOD)), 401, "/admin/config"),
    Row("address: a stale token with the admin scope", (bearer(good(scope="admin", exp=1)),), 401, "/admin/config"),
    Row("address: what a client says of itself is replaced", (bearer(GOOD), "X-Forwarded-For: 10.0.0.1"), 200, seen=PEER),
    Row("address: also with underscores", (bearer(GOOD), "X_Forwarded_For: 10.0.0.1"), 200, seen=PEER),
    Row("address: and what it says of its scheme", (bearer(GOOD), "X-Forwarded-Proto: https"), 200, seen=PEER),
    Row("address: X-Real-IP goes", (bearer(GOOD), "X-Real-IP: 10.0.0.1"), 200, seen={"x-real-ip": []}),
    Row("address: Forwarded goes", (bearer(GOOD), "Forwarded: for=10.0.0.1"), 200, seen={"forwarded": []}),
    Row("address: a request id of a client's own", (bearer(GOOD), "X-Request-Id: forged", "X_Request_Id: forged"), 200, seen=ANN),
]

TABLE = [*TOKENS, *PATHS, *HEADERS, *ADDRESSES]


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


def as_cgi(name: str) -> str:
    """How an upstream that puts fields into variables reads a name."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.idea)
def test_an_attack_has_a_safe_outcome(gateway: LiveGateway, service: UpstreamServer, row: Row, warm: bool) -> None:
    """Once and again on a connection that a good request has used: what the gateway remembers changes nothing."""
    with gateway.connect() as client:
        if warm:
            assert client.get("/api/orders/warm", bearer(GOOD)).message().status == 200
        before = len(service.requests)
        client.send(row.request())
        answer = client.message()
        arrived = service.requests[before:]
    assert answer.status == row.status
    if row.status != 200:
        assert answer.get("Content-Type") == "application/problem+json"
        assert (answer.get("WWW-Authenticate") == 'Bearer error="invalid_token"') is (row.status == 401)
        assert arrived == []
        return
    [got] = arrived
    assert row.target is None or got.target == row.target
    for name, values in (row.seen or {}).items():
        assert [value for key, value in got.headers if as_cgi(key) == name] == values
    assert "forged" not in str(got.headers)


def test_the_table_is_long_and_tells_its_rows_apart() -> None:
    """Each idea once."""
    assert len({row.idea for row in TABLE}) == len(TABLE) >= 140
