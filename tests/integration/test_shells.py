"""Completion in the shells themselves, with a gateway that runs: bash, zsh and fish."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, GatewayProcess
from tests.support.real_servers import CACHE, FISH, ZSH, Binary, Server, own_server
from tests.support.terminal import Terminal

pytestmark = pytest.mark.alone

ASK_BASH = """
source <({program} completion bash)
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_lbgateway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    instances = {"orders": ["127.0.0.1:9001", "127.0.0.1:9002"], "users": ["127.0.0.1:9003"]}
    config = {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {name: {"instances": listed} for name, listed in instances.items()},
    }
    with GatewayProcess(config) as process:
        yield process


@pytest.fixture
def program() -> Path:
    """The script that an installation puts on PATH."""
    found = Path(sysconfig.get_path("scripts")) / "lbgateway"
    assert found.exists(), f"{sys.executable} has no lbgateway installed"
    return found


def binary(server: Server) -> Binary:
    found = own_server(server)
    assert isinstance(found, Binary)
    return found


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("lbgateway dr", ["drain"]),
        ("lbgateway explain ''", ["orders", "users"]),
        ("lbgateway drain orders ''", ["127.0.0.1:9001", "127.0.0.1:9002"]),
        ("lbgateway drain orders 127.0.0.1 : 90", ["9001", "9002"]),
        ("lbgateway drain orders 127.0.0.1:9001 --j", ["--json"]),
        ("lbgateway upstreams --state wa", ["warming"]),
        ("lbgateway check READ", ["README.md"]),
        ("lbgateway explain nothing ''", [""]),
    ],
)
def test_bash(gateway, program, words, reply):
    """As it calls the function at a tab: with the words in an array, taken apart at colons."""
    environment = {**os.environ, "LBGATEWAY_ADMIN_URL": gateway.url, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    script = ASK_BASH.format(program=program, words=words)
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.rstrip("\n").split("\n"), done.stderr) == (reply, "")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense://"])
def test_bash_without_a_gateway(program, address):
    """Nothing is offered, and nothing is said."""
    environment = {**os.environ, "LBGATEWAY_ADMIN_URL": address, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    script = ASK_BASH.format(program=program, words="lbgateway explain ''")
    done = subprocess.run(["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_bash_at_a_keyboard(gateway, program):
    """The line that somebody sees after a tab: colons are no trouble."""
    environment = {"LBGATEWAY_ADMIN_URL": gateway.url, "PATH": f"{program.parent}:{os.environ['PATH']}", "PS1": "$ "}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment=environment) as terminal:
        terminal.type("source <(lbgateway completion bash); clear; echo ready\n")
        terminal.until(lambda lines: lines[-2:] == ["ready", "$"])
        terminal.type("lbgateway unej\tusers 127.0.0.1:\t")
        assert terminal.until(lambda lines: "9003" in lines[-1])[-1] == "$ lbgateway uneject users 127.0.0.1:9003"


def test_zsh(gateway, program, tmp_path: Path):
    """At its keyboard, as zsh has no other way to be asked."""
    shell = binary(ZSH)
    functions, modules = CACHE / "zsh/usr/share/zsh/functions", next(CACHE.glob("zsh/usr/lib/*/zsh/*"), None)
    if modules is not None:
        named = " ".join(str(folder) for folder in sorted({path.parent for path in functions.rglob("*") if path.is_file()}))
        (tmp_path / ".zshenv").write_text(f"module_path=({modules})\nfpath=({named})\n")
    start = "PS1='> '; autoload -U compinit; compinit -u -D; source <(lbgateway completion zsh); clear; echo ready"
    (tmp_path / ".zshrc").write_text(f"{start}\n")
    environment = {
        **shell.environment, "ZDOTDIR": str(tmp_path), "LBGATEWAY_ADMIN_URL": gateway.url, "PATH": f"{program.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    with Terminal([shell.path, "-i"], environment=environment) as terminal:
        terminal.until(lambda lines: "ready" in lines)
        terminal.type("lbgateway unej\tusers 127\t")
        shown = terminal.until(lambda lines: any("9003" in line for line in lines))
        assert shown[-1] == "> lbgateway uneject users 127.0.0.1:9003"
        terminal.type("\x15lbgateway explain \t")
        shown = terminal.until(lambda lines: any("2 ready" in line for line in lines))
        assert any(line.startswith("orders") for line in shown)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lbgateway unej", ["uneject"]),
        ("lbgateway explain ", ["orders", "users"]),
        ("lbgateway drain orders 127.0.0.1:90", ["127.0.0.1:9001", "127.0.0.1:9002"]),
        ("lbgateway drain --j", ["--json"]),
    ],
)
def test_fish(gateway, program, tmp_path: Path, line, offered):
    """As it answers itself."""
    shell = binary(FISH)
    environment = {
        **os.environ, **shell.environment, "LBGATEWAY_ADMIN_URL": gateway.url, "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path),
    }  # fmt: skip
    script = f"lbgateway completion fish | source; complete -C '{line}'"
    done = subprocess.run(
        [shell.path, "--no-config", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert [each.partition("\t")[0] for each in done.stdout.splitlines()] == offered, done.stderr
