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

from lbgateway.controlplane import answers, operations, page, upstreams
from lbgateway.controlplane.admin_auth import AdminAccess, caller
from lbgateway.controlplane.audit import Audit
from lbgateway.controlplane.envelope import Envelope
from lbgateway.controlplane.health import health_of, readiness_of
from lbgateway.controlplane.landing import landing
from lbgateway.controlplane.unknown import unknown_service
from lbgateway.errors import GatewayError, Unauthenticated
from lbgateway.policies.jwt_auth import WAIT_S
from lbgateway.policies.wait import Flight
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
    app.router.routes.extend(page.routes(lambda request: isinstance(caller(settings.admin, (), peer_of(request)), Unauthenticated)))
    app.include_router(_admin_routes(port, lambda: _timestamp(wall())), dependencies=[guard])
    app.include_router(operations.routes(port), dependencies=[guard])
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(Audit)
    app.add_middleware(Envelope, new_request_id=new_request_id)
    return app


def _guard(access: AdminAccess) -> Any:
    async def admin_only(request: Request) -> None:
        authorization = [value for name, value in request.scope["headers"] if name == b"authorization"]
        peer, came_at_s = peer_of(request), time.monotonic()
        verdict = caller(access, authorization, peer, came_at_s)
        try:
            while isinstance(verdict, Flight):
                await landing(verdict, WAIT_S)
                verdict = caller(access, authorization, peer, came_at_s)
        except GatewayError as late:
            verdict = late
        if isinstance(verdict, GatewayError):
            request.state.refusal = verdict
            raise verdict
        request.state.caller = verdict

    return Depends(admin_only)


def peer_of(request: Request) -> str | None:
    """The address at the other end of the connection."""
    return request.client.host if request.client else None


def _health_routes(port: GatewayPort) -> APIRouter:
    router = APIRouter()

    @router.api_route("/health", methods=READ)
    async def health() -> Response:
        return answers.state_response(*health_of(port))

    @router.api_route("/health/live", methods=READ)
    async def live() -> Response:
        return answers.json_response({"status": "live"})

    @router.api_route("/health/ready", methods=READ)
    async def ready() -> Response:
        return answers.state_response(*readiness_of(port))

    return router


def _metrics_routes(port: GatewayPort, path: str) -> APIRouter:
    router = APIRouter()

    @router.api_route(path, methods=READ)
    async def metrics() -> Response:
        return await answers.sliced(exposition.slices(port.metrics()), exposition.CONTENT_TYPE)

    return router


def _admin_routes(port: GatewayPort, now: Callable[[], str]) -> APIRouter:
    router = APIRouter(prefix="/admin")

    @router.api_route("/upstreams", methods=READ)
    async def all_upstreams(request: Request) -> Response:
        query = upstreams.parse_query(request.query_params)
        answer = await answers.sliced(upstreams.upstreams(port, query, now()), answers.JSON)
        answer.headers["vary"] = "Accept"  # a browser gets the page here
        return answer

    @router.api_route("/upstreams/{service}", methods=READ)
    async def one_upstream(service: str, request: Request) -> Response:
        return await one(service, request, port.instances)

    @router.api_route("/upstreams/{service}/explain", methods=READ)
    async def explain(service: str, request: Request) -> Response:
        return await one(service, request, port.explain)

    async def one(service: str, request: Request, instances: upstreams.Instances) -> Response:
        slices = upstreams.upstream(port, service, upstreams.parse_query(request.query_params), now(), instances)
        if slices is None:
            raise unknown_service(port, service)
        return await answers.sliced(slices, answers.JSON)

    @router.api_route("/routes", methods=READ)
    async def routes() -> Response:
        told = {"routes": port.routes(), "config_key": port.config_key(), "unexposed": upstreams.unexposed(port)}
        limits = {"rate_limited": dict(port.metrics().metrics.rate_limited), "rate_limit_store": port.redis()}
        return answers.json_response({"generated_at": now(), **told, **limits})

    @router.api_route("/config", methods=READ)
    async def config() -> Response:
        return answers.json_response(port.config())

    return router


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
