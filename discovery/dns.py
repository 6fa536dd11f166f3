"""SRV records as a source: each service is asked for again and again, as its TTL allows.

NXDOMAIN and an answer without records mean "nobody is there", which is how a Consul looks, too, that
has lost its data: such a loss is doubted like any other (see `protection`). SERVFAIL, REFUSED and silence
are no answers; what is known stays. DNS lists no services, so only those that somebody names are watched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from random import Random
from typing import TYPE_CHECKING, Final

from discovery.consul_wire import Consistency
from discovery.dns_answer import PROVIDER, instances_of, pause_s
from discovery.dns_client import DnsClient, over_the_wire
from discovery.errors import DiscoveryError
from discovery.instance import Catalog, Snapshot
from discovery.last_good import tell
from discovery.protection import Answer, judge
from discovery.trust import Trust, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discovery.dns_client import Ask, Server
    from discovery.instance import Instance, InstanceKey, SnapshotState, SourceStatus
    from discovery.protection import Hold
    from discovery.source import CatalogListener, SnapshotListener

log = logging.getLogger(__name__)

HOLD_S: Final = 10.0
MAX_AGE_S: Final = 600.0
OUTAGE_CAP_S: Final = 30.0
SHORTEST_PAUSE_S: Final = 0.1
SERVICE: Final = "{service}"


class DnsSource:
    """A `Source` over nameservers.

    `servers`: address and port of each; the first that answers is asked until it fails. `name` holds
    ``{service}`` once. `interval_s`, > 0: how often to ask where records have no TTL. `on_error` gets
    the kind of every failure, `on_update` the name of a service whose instances changed.
    """

    provider = PROVIDER

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        name: str = "{service}.service.consul",
        interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        on_error: Callable[[str], None] = lambda _kind: None,
        on_update: Callable[[str], None] = lambda _service: None,
        ask: Ask = over_the_wire,
    ) -> None:
        # for life
        self._client = DnsClient(servers, ask)
        self._name = name
        self._interval_s = interval_s
        self._clock = clock
        self._random = random or Random()
        self._on_error = on_error
        self._on_update = on_update
        # what is watched
        self._watches: dict[str, _Watch] = {}
        # while it runs
        self._running = False
        # since the last recovery
        self._logged: str | None = None

    def __repr__(self) -> str:
        return f"<DnsSource {self._name} services={len(self._watches)}>"

    async def start(self) -> None:
        """Begin to ask; the first questions go out at once."""
        self._running = True
        for watch in self._watches.values():
            self._begin(watch)

    def watch(self, service: str, listener: SnapshotListener) -> None:
        """Follow one service; names are compared in lower case, as DNS does."""
        service = service.lower()
        if service in self._watches:
            watch = self._watches[service]
            watch.listener = listener
            if watch.snapshot is not None:
                tell(listener, watch.snapshot)
            return
        self._watches[service] = watch = _Watch(service, listener, self._on_update)
        if self._running:
            self._begin(watch)

    def unwatch(self, service: str) -> None:
        """Forget one service."""
        watch = self._watches.pop(service.lower(), None)
        if watch is not None and watch.task is not None:
            watch.task.cancel()

    def watch_catalog(self, listener: CatalogListener) -> None:
        """There is no list of names in DNS; this is said once, and is final."""
        tell(listener, Catalog({}, self._clock()))

    def snapshot(self, service: str) -> Snapshot | None:
        """The newest of a watched service, with the moment of its last confirmation."""
        watch = self._watches.get(service.lower())
        return None if watch is None else watch.snapshot

    def status(self) -> SourceStatus:
        """The worst state, the oldest confirmation and the last error of all watches that know something."""
        return status_of(PROVIDER, [watch.trust for watch in self._watches.values()], self._clock())

    async def aclose(self) -> None:
        """Stop asking."""
        self._running = False
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, watch: _Watch) -> None:
        watch.task = asyncio.get_running_loop().create_task(self._run(watch), name=f"dns {watch.service}")

    async def _run(self, watch: _Watch) -> None:
        failures = 0
        while True:
            try:
                left_s = await self._ask(watch)
                failures = 0
            except DiscoveryError as error:
                left_s = self._backoff_s(failures)
                failures += 1
                self._failed(watch, error)
            except Exception as error:  # a bug must not end discovery for good
                log.exception("a bug while asking for %s", watch.service)
                left_s = OUTAGE_CAP_S
                self._failed(watch, DiscoveryError(f"internal error: {error!r}"))
            await asyncio.sleep(left_s)

    async def _ask(self, watch: _Watch) -> float:
        """Ask once; returns in how many seconds to ask again."""
        found, addresses = await self._client.service(self._name.replace(SERVICE, watch.service))
        now_s = self._clock()
        watch.accept(instances_of(watch.service, found, addresses), now_s)
        if self._logged is not None and not any(each.trust.last_error for each in self._watches.values()):
            self._logged = None
            log.info("the nameservers answer again")
        usual_s = pause_s(found.ttl_s, self._interval_s)
        return max(SHORTEST_PAUSE_S, min(usual_s, watch.recheck_at_s - now_s))

    def _backoff_s(self, failures: int) -> float:
        """Full jitter, as in `pacing`, from the interval on."""
        longest_s = min(OUTAGE_CAP_S, self._interval_s * 2.0 ** min(failures, 10))
        return self._random.uniform(longest_s / 2, longest_s)

    def _failed(self, watch: _Watch, error: DiscoveryError) -> None:
        self._on_error(error.kind)
        watch.refuse(str(error), self._clock())
        if error.kind != self._logged:  # one line per kind and outage, however many services fail
            self._logged = error.kind
            log.warning("DNS cannot be read, what is known stays: %s", error, extra={"service": watch.service, "reason": error.kind})


class _Watch:
    """What is known of one service."""

    def __init__(self, service: str, listener: SnapshotListener, on_update: Callable[[str], None]) -> None:
        # for life
        self.service = service
        self.listener = listener
        self.trust = Trust(MAX_AGE_S)
        self.task: asyncio.Task[None] | None = None
        self._on_update = on_update
        # since the last answer
        self._version = 0
        self._instances: tuple[Instance, ...] = ()
        # since the last suspicious one
        self._holds: Mapping[InstanceKey, Hold] = {}
        self.recheck_at_s = float("inf")
        # since the last call of the listener
        self._told: tuple[int, SnapshotState] | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        trust = self.trust
        if trust.state is None or trust.confirmed_at_s is None:
            return None
        return Snapshot(self.service, self._version, self._instances, 0, trust.confirmed_at_s, trust.state, trust.last_error)

    def accept(self, instances: tuple[Instance, ...], now_s: float) -> None:
        """Judge and tell. There are no stronger reads in DNS, so each answer confirms a loss as well as it can be."""
        judgement = judge(self._instances, self._holds, Answer(instances, now_s, consistency=Consistency.CONSISTENT), HOLD_S)
        self._holds = judgement.holds
        self.recheck_at_s = judgement.recheck.at_s if judgement.recheck is not None else float("inf")
        if not self._version or judgement.instances != self._instances:
            self._instances = judgement.instances
            self._version += 1
            self._on_update(self.service)
        self.trust.confirm(now_s)
        self._tell()

    def refuse(self, error: str, now_s: float) -> None:
        self.trust.failed(error, now_s)
        self._tell()

    def _tell(self) -> None:
        snapshot = self.snapshot
        if snapshot is not None and self._told != (snapshot.version, snapshot.state):
            self._told = (snapshot.version, snapshot.state)
            tell(self.listener, snapshot)
