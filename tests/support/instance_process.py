"""An instance as a process of its own, which can be killed and frozen, and which changes its mood when told.

python -m tests.support.instance_process PORT SERVICE_MS [WORKERS]    # reads moods from stdin, a line each, and repeats them

A mood is in force when it is repeated. WORKERS: how many requests it works on at once; the others wait. It answers with the last
segment of the path, so that an answer to another request is noticed; ``/bytes/N`` is answered with N bytes, ``/pieces/N`` and
``/events/N`` with N chunks, ``/mirror`` with the request's body, and what asks for another protocol gets all repeated that it sends.
SIGTERM: it takes no new connections, finishes what runs, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.support.launch import free_ports
from tests.support.upstream_server import Connection, Handler, Received, UpstreamServer, answer, close_without_answer, fixed

ROOT = Path(__file__).parents[2]
SERVICE_S = 0.01
"""How long a well instance thinks about an answer."""

MANY = 10_000
SLOWER = 10
LARGE_BYTES = 1 << 16


async def reset(request: Received, connection: Connection) -> bool:
    """At once, or in the middle of the head; by turns."""
    if request.connection % 2:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    connection.reset()
    return False


async def half_close(_: Received, connection: Connection) -> bool:
    """End the own side without an answer, and read on as if there were more to come."""
    connection.writer.write_eof()
    await connection.reader.read()
    return False


GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all\r\n\r\n"
MOODS: dict[str, Handler] = {
    "fails": fixed(answer(b"sorry", status="500 Internal Server Error")),
    "resets": reset,
    "garbage": fixed(GARBAGE),
    "half-closes": half_close,
    "closes": close_without_answer,
}
"""Beside ``well``, ``slow`` and ``refuses``, which `Moody` does itself."""


PIECES = {"pieces": ("application/octet-stream", bytes(1024)), "events": ("text/event-stream", b"data: something happened\n\n")}
PAUSE_S = 0.05


async def in_pieces(connection: Connection, count: int, media_type: str, piece: bytes) -> bool:
    """`count` chunks, with a pause before each."""
    await connection.send(f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(count):
        await asyncio.sleep(PAUSE_S)
        await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await connection.send(b"0\r\n\r\n")
    return True


async def switch(request: Received, connection: Connection) -> bool:
    """Agree to the other protocol, and repeat whatever comes."""
    upgrade = request.header("Upgrade")
    await connection.send(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode())
    while heard := await connection.reader.read(LARGE_BYTES):
        await connection.send(heard)
    return False


class Moody:
    """The handler of such a process."""

    def __init__(self, service_s: float, workers: int) -> None:
        self.service_s = service_s
        self.workers = asyncio.Semaphore(workers)
        self.mood = "well"
        self.busy = 0

    async def __call__(self, request: Received, connection: Connection) -> bool:
        self.busy += 1
        try:
            if self.mood in MOODS:
                return await MOODS[self.mood](request, connection)
            async with self.workers:
                await asyncio.sleep(self.service_s * (SLOWER if self.mood == "slow" else 1))
            return await self._answer(request, connection)
        finally:
            self.busy -= 1

    async def _answer(self, request: Received, connection: Connection) -> bool:
        if request.header("Upgrade") is not None:
            return await switch(request, connection)
        *_, kind, last = ["", *request.target.split("/")]
        if kind in PIECES:
            return await in_pieces(connection, int(last), *PIECES[kind])
        body = bytes(int(last)) if kind == "bytes" else request.body if last == "mirror" else last.encode()
        response = answer(body)
        for begin in range(0, len(response), LARGE_BYTES):
            await connection.send(response[begin : begin + LARGE_BYTES])
        return True


async def serve(port: int, service_ms: int, workers: int = MANY) -> None:
    handler, loop, stopping = Moody(service_ms / 1000, workers), asyncio.get_running_loop(), asyncio.Event()
    server = UpstreamServer(handler, port, remembers=False)
    await server.start()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    orders = loop.create_task(obey(handler, server))
    leaving = loop.create_task(stopping.wait())
    await asyncio.wait((orders, leaving), return_when=asyncio.FIRST_COMPLETED)
    if stopping.is_set():
        server.refuse()
        while handler.busy:  # noqa: ASYNC110 nothing tells when a handler has ended
            await asyncio.sleep(0.01)
    os._exit(0)  # what it still has is closed by the kernel; the thread that reads stdin cannot be stopped


async def obey(handler: Moody, server: UpstreamServer) -> None:
    """Take each line of stdin as a mood, until it ends."""
    loop = asyncio.get_running_loop()
    print("well", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        mood = line.strip()
        if mood == "refuses":
            await server.aclose()
        elif handler.mood == "refuses":
            await server.start()
        handler.mood = mood
        print(mood, flush=True)


class InstanceProcess:
    """Such a process, from outside. The port stays the same over restarts."""

    def __init__(self, service_s: float = SERVICE_S, workers: int = MANY) -> None:
        (self.port,) = free_ports(1)
        self._arguments = [str(self.port), str(round(service_s * 1000)), str(workers)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def launch(self) -> Self:
        """Start without waiting."""
        command = [sys.executable, "-m", "tests.support.instance_process", *self._arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        return self

    def await_ready(self) -> Self:
        assert self._told() == "well"
        return self

    def start(self) -> Self:
        return self.launch().await_ready()

    def be(self, mood: str) -> None:
        """Change its mood; it is in force on return."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mood}\n")
        self._process.stdin.flush()
        assert self._told() == mood

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def terminate(self) -> None:
        """SIGTERM, and wait until it has finished what ran."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def pause(self) -> None:
        """SIGSTOP: the kernel still accepts connections for it, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def alive(self) -> bool:
        return self._process is not None

    def _told(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.wait(20)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
