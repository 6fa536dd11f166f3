"""An endpoint whose requests are limited over several processes: ``limits.max_active`` and ``max_connections`` hold for all together.

Each worker writes on the board how many requests it has at each instance, and reads what the others have written. It *claims* a
place before it takes it, by writing one more than it has, and then counts what all have: so a worker that the kernel stops between
counting and taking is counted by the others. Near to the limit that happens under a lock, so the last place is given away once, and
to somebody. A claim lives until the request has its place, or until the event loop's next turn. The limit is the configured one, or
what the parent has found out for `limits.adaptive` and written on the board.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any

from balancers.endpoint import Endpoint
from lbgateway.dataplane.gateway_endpoint import GatewayEndpoint
from lbgateway.workers.board import SLOTS

if TYPE_CHECKING:
    from collections.abc import Hashable

    from balancers.endpoint_set import Member
    from discovery.instance import Instance
    from lbgateway.dataplane.pool import Pool
    from lbgateway.workers.board import Board

_ACTIVE = vars(Endpoint)["active"]
"""The slot itself: read by its own `__get__`, the property below costs no frame."""

NOWHERE = SLOTS
"""Behind the slots that the parent gives out: written, never read."""


class Places:
    """What one worker knows of the places at all instances. `slots` tells the number of each on the board."""

    def __init__(self, board: Board, worker: int) -> None:
        self.board = board
        self.own = board.rows[worker]
        self.others = tuple(row for index, row in enumerate(board.rows) if index != worker)
        self.slots: dict[Hashable, int] = {}
        self.claims: list[SharedEndpoint] = []

    def __repr__(self) -> str:
        return f"<Places slots={len(self.slots)} claims={len(self.claims)}>"

    def made(self, instance: Instance, member: Member, pool: Pool) -> GatewayEndpoint:
        """A `dataplane.gateway_endpoint.EndpointMaker`."""
        return SharedEndpoint(self, instance, member, pool)

    def claim(self, endpoint: SharedEndpoint) -> None:
        """Remember it, to be given back where nobody comes for it."""
        if not self.claims:
            asyncio.get_running_loop().call_soon(self.settle)
        self.claims.append(endpoint)

    def settle(self) -> None:
        """Write what is: every claim has been used by now, or is not needed."""
        claims, self.claims = self.claims, []
        for endpoint in claims:
            self.own[endpoint.slot] = endpoint.active


class NumberedEndpoint(GatewayEndpoint):
    """An endpoint that all processes of the gateway call by the same `number`: its slot, if the board has room for that."""

    __slots__ = ("number",)

    def __init__(self, number: int, instance: Instance, member: Member, pool: Pool) -> None:
        self.number = number
        super().__init__(instance, member, pool)


class SharedEndpoint(NumberedEndpoint):
    """`active` are this worker's requests, as ever; `most_active` is what the others leave of the limit."""

    __slots__ = ("_limit", "_others", "_own", "_places", "slot")

    def __init__(self, places: Places, instance: Instance, member: Member, pool: Pool) -> None:
        slot = places.slots.get(member.key, NOWHERE)
        self._places = places
        self._own = places.own
        self.slot = slot if slot < SLOTS else NOWHERE
        self._others = places.others if slot < SLOTS else ()
        self._limit = inf
        super().__init__(slot, instance, member, pool)

    def _write_active(self, value: int) -> None:
        _ACTIVE.__set__(self, value)
        self._own[self.slot] = value
        if self._places.claims:
            self._places.settle()

    active: Any = property(_ACTIVE.__get__, _write_active)

    def _left(self) -> float:
        """So many requests at once may this worker have; where that is more than it has, and few are left, one is claimed."""
        limit, slot, others = self._limit, self.slot, self._others
        found = self._places.board.limits[slot]
        if 0 < found < limit:
            limit = found
        elif limit == inf:
            return inf
        if not others:
            return limit
        enough, taken = limit - len(others), 0
        for row in others:
            taken += row[slot]
        if taken + self.active < enough:
            # Written down before it is counted once more: from here on nobody gives away a place without knowing of this one, and
            # each of the others can have given away one before.
            self._own[slot] = self.active + 1
            self._places.claim(self)
            taken = 0
            for row in others:
                taken += row[slot]
            if taken + self.active < enough:
                return limit - taken
        return self._claimed(limit)

    def _claimed(self, limit: float) -> float:
        slot, board = self.slot, self._places.board
        board.lock(slot)
        try:
            taken = sum(row[slot] for row in self._others)
            if self.active + taken < limit:
                self._own[slot] = self.active + 1
                self._places.claim(self)
            else:
                self._own[slot] = self.active
            return limit - taken
        finally:
            board.unlock(slot)

    def _limit_to(self, limit: float) -> None:
        # Who is not on the board has its part of it.
        parts = 1 if self._others or limit == inf else len(self._places.others) + 1
        self._limit = max(1.0, limit // parts) if parts > 1 else limit

    most_active: Any = property(_left, _limit_to)

    def trim(self) -> None:
        """Keep no more connections idle than this worker's part of ``limits.max_connections`` has room for."""
        pool = self.pool
        if pool.idle and pool.max_connections != inf:
            part = max(1, int(pool.max_connections) // (len(self._places.others) + 1))
            while pool.idle and pool.active + len(pool.idle) > part:
                pool.idle.pop(0).close()
