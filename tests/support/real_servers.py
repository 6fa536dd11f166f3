"""Where the tests' real Consul, Redis, nginx, Chromium and other programs come from.

In this order: an address in the environment; a binary on PATH; Docker, through testcontainers, if an
engine answers; otherwise the distribution's package, unpacked into ``.cache`` of the project. If none
works, one sentence says so and the run fails: an integration test is never skipped. With ``LBGATEWAY_TEST_SERVERS=containers``
(`make test-docker`) what has an image comes from Docker and from nowhere else.

``python -m tests.support.real_servers`` finds them all and says what it found.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.distribution import FetchError, release_in_use, require_tools, same_mirror, sources_in_use, unpack_package

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"


@dataclass(frozen=True)
class Address:
    """Somebody else's running server: may be used, not be stopped."""

    value: str

    def __str__(self) -> str:
        return f"the running one at {self.value}"


@dataclass(frozen=True)
class Binary:
    """A program of this machine, with the environment that it needs."""

    path: str
    environment: dict[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Image:
    """A container image that the Docker engine here has, or could fetch."""

    name: str

    def __str__(self) -> str:
        return f"the container image {self.name}"


@dataclass(frozen=True)
class Server:
    """One kind of server, and where it may come from."""

    name: str
    variable: str
    program: str
    image: str
    """Empty for what must run on this machine."""
    package: Callable[[], Binary]


def own_server(server: Server) -> Binary | Image:
    """What a test can start, kill and restart as it likes.

    Raises:
        FetchError: nothing works; the message is one clear sentence.

    """
    if server.image and os.environ.get("LBGATEWAY_TEST_SERVERS") == "containers":
        if _image_usable(server.image):
            return Image(server.image)
        raise FetchError(f"no Docker engine here has {server.image}, or can get it (deploy/docker/local-images.sh makes stand-ins)")
    on_path = shutil.which(server.program)
    if on_path:
        return Binary(on_path)
    if server.image and _image_usable(server.image):
        return Image(server.image)
    try:
        return server.package()
    except FetchError as error:
        raise FetchError(
            f"No real {server.name} for the tests: set {server.variable} to a running one, put `{server.program}` on PATH or start Docker; "
            f"installing it from the distribution failed because {error}."
        ) from error


def any_server(server: Server) -> Address | Binary | Image:
    """What a test can talk to; an address in the environment comes first."""
    address = os.environ.get(server.variable)
    return Address(address) if address else own_server(server)


def _image_usable(image: str) -> bool:
    """Whether an engine answers and has the image, or can get it."""
    docker = shutil.which("docker")
    if docker is None or not _succeeds(docker, "version", seconds=10):
        return False
    return _succeeds(docker, "image", "inspect", image, seconds=10) or _succeeds(docker, "pull", "--quiet", image, seconds=180)


def _succeeds(*command: str, seconds: float) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _consul_package() -> Binary:
    """Consul left Debian after bullseye; its static binary runs on any later release."""
    binary = CACHE / "consul/usr/bin/consul"
    if not binary.exists():
        _make_ready()
        unpack_package("consul", same_mirror("bullseye"), CACHE, with_dependencies=False)
    return _checked(binary, {})


def _redis_package() -> Binary:
    return _package("redis-server", "usr/bin/redis-server")


def _nginx_package() -> Binary:
    return _package("nginx", "usr/sbin/nginx")


def _chromium_package() -> Binary:
    # The program itself: the script of that name looks for things of a whole desktop.
    return _package("chromium", "usr/lib/chromium/chromium")


def _systemd_package() -> Binary:
    found = _package("systemd", "usr/bin/systemd-socket-activate")
    return Binary(found.path, {**found.environment, "SYSTEMD_UNIT_PATH": str(CACHE / "systemd/lib/systemd/system")})


def _zsh_package() -> Binary:
    return _package("zsh", "bin/zsh")


def _fish_package() -> Binary:
    return _package("fish", "usr/bin/fish")


def _prometheus_package(program: str) -> Binary:
    return _package("prometheus", f"usr/bin/{program}", with_dependencies=False)


def _package(name: str, program: str, *, with_dependencies: bool = True) -> Binary:
    """A package of the release in use, with the libraries that this machine does not have."""
    tree = CACHE / name
    if not tree.exists():
        _make_ready()
        unpack_package(name, sources_in_use(release_in_use()), CACHE, with_dependencies=with_dependencies)
    libraries = sorted({str(path.parent) for path in tree.rglob("*.so*")})
    return _checked(tree / program, {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})


def _make_ready() -> None:
    require_tools()
    CACHE.mkdir(exist_ok=True)


def _checked(path: Path, environment: dict[str, str]) -> Binary:
    if not path.exists():
        raise FetchError(f"the package unpacked into {path.relative_to(CACHE).parts[0]} holds no {path.name}")
    return Binary(str(path), environment)


CONSUL = Server("Consul", "LBGATEWAY_TEST_CONSUL", "consul", "hashicorp/consul:1.20", functools.cache(_consul_package))
REDIS = Server("Redis", "LBGATEWAY_TEST_REDIS", "redis-server", "redis:7", functools.cache(_redis_package))
CHROMIUM = Server("Chromium", "LBGATEWAY_TEST_CHROMIUM", "chromium", "", functools.cache(_chromium_package))
"""Not a server, but fetched like one: a program of this machine in every case."""
NGINX = Server("nginx", "LBGATEWAY_TEST_NGINX", "nginx", "nginx:1", functools.cache(_nginx_package))
"""Each test starts its own: what it serves is in its configuration."""
SYSTEMD = Server("systemd", "LBGATEWAY_TEST_SYSTEMD", "systemd-socket-activate", "", functools.cache(_systemd_package))
"""Its programs that need no systemd running."""
PROMTOOL = Server("promtool", "LBGATEWAY_TEST_PROMTOOL", "promtool", "", functools.partial(_prometheus_package, "promtool"))
PROMETHEUS = Server("Prometheus", "LBGATEWAY_TEST_PROMETHEUS", "prometheus", "", functools.partial(_prometheus_package, "prometheus"))
ZSH = Server("zsh", "LBGATEWAY_TEST_ZSH", "zsh", "", functools.cache(_zsh_package))
FISH = Server("fish", "LBGATEWAY_TEST_FISH", "fish", "", functools.cache(_fish_package))

VERSION = {"nginx": "-v"}
"""The option that makes a server say its version, where it is not ``--version``."""


def program(server: Server) -> str:
    """A program of this machine to be called by its name: the one on PATH, or else the distribution's, wherever it was put."""
    return shutil.which(server.program) or server.package().path


def consul_command(folder: Path) -> Path:
    """A ``consul`` to be typed, in `folder`: that of this machine, or one of the container image."""
    found, command = own_server(CONSUL), folder / "consul"
    if isinstance(found, Binary):
        command.symlink_to(found.path)
    else:
        inside = f'docker run --rm --network host -e CONSUL_HTTP_ADDR -v "$PWD:$PWD" -w "$PWD" {found.name} consul "$@"'
        command.write_text(f"#!/bin/sh\nexec {inside}\n")
        command.chmod(0o755)
    return command


def for_people(server: Server) -> int:
    """Print what a shell evaluates to have `server`'s program on its PATH; nothing if it is there already."""
    try:
        found = Path(program(server))
    except FetchError as error:
        print(f"No {server.program} could be had: {error}. https://developer.hashicorp.com/consul/install has others.", file=sys.stderr)
        return 1
    if found.is_relative_to(CACHE):
        print(f'export PATH="{found.parent}:$PATH"')
    else:
        print(f"{server.program} is there already: {found}", file=sys.stderr)
    return 0


def main() -> int:
    """Find them, say what was found, and prove that a binary runs; with ``consul``, only that one, for people."""
    if sys.argv[1:] == ["consul"]:
        return for_people(CONSUL)
    for server in (CONSUL, REDIS, NGINX, CHROMIUM, SYSTEMD, PROMTOOL, PROMETHEUS, ZSH, FISH):
        try:
            found = own_server(server)
        except FetchError as error:
            if not os.environ.get(server.variable):
                print(error, file=sys.stderr)
                return 1
        else:
            if isinstance(found, Binary):
                option = VERSION.get(server.program, "--version")
                subprocess.run([found.path, option], env={**os.environ, **found.environment}, capture_output=True, check=True)
        print(f"{server.name} for the tests: {any_server(server)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
