"""How the control plane answers: JSON whole or in slices, and every error as the data plane would put it."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from lbgateway import errors, problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

JSON = "application/json"

_BY_STATUS = {
    cls.status: cls for cls in (errors.Unauthenticated, errors.Forbidden, errors.NoRoute, errors.MethodNotAllowed, errors.PayloadTooLarge)
}


def json_response(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content, ensure_ascii=False).encode() + b"\n", status, media_type=JSON)


def state_response(status: int, content: Any) -> Response:
    """JSON of how the gateway is; a 503 says, as every one of ours does, whose it is and when to ask again."""
    response = json_response(content, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        unavailable = problem.problem_headers(errors.Draining(), "")
        response.headers.update({name: value for name, value in unavailable if name in ("Proxy-Status", "Retry-After")})
    return response


async def sliced(slices: Iterable[bytes], media_type: str) -> Response:
    """A whole answer, made slice by slice: the loop may forward requests in between."""
    parts = []
    for part in slices:
        parts.append(part)
        await asyncio.sleep(0)
    return Response(b"".join(parts), media_type=media_type)


def problem_response(error: errors.GatewayError, request_id: str, **more: Any) -> Response:
    """The answer for an error of the gateway's tree; `more` goes into its body (RFC 9457, section 3.2)."""
    response = Response(json.dumps({**problem.problem_dict(error, request_id), **more}), error.status)
    for name, value in problem.problem_headers(error, request_id):
        response.headers.append(name, value)
    return response


def from_http_exception(exception: HTTPException) -> errors.GatewayError:
    """What the framework itself refuses, in the gateway's words."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (exception.headers or {}).items())
    fallback = errors.BadRequest if exception.status_code < 500 else errors.GatewayError
    return _BY_STATUS.get(exception.status_code, fallback)(headers=lines.encode("latin-1"))


def from_validation_error(error: RequestValidationError) -> errors.GatewayError:
    """A parameter of the wrong kind: 400, since that is the gateway's word for what it cannot understand."""
    told = (f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return errors.BadRequest("; ".join(told))


def request_id_of(request: Request) -> str:
    """The id that `envelope` has given."""
    return str(request.state.request_id)
