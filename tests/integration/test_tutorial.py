"""``docs/tutorial.md``: its commands, in their order, against a real Consul, and what the page says they print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.consul_server import ConsulServer
from tests.support.launch import free_ports
from tests.support.tutorial import GIVEN, PAGE, Terminal, agrees, steps

README = PAGE.parents[1] / "README.md"


def environment(consul: ConsulServer, gateway: int, folder: Path) -> dict[str, str]:
    """What makes this machine's ports those of the page."""
    return {
        "CONSUL_HTTP_ADDR": consul.url,
        "LBGATEWAY_DISCOVERY__CONSUL__URL": consul.url,
        "LBGATEWAY_SERVER__PORT": str(gateway),
        "LBGATEWAY_ADMIN_URL": f"http://127.0.0.1:{gateway}",
        "RUNTIME_DIRECTORY": str(folder),
    }


def test_the_tutorial_does_what_it_says(consul_server: ConsulServer, tmp_path):
    """From the first service to the last signal; only ports are this machine's."""
    gateway, first, second = free_ports(3)
    ports = {"8080": str(gateway), "9001": str(first), "9002": str(second), "900…": "…"}

    def here(text: str) -> str:
        for written, meant in ports.items():
            text = text.replace(written, meant)
        return "\n".join(line for line in text.splitlines() if not line.startswith(GIVEN))

    with Terminal(tmp_path, environment(consul_server, gateway, tmp_path)) as terminal:
        for number, (kind, text, shown) in enumerate(steps()):
            if kind == "sh":
                said = terminal.run(number, here(text))
                assert agrees(here(shown), said), f"step {number}:\n{text}\nsays:\n{said}\nand not:\n{shown}"
            else:
                (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(here(text))


def test_the_readme_reaches_a_service_of_a_real_consul(consul_server: ConsulServer, tmp_path):
    """Its commands as they stand there, but for the installation, Consul itself and its command, which a test has in other ways."""
    gateway, service = free_ports(2)
    (text,) = [each for each in re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL) if "consul agent" in each]
    lines = text.replace("8080", str(gateway)).replace("9001", str(service)).splitlines()
    given = ("make install", "consul agent -dev", "until consul services register")
    assert [sum(line.startswith(each) for line in lines) for each in given] == [1, 1, 1]
    assert f"-name orders -port {service} -address 127.0.0.1 -tag lbgateway.enable=true" in text.replace("9001", str(service))
    (tmp_path / "docs").mkdir()
    consul_server.register("orders", service)
    with Terminal(tmp_path, environment(consul_server, gateway, tmp_path)) as terminal:
        said = terminal.run(0, "\n".join(line for line in lines if not line.startswith(given)) + "\nlbgateway upstreams orders")
        schema = "lbgateway config schema > gateway.schema.json"
        told = ("lbgateway check gateway.yaml", schema, "lbgateway routes", "explain orders")
        assert all(f"`{each}" in README.read_text() for each in told)
        seen = terminal.run(1, f"lbgateway check gateway.yaml; {schema}; lbgateway routes; lbgateway explain orders")
        terminal.run(2, "kill %1 %2; wait")  # %3 is the page's Consul

    assert "Directory listing" in said
    assert f"127.0.0.1:{service}" in said.partition("Directory listing")[2]
    assert re.search(r"is fine.*/api/\{service\}.*orders: balancer ewma.* yes .*ready: takes its share", seen, re.DOTALL)
    assert json.loads((tmp_path / "gateway.schema.json").read_text())["properties"].keys() >= {"services", "routes"}


def test_only_what_a_test_has_already_is_left_out():
    """One line each: an installation, a folder, a Consul."""
    lines = [line for kind, text, _ in steps() if kind == "sh" for line in text.splitlines()]

    assert [sum(line.startswith(given) for line in lines) for given in GIVEN] == [1, 1, 1], PAGE


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [("a …\nc", "a 1\nb\nc", True), ("c\na …", "a 1\nb\nc", False), ("200 200", "    200 200", True), ("200 200", "199 200", False)],
)
def test_what_was_said_is_compared_line_by_line(shown, said, *, same):
    """A line that is missing, or comes in another order, is a difference."""
    assert agrees(shown, said) is same
