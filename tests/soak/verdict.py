"""Whether a run was as it should be, and its table."""

from __future__ import annotations

from collections import Counter

from tests.soak.endings import may_be
from tests.soak.samples import Course, grown
from tests.soak.stage import Run, Told

MIB = 1 << 20
WITHIN = {"resident memory, MiB": 8.0, "descriptors": 20.0, "tasks": 10.0, "timers": 40.0}
"""How much higher than in the first third the median of the last third of the time may be: under load each of them goes up and down."""

ALL_HERE_S = 10.0
"""By then the clients have as many connections as they will ever have."""

AT_REST_WITHIN = {"tasks": 3, "timers": 10}
"""Consul's watches and the health checks have one more or less at a time."""

OBJECTS_WITHIN = 200

OF_INTEREST = ("lbgateway.", "balancers.", "discovery.", "uvloop.", "_asyncio.", "httpcore.", "asyncio.")
BOUNDED = {
    "lbgateway.dataplane.history.Candidate": 2400,
    "lbgateway.dataplane.history.Pick": 300,
    "lbgateway.dataplane.history.Change": 300,
    "lbgateway.telemetry.events.Event": 1000,
    "lbgateway.policies.identity.Identity": 10_000,
    "lbgateway.dataplane.target.Target": 1024,
}
"""What is remembered up to a bound: the last 20 picks and changes of fifteen endpoints, a thousand events, ten thousand tokens,
a thousand targets."""

UNDER_WAY = ("Exchange", "Attempt", "Runner", "Tunnel", "LetGo", "GatewayProtocol")
"""Ends of the names of classes of which there is none but for the one that asks."""


def courses(run: Run) -> dict[str, Course]:
    """Of each figure of the samples, from when all clients are there."""
    samples = [sample for sample in run.samples if sample.at_s >= ALL_HERE_S]
    figures = {
        "resident memory, MiB": [sample.rss_bytes / MIB for sample in samples],
        "descriptors": [float(sample.files) for sample in samples],
        "tasks": [float(sample.tasks) for sample in samples],
        "timers": [float(sample.timers) for sample in samples],
    }
    moments = [sample.at_s for sample in samples]
    return {name: Course.of(list(zip(moments, values, strict=True))) for name, values in figures.items()}


def wrong(run: Run) -> list[str]:
    """Each thing that is not as it should be; empty if all is well."""
    found = [f"unbalanced: {each}" for each in run.unbalanced] + [f"in the log: {each}" for each in run.bugs] + miscounted(run)
    found += [f"{count} times {ending}" for ending, count in failed(run.told).items()]
    found += [f"{name} grew: {course}" for name, course in courses(run).items() if not course.flat(WITHIN[name])]
    for name, within in AT_REST_WITHIN.items():
        if run.after[name] - run.before[name] > within:
            found.append(f"{name} at rest: {run.before[name]} before, {run.after[name]} after")
    return found + [f"objects: {name} {counts}" for name, counts in held(run).items()]


def held(run: Run) -> dict[str, tuple[int, int]]:
    """What of the project's own, and of what carries it, is more than before, beyond all doubt."""
    some = grown(run.before, run.after, by=OBJECTS_WITHIN)
    under_way = grown(run.before, {name: count for name, count in run.after.items() if name.endswith(UNDER_WAY)}, by=1)
    more = {name: counts for name, counts in {**some, **under_way}.items() if counts[1] > BOUNDED.get(name, 0)}
    return {name: counts for name, counts in more.items() if name.startswith(OF_INTEREST)}


def failed(told: Told) -> dict[str, int]:
    """Endings that may not be."""
    found = {}
    for ending, count in sorted(told.told.items()):
        kind = next(kind for kind in sorted(told.asked.keys() | {"unfinished"}, key=len, reverse=True) if ending.startswith(f"{kind} "))
        if not may_be(kind, ending[len(kind) + 1 :]):
            found[ending] = count
    return found


def miscounted(run: Run) -> list[str]:
    """What the gateway has counted otherwise than its clients: all together, and each status that clients know for sure."""
    asked, counted = run.told.asked.total(), sum(run.counted.values())
    found = [] if asked == counted else [f"clients have asked {asked} times, the gateway counted {counted}"]
    seen: Counter[str] = Counter()
    for ending, count in run.told.told.items():
        seen[ending.rsplit(" ", 1)[1]] += count
    for status in ("401", "404", "429", "503"):
        if seen[status] != (count := run.counted.get(status, 0)):
            found += [f"{status}: {seen[status]} times for clients, {count} times for the gateway"]
    return found


def table(run: Run) -> str:
    """Markdown."""
    cells = [("minutes", f"{run.seconds / 60:g}", "", "")]
    for name, course in courses(run).items():
        cells.append((f"{name}, under load", f"{course.first:.1f}", f"{course.last:.1f}", f"{course.per_hour:+.1f} an hour"))
    cells += [
        ("tasks, at rest", f"{run.before['tasks']}", f"{run.after['tasks']}", ""),
        ("timers, at rest", f"{run.before['timers']}", f"{run.after['timers']}", ""),
        ("objects, at rest", f"{objects(run.before):,}", f"{objects(run.after):,}", ""),
        ("requests that clients made, and that the gateway counted", f"{run.told.asked.total():,}", f"{sum(run.counted.values()):,}", ""),
        ("requests, attempts and leases under way in the end", "", f"{len(run.unbalanced)}", ""),
        ("reads that failed", "", f"{sum(failed(run.told).values())}", ""),
        ("things that went wrong", "", f"{run.happened.total()}", ""),
    ]
    lines = [
        "| figure | first third, or before | last third, or after | trend |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
    return "\n".join(lines)


def objects(census: dict[str, int]) -> int:
    return sum(count for name, count in census.items() if "." in name)
