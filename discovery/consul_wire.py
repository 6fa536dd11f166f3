"""How to ask Consul, and what its answers are worth: parameters, replies, indexes. Pure.

Measured on Consul 1.8.7, meant for all later ones; `consul_body` reads what the answers contain.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from discovery.errors import Busy, Denied, DiscoveryError, Misconfigured, ReadTimedOut, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LAST_CONTACT_S: Final = 10.0
WAIT_JITTER: Final = 17 / 16
"""Consul lets a blocked read wait for up to a sixteenth longer than asked, so that not all of them end at once."""
MAX_INDEX: Final = 2**63
"""Far beyond any real index; what lies above is garbage, and blocking on it would miss every change."""


class Consistency(enum.StrEnum):
    """Consul's read modes, by rising cost and strength."""

    STALE = "stale"
    DEFAULT = "default"
    CONSISTENT = "consistent"

    @property
    def strength(self) -> int:
        return tuple(Consistency).index(self)


@dataclass(frozen=True, slots=True)
class Read:
    """One read: plain (``index`` 0, answered at once) or blocking until the index moves or `wait_s` is over."""

    index: int = 0
    wait_s: float = 0.0
    consistency: Consistency = Consistency.STALE
    cached: bool = False
    """Content with the agent's own cache: the only thing that answers while all servers are gone."""
    resync: bool = False
    """Nothing told of a change: to see whether something was missed."""

    @property
    def timeout_s(self) -> float:
        """Longest silence to bear: the wait with its jitter, and then Consul takes its time."""
        return self.wait_s * WAIT_JITTER + 10.0 if self.index else 10.0


def parameters(read: Read, datacenter: str | None = None) -> dict[str, str]:
    """The query of a read. `index` 0 is never sent; `wait` always has a unit, or Consul answers 400."""
    query = {}
    if read.cached:
        query["cached"] = ""
    elif read.consistency is not Consistency.DEFAULT:
        query[read.consistency.value] = ""
    if datacenter:
        query["dc"] = datacenter
    if read.index > 0:
        query |= {"index": str(read.index), "wait": f"{max(1, round(read.wait_s * 1000))}ms"}
    return query


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer of Consul, reduced to what decisions need."""

    status: int
    body: bytes
    index: str | None = None
    known_leader: bool = True
    last_contact_s: float = 0.0
    from_cache: bool = False
    age_s: float = 0.0
    """Of an answer from the agent's cache. All else that it says of its freshness is as old as itself."""
    retry_after_s: float | None = None

    def as_of_s(self, now_s: float) -> float | None:
        """The moment at which this answer was certainly true; None if that is not known."""
        return now_s - self.age_s if self.from_cache else None

    @property
    def dubious(self) -> str | None:
        """Why this answer may be older than what is known already; None if there is no sign of it."""
        if self.from_cache:
            return "answered from the agent's cache"
        if not self.known_leader:
            return "the cluster has no leader"
        if self.last_contact_s > MAX_LAST_CONTACT_S:
            return f"the server lost its leader {self.last_contact_s:.0f} s ago"
        return None


def reply(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Reduce an HTTP answer; `headers` must look names up regardless of case."""
    return Reply(
        status,
        body,
        index=headers.get("X-Consul-Index"),
        known_leader=headers.get("X-Consul-KnownLeader", "true") != "false",
        last_contact_s=(_number(headers.get("X-Consul-LastContact")) or 0.0) / 1000,
        from_cache=headers.get("X-Cache") == "HIT",
        age_s=_number(headers.get("Age")) or 0.0,
        retry_after_s=_number(headers.get("Retry-After")),
    )


def failure(answer: Reply) -> DiscoveryError | None:
    """What a status means; None for a good one. The index of a failure is always worthless (Consul sends 1)."""
    status = answer.status
    text = f"HTTP {status}: {answer.body[:200].decode('utf-8', 'replace').strip() or 'no explanation'}"
    if status == 200:
        return None
    if status in (401, 403):
        return Denied(text)
    if status in (429, 503):
        return Busy(text, answer.retry_after_s)
    # 1.8.7 answers a bad filter with 500.
    if status == 400 or b"boolean expression evaluator" in answer.body:
        return Misconfigured(text)
    # Consul has no 504: a proxy before it did not want to wait any longer.
    return ReadTimedOut(text) if status == 504 else ServerFailed(text)


def next_index(header: str | None, asked: int) -> int:
    """The index to block on after a 200; 0 means that the next read must be a plain one.

    Missing, zero or garbage counts as 1, which never blocks for long. An index that went backwards
    (a restarted or restored registry, a follower ahead of its leader) must not be blocked on: the
    registry would stay silent until it has caught up.
    """
    index = int(header) if header and len(header) < 20 and header.isascii() and header.isdigit() else 0
    if not 0 < index < MAX_INDEX:
        index = 1
    return 0 if index < asked else index


def digest(body: bytes) -> bytes:
    """Names a body, so that an unchanged one need not be parsed again (200 instances: 6 ms of JSON)."""
    return hashlib.blake2b(body, digest_size=16).digest()


def _number(text: str | None) -> float | None:
    return float(text) if text and len(text) < 20 and text.isascii() and text.isdigit() else None
