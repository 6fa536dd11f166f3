"""Answers of the control plane, apart from what they are about."""

import asyncio
import json

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from lbgateway import errors
from lbgateway.controlplane.answers import from_http_exception, from_validation_error, json_response, problem_response, sliced


async def test_others_run_between_two_slices():
    """A long answer is made while the loop goes on."""
    ticks = []

    async def other():
        while True:
            ticks.append(len(ticks))
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    seen = []

    def slices():
        for _ in range(3):
            seen.append(len(ticks))
            yield b"x"

    response = await sliced(slices(), "text/plain")
    task.cancel()

    assert response.body == b"xxx"
    assert response.headers["content-length"] == "3"
    assert seen == sorted(set(seen))


def test_a_problem_carries_every_field_of_its_error():
    """Also where a field comes twice."""
    error = errors.Unauthenticated("no", headers=b"WWW-Authenticate: Bearer\r\nWWW-Authenticate: Basic\r\n")

    response = problem_response(error, "r-1")

    assert response.status_code == 401
    assert response.headers.getlist("www-authenticate") == ["Bearer", "Basic"]
    assert response.headers.getlist("content-type") == ["application/problem+json"]
    assert json.loads(response.body)["request_id"] == "r-1"


@pytest.mark.parametrize(
    ("status", "slug"),
    [
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "no_route"),
        (405, "method_not_allowed"),
        (418, "bad_request"),
        (501, "internal_error"),
    ],
)
def test_the_framework_s_refusals_become_the_gateway_s(status, slug):
    """One vocabulary, whoever says no."""
    assert from_http_exception(HTTPException(status)).slug == slug


def test_allow_survives():
    """405 names the methods that are (RFC 9110, section 15.5.6)."""
    assert from_http_exception(HTTPException(405, headers={"Allow": "GET"})).headers == b"Allow: GET\r\n"


def test_a_parameter_of_the_wrong_kind_is_named():
    """400, with where and what."""
    error = from_validation_error(RequestValidationError([{"loc": ("query", "limit"), "msg": "should be a number", "type": "int"}]))

    assert (error.status, error.detail) == (400, "limit: should be a number")


def test_json_keeps_its_letters():
    """UTF-8, not escapes, and a newline for terminals."""
    response = json_response({"name": "Bücher"}, 503)

    assert response.status_code == 503
    assert response.body == '{"name": "Bücher"}\n'.encode()
