"""Who of several workers takes the next connection: whoever has the fewest, or where all have as many, whoever has accepted the fewest.

All workers accept on the same socket, so that a worker that dies or hangs takes no waiting client along: with a socket each
(SO_REUSEPORT) the kernel would have dealt some of them to it already. But it wakes all of them, and the quickest would take
everything. So a worker that should not be next leaves the connection to the others for `PATIENCE_S`; if it is still there
then, it takes it all the same.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from lbgateway.doorkeeper import Doorkeeper
from lbgateway.workers.board import NOT_SERVING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sized

    from lbgateway.doorkeeper import TakeIn
    from lbgateway.workers.board import Board

PATIENCE_S, LOOK_S = 0.01, 0.0005
IN_VAIN = 10
"""Who has not come so many times in a row is not waited for until it does something: a worker that hangs must not make clients wait."""


class Turns:
    """One worker's numbers at the doors, and its comparison with those of the others. `connections`: those that it has."""

    def __init__(self, board: Board, worker: int, connections: Sized) -> None:
        self._doors = board.doors
        self._worker = worker
        self._connections = connections
        self._accepted = 0
        self._waited_for: dict[int, tuple[tuple[int, int], int]] = {}
        """Others by number: what they had when they were waited for in vain, and how many times."""
        self.arriving: Sized = ()
        """Accepted, but no connection yet."""

    def open(self) -> None:
        """Take part from now on: as if it had accepted as many as whoever has accepted the most, or it would get all for a while."""
        self._accepted = max(self._doors[1::2].tolist())
        self.write()

    def write(self) -> None:
        """Tell the others."""
        self._doors[2 * self._worker : 2 * self._worker + 2] = memoryview(array("q", self._own()))

    def accepted(self, *, waited: bool) -> None:
        """One more; `waited`: those who are ahead had been given time for it."""
        for worker, numbers in self._ahead() if waited else ():
            before, times = self._waited_for.get(worker, (numbers, 0))
            self._waited_for[worker] = (numbers, times + 1 if numbers == before else 1)
        self._accepted += 1
        self.write()

    def mine(self) -> bool:
        """Whether the next connection is this worker's."""
        return not self._ahead()

    def _ahead(self) -> list[tuple[int, tuple[int, int]]]:
        """Those who should take it before this one, with their numbers."""
        doors, own = self._doors.tolist(), self._own()
        others = ((at // 2, (doors[at], doors[at + 1])) for at in range(0, len(doors), 2) if at != 2 * self._worker)
        return [each for each in others if each[1][0] != NOT_SERVING and each[1] < own and not self._given_up(*each)]

    def _given_up(self, worker: int, numbers: tuple[int, int]) -> bool:
        before, times = self._waited_for.get(worker, (numbers, 0))
        return numbers == before and times >= IN_VAIN

    def _own(self) -> tuple[int, int]:
        return len(self._connections) + len(self.arriving), self._accepted


class FairDoorkeeper(Doorkeeper):
    """In the place of a `Doorkeeper`, for one worker of several."""

    def __init__(self, turns: Turns, listener: socket.socket, take_in: TakeIn, *, spare: int = 0) -> None:
        self._turns = turns
        super().__init__(listener, take_in, spare=spare)
        turns.arriving = self._tasks

    def _on_readable(self) -> None:
        if self._turns.mine():
            self._accept_one(waited=False)
        else:
            self._loop.remove_reader(self._listener)
            self._look_again(self._loop.time() + PATIENCE_S)

    def _look_again(self, until_s: float) -> None:
        """Whoever comes meanwhile may be ours; and who is not, but is still there in the end, is taken all the same."""
        mine, late = self._turns.mine(), self._loop.time() >= until_s
        if mine or late:
            self._open()
            self._accept_one(waited=not mine)
        else:
            self._pause = self._loop.call_later(LOOK_S, self._look_again, until_s)

    def _accept_one(self, *, waited: bool) -> None:
        before = len(self._tasks)
        super()._on_readable()
        if len(self._tasks) > before:
            self._turns.accepted(waited=waited)
