"""Who exists and who is ready: the endpoints of one service, from complete sets of members to picks."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, Protocol

from balancers.balancer import Balancer, E
from balancers.endpoint import EndpointState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable


_READY = frozenset({EndpointState.READY, EndpointState.WARMING})
_CALLABLE = frozenset({*_READY, EndpointState.SUSPECT})
_IN_USE = frozenset({*_CALLABLE, EndpointState.EJECTED})

COLD_SHARE = 0.1
"""Of its weight an endpoint gets so much at the beginning of its slow start; from there on it grows evenly. Source: Envoy's slow start."""

WARMING_STEPS = 10
"""So many times in a slow start its share grows: each time costs the balancer a rebuild."""


@dataclass(frozen=True, slots=True)
class Member:
    """What the registry says of one endpoint: `key` identifies it for ever, `weight` >= 0 is its share.

    `state` is READY, SUSPECT, or why it gets no traffic (EJECTED: by an operator's order); `reason` says
    more of a state that is not READY. Weight 0 in a state that would get traffic means DRAINING.
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

    The only writer of an endpoint's weight, state, reason and since_s; `on_change` hears of each change of state or
    reason of a member, with the state before. Numbers that traffic wrote
    survive everything: changes of state, a new balancer, and vanishing while requests are in flight.

    ``pick`` chooses among the ready; where there are none, or all of them are excluded, among the
    suspects. In *panic*, when less than `panic_threshold` of those that could be ready are, the ejected
    and the unhealthy are ready, too: with most of them out, the few that are left would go down under the load of all.
    In a *slow start* of `slow_start_s` seconds an endpoint that joins others which are in use gets a growing
    share of its weight: its caches are cold, and least-busy rules would send it everything at once.
    ``pick`` is an attribute, replaced on change, so that the usual pick is the balancer's own
    method without a detour: call it as ``endpoints.pick(…)``, never keep it. Who wants to `watch` some picks
    is put into its place; ``usual`` is what belongs there.
    """

    pick: Pick[E]
    usual: Pick[E]

    def __init__(
        self,
        balancer: Balancer[E],
        make: Callable[[Member], E],
        on_change: Callable[[E, EndpointState, float], None] = lambda _endpoint, _before, _now_s: None,
    ) -> None:
        # for life
        self._make = make
        self._on_change = on_change
        self._watch: Pick[E] | None = None
        # as the registry says
        self._members: dict[Hashable, Member] = {}
        self.endpoints: dict[Hashable, E] = {}
        self.leaving: dict[Hashable, E] = {}
        # compiled from it
        self._failed: set[Hashable] = set()
        self.panic_threshold = 0.0
        self.panic = False
        self.slow_start_s = 0.0
        self.warming: tuple[E, ...] = ()
        self.usable: tuple[E, ...] = ()
        """In a state that takes traffic; `ready` are the same, except in panic."""
        self.ejected: tuple[E, ...] = ()
        self._out: tuple[E, ...] = ()
        """Ready in panic only."""
        self.due: list[E] = []
        """Of the ejected those that wait for a trial request (`outlier.Outliers`)."""
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

    def warm(self, now_s: float) -> None:
        """Let those that warm up have a larger share, if it is time; to be called several times a second."""
        for endpoint in self.warming:
            share = self._share(endpoint, now_s)
            if share >= 1.0 or endpoint.weight != self._members[endpoint.key].weight * share:
                self._judge(endpoint, now_s)

    def fail_suspect(self, endpoint: E, now_s: float) -> None:
        """A connect to `endpoint` failed. If it is only a suspect, it is not offered again until there is news of it.

        The registry merely repeating itself is no news.
        """
        if endpoint in self.suspects:
            self._failed.add(endpoint.key)
            reason = f"{endpoint.reason}; " if endpoint.reason else ""
            self._put(endpoint, EndpointState.SUSPECT, f"{reason}not picked since a connect failed", now_s)
            self._compile()

    def has_failed(self, endpoint: E) -> bool:
        """Whether it is a suspect that is not offered since a connect to it failed."""
        return endpoint.key in self._failed

    def confirm(self, endpoint: E, now_s: float) -> None:
        """`endpoint` answers after all: if it is a suspect whose connect had failed, it is offered again."""
        if endpoint.key in self._failed:
            self._failed.discard(endpoint.key)
            self._judge(endpoint, now_s)

    def eject(self, endpoint: E, why: str, now_s: float) -> None:
        """Take `endpoint` out until `uneject`, whatever the registry says meanwhile; again for another reason."""
        endpoint.ejection = why
        self._judge(endpoint, now_s)

    def uneject(self, endpoint: E, now_s: float) -> None:
        """Bring it back to where the registry wants it."""
        endpoint.ejection = None
        self._judge(endpoint, now_s)

    def panic_below(self, threshold: float) -> None:
        """Set `panic_threshold`, a share (0..1)."""
        self.panic_threshold = threshold
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
            endpoint.state = EndpointState.GONE
        self.endpoints[member.key] = endpoint
        return self._update(member, now_s)

    def _update(self, member: Member, now_s: float) -> E:
        endpoint = self.endpoints[member.key]
        self._failed.discard(member.key)
        state, _ = _state_of(member, endpoint.ejection)
        if state is EndpointState.READY and endpoint.state not in _IN_USE and self.slow_start_s and self.usable:
            endpoint.warming_since_s = now_s
        self._take(endpoint, member, now_s)
        return endpoint

    def _take(self, endpoint: E, member: Member, now_s: float) -> None:
        """Make of an endpoint what the registry's word, ours and the time make of it."""
        state, reason = _state_of(member, endpoint.ejection)
        share = self._share(endpoint, now_s) if state is EndpointState.READY else 1.0
        if share < 1.0:
            state, reason = EndpointState.WARMING, f"slow start: {share:.0%} of its weight"
        elif state is not EndpointState.EJECTED:
            endpoint.warming_since_s = 0.0
        endpoint.weight = member.weight * share
        self._put(endpoint, state, reason, now_s)

    def _share(self, endpoint: E, now_s: float) -> float:
        """The part of its weight that it gets now, in steps; 1.0 if it is not warming up."""
        if not endpoint.warming_since_s or not self.slow_start_s:
            return 1.0
        passed = min(max(0.0, (now_s - endpoint.warming_since_s) / self.slow_start_s), 1.0)
        return COLD_SHARE + (1.0 - COLD_SHARE) * int(passed * WARMING_STEPS) / WARMING_STEPS

    def _judge(self, endpoint: E, now_s: float) -> None:
        """The registry's word is the same, but ours has changed."""
        member = self._members.get(endpoint.key)
        if member is not None and endpoint.key in self.endpoints:
            self._take(endpoint, member, now_s)
            self._compile()

    def _leave(self, key: Hashable, now_s: float) -> E:
        endpoint = self.leaving[key] = self.endpoints.pop(key)
        self._failed.discard(key)
        self._put(endpoint, EndpointState.GONE, "no longer registered", now_s)
        return endpoint

    def _put(self, endpoint: E, state: EndpointState, reason: str | None, now_s: float) -> None:
        before, reason_before = endpoint.state, endpoint.reason
        if state is not before:
            endpoint.since_s = now_s
        endpoint.state = state
        endpoint.reason = reason
        # Who joins has not changed: the first state is news of the registry's.
        if (state is not before or reason != reason_before) and endpoint.key in self._members:
            self._on_change(endpoint, before, now_s)

    # -- who is offered ------------------------------------------------------------------------

    def _compile(self) -> None:
        """Tell the balancer, but only what is new to it: a rebuild costs it its place in the turn."""
        order = sorted(self.endpoints.values(), key=attrgetter("key"))
        self.usable = tuple(e for e in order if e.state in _READY)
        self.warming = tuple(e for e in order if e.state is EndpointState.WARMING and e.warming_since_s)
        self.ejected = tuple(e for e in order if self._failing(e))
        self.due = [e for e in self.due if self._failing(e)]
        self._out = out = tuple(e for e in order if e.state is EndpointState.UNHEALTHY or self._failing(e))
        self.panic = len(self.usable) < self.panic_threshold * (len(self.usable) + len(out))
        self.ready = tuple(sorted((*self.usable, *out), key=attrgetter("key"))) if self.panic else self.usable
        self.suspects = tuple(e for e in order if e.state is EndpointState.SUSPECT and e.key not in self._failed)
        offered = self.ready or self.suspects
        signature = tuple((endpoint, endpoint.weight) for endpoint in offered)
        if signature != self._offered:
            self._offered = signature
            self.balancer.rebuild(offered)
        self.usual = self._pick_by_rank if self.panic or (self.ready and self.suspects) else self.balancer.pick
        self.pick = self._watch or self.usual

    def watch(self, pick: Pick[E] | None) -> None:
        """Let `pick` stand in the place of ``usual``, which it is to call, whatever changes; None: no longer."""
        self._watch = pick
        self.pick = pick or self.usual

    def _failing(self, endpoint: E) -> bool:
        """Whether it is ejected for its failures: by an operator's order there is neither trial nor panic."""
        return endpoint.state is EndpointState.EJECTED and self._members[endpoint.key].state in _CALLABLE

    def _pick_by_rank(self, now_s: float, key: bytes | None = None, exclude: Collection[E] = ()) -> E | None:
        """Those that are out are no choice for another try while there is a better one; suspects come last."""
        pick = self.balancer.pick
        endpoint = pick(now_s, key, (*exclude, *self._out)) if exclude and self.panic else None
        endpoint = endpoint or pick(now_s, key, exclude)
        if endpoint is None:
            others = (suspect for suspect in self.suspects if suspect not in exclude)
            endpoint = min(others, key=attrgetter("active"), default=None)
        return endpoint


def _state_of(member: Member, ejection: str | None) -> tuple[EndpointState, str | None]:
    """What the registry's word and ours make of an endpoint, and the reason."""
    if member.state in _CALLABLE:
        if member.weight <= 0:
            return EndpointState.DRAINING, "weight 0"
        if ejection is not None:
            return EndpointState.EJECTED, ejection
    return member.state, member.reason
