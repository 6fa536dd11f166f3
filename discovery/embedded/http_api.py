"""From a request to an endpoint and back: routing, the parameters and headers that all reads share, gzip."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discovery.embedded.endpoints import Call, Orders, Questions, Reads
from discovery.embedded.go_json import DecodeError, parse_duration
from discovery.embedded.http_server import Response
from discovery.embedded.key_endpoints import Keys
from discovery.embedded.records import Refusal
from discovery.embedded.views import to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from discovery.embedded.agent import LocalAgent
    from discovery.embedded.endpoints import Read
    from discovery.embedded.http_server import Request
    from discovery.embedded.key_values import KeyValues
    from discovery.embedded.watches import Watches

    Answer = Callable[[Call], Awaitable[Response]]
    Methods = dict[str, Answer]

DEFAULT_WAIT_S = 300.0
LONGEST_WAIT_S = 600.0

_PLAIN = ("Content-Type", "text/plain; charset=utf-8")
_JSON = ("Content-Type", "application/json")
_NO_RESULT = (("X-Consul-Index", "1"), ("X-Consul-Knownleader", "false"), ("X-Consul-Lastcontact", "0"))
_GZIP = re.compile(rb"(^|,)\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$))[^,]*)?\s*(,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Blocking:
    """The parameters of a read; `index` 0 = answer at once."""

    index: int
    wait_s: float
    consistency: str


class Api:
    """Answers every request; what is not there is 404, as with Consul."""

    def __init__(self, agent: LocalAgent, store: KeyValues, watches: Watches, clock: Callable[[], float], random: Random) -> None:
        self._datacenter = agent.catalog.node.datacenter
        self._watches = watches
        self._random = random
        reads, questions, orders, keys = Reads(agent).routes, Questions(agent).routes, Orders(agent, clock).routes, Keys(store)
        self._routes: dict[str, Methods] = {
            **{path: {"GET": self._reader(one, filterable=path != "/v1/catalog/services")} for path, one in reads.items()},
            **{path: {"GET": self._questioner(one)} for path, one in questions.items()},
            **{path: {"PUT": self._orderer(one, local=path.startswith("/v1/agent/"))} for path, one in orders.items()},
            "/v1/kv/": {"GET": self._reader(keys.read), "PUT": self._orderer(keys.put), "DELETE": self._orderer(keys.delete)},
        }
        self._by_length = sorted(self._routes, key=len, reverse=True)

    async def handle(self, request: Request) -> Response:
        """Answer one request; a read with an ``index`` takes as long as it has to."""
        try:
            response = await self._dispatch(request)
        except Refusal as refusal:
            response = Response(refusal.status, refusal.text.encode(), (_PLAIN,))
        return _compressed(response, request)

    async def _dispatch(self, request: Request) -> Response:
        route = next((one for one in self._by_length if request.path == one or (one.endswith("/") and request.path.startswith(one))), None)
        if route is None:
            return Response(404)
        methods = self._routes[route]
        allow = ("Allow", ",".join(("OPTIONS", *methods)))
        if request.method == "OPTIONS":
            return Response(200, headers=(allow,))
        if request.method not in methods:
            return Response(405, f"method {request.method} not allowed".encode(), (allow, _PLAIN))
        return await methods[request.method](Call(request.path[len(route) :], request.query, request.body))

    def _reader(self, endpoint: Callable[[Call], Read], *, filterable: bool = True) -> Answer:
        return lambda call: self._read(call, endpoint, filterable=filterable)

    def _questioner(self, question: Callable[[Call], Any]) -> Answer:
        return lambda call: self._ask(call, question)

    def _orderer(self, order: Callable[[Call], bool | None], *, local: bool = False) -> Answer:
        return lambda call: self._obey(call, order, local=local)

    async def _obey(self, call: Call, order: Callable[[Call], bool | None], *, local: bool) -> Response:
        """Carry out an order; a `local` one is for this agent, whatever datacenter it names."""
        if not local and call.text("dc") not in ("", self._datacenter):
            raise Refusal(500, "No path to datacenter")
        done = order(call)
        return Response(200) if done is None else Response(200, to_json(done), (_JSON,))

    async def _ask(self, call: Call, question: Callable[[Call], Any]) -> Response:
        if call.text("filter"):
            raise _no_filter()
        answer = question(call)
        if isinstance(answer, Response):
            return Response(answer.status, answer.body, (_JSON, *answer.headers))
        return Response(200, to_json(answer, pretty=call.has("pretty")), (_JSON,))

    async def _read(self, call: Call, endpoint: Callable[[Call], Read], *, filterable: bool) -> Response:
        options = blocking_parameters(call)
        read = endpoint(call)
        try:
            self._check_answerable(call, filterable=filterable)
        except Refusal as refusal:
            return Response(refusal.status, refusal.text.encode(), (*_NO_RESULT, _PLAIN))
        if options.index:
            # The jitter keeps watchers that started together from coming back together.
            await self._watches.past(read.scope, options.index, options.wait_s + self._random.uniform(0, options.wait_s / 16))
        answer = read.render()
        headers = (
            ("X-Consul-Effective-Consistency", options.consistency),
            ("X-Consul-Index", str(self._watches.index_of(read.scope))),
            ("X-Consul-Knownleader", "true"),
            ("X-Consul-Lastcontact", "0"),
        )
        if isinstance(answer, Response):
            return Response(answer.status, answer.body, (*answer.headers, *headers))
        return Response(200, to_json(answer, pretty=call.has("pretty")), (_JSON, *headers))

    def _check_answerable(self, call: Call, *, filterable: bool) -> None:
        if call.text("dc") not in ("", self._datacenter):
            raise Refusal(500, "No path to datacenter")
        if filterable and call.text("filter"):
            raise _no_filter()


def blocking_parameters(call: Call) -> Blocking:
    """Read ``index``, ``wait``, ``stale`` and ``consistent``.

    A wait that is absent, zero or negative is the default, one that is too long the longest.

    Raises:
        Refusal: 400.

    """
    try:
        wait_s = parse_duration(call.text("wait")) if call.text("wait") else 0.0
    except DecodeError:
        raise Refusal(400, "Invalid wait time") from None
    text = call.text("index") or "0"
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        raise Refusal(400, "Invalid index")
    if call.has("stale") and call.has("consistent"):
        raise Refusal(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
    consistency = next((name for name in ("stale", "consistent") if call.has(name)), "leader")
    return Blocking(int(text), min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else DEFAULT_WAIT_S, consistency)


def _no_filter() -> Refusal:
    # To ignore a filter would hand out what its sender does not expect.
    return Refusal(500, "Failed to create boolean expression evaluator: the development registry has none")


def _compressed(response: Response, request: Request) -> Response:
    accepted = next((value for name, value in request.headers if name == b"accept-encoding"), b"")
    if not response.body or request.method == "HEAD" or not _GZIP.search(accepted):
        return response
    return Response(response.status, gzip.compress(response.body, 1, mtime=0), (*response.headers, ("Content-Encoding", "gzip")))
