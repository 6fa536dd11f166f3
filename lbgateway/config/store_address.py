"""The address of a Redis, as the contract spells it: one server, sentinels that know the master, or a cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]
_SCHEMES: dict[str, Kind] = {"redis": "single", "rediss": "single", "redis+sentinel": "sentinel", "redis+cluster": "cluster"}
SCHEMES = tuple(f"{scheme}://" for scheme in _SCHEMES)
NO_PLACE = "names something that is no host:port, such as 127.0.0.1:6379; in a password, / ? # [ ] are written as %2F %3F %23 %5B %5D"
PORTS: dict[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`hosts`: the server, the sentinels, or the first nodes to ask. `master`: its name among sentinels."""

    kind: Kind
    url: str
    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    master: str = ""
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        # Never the password: addresses get into logs.
        return f"<StoreAddress {self.kind} {self.places}>"

    @property
    def places(self) -> str:
        """Where it is, for operators; no credentials."""
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{where} {self.master}" if self.master else where


def parse_store(url: str) -> StoreAddress:
    """Read `url`; `ValueError` with advice if it is none of the four kinds. Advice repeats nothing of it: that may be the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(NO_PLACE) from None
    kind = _SCHEMES.get(parts.scheme)
    if kind is None:
        raise ValueError("must be an address beginning with " + ", ".join(SCHEMES))
    credentials, _, places = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts = tuple(_host(place, PORTS[kind]) for place in places.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("one server has one host; several are redis+sentinel://… or redis+cluster://…")
    if parts.query and kind != "single":
        raise ValueError("takes no settings after `?`: sentinels and clusters are reached without TLS")
    path = [unquote(part) for part in parts.path.split("/")[1:] if part]
    master = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not master:
        raise ValueError("names no master: redis+sentinel://h1:26379,h2:26379/mymaster/0")
    if path and (kind == "cluster" or len(path) > 1 or not path[0].isdecimal()):
        raise ValueError("a cluster has one database only" if kind == "cluster" else "ends with the number of a database, such as /0")
    return StoreAddress(kind, url, hosts, int(path[0]) if path else 0, master, unquote(username) or None, unquote(password) or None)


def _host(place: str, port: int) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[::1]:port``."""
    try:
        parts = urlsplit(f"//{place}")
        host, found = parts.hostname, parts.port
    except ValueError:
        raise ValueError(NO_PLACE) from None
    if not host or found == 0 or (":" in place and not place.startswith("[") and place.count(":") > 1):
        raise ValueError(NO_PLACE)
    return host, port if found is None else found
