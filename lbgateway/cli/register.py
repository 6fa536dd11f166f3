"""``lbgateway register … -- COMMAND``: self-registration for a program in any language.

Registered is what listens: COMMAND is started, and announced when its port accepts connections. It ends in this
order: closed to traffic in Consul, a pause in which requests on their way still arrive, the signal for COMMAND, and
when that has ended the entry goes. What ends this program without a word, SIGKILL, ends the heartbeats too, so that
the entry turns critical after the TTL and is gone a minute later.

No module of the gateway is loaded: this program stays in memory beside each service.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from typing import TYPE_CHECKING

from discovery.announcement import Announcement, HttpCheck, Ttl
from discovery.consul_access import access_from_environment, url_of
from discovery.registrar import default_id
from discovery.registration import Registration, listening
from lbgateway.cli import NO, WRONG_USAGE
from lbgateway.cli.supervisor import CannotStart, Supervisor

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from discovery.consul_access import ConsulAccess

DRAIN_PAUSE_S, TTL_S = 2.0, 15.0
UNTIL_ENDED_S = 7 * 86400.0
"""However long COMMAND takes to end: until then its entry stays, closed to traffic."""
MAX_PORT = 65535
HEARTBEATS_PER_TTL = 3
"""One or two may be lost without harm."""


class WrongUsage(Exception):
    """The sentence to show."""


def main(args: Namespace) -> int:
    """Run COMMAND until it ends, or is told to by a signal; returns its exit code, 128+n where signal n has ended it."""
    try:
        command = command_of(args.argv)
        access = access_of(args, os.environ)
        announcement = announcement_of(args)
        pause_s = seconds_of("--drain-pause", args.drain_pause, DRAIN_PAUSE_S)
    except (WrongUsage, ValueError) as error:
        return _say(str(error), WRONG_USAGE)
    if listening(announcement.port, announcement.address):
        return _say(f"something listens on port {announcement.port} already, and would be announced instead of {command[0]}", NO)
    show_log()
    registration = Registration(announcement, access, UNTIL_ENDED_S)
    try:
        return Supervisor(command, registration, pause_s).run()
    except CannotStart as error:
        return _say(str(error), error.exit_code)


def _say(sentence: str, exit_code: int) -> int:
    print(f"lbgateway register: {sentence}", file=sys.stderr)
    return exit_code


def show_log() -> None:
    """Let a registration's events be seen on stderr, among what COMMAND says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("lbgateway register: %(message)s"))
    logger = logging.getLogger("discovery")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def command_of(words: Sequence[str]) -> list[str]:
    """COMMAND with its arguments, without the ``--`` before it."""
    command = list(words[1:] if words[:1] == ["--"] else words)
    if not command:
        raise WrongUsage("which COMMAND? It goes to the end, after --, as in: lbgateway register --service orders --port 9001 -- ./orders")
    return command


def access_of(args: Namespace, environment: Mapping[str, str]) -> ConsulAccess:
    """Consul as its environment variables say, with what was said here over them."""
    if args.consul:
        environment = {**environment, "CONSUL_HTTP_ADDR": url_of(args.consul)}
    access = access_from_environment(environment)
    return dataclasses.replace(access, token=args.token) if args.token else access


def announcement_of(args: Namespace) -> Announcement:
    """What Consul is told of COMMAND."""
    if not args.service:
        raise WrongUsage("--service: a service has a name")
    if not 1 <= args.port <= MAX_PORT:
        raise WrongUsage(f"--port: {args.port} is not a port; those are 1 to {MAX_PORT}")
    return Announcement(
        name=args.service,
        port=args.port,
        id=args.id or default_id(args.service, args.address, args.port),
        check=check_of(args.check, args.ttl),
        address=args.address,
        tags=(*args.tag, *prefix_tag(args.prefix)),
        meta=dict(meta_of(entry) for entry in args.meta),
        expose=not args.no_expose,
    )


def check_of(text: str, ttl: str | None = None) -> Ttl | HttpCheck:
    """``ttl``, ``http:/path``, or a whole address to ask."""
    if text == "ttl":
        ttl_s = seconds_of("--ttl", ttl, TTL_S)
        return Ttl(ttl_s=ttl_s, heartbeat_s=ttl_s / HEARTBEATS_PER_TTL)
    if ttl is not None:
        raise WrongUsage("--ttl belongs to --check ttl")
    path = text.removeprefix("http:")
    if text.startswith(("http://", "https://")):
        return HttpCheck(text)
    if path == text or not path.startswith("/"):
        raise WrongUsage(f"--check: ttl, or http:/path such as http:/health, not {text}")
    return HttpCheck(path)


def prefix_tag(prefix: str | None) -> tuple[str, ...]:
    if prefix is None:
        return ()
    if not prefix.startswith("/"):
        raise WrongUsage(f"--prefix: begins with a slash: /{prefix}")
    return (f"lbgateway.prefix={prefix}",)


def meta_of(entry: str) -> tuple[str, str]:
    key, equals, value = entry.partition("=")
    if not key or not equals:
        raise WrongUsage(f"--meta: KEY=VALUE, not {entry}")
    return key, value


def seconds_of(option: str, text: str | None, otherwise_s: float) -> float:
    """Seconds of ``2s`` or ``500ms``."""
    if text is None:
        return otherwise_s
    from lbgateway.config.units import parse_duration  # with pydantic, which only those pay who ask for it

    try:
        return parse_duration(text)
    except ValueError as error:
        raise WrongUsage(f"{option}: {error}") from None
