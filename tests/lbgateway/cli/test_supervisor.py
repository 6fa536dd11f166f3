"""One command beside its registration: what it hears, when it hears it, and what is made of its end."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.support.embedded_registry import RegistryThread
from tests.support.registered_command import RegisteredCommand
from tests.support.registry_client import RegistryClient, eventually


@pytest.fixture
def asked() -> Iterator[RegistryClient]:
    with RegistryThread() as registry, RegistryClient(registry.url) as client:
        yield client


@pytest.fixture
def orders(asked: RegistryClient) -> Callable[..., RegisteredCommand]:
    return lambda *options, **more: RegisteredCommand(asked.url, *options, **more)


def passing(asked: RegistryClient) -> bool:
    return asked.statuses("orders") == {"service:orders-1": "passing"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_traffic_is_ended_before_the_command_is(asked, orders, number):
    """Critical at once, while it still answers; then it hears the signal, and its exit code is handed through."""
    with orders("--drain-pause", "600ms") as command:
        eventually(lambda: passing(asked), 15)
        command.signal(number)
        eventually(lambda: asked.statuses("orders") == {"service:orders-1": "critical"}, 0.5)
        with urllib.request.urlopen(f"http://127.0.0.1:{command.port}/", timeout=2) as answer:
            assert answer.status == 200
        assert not command.said("heard")
        assert command.wait() == 7
        assert command.said(f"heard {number.name}")
    assert asked.health("orders") == []


def test_somebody_impatient_is_heard_at_once(asked, orders):
    """The second signal ends the pause."""
    with orders("--drain-pause", "60s") as command:
        eventually(lambda: passing(asked), 15)
        command.signal(signal.SIGTERM)
        eventually(lambda: not passing(asked), 2)
        command.signal(signal.SIGTERM)
        assert command.wait(10) == 7
    assert asked.health("orders") == []


def test_other_signals_are_passed_on_as_they_come(asked, orders):
    """A program reloads at SIGHUP, and stays registered."""
    with orders() as command:
        eventually(lambda: passing(asked), 15)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            command.signal(number)
            eventually(lambda number=number: command.said(f"heard {number.name}"))
        assert passing(asked)


def test_a_command_that_is_ended_by_a_signal_counts_as_in_a_shell(asked, orders):
    """128+n; and who never listened was never announced, so nobody has to be waited for."""
    with orders("--drain-pause", "60s", command=["sleep", "60"]) as command:
        eventually(lambda: command.process.poll() is None and bool(command.children()), 15)
        assert asked.health("orders") == []
        command.signal(signal.SIGTERM)
        assert command.wait(10) == 128 + signal.SIGTERM


def test_a_command_that_ends_by_itself_takes_its_entry_along(asked, orders):
    """At once: there is nobody left to serve."""
    with orders() as command:
        eventually(lambda: passing(asked), 15)
        os.kill(command.children()[0], signal.SIGKILL)
        assert command.wait(10) == 128 + signal.SIGKILL
    assert asked.health("orders") == []


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["no-such-command"], 127, "lbgateway register: no-such-command: command not found"),
        (["/"], 126, "lbgateway register: /: Permission denied"),
        ([sys.executable, "-c", "raise SystemExit(3)"], 3, None),
    ],
)
def test_a_command_that_does_not_run_says_so(asked, orders, command, code, says):
    """With the exit codes of a shell, and without a registration."""
    with orders(command=command) as it:
        assert it.wait() == code
        assert says is None or it.lines == [says]
    assert asked.health("orders") == []


def test_whose_wrapper_is_killed_is_not_announced_for_ever(asked, orders):
    """The heartbeats end with it; the registry takes the entry out a minute later."""
    with orders("--ttl", "900ms") as command:
        eventually(lambda: passing(asked), 15)
        [service] = command.children()
        command.process.kill()
        begun_s = time.monotonic()
        eventually(lambda: asked.statuses("orders") == {"service:orders-1": "critical"}, 5)
        assert time.monotonic() - begun_s < 3
        os.kill(service, signal.SIGTERM)
