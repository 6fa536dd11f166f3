"""Where Consul is, as whom it is asked, and from where."""

from __future__ import annotations

from pathlib import Path

import pytest

from discovery.consul_access import DEFAULT_URL, ConsulAccess, access_from_environment, is_loopback


@pytest.mark.parametrize(
    ("environment", "access"),
    [
        ({}, ConsulAccess(DEFAULT_URL)),
        ({"CONSUL_HTTP_ADDR": ""}, ConsulAccess(DEFAULT_URL)),
        ({"CONSUL_HTTP_ADDR": "consul:8500"}, ConsulAccess("http://consul:8500")),
        ({"CONSUL_HTTP_ADDR": "consul:8501", "CONSUL_HTTP_SSL": "true"}, ConsulAccess("https://consul:8501")),
        ({"CONSUL_HTTP_ADDR": "https://consul:8501/"}, ConsulAccess("https://consul:8501")),
        ({"CONSUL_HTTP_SSL_VERIFY": "false"}, ConsulAccess(verify=False)),
        ({"CONSUL_HTTP_TOKEN": "t", "CONSUL_CACERT": "ca.pem"}, ConsulAccess(token="t", ca="ca.pem")),
        ({"CONSUL_CLIENT_CERT": "c.pem", "CONSUL_CLIENT_KEY": "k.pem"}, ConsulAccess(cert="c.pem", key="k.pem")),
    ],
)
def test_the_environment_says_where_consul_is(environment: dict[str, str], access: ConsulAccess) -> None:
    """As for Consul's own tools."""
    assert access_from_environment(environment) == access


def test_a_token_may_be_in_a_file(tmp_path: Path) -> None:
    """Without the newline that editors add; the token itself wins over it."""
    file = tmp_path / "token"
    file.write_text("from the file\n")
    assert access_from_environment({"CONSUL_HTTP_TOKEN_FILE": str(file)}).token == "from the file"
    assert access_from_environment({"CONSUL_HTTP_TOKEN_FILE": str(file), "CONSUL_HTTP_TOKEN": "said"}).token == "said"
    with pytest.raises(ValueError, match="cannot be read"):
        access_from_environment({"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "missing")})


def test_a_unix_socket_is_refused_with_a_way_out() -> None:
    """The client library would make a broken URL of it."""
    with pytest.raises(ValueError, match="name an address, such as"):
        access_from_environment({"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"})


def test_a_token_is_not_shown() -> None:
    """Tracebacks and logs hold reprs."""
    assert "hush" not in repr(ConsulAccess(token="hush"))


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("10.0.0.7", False), ("consul", False), ("", False)],
)
def test_this_machine_is_told_from_others(host: str, is_ours: bool) -> None:
    """By the address alone: nothing is looked up."""
    assert is_loopback(host) is is_ours


def test_our_address_matters_only_to_an_agent_elsewhere() -> None:
    """One on this machine knows it; for another the kernel says from where we would speak to it."""
    assert ConsulAccess("http://127.0.0.1:8500").own_address() is None
    assert ConsulAccess("http://[::1]:8500").own_address() is None
    own = ConsulAccess("http://0.0.0.0:8500").own_address()
    assert own is None, "a name or address that leads to the loopback is this machine, too"
