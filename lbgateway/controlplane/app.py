"""The FastAPI application: the gateway's own paths. Everything it shows comes through `GatewayPort`."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response  # noqa: TC002 FastAPI reads the endpoints' annotations

from lbgateway.controlplane import answers, upstreams
from lbgateway.controlplane.admin_auth import AdminAccess, refusal
from lbgateway.controlplane.envelope import Envelope
from lbgateway.controlplane.health import health_of, readiness_of
from lbgateway.errors import GatewayError, NoRoute
from lbgateway.telemetry import exposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.controlplane.port import GatewayPort

READ = ["GET", "HEAD"]


@dataclass(frozen=True, slots=True)
class ControlPlaneSettings:
    """The part of the configuration that is compiled into the application."""

    admin: AdminAccess = field(default_factory=AdminAccess)
    metrics_enabled: bool = True
    metrics_path: str = "/metrics"
    metrics_public: bool = True


def build_app(
    port: GatewayPort,
    settings: ControlPlaneSettings,
    *,
    wall: Callable[[], float] = time.time,
    new_request_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> FastAPI:
    """The application for one configuration; after a reload another one is built.

    ``scope["client"]`` must be the TCP peer: uvicorn's `proxy_headers` has to be off, or a header could
    make anyone a loopback peer. Unknown paths are 404, like every error a problem+json.
    """
    app = FastAPI(title="lbgateway", version=port.version, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    guard = _guard(settings.admin)
    app.include_router(_health_routes(port))
    if settings.metrics_enabled:
        public = settings.metrics_public
        app.include_router(_metrics_routes(port, settings.metrics_path), dependencies=[] if public else [guard])
    app.include_router(_admin_routes(port, lambda: _timestamp(wall())), dependencies=[guard])
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(Envelope, new_request_id=new_request_id)
    return app


def _guard(access: AdminAccess) -> Any:
    async def admin_only(request: Request) -> None:
        authorization = [value for name, value in request.scope["headers"] if name == b"authorization"]
        error = refusal(access, authorization, request.client.host if request.client else None)
        if error is not None:
            raise error

    return Depends(admin_only)


def _health_routes(port: GatewayPort) -> APIRouter:
    router = APIRouter()

    @router.api_route("/health", methods=READ)
    async def health() -> Response:
        status, body = health_of(port)
        return answers.json_response(body, status)

    @router.api_route("/health/live", methods=READ)
    async def live() -> Response:
        return answers.json_response({"status": "live"})

    @router.api_route("/health/ready", methods=READ)
    async def ready() -> Response:
        status, body = readiness_of(port)
        return answers.json_response(body, status)

    return router


def _metrics_routes(port: GatewayPort, path: str) -> APIRouter:
    router = APIRouter()

    @router.api_route(path, methods=READ)
    async def metrics() -> Response:
        return await answers.sliced(exposition.slices(port.metrics()), exposition.CONTENT_TYPE)

    return router


def _admin_routes(port: GatewayPort, now: Callable[[], str]) -> APIRouter:
    router = APIRouter(prefix="/admin")

    @router.api_route("", methods=READ)
    @router.api_route("/", methods=READ)
    async def index() -> Response:
        return answers.json_response({name: f"/admin/{name}" for name in ("upstreams", "routes", "config")})

    @router.api_route("/upstreams", methods=READ)
    async def all_upstreams(request: Request) -> Response:
        query = upstreams.parse_query(request.query_params)
        return await answers.sliced(upstreams.upstreams(port, query, now()), answers.JSON)

    @router.api_route("/upstreams/{service}", methods=READ)
    async def one_upstream(service: str, request: Request) -> Response:
        slices = upstreams.upstream(port, service, upstreams.parse_query(request.query_params), now())
        if slices is None:
            raise _unknown(port, service)
        return await answers.sliced(slices, answers.JSON)

    @router.api_route("/upstreams/{service}/explain", methods=READ)
    async def explain(service: str) -> Response:
        explained = port.explain(service)
        if explained is None:
            raise _unknown(port, service)
        return answers.json_response({**upstreams.envelope(port, now()), **explained})

    @router.api_route("/routes", methods=READ)
    async def routes() -> Response:
        return answers.json_response({"generated_at": now(), "routes": port.routes(), "unexposed": upstreams.unexposed(port)})

    @router.api_route("/config", methods=READ)
    async def config() -> Response:
        return answers.json_response(port.config())

    return router


def _unknown(port: GatewayPort, service: str) -> NoRoute:
    if service in port.unexposed():
        return NoRoute(upstreams.how_to_expose(service))
    return NoRoute(f'There is no service "{service}".')


def _timestamp(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return answers.problem_response(error, answers.request_id_of(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answers.problem_response(answers.from_http_exception(error), answers.request_id_of(request))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answers.problem_response(answers.from_validation_error(error), answers.request_id_of(request))
