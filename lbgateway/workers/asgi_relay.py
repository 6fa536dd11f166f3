"""A worker's answer to requests for the gateway's own paths: the parent's, which knows of all workers. ASGI over the link."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from lbgateway.controlplane.answers import problem_response
from lbgateway.controlplane.event_stream import HEARTBEAT_S
from lbgateway.errors import Draining

if TYPE_CHECKING:
    from lbgateway.workers.frames import Frame
    from lbgateway.workers.link import Link

PASSED = ("type", "asgi", "http_version", "method", "scheme", "path", "root_path", "client", "server", "state")
"""Of a scope; what is bytes goes as text, one character a byte."""


SILENT_S = 2 * HEARTBEAT_S
"""So long the parent is waited for. It answers at once, and says with a stream of events that has no news that it is still there."""


class RelayedApplication:
    """An ASGI application that the parent runs. `hear` is to be given its frames, `end` is called when it is gone."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._numbers = count()
        self._asked: dict[int, asyncio.Queue[Frame | None]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = await receive()
        if request["type"] != "http.request":
            return
        number = next(self._numbers)
        answers = self._asked[number] = asyncio.Queue()
        self._link.send("request", request["body"], number=number, scope=scope_facts(scope))
        begun = done = False
        try:
            while not done:
                frame = await self._next(answers)
                if frame is None:
                    break
                begun = True
                done = await _pass_on(frame, send)
                if not done and frame.facts["kind"] == "body":
                    self._link.send("taken", number=number)
        finally:
            del self._asked[number]
            if not done:
                self._link.send("request_over", number=number)
        if not begun:  # what has begun is cut: to begin anew would be no answer
            gone = Draining("The process of the gateway that knows this has ended, or hangs.")
            await problem_response(gone, scope["state"]["request_id"])(scope, receive, send)

    async def _next(self, answers: asyncio.Queue[Frame | None]) -> Frame | None:
        """The next part of an answer; None if none will come."""
        if self._link.ended and answers.empty():
            return None
        try:
            async with asyncio.timeout(SILENT_S):
                return await answers.get()
        except TimeoutError:
            return None

    def hear(self, frame: Frame) -> bool:
        """Take in a part of an answer; False if the frame is about something else."""
        if frame.facts["kind"] not in ("answer", "body"):
            return False
        answers = self._asked.get(frame.facts["number"])
        if answers is not None:
            answers.put_nowait(frame)
        return True

    def end(self) -> None:
        """No answer will come any more."""
        for answers in self._asked.values():
            answers.put_nowait(None)


async def _pass_on(frame: Frame, send: Any) -> bool:
    """Whether that was all."""
    facts = frame.facts
    if facts["kind"] == "answer":
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in facts["headers"]]
        await send({"type": "http.response.start", "status": facts["status"], "headers": headers})
        return False
    await send({"type": "http.response.body", "body": frame.payload, "more_body": facts["more"]})
    return not facts["more"]


def scope_facts(scope: Any) -> dict[str, Any]:
    facts = {name: scope[name] for name in PASSED}
    texts = {name: scope[name].decode("latin-1") for name in ("raw_path", "query_string")}
    return {**facts, **texts, "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]}


def scope_of(facts: dict[str, Any]) -> dict[str, Any]:
    texts = {name: facts[name].encode("latin-1") for name in ("raw_path", "query_string")}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in facts["headers"]]
    return {**facts, **texts, "headers": headers, "client": tuple(facts["client"]), "server": tuple(facts["server"])}
