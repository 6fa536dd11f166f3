"""Settings to the objects that follow the registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from discovery.token_file import TokenFile
from lbgateway.config import Settings, load_text
from lbgateway.sources import consul_token, make_source, make_store, make_stored


def settings_of(discovery: str) -> Settings:
    return load_text(f"auth: {{default: none}}\ndiscovery: {discovery}\n", "gateway.yaml", {})


def ignore(_word: str) -> None:
    pass


@pytest.mark.parametrize(
    ("discovery", "provider"),
    [
        ("{}", "consul"),
        ("{provider: embedded}", "consul"),
        ("{provider: static}", "static"),
        ("{provider: dns, dns: {nameservers: ['127.0.0.1:8600', '[::1]:53']}}", "dns"),
    ],
)
async def test_the_provider_is_a_source(discovery: str, provider: str) -> None:
    """The embedded registry speaks Consul."""
    source = make_source(settings_of(discovery), None, on_error=ignore, on_update=ignore)
    assert source.provider == provider
    await source.aclose()


async def test_a_token_in_a_file_is_followed(tmp_path: Path) -> None:
    """One that is written out is as it is; none is none."""
    file = tmp_path / "token"
    file.write_text("old\n")
    followed = consul_token(settings_of(f"{{consul: {{token: {{file: {file}}}}}}}").discovery.consul.token)
    assert isinstance(followed, TokenFile)
    file.write_text("renewed\n")
    assert followed() == "renewed"
    assert consul_token(settings_of("{consul: {token: plain}}").discovery.consul.token) == "plain"
    assert consul_token(None) is None


async def test_instances_may_come_from_a_file(tmp_path: Path) -> None:
    """Which is watched."""
    (tmp_path / "instances.yaml").write_text("orders: [127.0.0.1:9001]\n")
    settings = settings_of(f"{{provider: file, file: {{path: {tmp_path}/instances.yaml}}}}")
    source = make_source(settings, None, on_error=ignore, on_update=ignore)
    assert source.provider == "file"
    await source.aclose()


@pytest.mark.parametrize(
    ("discovery", "key"),
    [
        ("{}", None),
        ("{consul: {config_key: /lbgateway/routes}}", "lbgateway/routes"),
        ("{provider: embedded, consul: {config_key: k}}", "k"),
        ("{provider: static, consul: {config_key: k}}", None),
    ],
)
def test_a_key_is_followed_where_there_is_a_store(discovery: str, key: str | None) -> None:
    """Other providers have none."""
    stored = make_stored(settings_of(discovery), ignore)
    assert (None if stored is None else stored.key) == key


def test_snapshots_are_kept_if_a_path_is_given(tmp_path: Path) -> None:
    """Of Consul only."""
    assert make_store(settings_of("{}"), ignore) is None
    assert make_store(settings_of(f"{{consul: {{snapshot: {tmp_path}/registry.json}}}}"), ignore) is not None
