"""The parent's numbers: those of all workers together.

What counters have grown by is added; of what comes and goes the last word of each worker is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.dataplane.history import Candidate, Pick
from lbgateway.workers.board import SLOTS
from lbgateway.workers.shared_endpoint import NumberedEndpoint

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from balancers.endpoint_set import Member
    from discovery.instance import Instance
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.dataplane.pool import Pool
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.telemetry.metrics import Metrics
    from lbgateway.workers.board import Board
    from lbgateway.workers.slots import Slots


class SumEndpoint(NumberedEndpoint):
    """An endpoint of the parent's: `active` is what all workers have at this moment, `most_active` is told to them on the board."""

    __slots__ = ("_board", "_most", "_own", "_read", "elsewhere")

    def __init__(self, board: Board, slot: int, instance: Instance, member: Member, pool: Pool) -> None:
        self._board = board
        self._own = self._read = 0
        self._most = 0.0
        self.elsewhere: dict[int, tuple[int, int]] = {}
        """By worker: connections idle and in use."""
        super().__init__(slot, instance, member, pool)

    def _sum(self) -> int:
        slot = self.number
        self._read = self._own + (sum(row[slot] for row in self._board.rows) if slot < SLOTS else 0)
        return self._read

    def _count_own(self, value: int) -> None:
        # One more or less than was read: the workers write on meanwhile.
        self._own += value - self._read

    active: Any = property(_sum, _count_own)

    def _most_told(self) -> float:
        return self._most

    def _tell_most(self, most: float) -> None:
        self._most = most
        if self.number < SLOTS:
            self._board.limits[self.number] = int(most) if most < 2**31 else 0

    most_active: Any = property(_most_told, _tell_most)

    def connections(self) -> tuple[int, int]:
        idle, leased = super().connections()
        return idle + sum(each[0] for each in self.elsewhere.values()), leased + sum(each[1] for each in self.elsewhere.values())


class Merging:
    """Adds the reports of workers, told by their index, to the numbers of `plane`."""

    def __init__(self, plane: DataPlane, slots: Slots) -> None:
        self._plane = plane
        self._slots = slots
        self.gauges: dict[int, dict[str, Any]] = {}
        """By worker: ``requests``, ``lag_s``, ``pid``, and what it says of those whom it asks."""
        self.tokens: dict[str, dict[int, float]] = {}
        self.patience_s: dict[str, dict[int, float]] = {}
        """By service, then worker."""

    def hear(self, worker: int, facts: dict[str, Any]) -> None:
        """Add one report."""
        metrics = self._plane.metrics
        for name, pairs in facts["counters"].items():
            counter = getattr(metrics, name)
            for key, count in pairs:
                label = tuple(key) if isinstance(key, list) else key
                counter[label] = counter.get(label, 0) + count
        metrics.connections_accepted += facts["accepted"]
        self._add_routes(metrics, facts["routes"])
        for service in facts["services"]:
            upstream = self._plane.upstreams.get(service[0])
            if upstream is not None:
                self._add_service(worker, upstream, *service[1:])
        self.gauges[worker] = {key: facts[key] for key in ("requests", "lag_s", "pid", "asked")}

    def forget(self, worker: int) -> None:
        """It is gone: what it has counted stays, what it had does not."""
        self.gauges.pop(worker, None)
        for known in (*self.tokens.values(), *self.patience_s.values()):
            known.pop(worker, None)
        for upstream in self._plane.upstreams.values():
            for endpoint in (*upstream.endpoints.endpoints.values(), *upstream.endpoints.leaving.values()):
                assert isinstance(endpoint, SumEndpoint)
                endpoint.elsewhere.pop(worker, None)

    def _add_routes(self, metrics: Metrics, routes: Iterable[list[Any]]) -> None:
        for label, service, requests, buckets, seconds in routes:
            if label in self._plane.labels:
                series = metrics.route(label, service)
                for (method, status), count in requests:
                    series.requests[method, status] += count
                series.duration.add(buckets, seconds)

    def _add_service(
        self, worker: int, upstream: Upstream, counts: list[int], buckets: list[list[int]], seconds: float,
        endpoints: list[dict[str, Any]], extras: dict[str, Any],
    ) -> None:  # fmt: skip
        requests, tried, failures = map(int, counts)
        upstream.add(requests, tried, failures)
        upstream.duration.add(buckets, seconds)
        self.tokens.setdefault(upstream.name, {})[worker] = extras["tokens"]
        if extras["patience_s"] is not None:
            self.patience_s.setdefault(upstream.name, {})[worker] = extras["patience_s"]
        for facts in endpoints:
            endpoint = self.endpoint(upstream, facts["slot"])
            if endpoint is not None:
                _add_endpoint(worker, endpoint, facts)

    def endpoint(self, upstream: Upstream, slot: int) -> SumEndpoint | None:
        """Who has that slot; None if it is not there any more."""
        owner: Hashable = self._slots.owner(slot)
        found = upstream.endpoints.endpoints.get(owner) or upstream.endpoints.leaving.get(owner)
        return found if isinstance(found, SumEndpoint) else None


def _add_endpoint(worker: int, endpoint: SumEndpoint, facts: dict[str, Any]) -> None:
    series, (failures, seconds) = endpoint.series, facts["growth"]
    series.failures += int(failures)
    series.add(facts["outcomes"], facts["buckets"], seconds)
    for reason, count in facts["ejections"].items():
        series.ejections[reason] = series.ejections.get(reason, 0) + count
    if failures:
        series.last_error = facts["last_error"]
    idle, leased = facts["connections"]
    endpoint.elsewhere[worker] = (idle, leased)
    latency_s, latency_at_s = facts["latency"]
    if latency_at_s > endpoint.latency_at_s:
        endpoint.latency_s, endpoint.latency_at_s = latency_s, latency_at_s
    if facts["picks"]:
        _add_picks(endpoint, facts["picks"])


def _add_picks(endpoint: SumEndpoint, picks: list[list[Any]]) -> None:
    """The last of all workers, in the order in which they were made."""
    kept = endpoint.remembers().picks
    new = (Pick(at_s, reason, of, tuple(Candidate(*each) for each in candidates)) for at_s, reason, of, candidates in picks)
    in_order = sorted((*kept, *new), key=lambda pick: pick.at_s)
    kept.clear()
    kept.extend(in_order)
