"""What operators do and watch: actions on single instances, and the stream of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from lbgateway.controlplane import answers, event_stream
from lbgateway.controlplane.actions import parse_command
from lbgateway.controlplane.admin_auth import from_another_site
from lbgateway.controlplane.port import VERBS, command_facts
from lbgateway.controlplane.unknown import unknown_instance, unknown_service
from lbgateway.errors import Ambiguous, Forbidden, Overloaded

if TYPE_CHECKING:
    from lbgateway.controlplane.port import GatewayPort

MOST_WATCHERS = 100
"""Streams of events at once; each is a connection and a task."""


def routes(port: GatewayPort) -> APIRouter:
    """The stream of events, and an action for each of `VERBS`."""
    router = APIRouter(prefix="/admin")

    @router.get("/events")
    async def events(request: Request) -> Response:
        ring = port.events()
        if len(ring.readers) >= MOST_WATCHERS:
            raise Overloaded(f"{MOST_WATCHERS} others are watching already.")
        after, replay = event_stream.parse_start(request.headers, request.query_params)
        stream = event_stream.stream(ring, after=after, replay=replay)
        return StreamingResponse(stream, media_type=event_stream.MEDIA_TYPE, headers=event_stream.HEADERS)

    for verb in VERBS:
        _add_action(router, port, verb)
    return router


def _add_action(router: APIRouter, port: GatewayPort, verb: str) -> None:
    @router.post(f"/upstreams/{{service}}/{{instance:path}}/{verb}", name=verb)
    async def act(service: str, instance: str, request: Request) -> Response:
        refuse_other_sites(request)
        content_type = request.headers.get("content-type", "")
        command = parse_command(verb, await request.body(), content_type, request.state.caller, request.query_params)
        if port.service(service) is None:
            raise unknown_service(port, service)
        done = port.act(service, instance, command)
        if not isinstance(done, list):
            request.state.done = {**command_facts(command), "instance": f"{done['node']}:{done['id']}"}
            return answers.json_response(done)
        if not done:
            raise unknown_instance(port, service, instance)
        several = Ambiguous(f'{service} has several instances "{instance}": name one as NODE:ID.')
        return answers.problem_response(several, answers.request_id_of(request), candidates=done)


def refuse_other_sites(request: Request) -> None:
    """Raise `Forbidden` if another site's page may be behind a request that changes something."""
    if from_another_site(dict(request.headers), request.state.caller):
        request.state.refusal = Forbidden("Pages of other sites may not change anything here.")
        raise request.state.refusal
