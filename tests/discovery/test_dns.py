"""The whole source against nameservers of the test, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest

from discovery.dns import DnsSource
from discovery.errors import DiscoveryError, ReadTimedOut
from discovery.instance import Catalog, Snapshot
from tests.support.virtual_time import run_virtual


class Scene:
    """A source, what it told, and the zone behind it: service -> ports; None for an answer without records."""

    def __init__(self, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.zone: dict[str, list[int] | None] = {"orders": [9001, 9002]}
        self.ttl_s = 0
        self.error: DiscoveryError | Exception | None = None
        self.rcode = dns.rcode.NOERROR
        self.asked: list[float] = []
        self.told: list[Snapshot] = []
        self.errors: Counter[str] = Counter()
        self.updates: list[str] = []
        self.source = DnsSource(
            [("10.0.0.1", 53)],
            clock=loop.time,
            random=Random(1),
            ask=self.answer,
            on_error=self.count,
            on_update=self.updates.append,
            **settings,
        )

    def count(self, kind: str) -> None:
        self.errors[kind] += 1

    async def answer(self, _server: object, query: dns.message.QueryMessage) -> dns.message.Message:
        self.asked.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error
        name = str(query.question[0].name)
        response = dns.message.make_response(query)
        response.set_rcode(self.rcode)
        ports = self.zone.get(name.partition(".")[0], []) if name.endswith(".service.consul.") else None
        if ports == []:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for port in ports or ():
            response.answer.append(dns.rrset.from_text(name, self.ttl_s, "IN", "SRV", f"1 1 {port} n1."))
            response.additional = [dns.rrset.from_text("n1.", self.ttl_s, "IN", "A", "10.0.0.9")]
        return response

    async def watch(self, service: str = "orders") -> None:
        self.source.watch(service, self.told.append)
        await self.source.start()
        await asyncio.sleep(0.1)

    @property
    def last(self) -> str:
        return f"{self.told[-1].state} " + " ".join(f"{i.port}:{i.state}" for i in self.told[-1].instances)


def play(story: Callable[[Scene], Awaitable[None]], **settings: Any) -> Scene:
    async def whole() -> Scene:
        scene = Scene(**settings)
        await story(scene)
        await scene.source.aclose()
        assert len(asyncio.all_tasks()) == 1
        return scene

    return run_virtual(whole())


def test_what_comes_and_goes_is_told_within_the_interval() -> None:
    """Without a TTL, as from Consul."""

    async def story(scene: Scene) -> None:
        await scene.watch("Orders")
        assert scene.last == "fresh 9001:passing 9002:passing"
        scene.zone["orders"] = [9001, 9003, 9004]
        await asyncio.sleep(5)
        assert scene.last == "fresh 9001:passing 9003:passing 9004:passing"
        assert scene.updates == ["orders", "orders"]
        await asyncio.sleep(20)
        assert len(scene.told) == 2
        assert len(scene.asked) == 6

    play(story)


def test_a_ttl_is_respected() -> None:
    """It says for how long nothing will be new."""

    async def story(scene: Scene) -> None:
        scene.ttl_s = 30
        await scene.watch()
        await asyncio.sleep(100)
        assert len(scene.asked) == 4

    play(story)


@pytest.mark.parametrize("empty", [[], None])
def test_nobody_left_is_doubted_at_first(empty: list[int] | None) -> None:
    """NXDOMAIN, or no records: a registry that has lost its data looks the same."""

    async def story(scene: Scene) -> None:
        await scene.watch()
        scene.zone["orders"] = empty
        await asyncio.sleep(10)
        assert scene.last == "fresh 9001:suspect 9002:suspect"
        await asyncio.sleep(10)
        assert scene.last == "fresh "

    play(story)


def test_a_name_that_never_existed_is_empty() -> None:
    """503 at once, not "nothing heard yet"."""

    async def story(scene: Scene) -> None:
        await scene.watch("absent")
        assert scene.last == "fresh "
        assert scene.source.status().state == "fresh"

    play(story)


@pytest.mark.parametrize(
    ("error", "rcode", "kind"),
    [(ReadTimedOut("silence"), "NOERROR", "timeout"), (None, "SERVFAIL", "server_error"), (None, "REFUSED", "denied")],
)
def test_an_outage_takes_nothing_away(error: DiscoveryError | None, rcode: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Stale, then expired, still served; told and logged once, counted always; and over with the first answer."""
    caplog.set_level("INFO")

    async def story(scene: Scene) -> None:
        await scene.watch()
        scene.error, scene.rcode = error, dns.rcode.from_text(rcode)
        await asyncio.sleep(30)
        assert scene.last == "stale 9001:passing 9002:passing"
        assert len(scene.told) == 2
        assert scene.errors.keys() == {kind}
        status = scene.source.status()
        assert (status.state, status.last_error is not None) == ("stale", True)
        await asyncio.sleep(660)
        assert scene.last == "expired 9001:passing 9002:passing"
        assert len(scene.asked) < 50  # it does not hammer
        scene.error, scene.rcode = None, dns.rcode.NOERROR
        await asyncio.sleep(30)
        assert scene.last == "fresh 9001:passing 9002:passing"
        assert scene.source.status().last_error is None

    play(story)
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in said] == ["DNS cannot be read, what is known stays", "the nameservers answer again"]


def test_a_bug_does_not_end_it() -> None:
    """It is an error like others."""

    async def story(scene: Scene) -> None:
        scene.error = ZeroDivisionError()
        await scene.watch()
        assert scene.source.status().last_error == "internal error: ZeroDivisionError()"
        scene.error = None
        await asyncio.sleep(31)
        assert scene.last == "fresh 9001:passing 9002:passing"

    play(story)


def test_services_are_followed_and_forgotten() -> None:
    """A second listener hears what is known at once; DNS has no list of names, and says so once."""

    async def story(scene: Scene) -> None:
        catalogs: list[Catalog] = []
        scene.source.watch_catalog(catalogs.append)
        assert [catalog.services for catalog in catalogs] == [{}]
        assert scene.source.status().state is None
        await scene.watch()
        again: list[Snapshot] = []
        scene.source.watch("ORDERS", again.append)
        assert again == [scene.source.snapshot("orders")]
        scene.source.watch("users", again.append)
        await asyncio.sleep(0.1)
        assert again[-1].service == "users"
        scene.source.unwatch("orders")
        scene.source.unwatch("unknown")
        assert scene.source.snapshot("orders") is None
        asked = len(scene.asked)
        await asyncio.sleep(6)
        assert len(scene.asked) == asked + 1
        assert repr(scene.source) == "<DnsSource {service}.service.consul services=1>"

    play(story)


def test_the_name_is_a_pattern() -> None:
    """For nameservers that are no Consul."""

    async def story(scene: Scene) -> None:
        scene.zone = {"_orders": [1]}
        await scene.watch()
        assert scene.last == "fresh 1:passing"

    play(story, name="_{service}.service.consul")
