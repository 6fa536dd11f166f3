"""The gateway's own entry in the registry: what it says, and what becomes of it in reloads and at the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from discovery.announcement import HttpCheck
from discovery.consul_access import ConsulAccess
from discovery.registration import Registration
from lbgateway import __version__
from lbgateway.config import Settings, load_text
from lbgateway.self_registration import SelfRegistration, check_of, listening_address, registration_id, registration_of
from tests.support.embedded_registry import RegistryThread
from tests.support.registry_client import RegistryClient, until

HOST = socket.gethostname()


def settings_of(register: str = "register: {}", *, consul: str = "", rest: str = "") -> Settings:
    return load_text(f"auth: {{default: none}}\ndiscovery: {{consul: {{{register}{consul}}}}}\n{rest}", "gateway.yaml", {})


def described(settings: Settings, port: int) -> Registration:
    register = settings.discovery.consul.register_
    assert register is not None
    return registration_of(register, settings, port)


@pytest.fixture
def registry() -> Iterator[RegistryThread]:
    with RegistryThread() as it:
        yield it


@pytest.fixture
def asked(registry: RegistryThread) -> Iterator[RegistryClient]:
    with RegistryClient(registry.url) as client:
        yield client


@pytest.fixture
async def own() -> AsyncIterator[SelfRegistration]:
    """Signs off in the end."""
    it = SelfRegistration()
    yield it
    await it.aclose()


@pytest.mark.parametrize(
    ("register", "host", "address", "instance_id"),
    [
        ("register: {}", "127.0.0.1", "127.0.0.1", "lbgateway-127.0.0.1-8080"),
        ("register: {}", "10.0.0.5", "10.0.0.5", "lbgateway-10.0.0.5-8080"),
        ("register: {}", "0.0.0.0", None, f"lbgateway-{HOST}-8080"),
        ("register: {}", "'::'", None, f"lbgateway-{HOST}-8080"),
        ("register: {name: edge, address: gw.example, port: 80}", "0.0.0.0", "gw.example", "edge-gw.example-80"),
    ],
)
def test_the_address_is_where_the_gateway_listens(register, host, address, instance_id):
    """Unless it is said; where it listens everywhere, the agent or the way to it decides."""
    registration = described(settings_of(register, rest=f"server: {{host: {host}}}"), 8080)
    assert (registration.announcement.address, registration.id) == (address, instance_id)


def test_it_says_what_it_is_and_cannot_be_reached_through_itself():
    """Version and scheme for whoever looks, tags and more of the operator's own, and never the opt-in tag."""
    registration = described(settings_of("register: {tags: [edge], meta: {owner: ops}}", consul=", token: hush"), 8080)
    payload = registration.announcement.payload()
    assert payload["Tags"] == ["edge"]
    assert payload["Meta"] == {"version": __version__, "scheme": "http", "owner": "ops"}
    assert registration.access == ConsulAccess("http://127.0.0.1:8500", "hush")


@pytest.mark.parametrize(
    ("host", "same_machine", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:9000/health/live"),
        ("0.0.0.0", True, "http://127.0.0.1:9000/health/live"),
        ("'::'", True, "http://[::1]:9000/health/live"),
        ("10.0.0.5", True, "http://10.0.0.5:9000/health/live"),
        ("0.0.0.0", False, "http://192.0.2.7:80/health/live"),
    ],
)
def test_the_agent_checks_where_it_can_reach_the_gateway(host, same_machine, url):
    """On the same machine at the port that listens; from elsewhere at what is announced."""
    check = check_of(settings_of(rest=f"server: {{host: {host}}}"), 9000, same_machine=same_machine)
    assert isinstance(check, HttpCheck)
    assert check.definition("192.0.2.7", 80)["HTTP"] == url


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", None), ("::", None), ("::1", "::1"), ("gw.example", "gw.example")])
def test_everywhere_is_no_address(host, address):
    """And a name is one."""
    assert listening_address(host) == address


async def test_registered_when_the_port_is_open_and_gone_when_the_gateway_is(own, registry, asked):
    """Not before, and not because of settings alone; leaving closes it to traffic first."""
    settings = settings_of("register: {drain_pause: 3s}", consul=f", url: '{registry.url}'")
    own.follow(settings)
    await asyncio.sleep(0.1)
    assert asked.health("lbgateway") == []
    own.open(settings, 9000)
    await until(lambda: len(asked.health("lbgateway")) == 1)
    assert own.leave() == 3.0
    await until(lambda: "_service_maintenance:lbgateway-127.0.0.1-9000" in asked.statuses("lbgateway"))
    await own.aclose()
    assert asked.health("lbgateway") == []


async def test_a_reload_changes_the_entry_and_leaves_alone_what_did_not_change(own, registry, asked):
    """Other tags stand in the same entry, another name is another entry, none at all is none."""

    def wanted(register: str) -> Settings:
        return settings_of(f"register: {register}", consul=f", url: '{registry.url}'")

    def tags() -> list[str]:
        return [tag for name in ("lbgateway", "edge") for entry in asked.health(name) for tag in (name, *entry["Service"]["Tags"])]

    own.open(wanted("{tags: [a]}"), 9000)
    await until(lambda: tags() == ["lbgateway", "a"])
    index = asked.index("health/service/lbgateway")
    own.follow(wanted("{tags: [a], drain_pause: 9s}"))
    await asyncio.sleep(0.1)
    assert asked.index("health/service/lbgateway") == index
    own.follow(wanted("{tags: [b]}"))
    await until(lambda: tags() == ["lbgateway", "b"])
    own.follow(wanted("{tags: [b]}").model_copy(update={"server": settings_of(rest="server: {host: 10.0.0.5}").server}))
    await asyncio.sleep(0.1)
    assert asked.statuses("lbgateway").keys() == {"service:lbgateway-127.0.0.1-9000"}, "a listener cannot move"
    own.follow(wanted("{name: edge, tags: [c]}"))
    await until(lambda: tags() == ["edge", "c"])
    own.follow(wanted("null"))
    await until(lambda: tags() == [])
    assert own.leave() == 0.0


@pytest.mark.parametrize(("name", "left"), [("lbgateway", 1), ("edge", 0)])
async def test_an_entry_that_a_successor_keeps_is_left_to_it(registry, asked, name, left):
    """Under another id it has one of its own, and ours goes."""
    own, settings = SelfRegistration(), settings_of(consul=f", url: '{registry.url}'")
    own.open(settings, 9000)
    await until(lambda: len(asked.health("lbgateway")) == 1)
    own.pass_on(registration_id(settings_of(f"register: {{name: {name}}}"), 9000))
    await own.aclose()
    assert len(asked.health("lbgateway")) == left


async def test_who_is_not_registered_has_nothing_to_pass_on():
    """Neither here nor there."""
    assert registration_id(settings_of("register: null"), 9000) is None
    SelfRegistration().pass_on(None)
