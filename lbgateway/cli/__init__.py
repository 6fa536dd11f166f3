"""The command line: what was asked for is parsed here, done elsewhere.

Exit codes: 0 fine, 1 it ran and the answer is no, 2 wrong usage. A command's modules are imported
when it runs: ``check`` loads no server, ``--version`` loads nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lbgateway import __version__
from lbgateway.cli import streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lbgateway.config import Override

FINE, NO, WRONG_USAGE = 0, 1, 2
INTERRUPTED = 130
"""What a shell makes of a program that SIGINT has ended."""

COMMANDS = {
    "run": "lbgateway.cli.run:main",
    "demo": "lbgateway.cli.demo:main",
    "check": "lbgateway.cli.check:main",
    "routes": "lbgateway.cli.admin_client:routes",
    "upstreams": "lbgateway.cli.admin_client:upstreams",
    "explain": "lbgateway.cli.admin_client:explain",
    **dict.fromkeys(("drain", "undrain", "eject", "uneject", "weight"), "lbgateway.cli.admin_actions:act"),
    "top": "lbgateway.cli.top:main",
    "token": "lbgateway.cli.token:main",
    "register": "lbgateway.cli.register:main",
    "config": "lbgateway.cli.config:main",
    "completion": "lbgateway.cli.completion:main",
}
"""Command -> the function that does it: it takes the parsed arguments and returns the exit code."""

COMPLETE = "complete"
"""Not for people: the shells' scripts ask with it what may come next."""

NOT_YET = ("simulate",)
"""Commands of the product that this version cannot do."""

ACTIONS = {
    "drain": "give an instance no new requests; what runs is finished",
    "undrain": "take a drain back",
    "eject": "give an instance no new requests for a time, or until uneject",
    "uneject": "bring an instance back, whoever or whatever has ejected it",
    "weight": "give an instance another weight than the registry does",
}

REGISTER = """\
Start COMMAND, register it in Consul when its port accepts connections, keep it registered while it runs, and take it
out when it ends. A program in any language becomes a service that the gateway finds.

SIGTERM, SIGINT and SIGQUIT close it to traffic first, and reach COMMAND after the drain pause (a second one reaches
it at once); other signals are passed on as they come. The exit code is COMMAND's, 128+n where signal n has ended it,
127 where there is no such command. If this program itself is killed (SIGKILL), its heartbeats end with it.

Consul being away or restarted is waited for. CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE,
CONSUL_CACERT, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY are understood."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (by default the process's arguments); returns its exit code."""
    streams.stand_in()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in NOT_YET:
        print(f"lbgateway {given[0]}: not available in this version", file=sys.stderr)
        return WRONG_USAGE
    if given and given[0] == COMPLETE:
        return int(importlib.import_module("lbgateway.cli.completing").main(given[1:]))
    if mistake := _not_a_command(given):
        print(f"lbgateway: {mistake}", file=sys.stderr)
        return WRONG_USAGE
    args = parser().parse_args(given)
    module, _, name = COMMANDS[args.command].partition(":")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows another one: no name in a registry may end a command.
            stream.reconfigure(errors="replace")
    try:
        # `run` is loaded for a second; a service manager may reload or stop it meanwhile.
        with signals_wait(*((signal.SIGTERM, signal.SIGHUP) if args.command == "run" else ())):
            gc.disable()  # what is loaded stays: looking for garbage in it is a tenth of a start
            function = getattr(importlib.import_module(module), name)
            gc.enable()
            return int(function(args))
    except KeyboardInterrupt:
        # While modules were loaded, which takes a second: from then on `run` and `demo` have handlers of their own.
        print(f"lbgateway {args.command}: stopped", file=sys.stderr)
        return FINE if args.command == "demo" else INTERRUPTED
    except BrokenPipeError:
        # `lbgateway routes | head`: the reader has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE


@contextmanager
def signals_wait(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back that would end a program which cannot serve them yet; `lbgateway.server.signals` lets them in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _not_a_command(given: Sequence[str]) -> str | None:
    """What to write instead, where the first word is neither a command nor an option that stands alone."""
    first = given[0] if given else "--help"
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return None
    if first.startswith("-"):
        command = next((word for word in given if word in COMMANDS), "COMMAND")
        return f"options stand behind the command: lbgateway {command} … {first}. `lbgateway --help` lists the commands."
    from lbgateway.config.errors import did_you_mean

    near = did_you_mean(first, list(COMMANDS)) or "."
    return f'there is no command "{first}"{near} `lbgateway --help` lists them.'


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    root = argparse.ArgumentParser(
        prog="lbgateway",
        description="An API gateway that finds the instances of services in Consul, picks one and forwards.",
        epilog="Try `lbgateway demo`: it needs nothing but this program.",
    )
    root.add_argument("--version", action="version", version=f"lbgateway {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    _add_run(commands.add_parser("run", help="serve; SIGTERM drains and stops, SIGHUP reloads the file"))
    demo = commands.add_parser("demo", help="gateway, dev registry and three instances on this machine; Ctrl-C stops all")
    demo.add_argument("--transport", choices=("native", "httpx"), default="native", help="how to reach the instances (default: native)")
    check = commands.add_parser("check", help="validate a configuration file: every error with its line")
    check.add_argument("file", metavar="FILE", help="the configuration")
    check.add_argument("--json", action="store_true", help="for programs")
    _add_admin(commands.add_parser("routes", help="the routes of a running gateway"))
    upstreams = commands.add_parser("upstreams", help="services and instances of a running gateway")
    upstreams.add_argument("service", metavar="SERVICE", nargs="?", help="only this one (default: all)")
    upstreams.add_argument("--state", metavar="STATE", help="only instances in this state, such as ready, ejected or critical")
    _add_admin(upstreams)
    explain = commands.add_parser("explain", help="why each instance of a service may be picked now, or not")
    explain.add_argument("service", metavar="SERVICE")
    explain.add_argument("instance", metavar="INSTANCE", nargs="?", help="only this one: its id, or NODE:ID where that is not unique")
    _add_admin(explain)
    _add_admin(commands.add_parser("top", help="the instances of a running gateway, the busiest first, live"))
    for verb, does in ACTIONS.items():
        _add_action(commands.add_parser(verb, help=does), verb)
    _add_token(commands.add_parser("token", help="sign a token with the configured HS secret, for trying things out"))
    config = commands.add_parser("config", help="config schema: the JSON Schema of the configuration file, for editors")
    config.add_subparsers(dest="what", required=True, metavar="WHAT").add_parser("schema", help="print the JSON Schema (2020-12)")
    completion = commands.add_parser("completion", help="the script that lets a shell complete this program's commands and names")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    register = commands.add_parser(
        "register",
        help="run a command that is registered in Consul for as long as it runs",
        usage="lbgateway register --service NAME --port P [options] -- COMMAND …",
        description=REGISTER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_register(register)
    return root


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--config", metavar="FILE", required=True, help="the configuration")
    run.add_argument("--workers", metavar="N", help="over server.workers")
    run.add_argument("--host", metavar="H", help="over server.host")
    run.add_argument("--port", metavar="P", type=int, help="over server.port")
    takeover = "take over from the gateway that runs there: it hands its port over, finishes what it has, and leaves"
    run.add_argument("--takeover", action="store_true", help=takeover)


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument("--admin", metavar="URL", help="where the gateway is (default: LBGATEWAY_ADMIN_URL, or http://127.0.0.1:8080)")
    command.add_argument("--token", metavar="TOKEN", help="admin token (default: LBGATEWAY_ADMIN_TOKEN)")
    cacert = "the authority of its certificate, where that is not a public one (default: LBGATEWAY_ADMIN_CACERT)"
    command.add_argument("--cacert", metavar="FILE", help=cacert)
    command.add_argument("--json", action="store_true", help="for programs")


def _add_action(action: argparse.ArgumentParser, verb: str) -> None:
    action.add_argument("service", metavar="SERVICE")
    action.add_argument("instance", metavar="INSTANCE", help="its id, or NODE:ID where that is not unique")
    if verb == "eject":
        action.add_argument("--for", metavar="TIME", dest="for_", help="such as 30s or 5m (default: until uneject)")
    if verb == "weight":
        action.add_argument("weight", metavar="N", help="a whole number, 0 for no requests; `default` gives it back to the registry")
    _add_admin(action)


def _add_token(token: argparse.ArgumentParser) -> None:
    token.add_argument("--subject", metavar="S", required=True, help="who the token speaks for (the claim `sub`)")
    token.add_argument("--scope", metavar='"a b"', help="scopes, separated by spaces (default: none)")
    token.add_argument("--ttl", metavar="TIME", default="1h", help="how long it is valid, such as 30m or 12h (default: 1h)")
    token.add_argument("--config", metavar="FILE", required=True, help="the configuration with auth.jwt")
    token.add_argument("--json", action="store_true", help="for programs: the token and its claims")


def _add_register(register: argparse.ArgumentParser) -> None:
    register.add_argument("--service", metavar="NAME", required=True, help="the service that COMMAND is an instance of")
    register.add_argument("--port", metavar="P", type=int, required=True, help="where COMMAND listens")
    address = "where others reach it (default: the agent's node's address, or ours on the way to an agent on another machine)"
    register.add_argument("--address", metavar="A", help=address)
    register.add_argument("--id", metavar="I", help="the instance's id (default: NAME-HOST-PORT, the same after a restart)")
    register.add_argument("--tag", metavar="T", action="append", default=[], help="a tag; may be repeated")
    register.add_argument("--meta", metavar="K=V", action="append", default=[], help="an entry of Meta; may be repeated")
    register.add_argument("--prefix", metavar="PATH", help="a path that leads to the service beside /api/NAME (the tag lbgateway.prefix)")
    register.add_argument("--no-expose", action="store_true", help="leave the tag lbgateway.enable=true out")
    check = "ttl: heartbeats from here (default); http:PATH: Consul asks COMMAND, every 5 s"
    register.add_argument("--check", metavar="http:PATH|ttl", default="ttl", help=check)
    ttl = "without a heartbeat for so long the instance is critical, and a minute later gone (default: 15s)"
    register.add_argument("--ttl", metavar="TIME", help=ttl)
    pause = "how long COMMAND still serves after it is closed to traffic (default: 2s)"
    register.add_argument("--drain-pause", metavar="TIME", help=pause)
    register.add_argument("--consul", metavar="URL", help="the agent (default: CONSUL_HTTP_ADDR, or http://127.0.0.1:8500)")
    register.add_argument("--token", metavar="TOKEN", help="(default: CONSUL_HTTP_TOKEN, which `ps` does not show)")
    register.add_argument("argv", metavar="COMMAND", nargs=argparse.REMAINDER, help="the program with its arguments, after --")


OPTIONS = {f"--{name}": name for name in ("workers", "host", "port")}
"""The options of ``run`` that win over the file, and the keys of `server` that they are about."""


def overrides(args: argparse.Namespace) -> list[Override]:
    """What `OPTIONS` say; errors in them are reported as theirs."""
    from lbgateway.config import Override

    return [
        Override(option, ("server", name), str(getattr(args, name))) for option, name in OPTIONS.items() if getattr(args, name) is not None
    ]
