"""Every wait has an end: whatever another party does or leaves undone, no part of the process waits for it for ever.

Each ``await`` (and ``async with``, ``async for``) in the three packages has to be one of these:

* under ``asyncio.timeout`` in the same function, or given a time itself: ``sleep``, ``wait_for``, ``timeout=`` of any call;
* of a coroutine of ours, which is judged where it is written;
* in a private function that is called only under a timeout, in its own file;
* for tasks that the same function has cancelled;
* listed below, with what ends it.

Calls that block a thread likewise. A list may not hold what is not needed any more.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import pytest
import redis.asyncio
import uvicorn

from tests.architecture.test_habits import ROOT, assert_none

PACKAGES = ("balancers", "discovery", "lbgateway")

FOREIGN = (
    asyncio.AbstractEventLoop, asyncio.Condition, asyncio.Event, asyncio.Lock, asyncio.Queue, asyncio.Semaphore, asyncio.Server,
    asyncio.StreamReader, asyncio.StreamWriter, asyncio.subprocess.Process, httpx.AsyncClient, httpx.Response, redis.asyncio.Redis,
    redis.asyncio.client.Pipeline, uvicorn.Server,
)  # fmt: skip
"""Who has methods by the name of some of ours: a name alone does not tell then whose it is."""

PARTS = {
    "_checks", "_file", "_server", "agents", "authentication", "checker", "client", "embedded", "gateway", "limiter", "registry",
    "reporting", "self_registration", "server", "source", "store",
}  # fmt: skip
"""What has an ``aclose`` of ours, by the last word of its name."""

THREAD = "reads or writes a file of this machine, on a thread"
ASGI = "of an ASGI application: it ends with the client, which `AsgiExchange` bounds, or with the worker or parent that relays it"
CLOSING = "closing waits for no answer: httpcore's connections are aborted (anyio), redis-py's get its connect timeout"
SWEPT = "ends with its exchange, whose deadline the sweep of the data plane looks at"
TOLD = "until this process is told to stop: there is nothing to be late for"
LANES = "a place in a line: whoever is ahead has a time limit, and there are no more of them than watches"

ELSEWHERE = {
    "discovery/agents.py: patience": "an `asyncio.timeout` that is set when another agent has to be asked; each read below has its own",
    "discovery/consul.py: asyncio.gather(*self._ending, *([looking] if looking else []), return_exceptions=True)": "cancelled before",
    "discovery/consul_client.py: self._lanes": LANES,
    "discovery/consul_client.py: self._plain.aclose()": CLOSING,
    "discovery/consul_client.py: self._blocking.aclose()": CLOSING,
    "discovery/dns_client.py: asyncio.gather(*(self._one_of_many(target, kind) for target in missing))": "each query has a time limit",
    "discovery/dns_client.py: self._slots": LANES,
    "discovery/embedded/http_api.py: methods[request.method]": "one of the handlers beside it",
    "discovery/embedded/http_server.py: asyncio.get_running_loop().create_server": "binds an address of this machine",
    "discovery/embedded/http_server.py: self._server.handler(request)": "`Api.handle`; its long polls have a time limit",
    "discovery/embedded/http_server.py: asyncio.gather(*tasks, return_exceptions=True)": "cancelled by `cut`",
    "discovery/embedded/http_server.py: server.wait_closed()": "all connections have been cut before",
    "discovery/embedded/state_file.py: self._changed.wait()": "a task of its own, until there is something to write",
    "discovery/embedded/state_file.py: asyncio.to_thread(replace_file, self.path, self._content())": THREAD,
    "discovery/file.py: asyncio.to_thread(stamp_of, path)": THREAD,
    "discovery/file.py: asyncio.to_thread(self._attempt, path)": THREAD,
    "discovery/file.py: super().aclose()": "`StaticSource.aclose`, which waits for nothing",
    "discovery/registration.py: asyncio.to_thread(self._join)": "see `thread.join()` below",
    "discovery/registration.py: asyncio.to_thread(self._start)": "one attempt to register, each of whose requests has a time limit",
    "discovery/snapshot_store.py: asyncio.to_thread(write)": THREAD,
    "discovery/snapshot_store.py: task": "has been told to stop, and looks every `LOOK_S`",
    "lbgateway/authorities/asking.py: asyncio.wait(self._tasks)": "questions, each with a time limit",
    "lbgateway/authorities/asking.py: self._close()": CLOSING,
    "lbgateway/authorities/questions.py: self._client.aclose()": CLOSING,
    "lbgateway/authorities/redis_sessions.py: answer": "asked for under `Asking._guarded`, which has a time limit",
    "lbgateway/authorities/redis_sessions.py: self._redis.ping()": "likewise",
    "lbgateway/calls.py: self._request.stream": "the program's own iterator",
    "lbgateway/calls.py: self._taking.wait()": SWEPT,
    "lbgateway/cli/demo.py: serving": "the demo is over: it has been told to stop, and drains in its time",
    "lbgateway/cli/demo.py: asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)": TOLD,
    "lbgateway/cli/demo.py: asyncio.create_subprocess_exec": "starts a process of this machine",
    "lbgateway/cli/demo.py: asyncio.gather(*(end(child) for child in children))": "each child has `LEAVE_WITHIN_S`, and is killed then",
    "lbgateway/cli/demo.py: child.wait()": "it has been killed",
    "lbgateway/cli/demo.py: client.get(f'/admin/upstreams/{SERVICE}')": "the client has two seconds",
    "lbgateway/cli/echo.py: register": "one attempt to register, and to sign off, each of whose requests has a time limit",
    "lbgateway/cli/echo.py: stop.wait()": TOLD,
    "lbgateway/cli/echo.py: asyncio.get_running_loop().connect_read_pipe": "takes over a descriptor that is open",
    "lbgateway/cli/echo.py: reader.read()": "until the demo that has started it is gone: then it ends as well",
    "lbgateway/client.py: self._starting": "held while a gateway starts and settles, which has `SETTLED_WITHIN_S`",
    "lbgateway/composition/composer.py: self._aside(partial(stored.read, text))": "reads a text that is there already, on a thread",
    "lbgateway/controlplane/audit.py: self.app(scope, receive, send_watched)": ASGI,
    "lbgateway/controlplane/audit.py: send(message)": ASGI,
    "lbgateway/controlplane/envelope.py: self.app(scope, receive, send)": ASGI,
    "lbgateway/controlplane/envelope.py: self.app(scope, receive, send_dressed)": ASGI,
    "lbgateway/controlplane/envelope.py: send(message)": ASGI,
    "lbgateway/controlplane/envelope.py: problem_response(GatewayError(), request_id)(scope, receive, send_dressed)": ASGI,
    "lbgateway/controlplane/file_answer.py: send({'type': 'http.response.start', 'status': self.status, 'headers': raw})": ASGI,
    "lbgateway/controlplane/file_answer.py: send({'type': 'http.response.body', 'body': piece, 'more_body': True})": ASGI,
    "lbgateway/controlplane/file_answer.py: send({'type': 'http.response.body'})": ASGI,
    "lbgateway/controlplane/file_answer.py: asyncio.to_thread(file.read, at, min(PIECE_BYTES, self.end - at))": THREAD,
    "lbgateway/controlplane/operations.py: request.body()": ASGI,
    "lbgateway/controlplane/spa.py: asyncio.to_thread(self.find, scope['raw_path'].decode(), *accepted)": THREAD,
    "lbgateway/controlplane/spa.py: answer.send(found.file, send)": "`FileAnswer.send`",
    "lbgateway/dataplane/asgi.py: self.news.wait()": "for a body, which `_watch_body` bounds, or for the end of the client",
    "lbgateway/dataplane/httpx_message.py: self._more.wait()": SWEPT,
    "lbgateway/dataplane/httpx_transport.py: response.stream": SWEPT,
    "lbgateway/dataplane/httpx_transport.py: self._reading.wait()": SWEPT,
    "lbgateway/dataplane/httpx_transport.py: response.aclose()": CLOSING,
    "lbgateway/handover.py: loop.sock_accept(meeting)": "a task of its own: maybe there is never a successor",
    "lbgateway/handover.py: asyncio.get_running_loop().sock_recv(connection, LONGEST_MESSAGE)": (
        "the question has a time limit; until a successor is ready may take as long as it takes: this process serves on meanwhile, and the"
        " end of that one ends the wait"
    ),
    "lbgateway/jwks.py: pace": "tenacity's: it sleeps between attempts that have a time limit",
    "lbgateway/listeners.py: loop.connect_accepted_socket": "has its socket; a handshake of TLS has `ssl_handshake_timeout`",
    "lbgateway/own_client.py: asyncio.to_thread(_made, url, timeout_s, accept, transport)": THREAD,
    "lbgateway/own_client.py: client.send(request, stream=True)": "`fetch` is called under a time limit (`jwks`, `authorities.asking`)",
    "lbgateway/own_client.py: response.aiter_raw()": "likewise",
    "lbgateway/own_client.py: response.aclose()": CLOSING,
    "lbgateway/ratelimit/redis_store.py: self._wake.wait()": "a task of its own, until there is something to ask",
    "lbgateway/redis_client.py: each.aclose()": CLOSING,
    "lbgateway/reporting.py: asyncio.to_thread(self._export.close)": "gives up after two seconds",
    "lbgateway/self_registration.py: asyncio.gather(*self._farewells, return_exceptions=True)": "three seconds each: `Registration.close`",
    "lbgateway/server.py: server.serve(sockets=list(sockets))": TOLD,
    "lbgateway/server.py: super().startup(sockets=[])": "uvicorn's; without sockets it binds nothing",
    "lbgateway/server.py: super().shutdown(sockets)": "uvicorn's: it has `timeout_graceful_shutdown`",
    "lbgateway/workers/asgi_host.py: asyncio.Event().wait()": ASGI,
    "lbgateway/workers/asgi_host.py: taken.wait()": ASGI,
    "lbgateway/workers/asgi_host.py: self._application()(scope_of(frame.facts['scope']), receive, send)": ASGI,
    "lbgateway/workers/asgi_relay.py: problem_response(gone, scope['state']['request_id'])(scope, receive, send)": ASGI,
    "lbgateway/workers/asgi_relay.py: send({'type': 'http.response.start', 'status': facts['status'], 'headers': headers})": ASGI,
    "lbgateway/workers/asgi_relay.py: send({'type': 'http.response.body', 'body': frame.payload, 'more_body': facts['more']})": ASGI,
    "lbgateway/workers/asking.py: asyncio.shield(self._next)": "at most twice `ANSWER_S`, which the question itself has",
    "lbgateway/workers/asking.py: asyncio.shield(self._running)": "likewise",
    "lbgateway/workers/asking.py: asyncio.wait([running])": "likewise",
    "lbgateway/workers/link.py: asyncio.get_running_loop().create_unix_connection": "over a socket pair that is connected",
    "lbgateway/workers/parent.py: parent.run()": TOLD,
    "lbgateway/workers/parent.py: self._stopping.wait()": TOLD,
    "lbgateway/workers/parent_parts.py: self._gathered()": "asks all workers, which has `asking.ANSWER_S`",
    "lbgateway/workers/parent_parts.py: send(message)": ASGI,
    "lbgateway/workers/parent_parts.py: self._application(scope, receive, send if reading else send_later)": ASGI,
    "lbgateway/workers/worker.py: self._frames.get()": "until the parent says what to do, or is gone: the end of the link is told here",
    "lbgateway/workers/worker.py: self._may_serve.wait()": "likewise",
    "lbgateway/workers/worker.py: self.server.serve(sockets=self.server.listeners.sockets)": TOLD,
}
"""``file: what is awaited`` -> what ends the wait."""

BLOCKING = {
    "discovery/consul_access.py: socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)": "the resolver has its own time limit",
    "discovery/consul_access.py: probe.connect(place)": "of a datagram socket: sends nothing",
    "discovery/registration.py: thread.join()": "it signs off with requests that have a time limit, after `drain_s` at most",
    "discovery/registration.py: after.join()": "likewise; on a thread of its own",
    "lbgateway/cli/demo.py: stop.wait()": "a coroutine, given to a task",
    "lbgateway/doorkeeper.py: self._listener.accept()": "the socket never blocks",
    "lbgateway/listeners.py: listener.accept()": "likewise",
    "lbgateway/preamble.py: connection.recv(most, socket.MSG_PEEK)": "likewise",
    "lbgateway/doors.py: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)": "the resolver has its own time limit",
    "lbgateway/takeover.py: connection.connect(str(folder / name_of(address)))": "the socket has `settimeout(ANSWER_S)`",
    "lbgateway/takeover.py: socket.recv_fds(connection, LONGEST_MESSAGE, MOST_SOCKETS)": "likewise",
    "lbgateway/workers/board.py: fcntl.lockf(self.descriptor, AT_ONCE, 1, place)": "`LOCK_NB`",
    "lbgateway/workers/board.py: fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, place)": "lets go",
}
"""``file: a call that may block a thread`` -> what ends it."""

BLOCKS_WITHOUT_ARGUMENTS = {"accept", "acquire", "communicate", "join", "wait"}
BLOCKS_WITH_ONE = {"connect"}
BLOCKS = {"create_connection", "flock", "getaddrinfo", "gethostbyname", "lockf", "recv", "recv_fds", "recvmsg", "urlopen"}


@dataclass
class Wait:
    """Something that is awaited. `bounded`: under a timeout in its function."""

    path: str
    line: int
    function: str
    expression: ast.expr
    bounded: bool
    cancels: bool
    """Its function cancels tasks."""

    def __str__(self) -> str:
        return f"{self.path}: {ast.unparse(self.expression)}"


@dataclass
class Found:
    """What a file awaits, and the names of what it calls in its own functions, with whether that is under a timeout."""

    waits: list[Wait] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def parsed(text: str, path: str) -> Found:
    """All of it, from the top."""
    found = Found()

    def visit(node: ast.AST, function: str, *, bounded: bool, cancels: bool) -> None:
        for child in ast.iter_child_nodes(node):
            name, under, ends = function, bounded, cancels
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                name, under = getattr(child, "name", "<lambda>"), False
                ends = any(isinstance(each, ast.Attribute) and each.attr == "cancel" for each in ast.walk(child))
                if isinstance(child, ast.AsyncFunctionDef):
                    found.defined.add(name)
            entered = [item.context_expr for item in child.items] if isinstance(child, ast.AsyncWith) else []
            if any(is_timeout(each) for each in entered):
                under = True
            for each in awaited(child):
                if not is_timeout(each):
                    found.waits.append(Wait(path, child.lineno, name, each, under, ends))  # type: ignore[attr-defined]  # a statement or an await
            visit(child, name, bounded=under, cancels=ends)

    visit(ast.parse(text), "", bounded=False, cancels=False)
    return found


def is_timeout(node: ast.expr) -> bool:
    """``asyncio.timeout(…)`` with a time; the attribute that it is bound to may move it."""
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return isinstance(node, ast.Call) and called in ("asyncio.timeout", "asyncio.timeout_at") and ast.unparse(node.args[0]) != "None"


def awaited(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Await):
        return branches(node.value)
    if isinstance(node, ast.AsyncFor):
        return [node.iter]
    if isinstance(node, ast.AsyncWith):
        return [item.context_expr for item in node.items if not isinstance(item.context_expr, ast.Await)]
    return []


def branches(node: ast.expr) -> list[ast.expr]:
    return [*branches(node.body), *branches(node.orelse)] if isinstance(node, ast.IfExp) else [node]


@cache
def everything() -> dict[str, Found]:
    return {(name := path.relative_to(ROOT).as_posix()): parsed(path.read_text(), name) for path in sources()}


@cache
def ours() -> frozenset[str]:
    """Names of coroutines of ours that nobody else's objects have."""
    names = {name for found in everything().values() for name in found.defined}
    return frozenset(name for name in names if not any(hasattr(each, name) for each in FOREIGN))


def name_of(node: ast.expr) -> str:
    """Of what is called; empty if that has none."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def is_of_ours(wait: Wait, found: Found) -> bool:
    """Whether a coroutine of ours is awaited."""
    name, call = name_of(wait.expression), wait.expression
    if not name:
        return False
    if name in ours():
        return True
    assert isinstance(call, ast.Call)
    receiver = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if receiver == "self":
        return name in found.defined
    return name == "aclose" and receiver.rpartition(".")[2] in PARTS


def has_a_time(node: ast.expr) -> bool:
    """Given with the call; `sleep` is its own."""
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    if called == "asyncio.wait_for":
        return len(node.args) == 2 or any(keyword.arg == "timeout" for keyword in node.keywords)
    times = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
    return called == "asyncio.sleep" or any(ast.unparse(each) != "None" for each in times)


def is_cancelled(wait: Wait) -> bool:
    """Tasks that the same function cancels: alone, or gathered."""
    told = ast.unparse(wait.expression)
    gathered = told.startswith("asyncio.gather(") and "return_exceptions=True" in told
    return wait.cancels and (gathered or isinstance(wait.expression, ast.Name | ast.Attribute))


def called_under_a_timeout(found: Found) -> set[str]:
    """Private functions of a file all of whose calls are bounded, by a timeout or by a function like that."""
    bounded: set[str] = set()
    while True:
        calls: dict[str, list[bool]] = {}
        for wait in found.waits:
            calls.setdefault(name_of(wait.expression), []).append(wait.bounded or wait.function in bounded)
        known = {name for name, under in calls.items() if name.startswith("_") and name in found.defined and all(under)}
        if known == bounded:
            return bounded
        bounded = known


def unbounded(files: dict[str, Found]) -> Iterator[Wait]:
    for found in files.values():
        bounded = called_under_a_timeout(found)
        for wait in found.waits:
            if wait.bounded or wait.function in bounded or has_a_time(wait.expression) or is_cancelled(wait):
                continue
            if not is_of_ours(wait, found):
                yield wait


def listed(told: str, known: dict[str, str]) -> str | None:
    """The entry that a wait is listed as: what it says, or the beginning of it as far as its arguments."""
    return next((entry for entry in known if told == entry or told.startswith(f"{entry}(")), None)


def test_every_wait_has_an_end() -> None:
    """Whoever adds one gives it a time, or says what ends it."""
    found = [wait for wait in unbounded(everything()) if not listed(str(wait), ELSEWHERE)]
    assert_none([f"{wait.path}:{wait.line}: {ast.unparse(wait.expression)}" for wait in found])


def test_what_is_listed_is_there() -> None:
    """And needs to be listed."""
    needed = {listed(str(wait), ELSEWHERE) for wait in unbounded(everything())}
    assert_none([entry for entry in ELSEWHERE if entry not in needed])
    blocking = {listed(each, BLOCKING) for path in sources() for _, each in blocked(path.read_text(), path.relative_to(ROOT).as_posix())}
    assert_none([entry for entry in BLOCKING if entry not in blocking])
    receivers = {name for found in everything().values() for wait in found.waits for name in ast.unparse(wait.expression).split(".")}
    assert receivers >= PARTS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("await queue.get()", ["queue.get()"]),
        ("await future", ["future"]),
        ("async with lock: pass", ["lock"]),
        ("async for piece in stream: pass", ["stream"]),
        ("await (one.get() if x else asyncio.sleep(1))", ["one.get()"]),
        ("async with asyncio.timeout(1): await queue.get()", []),
        ("async with asyncio.timeout(1), lock: await queue.get()", []),
        ("async with asyncio.timeout(None): await queue.get()", ["asyncio.timeout(None)", "queue.get()"]),
        ("async with asyncio.timeout(1): call_later(lambda: 1)\n    await queue.get()", ["queue.get()"]),
        ("await asyncio.wait_for(queue.get(), 1)", []),
        ("await asyncio.wait_for(queue.get())", ["asyncio.wait_for(queue.get())"]),
        ("await asyncio.wait(tasks)", ["asyncio.wait(tasks)"]),
        ("await asyncio.wait(tasks, timeout=1)", []),
        ("await client.get(url, timeout=None)", ["client.get(url, timeout=None)"]),
        ("task.cancel()\n    await asyncio.gather(task, return_exceptions=True)", []),
        ("task.cancel()\n    await queue.get()", ["queue.get()"]),
        ("await asyncio.gather(task, return_exceptions=True)", ["asyncio.gather(task, return_exceptions=True)"]),
        ("await self._inner()\n\nasync def _inner(self):\n    await event.wait()", ["event.wait()"]),
        ("async with asyncio.timeout(1): await self._inner()\n\nasync def _inner(self):\n    await event.wait()", []),
    ],
)
def test_what_counts_as_a_wait_without_an_end(text: str, expected: list[str]) -> None:
    """The rules at the top, one after the other."""
    found = parsed(f"async def f(self):\n    {text}\n", "x.py")
    assert [ast.unparse(wait.expression) for wait in unbounded({"x.py": found})] == expected


# -- threads -----------------------------------------------------------------------------------------


def blocked(text: str, path: str) -> Iterator[tuple[int, str]]:
    """Calls that may block a thread, without a time."""
    tree = ast.parse(text)
    asynchronous = {id(each) for node in ast.walk(tree) if isinstance(node, ast.Await) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or id(node) in asynchronous:
            continue
        timed = any(keyword.arg == "timeout" for keyword in node.keywords)
        name, count = node.func.attr, len(node.args)
        blocks = name in BLOCKS or (name in BLOCKS_WITHOUT_ARGUMENTS and not count) or (name in BLOCKS_WITH_ONE and count == 1)
        if blocks and not timed:
            yield node.lineno, f"{path}: {ast.unparse(node)}"


def test_nothing_blocks_a_thread_without_an_end() -> None:
    """Least of all the event loop's."""
    found = [each for path in sources() for each in blocked(path.read_text(), path.relative_to(ROOT).as_posix())]
    assert_none([f"{told} (line {line})" for line, told in found if not listed(told, BLOCKING)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thread.join()", ["thread.join()"]),
        ("thread.join(2.0)", []),
        ("', '.join(names)", []),
        ("stopping.wait(timeout=1)", []),
        ("await stopping.wait()", []),
        ("fcntl.lockf(f, fcntl.LOCK_EX)", ["fcntl.lockf(f, fcntl.LOCK_EX)"]),
        ("socket.create_connection(place)", ["socket.create_connection(place)"]),
        ("socket.create_connection(place, timeout=1)", []),
    ],
)
def test_what_counts_as_blocking(text: str, expected: list[str]) -> None:
    """Names of what waits for others, without a time."""
    assert [told for _, told in blocked(f"async def f():\n    {text}\n", "x.py")] == [f"x.py: {each}" for each in expected]
