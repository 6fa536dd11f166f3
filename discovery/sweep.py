"""More services than blocking reads: two long polls see that something changed, plain reads see what.

``/v1/health/state/any`` holds the checks of all services. Compared with the one before, an answer
names the services whose checks changed, and the nodes whose own check did; they are read at once.
Weights, addresses, Meta and services without checks are not in it. They move the index of
``/v1/catalog/services``, which does not say whose they are. So a move of the catalog that no check explains is
followed by a pass over all services that were not read since, at most one per second. One that a check
explains may hide another change made in the same moment, so the pass comes then, too, but later.

The body may hold many thousands of checks, and the loop that reads it forwards requests too. It is
not parsed but cut where each check begins, and only the pieces that differ are looked into: 3000 checks
cost 3 ms instead of 70.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from discovery.consul_wire import failure
from discovery.errors import DiscoveryError, MalformedAnswer
from discovery.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from discovery.consul_wire import Read, Reply
    from discovery.last_good import LastGoodService
    from discovery.protection import Recheck
    from discovery.watcher import Watcher

INTERVAL_S: Final = 0.15
"""Between two reads of all checks in a burst of changes: they are the dearest of all reads."""
PASS_DELAY_S: Final = (0.25, 0.6)
"""A registration moves the catalog and, mostly, a check: by then the check is known, if there is one. At least and at most:
a busy agent takes its time to list all checks."""
PASS_EVERY_S: Final = 0.9
TOGETHER_S: Final = 0.05
"""The two reads wake at the same moment; the check's answer may be the first to be here."""
EXPLAINED_S: Final = 3.0
PARALLEL: Final = 4
"""Reads of a pass at a time: the other connections are for those whom a check names."""

_BEGINS: Final = b'"Node":'
"""Inside of a text its quotes would be escaped, so nothing that a service says can look like it."""
_TEXT: Final = rb'\s*("(?:[^"\\]|\\.)*")'
_NODE: Final = re.compile(_TEXT)
_SERVICE: Final = re.compile(rb'"ServiceName":' + _TEXT)
_BETWEEN: Final = b" \t\r\n,{}[]"


class Concerned(NamedTuple):
    """Whom a difference between two answers concerns; ``everybody`` if it cannot be told."""

    services: frozenset[str]
    """In lower case."""
    nodes: frozenset[str]
    everybody: bool = False


def pieces(body: bytes) -> frozenset[bytes]:
    """All checks of an answer, unread.

    Raises:
        MalformedAnswer: it is no complete list.

    """
    text = body.strip()
    if not (text.startswith(b"[") and text.endswith(b"]")):
        raise MalformedAnswer("a list of checks was expected")
    return frozenset([piece.rstrip(_BETWEEN) for piece in text.split(_BEGINS)[1:]])


def concerned(changed: Iterable[bytes]) -> Concerned:
    """Whose checks these pieces are: a service's, or a node's own, which concerns all services on it."""
    services, nodes, everybody = set(), set(), False
    for piece in changed:
        node, service = _NODE.match(piece), _SERVICE.search(piece)
        if node is None or service is None:
            everybody = True
        elif name := _text(service[1]):
            services.add(name.lower())
        else:
            nodes.add(_text(node[1]))
    return Concerned(frozenset(services), frozenset(nodes), everybody)


def _text(quoted: bytes) -> str:
    return str(json.loads(quoted.decode("utf-8", "replace"), strict=False))


class Sweep:
    """Tells the watches of `services` when to read; what a watcher of all checks feeds (a `LastGood`).

    `ask` performs a read. `clock`: monotonic seconds.
    """

    path: Final = "/v1/health/state/any"

    def __init__(
        self,
        services: Mapping[str, tuple[LastGoodService, Watcher]],
        ask: Callable[[str, Read], Awaitable[Reply]],
        *,
        max_age_s: float,
        clock: Callable[[], float],
    ) -> None:
        # for life
        self.trust = Trust(max_age_s)
        self.recheck: Recheck | None = None
        self.catalog: Trust | None = None
        """How much the list of all names is worth; None while nobody asks for it."""
        self._services = services
        self._ask = ask
        self._clock = clock
        # since the last good answer; None also after a failure: what changed meanwhile is anybody's guess
        self._checks: frozenset[bytes] | None = None
        self._named_at_s = float("-inf")
        # since the catalog moved
        self._moved_at_s = float("-inf")
        self._check_lag_s = 0.0
        """How long after the catalog the checks came, lately."""
        self._passed_at_s = float("-inf")
        self._weighing: list[asyncio.TimerHandle] = []
        self._pass: asyncio.TimerHandle | None = None
        self._pass_at_s = float("inf")
        # while a pass goes on
        self._queue: dict[Watcher, None] = {}
        self._under_way: set[str] = set()

    async def ask(self, path: str, read: Read) -> Reply:
        """Read all checks. All that rely on it learn of a failure."""
        try:
            reply = await self._ask(path, read)
            error = failure(reply)
        except DiscoveryError as caught:
            self._worry(caught)
            raise
        if error is not None:
            self._worry(error)
        return reply

    async def ask_for_one(self, path: str, read: Read) -> Reply:
        """Read one service; in a pass, the next one begins when it is answered."""
        try:
            return await self._ask(path, read)
        finally:
            if path in self._under_way:
                self._under_way.discard(path)
                self._feed()

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:  # noqa: ARG002 as in the protocol
        """Tell those whose checks changed; after a failure, and at first, all."""
        new = pieces(reply.body)
        if self._checks is None:
            self._tell_all()
        elif new != self._checks:
            self._named_at_s = now_s
            self._learn_lag(now_s - self._moved_at_s)
            self._tell(concerned(new ^ self._checks))
        self._checks = new
        if reply.dubious is None:
            self.trust.confirm(now_s)
            self._assure()
        else:
            self.trust.outdated(reply.dubious, now_s, reply.as_of_s(now_s))

    def _learn_lag(self, lag_s: float) -> None:
        if lag_s <= PASS_DELAY_S[1]:  # or it has nothing to do with the catalog
            self._check_lag_s = max(0.9 * self._check_lag_s, lag_s)

    def refuse(self, error: str, now_s: float) -> None:
        """What nobody watches over any more is stale."""
        self._checks = None
        self.trust.failed(error, now_s)

    def _worry(self, error: DiscoveryError) -> None:
        for _, watcher in self._services.values():
            watcher.worry(error)

    def _assure(self) -> None:
        """Confirm whatever is quiet, as of the older one of the two answers."""
        mine, theirs = self.trust.confirmed_at_s, self.catalog.confirmed_at_s if self.catalog else None
        if mine is not None and theirs is not None:
            for _, watcher in self._services.values():
                watcher.assure(min(mine, theirs))

    def catalog_moved(self) -> None:
        """Some registration changed: find out whose, unless a check tells."""
        self._moved_at_s = self._clock()
        delay_s = min(PASS_DELAY_S[1], max(PASS_DELAY_S[0], 1.5 * self._check_lag_s))
        loop = asyncio.get_running_loop()
        self._weighing = [timer for timer in self._weighing if timer.when() > loop.time()]
        self._weighing.append(loop.call_later(delay_s, self._weigh, self._moved_at_s))

    def stop(self) -> None:
        """Begin no further reads, and forget: what changes from now on is not seen."""
        self._checks = None
        for timer in self._weighing:
            timer.cancel()
        self._weighing.clear()
        self._queue.clear()
        self._cancel_pass()

    def _weigh(self, moved_at_s: float) -> None:
        explained = self._named_at_s >= moved_at_s - TOGETHER_S
        due_at_s = moved_at_s + EXPLAINED_S if explained else max(self._clock(), self._passed_at_s + PASS_EVERY_S)
        if self._pass is None or due_at_s < self._pass_at_s:
            self._cancel_pass()
            self._pass_at_s = due_at_s
            self._pass = asyncio.get_running_loop().call_later(due_at_s - self._clock(), self._begin_pass)

    def _begin_pass(self) -> None:
        """All that were not read since wait for their turn; in the same order each time, so that none waits for two passes."""
        self._cancel_pass()
        self._passed_at_s = self._clock()
        self._under_way.clear()
        self._queue |= {watcher: None for _, watcher in self._services.values()}
        self._feed()

    def _cancel_pass(self) -> None:
        if self._pass is not None:
            self._pass.cancel()
            self._pass = None

    def _feed(self) -> None:
        while self._queue and len(self._under_way) < PARALLEL:
            watcher = next(iter(self._queue))
            del self._queue[watcher]
            if watcher.pacer.asked_at_s > self._moved_at_s:
                continue  # a check has named it meanwhile
            if watcher.pacer.quiet:
                self._under_way.add(watcher.kept.path)
            watcher.tell()

    def _tell(self, whom: Concerned) -> None:
        for name, (kept, watcher) in self._services.items():
            if name in whom.services or (whom.nodes and not whom.nodes.isdisjoint(kept.nodes)):
                watcher.tell()
        if whom.everybody:
            self._tell_all()

    def _tell_all(self) -> None:
        self._moved_at_s = self._clock()
        self._begin_pass()
