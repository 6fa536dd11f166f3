"""Errors as answers: the same problem on both planes, and bytes that a client can always frame."""

import json
from http.client import HTTPResponse
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway import errors
from lbgateway.problem import problem_dict, problem_headers, reason_phrase, render, slug_of


class Wire:
    """A socket that has received these bytes and no more."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self.data)


def read(data: bytes, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    """The answer as the standard library's client understands it."""
    response = HTTPResponse(Wire(data), method=method)
    response.begin()
    return response, response.read()


def lowered(fields: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in fields}


def subclasses(cls: type[errors.GatewayError]) -> list[type[errors.GatewayError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in subclasses(child))]


@pytest.mark.parametrize("cls", subclasses(errors.GatewayError), ids=lambda cls: cls.slug)
def test_every_error_is_a_problem_that_says_who_speaks(cls):
    """Status, slug, title and Proxy-Status are those of the class, on both planes alike."""
    error = cls()

    response, body = read(render(error, b"abc123"))

    assert response.status == cls.status
    assert response.reason
    assert response.getheader("content-type") == "application/problem+json"
    assert response.getheader("proxy-status") == f"lbgateway; error={cls.proxy_status}"
    assert response.getheader("via") == "1.1 lbgateway"
    assert response.getheader("x-request-id") == "abc123"
    assert json.loads(body) == problem_dict(error, "abc123")
    assert json.loads(body)["type"].endswith(cls.slug)
    assert slug_of(body) == slug_of(json.dumps(problem_dict(error, "abc123")).encode()) == cls.slug


@pytest.mark.parametrize("cls", subclasses(errors.GatewayError), ids=lambda cls: cls.slug)
def test_both_planes_send_the_same_fields(cls):
    """The control plane's header fields are those of the data plane, without the framing."""
    error = cls(headers=b"Allow: GET, HEAD\r\n")

    response, _ = read(render(error, b"abc"))

    sent = {name.lower(): value for name, value in response.getheaders()}
    del sent["content-length"]
    assert sent == lowered(problem_headers(error, "abc"))


@given(detail=st.text(), request_id=st.binary(min_size=1).filter(lambda b: not set(b) & set(range(32)) and b.strip() == b))
def test_no_detail_and_no_request_id_can_break_the_frame(detail, request_id):
    """Whatever they hold, the length is right and the body is JSON."""
    response, body = read(render(errors.BadRequest(detail), request_id))

    problem = json.loads(body)
    assert int(response.getheader("content-length")) == len(body)
    assert problem["detail"] == (detail or errors.BadRequest.title)
    assert problem["request_id"] == request_id.decode("latin-1")


def test_an_answer_to_head_has_the_length_but_not_the_body():
    """RFC 9110, section 9.3.2: the same header fields as for GET."""
    whole = render(errors.NoRoute(), b"a")
    head = render(errors.NoRoute(), b"a", head_only=True)

    assert whole.startswith(head)
    assert head.endswith(b"\r\n\r\n")
    assert int(read(head, "HEAD")[0].getheader("content-length")) == len(whole) - len(head)


@pytest.mark.parametrize(
    ("error_closes", "close", "http10", "connection"),
    [
        (False, False, False, None),
        (False, True, False, "close"),
        (True, False, False, "close"),
        (False, False, True, "keep-alive"),
        (False, True, True, "close"),
        (True, False, True, "close"),
    ],
)
def test_the_connection_field_says_what_the_client_would_not_assume(error_closes, close, http10, connection):
    """HTTP/1.1 stays open unless told, HTTP/1.0 the other way round."""
    response, _ = read(render(errors.BadRequest(close=error_closes), b"a", close=close, http10=http10))

    assert response.getheader("connection") == connection
    assert response.version == 11


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (errors.RateLimited(), "1"),
        (errors.NoEndpoint(), "1"),
        (errors.RateLimited(headers=b"Retry-After: 17\r\n"), "17"),
        (errors.NoRoute(), None),
        (errors.ConnectFailed(), None),
    ],
    ids=["429", "503", "own value", "404", "502"],
)
def test_who_may_come_back_is_told_when(error, retry_after):
    """429 and 503 carry Retry-After exactly once; the error's own value wins."""
    response, _ = read(render(error, b"a"))

    assert response.headers.get_all("retry-after") == (retry_after and [retry_after])
    assert lowered(problem_headers(error, "a")).get("retry-after") == retry_after


def test_extra_lines_and_the_date_are_sent_as_they_are():
    """The data plane hands over whole lines, made once a second."""
    error = errors.Unauthenticated(headers=b'WWW-Authenticate: Bearer error="invalid_token"\r\n')

    response, _ = read(render(error, b"a", date=b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))

    assert response.getheader("www-authenticate") == 'Bearer error="invalid_token"'
    assert response.getheader("date") == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_cause_stays_inside():
    """Addresses are for logs and operators only."""
    answer = render(errors.ConnectFailed(cause="connect to 10.0.0.7:9001 refused"), b"a")

    assert b"10.0.0.7" not in answer


@pytest.mark.parametrize("body", [b"", b'{"status": "draining"}', b'{"type": "about:blank"}', b'{"a": "urn:lbgateway:problem:no_route"}'])
def test_what_is_no_problem_has_no_slug(body):
    """Health, pages, and what somebody else calls a problem."""
    assert slug_of(body) is None


def test_a_status_that_nobody_has_named_still_has_a_phrase():
    """A status line needs its third part for old clients."""
    assert reason_phrase(404) == "Not Found"
    assert reason_phrase(499) == "Unknown"
