"""A service announces itself, stays known, and signs off; whatever the registry does meanwhile."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest

from discovery import register
from discovery.announcement import HttpCheck, Ttl
from discovery.consul_access import ConsulAccess
from discovery.consul_agent import ConsulAgent, RegistrationRefused
from discovery.registration import LONGEST_RETRY_S, Registration, delay_s, listening
from tests.support.embedded_registry import RegistryThread
from tests.support.registry_client import RegistryClient, eventually, until

QUICK = Ttl(ttl_s=1.5, heartbeat_s=0.2)


@pytest.fixture
def registry() -> Iterator[RegistryThread]:
    with RegistryThread() as it:
        yield it


@pytest.fixture
def asked(registry: RegistryThread) -> Iterator[RegistryClient]:
    """The registry as a watcher sees it."""
    with RegistryClient(registry.url) as client:
        yield client


@pytest.fixture
def orders(registry: RegistryThread) -> Callable[..., Registration]:
    """``orders``, to be registered with short times."""
    return lambda **given: register("orders", 9001, **{"id": "orders-1", "consul_url": registry.url, "check": QUICK} | given)


def states(asked: RegistryClient) -> dict[str, str]:
    return asked.statuses("orders")


PASSING = {"service:orders-1": "passing"}


def test_a_service_is_passing_while_its_block_runs_and_gone_afterwards(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """Passing from the first moment on, longer than its TTL, with all that was said of it."""
    with orders(address="127.0.0.1", tags=["a"], meta={"k": "v"}, weights=(5, 2)) as registration:
        assert states(asked) == PASSING
        (entry,) = asked.health("orders")
        time.sleep(2)
        assert states(asked) == PASSING
        assert "registered" in repr(registration)
    service = entry["Service"]
    assert (service["Address"], service["Port"], service["Tags"]) == ("127.0.0.1", 9001, ["a", "lbgateway.enable=true"])
    assert (service["Meta"], service["Weights"]) == ({"k": "v"}, {"Passing": 5, "Warning": 2})
    assert asked.health("orders") == []
    assert "closed" in repr(registration)


async def test_the_same_works_in_an_event_loop(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """Heartbeats come from a thread, so a busy loop does not cost the service its registration."""
    async with orders():
        assert states(asked) == PASSING
        time.sleep(2)  # noqa: ASYNC251 a loop that is held up
        assert states(asked) == PASSING
    assert asked.health("orders") == []


def test_a_block_that_fails_signs_off_nevertheless(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """And its exception goes on."""
    with pytest.raises(ZeroDivisionError), orders():
        _ = 1 / 0
    assert asked.health("orders") == []


def test_a_registration_may_be_entered_again_but_not_twice_at_once(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """A description is not used up by its use."""
    registration = orders()
    for _ in range(2):
        with registration, pytest.raises(RuntimeError, match="registered already"):
            registration.__enter__()
    assert asked.health("orders") == []


@pytest.mark.parametrize("check", [QUICK, HttpCheck("/health", heartbeat_s=0.2)])
def test_a_registry_that_forgets_is_told_again(
    registry: RegistryThread, orders: Callable[..., Registration], asked: RegistryClient, check: Ttl | HttpCheck
) -> None:
    """A development agent forgets with every restart; the service does not notice."""
    with orders(check=check):
        registry.restart(empty=True)
        eventually(lambda: len(asked.health("orders")) == 1, seconds=5)
    assert asked.health("orders") == []


def test_a_registry_that_is_away_is_waited_for_without_a_word_to_the_service(
    registry: RegistryThread, orders: Callable[..., Registration], asked: RegistryClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning at the beginning, and quick retries: back with a delay of two seconds at most."""
    with orders():
        registry.kill()
        time.sleep(1)
        registry.restart(empty=True)
        eventually(lambda: states(asked) == PASSING, seconds=LONGEST_RETRY_S + 1)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("does not answer, trying on" in message for message in warned) == 1
    assert sum("has forgotten this registration" in message for message in warned) == 1


def test_a_service_may_start_before_its_registry(
    registry: RegistryThread, orders: Callable[..., Registration], asked: RegistryClient
) -> None:
    """It starts all the same, and is registered as soon as that is possible."""
    registry.kill()
    with orders() as registration:
        assert "trying" in repr(registration)
        registry.restart()
        eventually(lambda: states(asked) == PASSING)


def test_a_refused_registration_is_an_error_of_the_start(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """No waiting can heal it, so whoever started the service hears of it, in the registry's words."""
    with pytest.raises(RegistrationRefused, match="Invalid Service Meta"), orders(meta={"a.b": "dots"}):
        pytest.fail("not reached")
    assert asked.health("orders") == []
    assert threads_of_registrations() == []


def test_a_refusal_later_on_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A token that lost its rights may get them back; it is said once."""
    registration = register("orders", 9001, consul_url="http://127.0.0.1:1")
    agent = RefusingAgent(ConsulAccess("http://127.0.0.1:1"))
    for _ in range(3):
        registration._try_beat(agent)
    assert caplog.text.count("refuses the registration, trying on: 403 no") == 1
    assert registration._failures == 3


class RefusingAgent(ConsulAgent):
    """Has changed its mind."""

    def register(self, payload: object) -> None:
        raise RegistrationRefused("403 no")


def test_leaving_is_quick_where_the_registry_does_not_answer(registry: RegistryThread, orders: Callable[..., Registration]) -> None:
    """Three seconds at most, even if it accepts connections and says nothing."""
    with orders(check=Ttl()) as registration, registry.paused():
        begun_s = time.monotonic()
        registration.__exit__()
        assert 2 < time.monotonic() - begun_s < 3.5


async def test_a_lifespan_registers_when_the_port_is_open(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """Servers open it after the application has started, and nobody may be sent there before."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        async with orders(check=QUICK).lifespan():
            pass  # an application that never opened its port ends as well
        port = door.getsockname()[1]
        registration = register("orders", port, id="orders-1", consul_url=asked.url, check=QUICK)
        async with registration.lifespan(object()):
            await asyncio.sleep(0.3)
            assert asked.health("orders") == []
            door.listen()
            await asyncio.to_thread(eventually, lambda: states(asked) == PASSING)
    assert asked.health("orders") == []


async def test_a_start_that_is_cancelled_leaves_nothing_behind(
    registry: RegistryThread, orders: Callable[..., Registration], asked: RegistryClient
) -> None:
    """What had begun in the thread signs off by itself."""
    with registry.paused():
        starting = asyncio.get_running_loop().create_task(orders().__aenter__())
        await asyncio.sleep(0.1)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    await until(lambda: threads_of_registrations() == [] and asked.health("orders") == [])


def test_leaving_has_three_steps(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """Closed to traffic at once, still there while what was on its way arrives, then gone; `close` shortens the second."""
    for check, closed in ((QUICK, "service:orders-1"), (HttpCheck("/health", heartbeat_s=0.2), "_service_maintenance:orders-1")):
        with orders(check=check, drain_s=30.0) as registration:
            registration.leave()
            eventually(lambda closed=closed: states(asked).get(closed) == "critical")
            time.sleep(0.3)
            assert states(asked)[closed] == "critical"
            registration.close()
            assert asked.health("orders") == []


def test_whoever_takes_over_an_id_is_not_signed_off_by_the_one_before(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """As after a reload that changed the tags."""
    before, after = orders(tags=["old"]).__enter__(), orders(tags=["new"])
    after.take_over(before)
    eventually(lambda: asked.health("orders")[0]["Service"]["Tags"][0] == "new")
    eventually(lambda: "registered" in repr(after) and "closed" in repr(before))
    assert len(threads_of_registrations()) == 1
    after.close()
    assert asked.health("orders") == []


def test_who_passes_an_entry_on_leaves_it_as_it_is(orders: Callable[..., Registration], asked: RegistryClient) -> None:
    """As in a takeover: the other process has the same id, and looks after it."""
    before = orders().__enter__()
    before.pass_on()
    before.close()
    assert len(asked.health("orders")) == 1
    assert threads_of_registrations() == []


def test_a_port_is_found_wherever_it_listens() -> None:
    """On the loopback of either kind, or at the address that is announced."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        assert listening(port, None)
        assert listening(port, "192.0.2.1")
    assert not listening(port, "127.0.0.2")
    with socket.create_server(("127.0.0.3", 0)) as door:
        assert listening(door.getsockname()[1], "127.0.0.3")


def threads_of_registrations() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("registration")]


def test_heartbeats_keep_their_time_and_failures_are_retried_sooner() -> None:
    """Jittered, never later than asked for; two seconds at most once something is wrong."""
    random = Random(7)
    assert all(4 <= delay_s(0, 5, random) <= 5 for _ in range(100))
    assert all(0.125 <= delay_s(1, 5, random) <= 0.25 for _ in range(100))
    assert all(delay_s(failures, 5, random) <= LONGEST_RETRY_S for failures in range(1, 2000))
    assert all(delay_s(9, 0.5, random) <= 0.5 for _ in range(100))
