"""CORS: what preflights and answers say, by tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.config.edge import CorsSettings
from lbgateway.policies.cors import REMEMBERED_ORIGINS, Cors, asked_headers, asked_method

APP = b"https://app.example"


def cors(**changes: Any) -> Cors:
    return Cors(CorsSettings.model_validate({"allow_origins": [APP.decode()], **changes}))


def fields(lines: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.decode().split("\r\n")[:-1])


def flat(*given: tuple[bytes, bytes]) -> list[bytes]:
    return [b"", *(part for name, value in given for part in (name, b": ", value, b"\r\n"))]


def preflight(rules: Cors, *given: tuple[bytes, bytes], origin: bytes = APP, method: bytes = b"DELETE") -> dict[str, str]:
    answer = rules.preflight(origin, method, flat(*given)).render(b"id")
    head = answer.decode().split("\r\n\r\n")[0].split("\r\n")
    assert head[0] == "HTTP/1.1 204 No Content"
    return {name: value for name, value in (line.split(": ", 1) for line in head[1:]) if name.startswith(("Access", "Vary"))}


@pytest.mark.parametrize(
    "origin",
    [
        None,
        b"",
        b"null",
        b"\x00",
        b"https://app.example.evil.example",
        b"https://evil.example/https://app.example",
        b"http://app.example",
        b"https://app.example:8443",
        b"https://APP.example",
        b"https://app.example ",
        b"https://app.example, https://evil.example",
    ],
)
def test_who_is_not_allowed_is_granted_nothing(origin):
    """An origin is one string, compared whole; caches learn that it matters."""
    assert fields(cors().lines(origin)) == {"Vary": "Origin"}
    assert preflight(cors(), origin=origin or b"") == {
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_an_allowed_origin_is_named():
    """With what the page may read beside the usual fields, and whether cookies count."""
    rules = cors(allow_credentials=True, expose_headers=["X-Total", "X-Page"])

    assert fields(rules.lines(APP)) == {
        "Access-Control-Allow-Origin": "https://app.example",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Total, X-Page",
        "Vary": "Origin",
    }


def test_everybody_may_read_without_credentials():
    """Then the answer is the same for all, and no cache has to tell them apart."""
    rules = cors(allow_origins=["*"])

    assert fields(rules.lines(b"https://anywhere.example")) == fields(rules.lines(None)) == {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://a.shop.example", True),
        (b"https://shop.example", False),
        (b"https://a.shop.example.evil.example", False),
        (b"https://evil.example#https://a.shop.example", False),
        (b"https://a.shop.example\n", False),
    ],
)
def test_a_pattern_must_match_the_whole_origin(origin, allowed):
    """Anchored on both sides, without the operator having to think of it."""
    rules = cors(allow_origin_regex=r"https://[a-z]+\.shop\.example")

    assert ("Access-Control-Allow-Origin" in fields(rules.lines(origin))) is allowed
    assert ("Access-Control-Allow-Origin" in preflight(rules, origin=origin)) is allowed


@pytest.mark.parametrize(
    "origin",
    [b"", b"\x00", b" ", b"https://app.example, null", b"https://app\t.example", b"https://app.example\xff", b"https://" + b"a" * 300],
)
def test_a_pattern_for_all_allows_no_more_than_origins(origin):
    """What is no single word is nobody's origin, and comes back in no answer."""
    rules = cors(allow_origin_regex="(?s).*")

    assert fields(rules.lines(b"https://anybody.example"))["Access-Control-Allow-Origin"] == "https://anybody.example"
    assert fields(rules.lines(origin)) == {"Vary": "Origin"}
    assert "Access-Control-Allow-Origin" not in preflight(rules, origin=origin)


def test_origins_that_clients_make_up_cost_bounded_memory():
    """A pattern lets through more than anybody can count."""
    rules = cors(allow_origin_regex=r"https://[a-z0-9]+\.example")
    for number in range(REMEMBERED_ORIGINS + 50):
        assert rules.lines(b"https://a%d.example" % number)
        rules.lines(b"https://no.%d" % number)

    assert len(rules._answers) <= REMEMBERED_ORIGINS


def test_a_preflight_is_answered_with_what_was_asked_where_all_is_allowed():
    """``*`` would not cover Authorization, and means itself where credentials count."""
    answer = preflight(cors(allow_credentials=True), (b"access-control-request-headers", b"authorization, x-thing"))

    assert answer == {
        "Access-Control-Allow-Origin": "https://app.example",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "DELETE",
        "Access-Control-Allow-Headers": "authorization, x-thing",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_preflight_is_answered_with_the_lists_where_there_are_lists():
    """The browser compares."""
    rules = cors(allow_methods=["GET", "PUT"], allow_headers=["X-One", "X-Two"], max_age="5s")
    answer = preflight(rules, (b"Access-Control-Request-Headers", b"x-three"))

    assert (answer["Access-Control-Allow-Methods"], answer["Access-Control-Allow-Headers"]) == ("GET, PUT", "X-One, X-Two")
    assert answer["Access-Control-Max-Age"] == "5"


@pytest.mark.parametrize("names", [b"a b", b"a,,b", b"x: y", b"a\xff", b"", b"a;b"])
def test_only_names_are_repeated(names):
    """Nothing that a client sends gets into an answer unless it is what it should be."""
    assert "Access-Control-Allow-Headers" not in preflight(cors(), (b"Access-Control-Request-Headers", names))


def test_what_a_preflight_asks_for():
    """One method, and names in one or several fields."""
    headers = b"access-control-request-headers"
    lines = flat((b"Access-Control-Request-METHOD", b" PUT "), (headers, b"a"), (headers.title(), b"b,c"))

    assert (asked_method(lines), asked_headers(lines)) == (b"PUT", b"a, b,c")
    assert asked_method(flat((b"Access-Control-Request-Method", b"PUT"), (b"Access-Control-Request-Method", b"GET"))) == b""
    assert asked_method(flat((b"X", b"y"))) == b""


def exchange(origin: bytes | None, preflight: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(preflight=preflight, answer_lines=b"", head=SimpleNamespace(origin=origin, lines=flat()))


def test_the_policy_answers_preflights_and_dresses_the_rest():
    """The first time and, from memory, the second."""
    rules = cors()
    assert rules.admit(exchange(APP, b"GET")) is not None
    for _ in range(2):
        for origin in (APP, None, b"https://evil.example"):
            asked = exchange(origin)
            assert rules.admit(asked) is None
            assert asked.answer_lines == rules.lines(origin)
