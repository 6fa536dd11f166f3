"""The parent's half of `asgi_relay`: runs its own application for requests that workers have got."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from lbgateway.workers.asgi_relay import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.dataplane.asgi import Application
    from lbgateway.workers.frames import Frame
    from lbgateway.workers.link import Link

log = structlog.get_logger("lbgateway")

PIECE_BYTES = 64 * 1024
"""So much of an answer goes in one frame: what workers have to know must not wait behind 16 MB."""


class Hosting:
    """The requests of one worker. `application` gives the application of the moment."""

    def __init__(self, link: Link, application: Callable[[], Application]) -> None:
        self._link = link
        self._application = application
        self._running: dict[int, asyncio.Task[None]] = {}
        self._taken: dict[int, asyncio.Event] = {}
        """Set while the worker has handed on all that it was sent of an answer."""

    def hear(self, frame: Frame) -> bool:
        """Begin or end a request; False if the frame is about something else."""
        kind = frame.facts["kind"]
        if kind not in ("request", "taken", "request_over"):
            return False
        number: int = frame.facts["number"]
        if kind == "request":
            self._taken[number] = asyncio.Event()
            task = self._running[number] = asyncio.get_running_loop().create_task(self._run(number, frame))
            task.add_done_callback(lambda _done: self._forget(number))
        elif number in self._running:
            if kind == "taken":
                self._taken[number].set()
            else:
                self._running[number].cancel()
        return True

    def _forget(self, number: int) -> None:
        del self._running[number], self._taken[number]

    def end(self) -> None:
        """The worker is gone, and its clients with it."""
        for task in tuple(self._running.values()):
            task.cancel()

    async def _run(self, number: int, frame: Frame) -> None:
        taken = self._taken[number]
        request: dict[str, Any] | None = {"type": "http.request", "body": frame.payload, "more_body": False}

        async def receive() -> dict[str, Any]:
            nonlocal request
            given, request = request, None
            if given is None:
                await asyncio.Event().wait()  # who leaves cancels the task
            assert given is not None
            return given

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
                self._link.send("answer", number=number, status=message["status"], headers=headers)
                return
            body, more = message.get("body", b""), message.get("more_body", False)
            for start in range(0, max(len(body), 1), PIECE_BYTES):
                goes_on = more or start + PIECE_BYTES < len(body)
                taken.clear()
                self._link.send("body", body[start : start + PIECE_BYTES], number=number, more=goes_on)
                if goes_on:
                    await taken.wait()  # a client that reads slowly fills nobody's memory; one that leaves cancels the task

        try:
            await self._application()(scope_of(frame.facts["scope"]), receive, send)
        except Exception:
            # The application has answered, or has begun to: the rest cannot be had.
            log.exception("the control plane failed")
            self._link.send("body", number=number, more=False)
