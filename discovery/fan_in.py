"""Direct or swept: how many services share a limited number of blocking reads.

While there is room, each service has a blocking read of its own and a change is known within
milliseconds. When there is not, all of them are swept (see `sweep`). Neither change of mode
cancels a read or forgets anything: a read that blocks goes on until it is answered, and whoever blocks
again does so on the index that was read last.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from discovery.last_good import LastGoodService
    from discovery.sweep import Sweep
    from discovery.watcher import Watcher

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
SWEEP_AT_LEAST_S: Final = 5.0
"""Each end of a sweep costs a slot for a while: numbers around the limit must not make it come and go."""


class FanIn:
    """Chooses the mode of all `services`.

    `room` tells for how many blocking reads there is room, `others` how many there are beside the services'
    own; `make_watcher` makes the one that feeds `sweep`, and starts it; `end` stops a watcher.
    """

    def __init__(
        self,
        services: Mapping[str, tuple[LastGoodService, Watcher]],
        sweep: Sweep,
        *,
        room: Callable[[], int],
        others: Callable[[], int],
        make_watcher: Callable[[], Watcher],
        end: Callable[[Watcher], None],
        clock: Callable[[], float],
    ) -> None:
        # for life
        self.sweep = sweep
        self._services = services
        self._room = room
        self._others = others
        self._make_watcher = make_watcher
        self._end = end
        self._clock = clock
        # while it runs
        self._timer: asyncio.TimerHandle | None = None
        # while it sweeps
        self.sweeper: Watcher | None = None
        self._since_s = float("-inf")

    @property
    def direct(self) -> bool:
        return self.sweeper is None

    def start(self) -> None:
        """Settle now, and look again from time to time: reads that linger end, others take connections."""
        self.settle()
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sweeper is not None:
            self._leave(self.sweeper)

    def settle(self) -> None:
        """Sweep if there are more watches than room; to block again may wait for the next look."""
        if self.sweeper is None and self._wanted() > self._room():
            self._begin()

    def catalog_moved(self) -> None:
        """Some registration changed; blocking reads see it for themselves."""
        if self.sweeper is not None:
            self.sweep.catalog_moved()

    def _wanted(self) -> int:
        """One more than there are, for the sweep that the next one may make necessary."""
        return len(self._services) + self._others() + 1

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)
        self.settle()
        settled = self._clock() - self._since_s >= SWEEP_AT_LEAST_S
        if self.sweeper is not None and settled and self._wanted() <= self._room():
            self._leave(self.sweeper)
            log.info("services are watched by a blocking query each again", extra={"services": len(self._services)})

    def _begin(self) -> None:
        text = "more services than blocking queries: they are swept, and changes take up to 1.5 s to be seen"
        log.info(text, extra={"services": len(self._services), "room": self._room()})
        self._since_s = self._clock()
        for _, watcher in self._services.values():
            watcher.direct(direct=False)
        self.sweeper = self._make_watcher()

    def _leave(self, sweeper: Watcher) -> None:
        self.sweeper = None
        self._end(sweeper)
        self.sweep.stop()
        for _, watcher in self._services.values():
            watcher.direct(direct=True)
