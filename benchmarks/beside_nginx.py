"""What a request costs the gateway, and what it costs nginx, in one run on one machine.

Requests per second depend on who else is busy; processor time per request hardly does, and its ratio to
nginx's, measured in turns, still less. So the ratio is the figure to look at.

    python benchmarks/beside_nginx.py [--rounds 5] [--seconds 2] [--connections 32] [--body 100] [--json FILE]

Both proxies forward to the same three instances (nginx again) over kept connections, on one core;
instances and load run on another, if there is one. Needs nginx; wrk makes the load, or, without it,
`load.py` of this folder, which is slower but does not change the ratio much.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from load import Load, find_load
from proxies import Proxy, start_gateway, start_instances, start_nginx

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ROUNDS, MAX_SECONDS = 20, 30


def main() -> int:
    options = arguments()
    if shutil.which("nginx") is None:
        print("This benchmark puts the gateway beside nginx, which is not on PATH. Debian, Ubuntu: apt-get install nginx-light wrk")
        return 1
    load = find_load(options.connections)
    folder = Path(tempfile.mkdtemp(prefix="lbgateway-bench-"))
    started: list[Proxy] = []
    try:
        instances = start_instances(folder, options.body)
        started.append(instances)
        started += [start_nginx(folder, instances.ports), start_gateway(folder, instances.ports)]
        rounds = measure(started[1:], load, options.rounds, options.seconds)
    finally:
        for proxy in started:
            proxy.stop()
        shutil.rmtree(folder, ignore_errors=True)
    result = {name: summary(shots) for name, shots in rounds.items()}
    print(table(result, f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, load by {load.name}"))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(row["failed"] for row in result.values()) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, MAX_ROUNDS + 1), metavar=f"1..{MAX_ROUNDS}")
    parser.add_argument("--seconds", type=int, default=2, choices=range(1, MAX_SECONDS + 1), metavar=f"1..{MAX_SECONDS}")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--body", type=int, default=100, help="bytes of an answer's body")
    parser.add_argument("--json", help="write the result there, too")
    return parser.parse_args()


def measure(proxies: list[Proxy], load: Load, rounds: int, seconds: int) -> dict[str, list[dict[str, float]]]:
    """Let them take turns, so that whatever slows the machine down slows all of them down."""
    for proxy in proxies:
        load.run(proxy.ports[0], 1)  # connections made, code warm
    shots: dict[str, list[dict[str, float]]] = {proxy.name: [] for proxy in proxies}
    for _ in range(rounds):
        for proxy in proxies:
            before_s = proxy.cpu_seconds()
            done = load.run(proxy.ports[0], seconds)
            used_s = proxy.cpu_seconds() - before_s
            shots[proxy.name].append(
                {
                    "cpu_us": used_s / max(done.requests, 1) * 1e6,
                    "requests_per_second": done.requests / done.seconds,
                    "p99_ms": done.p99_ms,
                    "failed": done.failed,
                    "rss_mib": proxy.rss_bytes() / 2**20,
                }
            )
    return shots


def summary(shots: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the rounds; failures are added up."""
    middle = {key: statistics.median(shot[key] for shot in shots) for key in shots[0]}
    return {**middle, "failed": sum(shot["failed"] for shot in shots)}


def table(result: Mapping[str, Mapping[str, float]], title: str) -> str:
    base_us = result["nginx"]["cpu_us"]
    lines = [title, "", f"{'':<10}{'CPU/request':>13}{'x nginx':>9}{'requests/s':>12}{'p99':>10}{'memory':>10}{'failed':>8}"]
    for name, row in result.items():
        lines.append(
            f"{name:<10}{row['cpu_us']:>10.1f} us{row['cpu_us'] / base_us:>9.2f}{row['requests_per_second']:>12,.0f}"
            f"{row['p99_ms']:>7.1f} ms{row['rss_mib']:>6.0f} MiB{row['failed']:>8.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
