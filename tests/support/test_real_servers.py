"""In which order the tests look for real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.distribution import FetchError
from tests.support.real_servers import Address, Binary, Server, any_server, own_server, program


def from_nowhere() -> Binary:
    raise FetchError("there is no apt-get on this machine")


def server(package: Binary | None = None) -> Server:
    return Server("Thing", "LBGATEWAY_TEST_THING", "thing-server", "thing:1", (lambda: package) if package else from_nowhere)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, Docker included."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LBGATEWAY_TEST_THING", raising=False)
    monkeypatch.delenv("LBGATEWAY_TEST_SERVERS", raising=False)
    return tmp_path


def install(path: Path) -> str:
    program = path / "thing-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def test_an_address_in_the_environment_comes_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a server wants that one."""
    install(path)
    monkeypatch.setenv("LBGATEWAY_TEST_THING", "127.0.0.1:4711")
    assert any_server(server()) == Address("127.0.0.1:4711")


def test_a_server_to_kill_is_never_somebody_elses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is for talking; tests that stop and restart start their own."""
    program = install(path)
    monkeypatch.setenv("LBGATEWAY_TEST_THING", "127.0.0.1:4711")
    assert own_server(server()) == Binary(program)


def test_a_program_on_path_comes_before_the_distribution(path: Path) -> None:
    """Nothing is fetched that is there."""
    program = install(path)
    assert any_server(server(Binary("/elsewhere"))) == Binary(program)


@pytest.mark.usefixtures("path")
def test_without_docker_the_distribution_is_asked() -> None:
    """The last resort."""
    assert any_server(server(Binary("/elsewhere"))) == Binary("/elsewhere")


@pytest.mark.usefixtures("path")
def test_nothing_at_all_is_said_in_one_sentence() -> None:
    """With all that one could do about it."""
    with pytest.raises(FetchError) as failed:
        any_server(server())
    assert str(failed.value) == (
        "No real Thing for the tests: set LBGATEWAY_TEST_THING to a running one, put `thing-server` on PATH or start Docker; "
        "installing it from the distribution failed because there is no apt-get on this machine."
    )


def test_where_containers_are_asked_for_nothing_else_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a run that is to show that they work would show nothing."""
    install(path)
    monkeypatch.setenv("LBGATEWAY_TEST_SERVERS", "containers")
    with pytest.raises(FetchError, match="no Docker engine here has thing:1"):
        own_server(server())


def test_a_program_for_people_is_the_one_that_they_have(path: Path) -> None:
    """Else the distribution's; a container would not do."""
    assert program(server(Binary("/elsewhere"))) == "/elsewhere"
    assert program(server(Binary("/elsewhere"))) != install(path) == program(server(Binary("/elsewhere")))
