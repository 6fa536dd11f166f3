"""``lbgateway run``: what it does before anything is served."""

from __future__ import annotations

import socket
from argparse import Namespace
from pathlib import Path

import pytest

from lbgateway.cli import parser
from lbgateway.cli.run import main, settings_of

STATIC = """
server: {host: 127.0.0.1, port: 9000}
auth: {default: none}
discovery: {provider: static}
"""


def arguments(tmp_path: Path, *options: str, text: str = STATIC) -> Namespace:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return parser().parse_args(["run", "--config", str(file), *options])


def test_options_win_over_the_file(tmp_path):
    """And what they do not say stays."""
    assert settings_of(arguments(tmp_path, "--port", "9001")).server.port == 9001
    settings = settings_of(arguments(tmp_path, "--host", "127.0.0.2"))
    assert (settings.server.host, settings.server.port) == ("127.0.0.2", 9000)


@pytest.mark.parametrize(
    ("options", "text", "told", "code"),
    [
        ((), "servces: {}\nauth: {default: none}\n", "gateway.yaml:1: servces: unknown key; did you mean `services`?", 1),
        (("--port", "70000"), STATIC, "--port: server.port: ", 2),
        (("--workers", "0"), STATIC, "--workers: server.workers: ", 2),
        (("--host", ""), STATIC, "--host: server.host: ", 2),
    ],
)
def test_a_bad_configuration_does_not_start(tmp_path, capsys, options, text, told, code):
    """Every error on stderr. Exit code 1, or 2 where an option is at fault: that is wrong usage."""
    assert main(arguments(tmp_path, *options, text=text)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_a_missing_file_is_told_in_one_line(tmp_path, capsys):
    """No trace of ours."""
    args = parser().parse_args(["run", "--config", str(tmp_path / "absent.yaml")])
    assert main(args) == 1
    assert capsys.readouterr().err == f"{tmp_path}/absent.yaml: cannot be read: No such file or directory\n"


def test_a_busy_port_is_told_in_one_line(tmp_path, capsys):
    """Exit code 1, and which port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(arguments(tmp_path, "--port", str(port))) == 1
    told = f"lbgateway run: 127.0.0.1:{port} is in use by another process, which is no gateway that --takeover could take it from\n"
    assert capsys.readouterr().err == told
