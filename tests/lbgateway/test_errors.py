"""The tree of errors: what each class promises, over all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lbgateway import errors
from lbgateway.errors import REDIRECTS, GatewayError, Origin, Redirected

# RFC 9209, section 2.3.
PROXY_ERRORS = {
    "proxy_internal_error", "proxy_internal_response", "http_request_error", "http_request_denied", "destination_not_found",
    "destination_unavailable", "connection_refused", "connection_terminated", "connection_timeout", "connection_limit_reached",
    "http_protocol_error", "http_response_timeout",
}  # fmt: skip

CONTRACT = {
    400: {"bad_request"}, 401: {"unauthenticated"}, 403: {"forbidden"}, 404: {"no_route"}, 405: {"method_not_allowed"}, 409: {"ambiguous"},
    408: {"request_timeout"}, 412: {"precondition_failed"}, 413: {"payload_too_large"}, 414: {"uri_too_long"},
    416: {"range_not_satisfiable"}, 429: {"rate_limited"},
    431: {"headers_too_large"}, 499: {"client_gone"},
    502: {"connect_failed", "upstream_closed", "upstream_malformed"},
    503: {"no_endpoint", "breaker_open", "overloaded", "draining", "auth_unavailable"},
    504: {"connect_timeout", "response_timeout"},
}  # fmt: skip


def below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


REAL = [each for each in below(GatewayError) if each.__module__ == errors.__name__]
ANSWERS = [each for each in REAL if not issubclass(each, Redirected)]


def test_the_contracts_table_is_complete():
    """Each status with its slugs, and no slug twice."""
    found: dict[int, set[str]] = {}
    for each in ANSWERS:
        found.setdefault(each.status, set()).add(each.slug)
    assert found == CONTRACT
    assert len({each.slug for each in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("kind", [GatewayError, *REAL], ids=lambda kind: kind.__name__)
def test_each_error_is_a_whole_answer(kind):
    """Status, slug, title, and a word that RFC 9209 knows."""
    error = kind()
    assert (error.detail, str(error)) == (error.title, error.title)
    assert 300 <= error.status < 600
    assert error.slug.replace("_", "").isalpha()
    assert error.proxy_status in PROXY_ERRORS
    assert isinstance(error.origin, Origin)


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_whose_fault_it_is_fits_the_status(kind):
    """4xx is the client's, 5xx is not."""
    assert (kind.origin is Origin.CLIENT) == (kind.status < 500)


def test_only_what_no_upstream_has_seen_may_be_sent_again_without_asking():
    """Whatever the method."""
    assert {each.slug for each in REAL if each.retry_safe} == {"connect_failed", "connect_timeout", "overloaded"}


def test_what_is_for_operators_is_apart_from_what_is_for_clients():
    """A cause may name addresses, a detail may not."""
    error = errors.ConnectFailed("Try again", cause="10.0.0.7:9001 refused", headers=b"A: b\r\n", close=True)
    assert (error.detail, error.cause, error.headers, error.close) == ("Try again", "10.0.0.7:9001 refused", b"A: b\r\n", True)
    assert "10.0.0.7" not in str(error)


def test_a_redirect_has_a_class_for_each_status():
    """As the rendering is prepared once for each class."""
    assert {status: kind.status for status, kind in REDIRECTS.items()} == {each: each for each in (301, 302, 303, 307, 308)}
    assert {kind.slug for kind in REDIRECTS.values()} == {"redirected"}
