"""What ``lbgateway register`` makes of its arguments, and what it says to wrong ones."""

from __future__ import annotations

import socket
import subprocess
import sys
from argparse import Namespace

import pytest

from discovery.announcement import HttpCheck, Ttl
from discovery.consul_access import ConsulAccess
from lbgateway.cli import NO, WRONG_USAGE, main, parser
from lbgateway.cli.register import WrongUsage, access_of, announcement_of, check_of, command_of, seconds_of
from tests.support.embedded_registry import RegistryThread
from tests.support.registered_command import RegisteredCommand
from tests.support.registry_client import RegistryClient, eventually


def parsed(*options: str) -> Namespace:
    return parser().parse_args(["register", "--service", "orders", "--port", "9001", *options, "--", "./orders", "--port", "9001"])


def test_what_follows_the_dashes_is_the_command():
    """With options of its own, which are not ours."""
    assert command_of(parsed().argv) == ["./orders", "--port", "9001"]


def test_what_is_said_is_announced():
    """Tags, Meta and a prefix beside the opt-in tag."""
    options = ("--tag", "a", "--tag", "b", "--meta", "k=v=w", "--prefix", "/shop", "--address", "10.0.0.7", "--check", "http:/health")
    payload = announcement_of(parsed(*options)).payload()
    assert (payload["Name"], payload["ID"], payload["Address"], payload["Port"]) == ("orders", "orders-10.0.0.7-9001", "10.0.0.7", 9001)
    assert payload["Tags"] == ["a", "b", "lbgateway.prefix=/shop", "lbgateway.enable=true"]
    assert (payload["Meta"], payload["Check"]["HTTP"]) == ({"k": "v=w"}, "http://10.0.0.7:9001/health")
    assert announcement_of(parsed("--no-expose", "--id", "mine")).payload()["Tags"] == []


@pytest.mark.parametrize(
    ("text", "check"),
    [("ttl", Ttl()), ("http:/health", HttpCheck("/health")), ("http://127.0.0.1:9002/x", HttpCheck("http://127.0.0.1:9002/x"))],
)
def test_a_check_is_a_heartbeat_or_a_question(text, check):
    """Of ourselves, or of Consul."""
    assert check_of(text) == check


def test_a_ttl_is_three_heartbeats_long():
    """One or two may be lost."""
    assert check_of("ttl", "3s") == Ttl(ttl_s=3, heartbeat_s=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--check", "tcp"), "--check: ttl, or http:/path such as http:/health, not tcp"),
        (("--check", "http:health"), "--check: ttl, or http:/path such as http:/health, not http:health"),
        (("--check", "http:/x", "--ttl", "3s"), "--ttl belongs to --check ttl"),
        (("--meta", "version"), "--meta: KEY=VALUE, not version"),
        (("--prefix", "shop"), "--prefix: begins with a slash: /shop"),
        (("--port", "0"), "--port: 0 is not a port; those are 1 to 65535"),
        (("--service", ""), "--service: a service has a name"),
        (("--drain-pause", "2"), "--drain-pause: a duration needs a unit: write 2s for seconds or 2ms for milliseconds"),
        (("--consul", "unix:///run/consul.sock"), "a Unix socket cannot be used here"),
    ],
)
def test_wrong_usage_is_said_in_one_sentence(options, says, capsys):
    """And nothing is started."""
    assert main(["register", "--service", "orders", "--port", "9001", *options, "--", "no-such-command"]) == WRONG_USAGE
    assert says in capsys.readouterr().err


def test_there_must_be_a_command(capsys):
    """Where it goes is shown."""
    assert main(["register", "--service", "orders", "--port", "9001"]) == WRONG_USAGE
    assert "-- ./orders" in capsys.readouterr().err
    with pytest.raises(WrongUsage):
        command_of(["--"])


def test_a_port_that_somebody_else_has_is_not_announced(capsys):
    """It would be theirs, under our name."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["register", "--service", "orders", "--port", port, "--", "no-such-command"]) == NO
    assert f"something listens on port {port} already" in capsys.readouterr().err


def test_consul_is_found_as_its_own_tools_find_it():
    """What is said wins, part by part."""
    environment = {"CONSUL_HTTP_ADDR": "consul:8500", "CONSUL_HTTP_TOKEN": "t"}
    assert access_of(parsed(), environment) == ConsulAccess("http://consul:8500", "t")
    assert access_of(parsed("--consul", "other:8500", "--token", "u"), environment) == ConsulAccess("http://other:8500", "u")


def test_times_have_a_default():
    """And a unit where they are given."""
    assert (seconds_of("--ttl", None, 15.0), seconds_of("--ttl", "250ms", 15.0)) == (15.0, 0.25)


def test_it_tells_what_it_does_and_survives_a_registry_that_forgets():
    """Registered when the port is open, again when it was forgotten, gone with the command; each in one line."""
    with RegistryThread() as registry, RegistryClient(registry.url) as asked:
        with RegisteredCommand(registry.url, "--ttl", "900ms", "--drain-pause", "0s") as command:
            eventually(lambda: len(asked.health("orders")) == 1, 15)
            registry.restart(empty=True)
            eventually(lambda: len(asked.health("orders")) == 1, 5)
        assert asked.health("orders") == []
        told = [line for line in command.lines if line.startswith("lbgateway register: ")]
        assert [line.split(": ", 2)[2].split(" at ")[0] for line in told if "does not answer" not in line] == [
            "registered",
            "Consul",
            "registered",
            "deregistered",
        ]


def test_no_module_of_the_gateway_is_loaded():
    """It stays in memory beside each service."""
    code = "import sys, lbgateway.cli.register; print([m for m in ('pydantic', 'yaml', 'httpx', 'fastapi') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
