"""The synchronous client of an agent: quiet, bounded in time, and with one kind of error for each thing to do about it."""

from __future__ import annotations

import socket
import warnings

import pytest

from discovery.consul_access import ConsulAccess
from discovery.consul_agent import AgentUnavailable, ConsulAgent, RegistrationRefused, reason_of
from tests.support.embedded_registry import RegistryThread


def test_the_client_library_is_quiet_and_has_a_time_limit() -> None:
    """Neither its warnings nor its endless waiting come through."""
    with warnings.catch_warnings(), socket.create_server(("127.0.0.1", 0)) as silent:
        warnings.simplefilter("error")
        agent = ConsulAgent(ConsulAccess(f"http://127.0.0.1:{silent.getsockname()[1]}", "a token"))
        agent.timeout_s = 0.1
        with pytest.raises(AgentUnavailable, match="timed out"):
            agent.heartbeat("x")
        agent.close()


def test_errors_are_of_two_kinds() -> None:
    """What no waiting can heal, and everything else; a check that is not known is no error."""
    with RegistryThread() as registry:
        agent = ConsulAgent(ConsulAccess(registry.url))
        with pytest.raises(RegistrationRefused, match="Missing service name"):
            agent.register({"Name": ""})
        assert not agent.heartbeat("unknown")
        assert not agent.knows("unknown")
        agent.close()
    nobody = ConsulAgent(ConsulAccess("http://127.0.0.1:1"))
    with pytest.raises(AgentUnavailable, match=r"^Connection refused$"):
        nobody.knows("orders-1")
    nobody.close()


def test_files_of_certificates_and_names_that_are_not_there_are_told() -> None:
    """An agent that cannot be asked, for now: a secret may be mounted late, and a name appear."""
    agent = ConsulAgent(ConsulAccess("https://127.0.0.1:1", ca="missing.pem"))
    with pytest.raises(AgentUnavailable, match=r"missing\.pem"):
        agent.knows("orders-1")
    agent.close()
    lost = ConsulAgent(ConsulAccess("http://no-such-host.invalid:8500"))
    with pytest.raises(AgentUnavailable, match="there is no way to it"):
        lost.own_address()
    lost.close()


def test_the_reason_is_the_system_s_own_if_there_is_one() -> None:
    """Three layers of libraries wrap "Connection refused" in their own words."""
    with pytest.raises(RuntimeError) as wrapped:  # noqa: PT012 an error within an error takes two steps
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError:
            raise RuntimeError("Max retries exceeded") from None
    assert reason_of(wrapped.value) == "Connection refused"
    assert (reason_of(RuntimeError("because")), reason_of(RuntimeError())) == ("because", "RuntimeError")
