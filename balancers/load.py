"""How busy and how fast an endpoint is, apart from who chooses by it: the estimators.

Latency is the time to the response head, so that streaming answers do not look slow. It is averaged
over time, not over samples: a sample that is ``dt`` seconds old counts ``exp(-dt / tau)``, however
many or few came in between.

*Silence.* ``Endpoint.oldest_at_s`` is the moment of the first request sent since the endpoint last
answered anything (0.0: none is waiting). Whoever sends sets it when it is 0.0; the observers here
clear it with every end of an attempt. The true age of the oldest request would need a queue for each
endpoint. This costs one attribute, never raises a false alarm on a busy endpoint, is not fooled by
long streams, and sees an endpoint that stopped answering as soon as one more request waits for it.
A single slow request among answered ones stays unseen: it does not blame the endpoint.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from balancers.endpoint import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from balancers.endpoint import Endpoint

TAU_S = 1.0
"""Memory of the plain average: right for 20 requests a second and more on each endpoint; below, it follows the last samples."""

PEAK_TAU_S = 10.0
"""Memory of the peak-sensitive average, as Finagle and Linkerd set it."""

HANG_FACTOR = 3.0
"""Silence counts as latency once it exceeds the estimate so many times; without this gate it would punish ordinary variance."""

FAILURE_FACTOR = 10.0
FAILURE_UNKNOWN_S = 1.0
FAILURE_CAP_S = 60.0

_OK, _ABANDONED = Outcome.OK, Outcome.ABANDONED
# An enum's member costs a lookup in its metaclass on every use: every attempt ends here.

LEAST_S = 1e-6
"""0.0 means "no sample yet", so no sample is ever quite that short."""

_MEDIAN_OF = 33
"""How many endpoints of a large pool are asked for a median: it is read after failures, which come in floods."""


def observe_ewma(endpoint: Endpoint, latency_s: float, outcome: Outcome, now_s: float, ready: Sequence[Endpoint]) -> None:
    """Learn the end of an attempt: time-weighted average with `TAU_S`.

    `latency_s` runs from sending to the response head, or to the failure. The first sample is taken
    as it is. A failure counts as `failure_sample`; ABANDONED teaches nothing.
    """
    endpoint.oldest_at_s = 0.0
    if outcome is _ABANDONED:
        return
    if outcome is not _OK:
        latency_s = failure_sample(endpoint, latency_s, ready)
    known_s = endpoint.latency_s
    if known_s:
        latency_s += (known_s - latency_s) * exp((endpoint.latency_at_s - now_s) / TAU_S)
    endpoint.latency_s = max(latency_s, LEAST_S)
    endpoint.latency_at_s = now_s


def observe_peak_ewma(endpoint: Endpoint, latency_s: float, outcome: Outcome, now_s: float, ready: Sequence[Endpoint]) -> None:
    """Learn the end of an attempt: like `observe_ewma` with `PEAK_TAU_S`, but jumping up to a longer sample at once.

    Source: Finagle ``PeakEwma``. That a failure counts as a long sample, not as its own short time,
    is linkerd2-proxy's load biaser; Finagle leaves it to failure accrual.
    """
    endpoint.oldest_at_s = 0.0
    if outcome is _ABANDONED:
        return
    if outcome is not _OK:
        latency_s = failure_sample(endpoint, latency_s, ready)
    known_s = endpoint.latency_s
    if known_s > latency_s:
        latency_s += (known_s - latency_s) * exp((endpoint.latency_at_s - now_s) / PEAK_TAU_S)
    endpoint.latency_s = max(latency_s, LEAST_S)
    endpoint.latency_at_s = now_s


def give_up_on(endpoint: Endpoint, now_s: float, ready: Sequence[Endpoint]) -> None:
    """A request to `endpoint` was answered by another one meanwhile, and waits no more.

    How long it would have taken nobody knows. But what counts as latency while a request waits (*silence*, above)
    must go on counting when it does not, or an endpoint that hangs would look well as soon as it is left alone: a
    silence of more than `HANG_FACTOR` estimates becomes the estimate, which fades like any other (here, towards what is
    typical of the others). The silence itself goes on.
    """
    if not endpoint.oldest_at_s:
        return
    silence_s = now_s - endpoint.oldest_at_s
    known_s = forgotten(endpoint.latency_s, now_s - endpoint.latency_at_s, typical_latency(ready, besides=endpoint))
    if silence_s > HANG_FACTOR * known_s:
        endpoint.latency_s = silence_s
        endpoint.latency_at_s = now_s


def failure_sample(endpoint: Endpoint, elapsed_s: float, ready: Sequence[Endpoint]) -> float:
    """What a failure after `elapsed_s` counts as: a quick error must not look like a quick answer.

    The larger of `elapsed_s` and `FAILURE_FACTOR` times the median of the *other* endpoints. Its own
    estimate must not enter: each failure would then raise the next one's price tenfold. The cap stops
    the same spiral when all endpoints fail and raise each other's median.
    """
    typical_s = typical_latency(ready, besides=endpoint)
    penalty_s = min(typical_s * FAILURE_FACTOR, FAILURE_CAP_S) if typical_s else FAILURE_UNKNOWN_S
    return max(elapsed_s, penalty_s)


def typical_latency(ready: Sequence[Endpoint], besides: Endpoint | None = None) -> float:
    """Median estimate (of two, the larger) in seconds over the sampled endpoints; 0.0 if there is none.

    Costs the same for any pool size.
    """
    asked = ready[:: len(ready) // _MEDIAN_OF + 1]
    known = sorted(endpoint.latency_s for endpoint in asked if endpoint.latency_s and endpoint is not besides)
    return known[len(known) // 2] if known else 0.0


def least_latency(ready: Sequence[Endpoint]) -> float:
    """Least estimate in seconds over the sampled endpoints; 0.0 if there is none."""
    return min((endpoint.latency_s for endpoint in ready if endpoint.latency_s), default=0.0)


def forgotten(latency_s: float, idle_s: float, floor_s: float) -> float:
    """An estimate of `latency_s` after `idle_s` without a sample: it fades towards the pool's best, `floor_s`.

    So an endpoint that was slow gets a request about every ``tau * ln(ratio)`` instead of none for ever.
    """
    return floor_s + (latency_s - floor_s) * exp(-idle_s / TAU_S)
