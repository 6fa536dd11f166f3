"""What a successor must know, and what it is left."""

from __future__ import annotations

import asyncio

import pytest

from lbgateway.config import load_text
from lbgateway.handover import Successor
from lbgateway.runtime import Gateway
from lbgateway.succession import informed, pass_on
from lbgateway.takeover import TakeoverFailed
from tests.support.launch import free_ports

BASE = "auth: {default: none}\nlogging: {access_log: false}\n"


async def gateway_of(text: str) -> Gateway:
    return Gateway(load_text(BASE + text, "gateway.yaml", {}), asyncio.get_running_loop())


async def test_without_any_answer_of_the_registry_nothing_is_taken_over():
    """The gateway that runs knows the last one; the message says why we do not."""
    gateway = await gateway_of(f"discovery: {{consul: {{url: 'http://127.0.0.1:{free_ports(1)[0]}'}}}}\n")
    await gateway.start()
    with pytest.raises(TakeoverFailed, match=r"tells this process nothing \(.*\), and the running gateway knows"):
        await informed(gateway, 0.3)
    await gateway.aclose()


async def test_what_is_in_the_file_is_known_at_once():
    """Nobody else need be asked."""
    gateway = await gateway_of("discovery: {provider: static}\n")
    await gateway.start()
    await informed(gateway, 5)
    await gateway.aclose()


@pytest.mark.parametrize(("drain_timeout", "farewell_s"), [("30s", 15.0), ("500ms", 0.5), ("10m", 75.0)])
async def test_kept_connections_have_time_to_learn_of_it(drain_timeout, farewell_s):
    """Half of the time to drain, and never longer than they would live anyway."""
    gateway = await gateway_of(f"discovery: {{provider: static}}\nserver: {{drain_timeout: {drain_timeout}}}\n")
    pass_on(gateway, Successor(1, None))
    assert (gateway.plane.farewell_s, gateway.view.draining()) == (farewell_s, True)


async def test_snapshots_are_the_successors_to_write():
    """What our store still knows stays unwritten, also at the end."""
    gateway = await gateway_of("discovery: {consul: {url: 'http://127.0.0.1:9', snapshot: registry.json}}\n")
    gateway.store = store = Store()  # type: ignore[assignment]  # as far as it is looked at
    pass_on(gateway, Successor(1, None))
    assert store.passed_on


class Store:
    passed_on = False

    def pass_on(self) -> None:
        self.passed_on = True
