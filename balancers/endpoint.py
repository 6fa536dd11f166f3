"""The live record of one instance, as a balancer sees it.

An *instance* is what the registry reports; an *endpoint* is what we call. An endpoint outlives
every registry and configuration change, so that its active count, its latency estimate and its
failures are never forgotten by accident.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class EndpointState(enum.StrEnum):
    """Why an endpoint may or may not be picked. READY, WARMING and SUSPECT take traffic."""

    READY = "ready"
    WARMING = "warming"
    EJECTED = "ejected"
    UNHEALTHY = "unhealthy"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"
    DRAINING = "draining"
    SUSPECT = "suspect"
    GONE = "gone"


class Outcome(enum.StrEnum):
    """How one attempt on one endpoint ended, and who is to blame. Strings, because they are labels and keys on the request path."""

    OK = "ok"
    FAILED_LOCAL = "failed_local"
    """No answer was had: connect error, reset, timeout."""
    FAILED_REMOTE = "failed_remote"
    """The endpoint answered badly: 5xx, or a message that is not HTTP."""
    ABANDONED = "abandoned"
    """Nobody waits for it any more, because the client left or another endpoint was faster: blames nobody, teaches nothing."""


class Endpoint:
    """One instance with the numbers a balancer decides by.

    ``active`` is raised and lowered by whoever sends the requests, exactly once each per attempt;
    ``oldest_at_s`` is set by the same when it is 0.0, at sending, and cleared by ``Balancer.observe``:
    since when a request has been waiting without any answer (0.0 = none; see `balancers.load`);
    ``latency_s``/``latency_at_s`` are written only by ``Balancer.observe`` and ``load.give_up_on`` (0.0 = no sample yet);
    ``weight``, ``state``, ``reason``, ``since_s`` and ``ejection`` only by ``EndpointSet``;
    from ``failures_in_row`` on only by ``outlier.Outliers``, which explains them. Who sends must tell
    it of a success only where ``failures_in_row`` is not 0.
    """

    __slots__ = (
        "active",
        "blamed_total",
        "ejected_at_s",
        "ejected_until_s",
        "ejection",
        "ejections_in_row",
        "failures_in_row",
        "id",
        "key",
        "latency_at_s",
        "latency_s",
        "oldest_at_s",
        "reason",
        "returned_at_s",
        "since_s",
        "state",
        "trial_at_s",
        "trials_since_s",
        "warming_since_s",
        "weight",
    )

    def __init__(self, key: Hashable, id: str, weight: float = 1.0) -> None:  # noqa: A002 the registry's own word
        # for life
        self.key = key
        self.id = id
        # as the registry says
        self.weight = weight
        self.state = EndpointState.READY
        self.reason: str | None = None
        self.since_s = 0.0
        self.warming_since_s = 0.0
        """When its slow start began; 0.0 if it is not warming up."""
        # as traffic says
        self.active = 0
        self.latency_s = 0.0
        self.latency_at_s = 0.0
        self.oldest_at_s = 0.0
        # as ejection says
        self.ejection: str | None = None
        """Why it is out, while it is; another state may hide it."""
        self.failures_in_row = 0
        self.blamed_total = 0
        self.ejections_in_row = 0
        self.ejected_at_s = 0.0
        self.ejected_until_s = 0.0
        self.trial_at_s = 0.0
        """When it was given to a request that tries it, the last time since it went out; 0.0 if it was not."""
        self.trials_since_s = 0.0
        """The same of the first time: whatever was sent since then decides."""
        self.returned_at_s = 0.0

    def __repr__(self) -> str:
        return f"<Endpoint {self.id} {self.state.value} active={self.active} weight={self.weight:g} latency={self.latency_s * 1000:.1f}ms>"
