"""What was asked for, and where it goes."""

import importlib
import importlib.util
import os
import subprocess
import sys

import pytest

from lbgateway import __version__
from lbgateway.cli import COMMANDS, FINE, INTERRUPTED, NOT_YET, WRONG_USAGE, main, overrides, parser
from lbgateway.config import Override


def exit_code(*arguments: str) -> int | str | None:
    """What the process would end with."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("command", NOT_YET)
def test_commands_that_are_not_built_say_so(command, capsys):
    """Whatever follows them."""
    assert exit_code(command, "--whatever", "x") == WRONG_USAGE
    assert capsys.readouterr().err == f"lbgateway {command}: not available in this version\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("fly",), ("run", "--config", "f", "--port", "http"), ("run",), ("check",), ("token", "--subject", "me"), ("routes", "extra")],
)
def test_wrong_usage_is_2(arguments):
    """As for every command of a Unix."""
    assert exit_code(*arguments) == WRONG_USAGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upstream",), 'there is no command "upstream"; did you mean `upstreams`? `lbgateway --help` lists them.'),
        (("fly",), 'there is no command "fly". `lbgateway --help` lists them.'),
        (("--json", "routes"), "options stand behind the command: lbgateway routes … --json. `lbgateway --help` lists the commands."),
        (("--json",), "options stand behind the command: lbgateway COMMAND … --json. `lbgateway --help` lists the commands."),
    ],
)
def test_what_is_no_command_is_answered_with_what_to_write(arguments, says, capsys):
    """One sentence, not the list of all that there is."""
    assert exit_code(*arguments) == WRONG_USAGE
    assert capsys.readouterr().err == f"lbgateway: {says}\n"


@pytest.mark.parametrize(("arguments", "code"), [(["demo"], FINE), (["check", "f"], INTERRUPTED)])
def test_an_interrupt_before_the_command_has_begun_shows_no_traceback(arguments, code, monkeypatch, capsys):
    """Loading takes a second, in which nothing has been started yet; the demo's end by Ctrl-C is always a good one."""

    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert exit_code(*arguments) == code
    assert capsys.readouterr().err == f"lbgateway {arguments[0]}: stopped\n"


def test_the_version_is_told(capsys):
    """And nothing else happens."""
    assert exit_code("--version") == FINE
    assert capsys.readouterr().out == f"lbgateway {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["run", "--config", "f"], {"config": "f", "workers": None, "host": None, "port": None, "takeover": False}),
        (["check", "f"], {"file": "f", "json": False}),
        (["routes"], {"admin": None, "token": None, "cacert": None, "json": False}),
        (
            ["upstreams", "orders", "--admin", "http://x", "--token", "t", "--json"],
            {"service": "orders", "state": None, "admin": "http://x", "token": "t", "cacert": None, "json": True},
        ),
        (
            ["explain", "orders", "o-1"],
            {"service": "orders", "instance": "o-1", "admin": None, "token": None, "cacert": None, "json": False},
        ),
        (
            ["upstreams", "--state", "ejected"],
            {"service": None, "state": "ejected", "admin": None, "token": None, "cacert": None, "json": False},
        ),
        (["token", "--subject", "me", "--config", "f"], {"subject": "me", "scope": None, "ttl": "1h", "config": "f", "json": False}),
        (["demo"], {"transport": "native"}),
        (["demo", "--transport", "httpx"], {"transport": "httpx"}),
    ],
)
def test_arguments_are_parsed(arguments, found):
    """The names that the commands rely on."""
    assert vars(parser().parse_args(arguments)) == {"command": arguments[0], **found}


@pytest.mark.parametrize("place", COMMANDS.values(), ids=COMMANDS)
def test_each_command_has_its_module(place):
    """Found without importing it: that happens only when it runs."""
    assert importlib.util.find_spec(place.partition(":")[0]) is not None


def test_the_options_of_run_win_over_the_file():
    """As overrides that know their own name."""
    args = parser().parse_args(["run", "--config", "f", "--port", "9000", "--workers", "auto"])

    assert overrides(args) == [Override("--workers", ("server", "workers"), "auto"), Override("--port", ("server", "port"), "9000")]


def test_the_version_loads_nothing():
    """A command line that answers at once."""
    heavy = "('pydantic', 'yaml', 'fastapi', 'uvicorn')"
    code = f"import sys; from lbgateway.cli import parser; parser(); print([m for m in {heavy} if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """`lbgateway check file | head -0` ends quietly."""
    path = tmp_path / "gw.yaml"
    path.write_text("auth: {default: none}")
    reader, writer = os.pipe()
    os.close(reader)

    # Unbuffered, so that the write fails inside the command and not at the end of Python.
    done = subprocess.run([sys.executable, "-u", "-m", "lbgateway", "check", path], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)

    assert (done.returncode, done.stderr) == (FINE, "")


def test_the_module_is_the_command():
    """The same program where no script is installed; its exit code is passed on."""
    done = subprocess.run([sys.executable, "-m", "lbgateway", "--version"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (FINE, f"lbgateway {__version__}\n")
    assert subprocess.run([sys.executable, "-m", "lbgateway", "simulate"], capture_output=True).returncode == WRONG_USAGE
