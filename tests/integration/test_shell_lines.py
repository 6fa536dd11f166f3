"""The shell lines of the pages, typed as they stand there: against a real Consul and a running gateway, with this machine's ports.

The tutorial's and the README's have a test of their own, `test_tutorial`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.consul_server import ConsulServer
from tests.support.launch import free_ports, wait_until
from tests.support.pages import ROOT, blocks
from tests.support.real_servers import consul_command
from tests.support.tokens import SECRET, token
from tests.support.tutorial import Terminal, agrees
from tests.support.upstream_server import UpstreamServer, UpstreamThread

ADMIN_TOKEN = "open-sesame"
AS_OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
LINES = dict(blocks("sh"))
ELSEWHERE = ("README.md", "docs/tutorial.md")
NOT_TYPED = ("make up", "curl http://127.0.0.1:8080/api/orders/1\n", "python3 -m venv /opt", "systemctl enable")
"""What wants a Docker engine (`make test-docker` has the same deployment), a systemd, or a minute for an installation."""

SERVICE = """#!/bin/sh
mkdir -p site && : > site/health && exec python3 -m http.server --bind 127.0.0.1 --directory site {port}
"""


class World:
    """A terminal in a folder with ``gateway.yaml``, where the gateway runs as the job ``$gateway``; ``orders`` has three instances."""

    def __init__(self, terminal: Terminal, folder: Path, consul: ConsulServer, upstreams: list[UpstreamServer], gateway: int) -> None:
        self.terminal = terminal
        self.folder = folder
        self.consul = consul
        self.upstreams = upstreams
        self.free = free_ports(1)[0]
        """Where the pages' services listen that are started by a line."""
        self.url = f"http://127.0.0.1:{gateway}"
        self._steps = 0
        self._meant = {"127.0.0.1:8080": f"127.0.0.1:{gateway}", "https://consul.example:8501": consul.url, "10.0.0.7": "127.0.0.1"}

    def type(self, text: str, **meant: str) -> str:
        """What `text` prints. `meant`: what stands for what here, beside ports and addresses."""
        for written, here in {**self._meant, **meant}.items():
            text = text.replace(written, here)
        self._steps += 1
        return self.terminal.run(self._steps, text)

    def page(self, name: str) -> list[str]:
        """The shell blocks of ``docs/NAME.md``, of which each is to be typed."""
        return [text for place, text in LINES.items() if place.startswith(f"docs/{name}.md:")]

    def get(self, path: str) -> tuple[int, bytes]:
        got = httpx.get(self.url + path, headers={"Authorization": f"Bearer {token()}"}, timeout=5)
        return got.status_code, got.content

    def admin(self, path: str) -> Any:
        return httpx.get(f"{self.url}/admin/{path}", headers=AS_OPERATOR, timeout=5).json()

    def states(self) -> dict[str, str]:
        """Of all instances of ``orders``, by their id."""
        return {each["id"]: each["state"] for each in self.admin("upstreams/orders")["instances"]}


CONFIG = {
    "auth": {"jwt": {"algorithms": ["HS256"], "secret": SECRET}},
    "admin": {"token": ADMIN_TOKEN},
    "logging": {"access_log": False},
    "server": {"drain_timeout": "1s"},
    "discovery": {"consul": {"tag_prefixes": {"shop": ["/shop"]}, "config_key": "lbgateway/routes"}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "bin").mkdir()
    consul_command(folder / "bin")
    (folder / "gateway.yaml").write_text(yaml.safe_dump(CONFIG))
    (gateway,) = free_ports(1)
    with ConsulServer() as consul, UpstreamThread() as one, UpstreamThread() as two, UpstreamThread() as three:
        environment = {
            "CONSUL_HTTP_ADDR": consul.url,
            "LBGATEWAY_DISCOVERY__CONSUL__URL": consul.url,
            "LBGATEWAY_SERVER__PORT": str(gateway),
            "LBGATEWAY_ADMIN_URL": f"http://127.0.0.1:{gateway}",
            "LBGATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
            "TOKEN": token(),
            "RUNTIME_DIRECTORY": str(folder),
        }
        for number, upstream in enumerate((one, two, three), 1):
            consul.register("orders", int(upstream.address.rpartition(":")[2]), ID=f"orders-{number}")
        with Terminal(folder, environment) as terminal:
            world = World(terminal, folder, consul, [one, two, three], gateway)
            world.type('export PATH="$PWD/bin:$PATH"; lbgateway run --config gateway.yaml > gateway.log 2>&1 & gateway=$!')
            wait_until(lambda: answers(world), 20, (folder / "gateway.log").read_text)
            yield world


def answers(world: World) -> bool:
    try:
        return world.get("/api/orders/")[0] == 200
    except httpx.TransportError:
        return False


# -- page by page ----------------------------------------------------------------------------------


def admin_api(world: World) -> None:
    """A request explains itself as the page shows; an order is among the events."""
    explain, watch = world.page("admin-api")
    page = (ROOT / "docs/admin-api.md").read_text()
    (shown,) = re.findall(r"^```\n(X-Gateway-Explain.*?)^```", page, re.MULTILINE | re.DOTALL)
    here = re.sub(r'(?<=ms=)[\d.]+|(?<=instance="orders-)\d|(?<=reason=")[^"]+', "…", shown)
    said = world.type(explain)
    assert agrees(here, "\n".join(re.sub("^x-gateway-explain", "X-Gateway-Explain", line) for line in said.splitlines())), said

    events = world.folder / "events"
    world.type(f"(exec {watch.strip()}) > events & watching=$!")
    wait_until(lambda: world.admin("upstreams")["gateway"]["workers"] == 1 and events.exists(), 5, lambda: "nobody watches")
    world.type("lbgateway drain orders orders-1; lbgateway undrain orders orders-1")
    wait_until(lambda: events.read_text().count("event: operator") == 2, 5, events.read_text)
    world.type("kill $watching; wait $watching")


def how_to(world: World) -> None:
    """An instance gets more, and less; it is drained and brought back, here and for all gateways."""
    weigh, drain, maintain = world.page("how-to")
    assert re.findall(r"orders-2 is (\w+).*, weight (\d+)", world.type(weigh)) == [("ready", "5"), ("ready", "1"), ("draining", "1")]
    httpx.post(f"{world.url}/admin/upstreams/orders/orders-2/undrain", headers=AS_OPERATOR).raise_for_status()

    told = world.type(drain)
    assert re.search(r"orders-1 is draining.*^orders-1 +\S+ +draining +1 +0 .*orders-1 is ready", told, re.MULTILINE | re.DOTALL), told

    enable, disable = maintain.splitlines()
    world.type(enable)
    kept = {"orders-1": "maintenance", "orders-2": "ready", "orders-3": "ready"}
    wait_until(lambda: world.states() == kept, 5, lambda: str(world.states()))
    assert "a deploy" in str(world.admin("upstreams/orders"))
    world.type(disable)
    wait_until(lambda: set(world.states().values()) == {"ready"}, 5, lambda: str(world.states()))


def registration(world: World) -> None:
    """A program in any language is found while it runs, with all that the line says of it."""
    plain, full = world.page("registration")
    for name in ("orders", "bin/java"):
        (world.folder / name).write_text(SERVICE.format(port=world.free))
        (world.folder / name).chmod(0o755)
    for line, facts in ((plain, {}), (full, {"tags": "canary", "meta": "7"})):
        world.type(f"{line.strip()} > registered.log 2>&1 & service=$!", **{"9001": str(world.free)})

        def newcomer() -> dict[str, Any]:
            return next((each for each in world.admin("upstreams/orders")["instances"] if each["port"] == world.free), {"state": None})

        wait_until(lambda: newcomer()["state"] == "ready", 15, (world.folder / "registered.log").read_text)
        assert all(value in str(newcomer()[key]) for key, value in facts.items())
        world.type("kill $service; sleep 0.1; kill $service; wait $service")
        wait_until(lambda: newcomer()["state"] in (None, "draining", "gone"), 5, lambda: str(newcomer()))


def routes(world: World) -> None:
    """A service brings its route along, a key of the store another one: the table is as the page shows it."""
    register, put = world.page("routes")
    page = (ROOT / "docs/routes.md").read_text()
    (stored,) = re.findall(r"^```yaml\n# routes.yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (world.folder / "routes.yaml").write_text(stored)
    world.type(register, **{"9001": world.upstreams[0].address.rpartition(":")[2]})
    world.type(put)
    wait_until(lambda: world.get("/shop/items")[0] == 200 == world.get("/v1/orders/7")[0], 10, lambda: world.type("lbgateway routes"))
    assert {each.target for upstream in world.upstreams for each in upstream.requests} >= {"/items", "/7"}
    (shown,) = re.findall(r"^```\n(HOST .*?)^```", page, re.MULTILINE | re.DOTALL)
    said = world.type("lbgateway routes").replace(" required ", " none ")
    assert agrees("\n".join(shown.splitlines()[:4]), said), said
    world.consul.deregister("shop")


def migration(world: World, page: str) -> None:
    """One line of registration, and the old path leads there."""
    (register,) = world.page(page)
    assert "Registered service: shop" in world.type(register, **{"9001": world.upstreams[0].address.rpartition(":")[2]})
    wait_until(lambda: world.get("/shop/items")[0] == 200, 10, lambda: world.type("lbgateway routes"))
    world.consul.deregister("shop")


def deployment(world: World) -> None:
    """The files come where the page puts them; the rest is not for a test, see `NOT_TYPED`."""
    up, systemd = world.page("deployment")
    (world.folder / "deploy").symlink_to(ROOT / "deploy")
    (world.folder / "etc/systemd/system").mkdir(parents=True)
    typed = [line for line in systemd.splitlines() if not line.startswith(NOT_TYPED)]
    assert [line for line in up.splitlines(keepends=True) if not line.startswith(NOT_TYPED)] == []
    world.type("\n".join(typed), **{" /etc/": f" {world.folder}/etc/"})
    put = {str(path.relative_to(world.folder / "etc")) for path in (world.folder / "etc").rglob("*") if path.is_file()}
    assert put == {"lbgateway/gateway.yaml", "systemd/system/lbgateway.service", "systemd/system/lbgateway.socket"}


def takeover(world: World) -> None:
    """Another process takes the port, the first one leaves with 0, and requests are answered all the time."""
    (take,) = world.page("operations")
    world.type(f"{take.partition('#')[0].strip()} > second.log 2>&1 & second=$!")
    assert "the first one ended with 0" in world.type('wait $gateway; echo "the first one ended with $?"')
    assert world.get("/api/orders/")[0] == 200
    world.type("gateway=$second")


STORIES: dict[str, Callable[[World], None]] = {
    "admin-api": admin_api,
    "how-to": how_to,
    "registration": registration,
    "routes": routes,
    "migrate-from-traefik": lambda world: migration(world, "migrate-from-traefik"),
    "migrate-from-fabio": lambda world: migration(world, "migrate-from-fabio"),
    "deployment": deployment,
    "operations": takeover,
}


@pytest.mark.parametrize("page", STORIES)
def test_the_lines_of_a_page_do_what_it_says(page: str, world: World) -> None:
    """Word by word, with this machine's ports."""
    STORIES[page](world)


def test_each_page_with_shell_lines_has_its_story() -> None:
    """A new one takes a story along; and a story takes all blocks of its page, or it would not begin."""
    assert {Path(place.partition(":")[0]).stem for place in LINES if not place.startswith(ELSEWHERE)} == set(STORIES)
