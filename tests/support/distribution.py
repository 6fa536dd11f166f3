"""Brings Debian packages into a folder of the project: no root, nothing system-wide.

apt itself does the work, with lists and archives of its own, so that mirrors, proxies and signatures
are treated exactly as on the rest of the machine.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

DEBIAN_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg")


class FetchError(RuntimeError):
    """A package could not be had; the message is one sentence for people."""


def release_in_use() -> str:
    """``bookworm``, from os-release."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("VERSION_CODENAME", "").strip('"')


def sources_in_use(release: str) -> list[tuple[str, str]]:
    """The (suite, URI) pairs that apt fetches `release` from, security and updates among them.

    ``apt-get indextargets`` reads every format of source files, and needs no lists and no network.
    """
    rows = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages").split("\n")
    pairs = [(suite, uri) for suite, _, uri in (row.partition(" ") for row in rows)]
    for base in (release, "stable", "testing", "unstable"):
        wanted = [pair for pair in pairs if pair[0] in (base, f"{base}-updates", f"{base}-security")]
        if any(suite == base for suite, _ in wanted):
            return wanted
    raise FetchError(f"apt on this machine has no source for the release {release or '(unknown)'}")


def same_mirror(suite: str) -> list[tuple[str, str]]:
    """Another `suite` of the mirror that the release in use comes from."""
    return [(suite, sources_in_use(release_in_use())[0][1])]


def require_tools() -> None:
    """Raise `FetchError` where there is no apt."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(f"there is no {tool} on this machine")


def unpack_package(package: str, sources: list[tuple[str, str]], folder: Path, *, with_dependencies: bool) -> Path:
    """Unpack `package` below `folder` and return the tree's root.

    With dependencies, those that this machine does not have are unpacked into the same tree.
    """
    work, tree = folder / f"{package}.apt", folder / f"{package}.new"
    for path in (work, tree):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True)
    tree.mkdir()
    _write_sources(work / "sources.list", sources)
    (work / "status").touch()
    apt = _private_apt(work)
    _run(*apt, "update")
    _run(*apt, "download", *(_missing(apt, package) if with_dependencies else [package]), cwd=work / "archives")
    for archive in sorted((work / "archives").glob("*.deb")):
        _run("dpkg-deb", "--extract", str(archive), str(tree))
    shutil.rmtree(work)
    final = folder / package
    shutil.rmtree(final, ignore_errors=True)
    tree.rename(final)  # last, so that an interrupted fetch is never taken for a finished one
    return final


def _missing(apt: list[str], package: str) -> list[str]:
    """`package` and what it needs, without what is installed here.

    Asked of an empty machine, as the state of this one may not even be consistent. Packages of the
    same version come along in any case: they are built from one source and link to each other's files.
    """
    rows = _run(*apt, "--yes", "--no-install-recommends", "--print-uris", "install", package).splitlines()
    files = [row.split()[1].split("_") for row in rows if row.startswith("'")]
    version = {name: version for name, version, _ in files}
    status = _run("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}${Package}\n").splitlines()
    installed = {row[2:].strip() for row in status if row.startswith("ii")}
    return [name for name in version if name not in installed or version[name] == version[package]]


def _write_sources(path: Path, sources: list[tuple[str, str]]) -> None:
    keyring = next((name for name in DEBIAN_KEYRINGS if Path(name).exists()), None)
    option = f"[signed-by={keyring}] " if keyring else ""
    path.write_text("".join(f"deb {option}{uri} {suite} main\n" for suite, uri in sources))


def _private_apt(work: Path) -> list[str]:
    options = {
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Debug::NoLocking": "1",  # the lock is for installing; this only downloads
        "APT::Sandbox::User": "",  # as root, apt would fetch as a user who may not write here
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return ["apt-get", "--quiet", *(f"-o{key}={value}" for key, value in options.items())]


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{command[0]} did not work: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise FetchError(f"`{command[0]} … {command[-1]}` failed: {lines[-1].rstrip('.')}")
    return done.stdout
