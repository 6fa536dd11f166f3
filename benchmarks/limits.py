"""What a rate limit costs a request: counted in memory, and counted in a Redis that all gateways share.

    python benchmarks/limits.py [--rounds 5] [--seconds 2] [--connections 32] [--requests 100000000] [--per 1s]

Three gateways take turns: one without a limit, one with a limit in memory, one with the same limit in Redis. One client
address asks as fast as it can and never reaches the limit. The last column is the commands that Redis was sent for each
request of the last one. Needs nginx and redis-server; wrk makes the load, or `load.py` of this folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from beside_nginx import measure, summary
from load import find_load
from proxies import Proxy, start_gateway, start_instances, start_redis
from redis import Redis


def main() -> int:
    options = arguments()
    missing = [program for program in ("nginx", "redis-server") if shutil.which(program) is None]
    if missing:
        print(f"Not on PATH: {', '.join(missing)}. Debian, Ubuntu: apt-get install nginx-light redis-server wrk")
        return 1
    load = find_load(options.connections)
    folder = Path(tempfile.mkdtemp(prefix="lbgateway-bench-"))
    started: list[Proxy] = []
    try:
        started += [start_instances(folder, 100), start_redis(folder)]
        instances, store = started
        url = f"redis://127.0.0.1:{store.ports[0]}/0"
        limit = {"requests": options.requests, "per": options.per, "key": "client"}
        gateways = [
            start_gateway(folder, instances.ports, "no limit"),
            start_gateway(folder, instances.ports, "memory", rate_limit={"store": "memory", "default": limit}),
            start_gateway(folder, instances.ports, "redis", rate_limit={"store": url, "default": limit}),
        ]
        started += gateways
        rounds = measure(gateways, load, options.rounds, options.seconds)
        per_request = commands(url) / sum(shot["requests_per_second"] * options.seconds for shot in rounds["redis"])
    finally:
        for proxy in started:
            proxy.stop()
        shutil.rmtree(folder, ignore_errors=True)
    result = {name: summary(shots) for name, shots in rounds.items()}
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, load by {load.name}\n")
    print(f"{'':<10}{'CPU/request':>13}{'x no limit':>12}{'requests/s':>12}{'p99':>10}{'failed':>8}{'commands/request':>18}")
    for name, row in result.items():
        ratio = row["cpu_us"] / result["no limit"]["cpu_us"]
        sent = f"{per_request:.4f}" if name == "redis" else "-"
        print(
            f"{name:<10}{row['cpu_us']:>10.1f} us{ratio:>12.2f}{row['requests_per_second']:>12,.0f}"
            f"{row['p99_ms']:>7.1f} ms{row['failed']:>8.0f}{sent:>18}"
        )
    return 1 if any(row["failed"] for row in result.values()) else 0


def commands(url: str) -> int:
    """How often the limits' script was called."""
    with Redis.from_url(url) as redis:
        stats = redis.info("commandstats")
    return sum(int(stats[name]["calls"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, default=100_000_000, help="the limit")
    parser.add_argument("--per", default="1s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
