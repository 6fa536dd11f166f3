"""The command line: what was asked for is parsed here, done elsewhere.

Exit codes: 0 fine, 1 it ran and the answer is no, 2 wrong usage. A command's modules are imported
when it runs: ``check`` loads no server, ``--version`` loads nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

from lbgateway import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    "token": "lbgateway.cli.token:main",
}
"""Command -> the function that does it: it takes the parsed arguments (the demo: none) and returns the exit code."""

NOT_YET = ("explain", "drain", "undrain", "top", "register", "simulate", "config")
"""Commands of the product that this version cannot do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (by default the process's arguments); returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in NOT_YET:
        print(f"lbgateway {given[0]}: not available in this version", file=sys.stderr)
        return WRONG_USAGE
    args = parser().parse_args(given)
    if getattr(args, "takeover", False):
        print("lbgateway run --takeover: not available in this version", file=sys.stderr)
        return WRONG_USAGE
    module, _, name = COMMANDS[args.command].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        return int(function() if args.command == "demo" else function(args))
    except KeyboardInterrupt:
        # While modules were loaded, which takes a second: from then on `run` and `demo` have handlers of their own.
        print(f"lbgateway {args.command}: stopped", file=sys.stderr)
        return FINE if args.command == "demo" else INTERRUPTED
    except BrokenPipeError:
        # `lbgateway routes | head`: the reader has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE


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
    commands.add_parser("demo", help="gateway, dev registry and three instances on this machine; Ctrl-C stops all")
    check = commands.add_parser("check", help="validate a configuration file: every error with its line")
    check.add_argument("file", metavar="FILE")
    _add_admin(commands.add_parser("routes", help="the routes of a running gateway"))
    upstreams = commands.add_parser("upstreams", help="services and instances of a running gateway")
    upstreams.add_argument("service", metavar="SERVICE", nargs="?", help="only this one (default: all)")
    _add_admin(upstreams)
    _add_token(commands.add_parser("token", help="sign a token with the configured HS secret, for trying things out"))
    return root


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--config", metavar="FILE", required=True)
    run.add_argument("--workers", metavar="N", help="over server.workers")
    run.add_argument("--host", metavar="H", help="over server.host")
    run.add_argument("--port", metavar="P", type=int, help="over server.port")
    run.add_argument("--takeover", action="store_true", help="take the port over from a running gateway (not available in this version)")


def _add_admin(command: argparse.ArgumentParser) -> None:
    command.add_argument("--admin", metavar="URL", help="where the gateway is (default: LBGATEWAY_ADMIN_URL, or http://127.0.0.1:8080)")
    command.add_argument("--token", metavar="TOKEN", help="admin token (default: LBGATEWAY_ADMIN_TOKEN)")
    command.add_argument("--json", action="store_true", help="for programs")


def _add_token(token: argparse.ArgumentParser) -> None:
    token.add_argument("--subject", metavar="S", required=True, help="who the token speaks for (the claim `sub`)")
    token.add_argument("--scope", metavar='"a b"', help="scopes, separated by spaces (default: none)")
    token.add_argument("--ttl", metavar="TIME", default="1h", help="how long it is valid, such as 30m or 12h (default: 1h)")
    token.add_argument("--config", metavar="FILE", required=True, help="the configuration with auth.jwt")


def overrides(args: argparse.Namespace) -> list[Override]:
    """The options of ``run`` that win over the file; errors in them are reported as theirs."""
    from lbgateway.config import Override

    return [
        Override(f"--{name}", ("server", name), str(getattr(args, name)))
        for name in ("workers", "host", "port")
        if getattr(args, name) is not None
    ]
