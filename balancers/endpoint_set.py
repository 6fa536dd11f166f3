"""Who exists and who is ready: the endpoints of one service, from complete sets of members to picks."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, Protocol

from balancers.balancer import Balancer, E
from balancers.endpoint import EndpointState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable

    from balancers.endpoint import Endpoint

_READY = frozenset({EndpointState.READY, EndpointState.WARMING})


@dataclass(frozen=True, slots=True)
class Member:
    """What the registry says of one endpoint: `key` identifies it for ever, `weight` >= 0 is its share.

    `state` is READY, SUSPECT, or why it gets no traffic; `reason` says more of a state that is not
    READY. Weight 0 in a state that would get traffic means DRAINING.
    """

    key: Hashable
    id: str
    weight: float = 1.0
    state: EndpointState = EndpointState.READY
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SyncReport(Generic[E]):
    """What a `sync` did. A key that came back is `added`, its endpoint being the same object as before."""

    added: tuple[E, ...] = ()
    removed: tuple[E, ...] = ()
    changed: tuple[E, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Pick(Protocol[E]):
    """The signature of `Balancer.pick`, and of `EndpointSet.pick`."""

    def __call__(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None: ...


class EndpointSet(Generic[E]):
    """Keeps one endpoint for each member, and the balancer informed of those that are ready.

    The only writer of an endpoint's weight, state, reason and since_s. Numbers that traffic wrote
    survive everything: changes of state, a new balancer, and vanishing while requests are in flight.

    ``pick`` chooses among the ready; where there are none, or all of them are excluded, among the
    suspects. It is an attribute, replaced on change, so that the usual pick is the balancer's own
    method without a detour: call it as ``endpoints.pick(…)``, never keep it.
    """

    pick: Pick[E]

    def __init__(self, balancer: Balancer[E], make: Callable[[Member], E]) -> None:
        # for life
        self._make = make
        # as the registry says
        self._members: dict[Hashable, Member] = {}
        self.endpoints: dict[Hashable, E] = {}
        self.leaving: dict[Hashable, E] = {}
        # compiled from it
        self._failed: set[Hashable] = set()
        self.ready: tuple[E, ...] = ()
        self.suspects: tuple[E, ...] = ()
        self._offered: tuple[tuple[E, float], ...] = ()
        self.replace_balancer(balancer)

    def __repr__(self) -> str:
        parts = f"ready={len(self.ready)} suspects={len(self.suspects)} leaving={len(self.leaving)} of {len(self.endpoints)}"
        return f"<EndpointSet {self.balancer.name} {parts}>"

    def sync(self, members: Iterable[Member], now_s: float) -> SyncReport[E]:
        """Take over the complete set of members; whoever is missing has left. Of one key twice the last counts."""
        wanted = {member.key: member for member in members}
        gone = [key for key in self.endpoints if key not in wanted]
        news = [member for key, member in wanted.items() if member != self._members.get(key)]
        added = tuple(self._enter(member, now_s) for member in news if member.key not in self.endpoints)
        changed = tuple(self._update(member, now_s) for member in news if member.key in self._members)
        removed = tuple(self._leave(key, now_s) for key in gone)
        self._members = wanted
        if added or removed or changed:
            self._compile()
        return SyncReport(added, removed, changed)

    def sweep(self, now_s: float) -> tuple[E, ...]:  # noqa: ARG002 a later grace period needs the clock
        """Forget those that left and have nothing in flight any more; returns them, to be closed."""
        forgotten = tuple(endpoint for endpoint in self.leaving.values() if endpoint.active <= 0)
        for endpoint in forgotten:
            del self.leaving[endpoint.key]
        return forgotten

    def fail_suspect(self, endpoint: E, now_s: float) -> None:
        """A connect to `endpoint` failed. If it is only a suspect, it is not offered again until there is news of it.

        The registry merely repeating itself is no news.
        """
        if endpoint in self.suspects:
            self._failed.add(endpoint.key)
            reason = f"{endpoint.reason}; " if endpoint.reason else ""
            _put(endpoint, EndpointState.SUSPECT, f"{reason}not picked since a connect failed", now_s)
            self._compile()

    def replace_balancer(self, balancer: Balancer[E]) -> None:
        """Choose by another rule from now on. The endpoints, and all that is known of them, stay."""
        self.balancer = balancer
        self._offered = ()
        self._compile()

    # -- the way of a member -------------------------------------------------------------------

    def _enter(self, member: Member, now_s: float) -> E:
        endpoint = self.leaving.pop(member.key, None)
        if endpoint is None:
            endpoint = self._make(member)
            endpoint.since_s = now_s
        self.endpoints[member.key] = endpoint
        return self._update(member, now_s)

    def _update(self, member: Member, now_s: float) -> E:
        endpoint = self.endpoints[member.key]
        self._failed.discard(member.key)
        endpoint.weight = member.weight
        if member.weight <= 0 and (member.state in _READY or member.state is EndpointState.SUSPECT):
            _put(endpoint, EndpointState.DRAINING, "weight 0", now_s)
        else:
            _put(endpoint, member.state, member.reason, now_s)
        return endpoint

    def _leave(self, key: Hashable, now_s: float) -> E:
        endpoint = self.leaving[key] = self.endpoints.pop(key)
        self._failed.discard(key)
        _put(endpoint, EndpointState.GONE, "no longer registered", now_s)
        return endpoint

    # -- who is offered ------------------------------------------------------------------------

    def _compile(self) -> None:
        """Tell the balancer, but only what is new to it: a rebuild costs it its place in the turn."""
        order = sorted(self.endpoints.values(), key=attrgetter("key"))
        self.ready = tuple(e for e in order if e.state in _READY)
        self.suspects = tuple(e for e in order if e.state is EndpointState.SUSPECT and e.key not in self._failed)
        offered = self.ready or self.suspects
        signature = tuple((endpoint, endpoint.weight) for endpoint in offered)
        if signature != self._offered:
            self._offered = signature
            self.balancer.rebuild(offered)
        self.pick = self._pick_suspects_last if self.ready and self.suspects else self.balancer.pick

    def _pick_suspects_last(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:
        endpoint = self.balancer.pick(now_s, key, exclude)
        if endpoint is None:
            others = (suspect for suspect in self.suspects if suspect not in exclude)
            endpoint = min(others, key=attrgetter("active"), default=None)
        return endpoint


def _put(endpoint: Endpoint, state: EndpointState, reason: str | None, now_s: float) -> None:
    if state is not endpoint.state:
        endpoint.since_s = now_s
    endpoint.state = state
    endpoint.reason = reason
