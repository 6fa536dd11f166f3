"""``lbgateway demo`` as a newcomer sees it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.support.gateway_process import ROOT
from tests.support.launch import wait_until

GREETED_WITHIN_S = 30.0


class Demo:
    """A running demo, and what it has printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.output = folder / "output"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CONSUL_HTTP_ADDR": "127.0.0.1:1"}
        with self.output.open("wb") as output:
            command = [sys.executable, "-m", "lbgateway", "demo", *options]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=folder, start_new_session=True)

    def greeted(self) -> Self:
        wait_until(self._ready, GREETED_WITHIN_S, self.text)
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.text()
        return "Ctrl-C stops all of it" in self.text()

    def text(self) -> str:
        return self.output.read_text()

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.text())
        assert match, self.text()
        return match[1]

    @property
    def address(self) -> str:
        return self.found(r"The gateway is up at http://(\S+),")

    @property
    def token(self) -> str:
        return self.found(r"TOKEN=(\S+)")

    def children(self) -> list[int]:
        """The instances; they have sessions of their own, but one parent."""
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def demo(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Demo]:
    running = Demo(tmp_path, *getattr(request, "param", ()))
    try:
        yield running.greeted()
    finally:
        children = running.children() if running.process.poll() is None else []
        running.process.kill()
        running.process.wait()
        for pid in children:
            gone(pid)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> None:
    wait_until(lambda: not alive(pid), 10, lambda: f"process {pid} is still there")


def test_requests_are_spread_over_three_self_registered_instances(demo: Demo) -> None:
    """With the printed token; each instance answers its share."""
    answers = [demo.get("/api/echo/hello?x=1", demo.token) for _ in range(30)]
    assert {status for status, _ in answers} == {200}
    told = [json.loads(body) for _, body in answers]
    assert sorted(Counter(each["instance"] for each in told)) == ["echo-1", "echo-2", "echo-3"]
    assert {each["path"] for each in told} == {"/hello"}


def test_what_it_prints_can_be_pasted(demo: Demo) -> None:
    """Line by line into another terminal, the last one again: turns, a refusal, what the gateway sees, and one that is not missed."""
    lines = re.findall(r"^  (\S.*)$", demo.text(), re.MULTILINE)
    assert [line.split()[0].rpartition("/")[2] for line in lines[1:]] == ["for", "curl", "lbgateway", "curl", "curl", "curl", "kill"]
    typed = "\n".join(f"{line}; echo; echo ---" for line in [*lines, lines[1]])
    said = subprocess.run(["bash"], input=typed, capture_output=True, text=True, timeout=30, check=True, cwd=demo.output.parent).stdout
    _, turns, refused, table, upstreams, health, metrics, _, again, _ = said.split("---\n")
    assert Counter(re.findall(r"echo-\d", turns)) == {"echo-1": 2, "echo-2": 2, "echo-3": 2}
    assert refused.startswith("HTTP/1.1 401 ")
    assert len(re.findall(r"^echo +echo-\d .* ready ", table, re.MULTILINE)) == 3
    assert [json.loads(upstreams)["services"][0]["name"], json.loads(health)["status"], metrics[:6]] == ["echo", "ok", "# HELP"]
    assert Counter(re.findall(r"echo-\d", again)) == {"echo-2": 3, "echo-3": 3}


def test_without_the_token_it_is_401(demo: Demo) -> None:
    """And the answer is a problem document of the gateway's own."""
    status, body = demo.get("/api/echo/hello")
    assert status == 401
    assert json.loads(body)["status"] == 401


def test_an_instance_that_is_killed_is_not_missed(demo: Demo) -> None:
    """SIGKILL: it could not sign off, and yet no request fails."""
    os.kill(demo.children()[0], signal.SIGKILL)
    assert {demo.get("/api/echo/hello", demo.token)[0] for _ in range(20)} == {200}


@pytest.mark.parametrize("demo", [("--transport", "httpx")], indirect=True)
def test_all_of_it_works_over_httpx(demo: Demo) -> None:
    """Turns, a death that nobody notices, and an end that leaves nothing behind."""
    answers = [demo.get("/api/echo/hello", demo.token) for _ in range(6)]
    assert Counter(json.loads(body)["instance"] for _, body in answers) == {"echo-1": 2, "echo-2": 2, "echo-3": 2}
    children = demo.children()
    os.kill(children[0], signal.SIGKILL)
    assert {demo.get("/api/echo/hello", demo.token)[0] for _ in range(20)} == {200}
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(15) == 0, demo.text()
    assert [pid for pid in children if alive(pid)] == []
    assert "Traceback" not in demo.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_0_and_leaves_no_process(demo: Demo, number: signal.Signals) -> None:
    """What Ctrl-C does."""
    children = demo.children()
    assert len(children) == 3
    demo.process.send_signal(number)
    assert demo.process.wait(15) == 0, demo.text()
    assert [pid for pid in children if alive(pid)] == []
    assert "Traceback" not in demo.text()


def test_a_signal_before_it_serves_ends_it_as_well(tmp_path: Path) -> None:
    """An impatient Ctrl-C leaves nothing behind either."""
    demo = Demo(tmp_path)
    wait_until(lambda: len(demo.children()) == 3, 20, demo.text)
    children = demo.children()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(15) == 0, demo.text()
    assert [pid for pid in children if alive(pid)] == []


def test_instances_end_even_if_the_demo_is_killed(demo: Demo) -> None:
    """Nobody can catch SIGKILL; the instances notice that their parent is gone."""
    children = demo.children()
    demo.process.kill()
    demo.process.wait()
    for pid in children:
        gone(pid)


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """`port` is in use: by whoever has it, or else by us."""
    with socket.socket() as listener:
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            listener.listen()
        yield


def test_a_second_demo_takes_the_next_ports(demo: Demo, tmp_path: Path) -> None:
    """And says so."""
    folder = tmp_path / "second"
    folder.mkdir()
    with taken(8080), taken(8500):
        second = Demo(folder).greeted()
    try:
        assert second.address != demo.address
        assert "is taken, so the gateway listens on" in second.text()
        assert "is taken, so the registry listens on" in second.text()
        assert second.get("/api/echo/hello", second.token)[0] == 200
    finally:
        started_s = time.monotonic()
        second.process.terminate()
        assert second.process.wait(15) == 0
        assert time.monotonic() - started_s < 10
