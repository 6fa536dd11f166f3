"""A million different clients that meet a limit once each, in a process of its own: ``python -m tests.support.many_clients KIND``.

The resident memory of a process is what its operator sees: it counts what the allocator keeps, too, and sorting while room is made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lbgateway.policies.gcra import Limit
from lbgateway.policies.rate_limit import RateLimit
from lbgateway.ratelimit.share import Share
from lbgateway.ratelimit.shared_limit import SharedLimit

ROOT = Path(__file__).parents[2]
CLIENTS = 1_000_000
PER_S = 100_000
"""So many come in a second; by the hour each of them is remembered for long, so nothing is forgotten for its age."""
HOURLY = Limit(2, 3600.0, 2, key="header:X-Api-Key")
BATCH = 1000


class AnsweringStore:
    """Says to each question that nobody else has asked; as much of a store as a limit uses."""

    def __init__(self) -> None:
        self.down = self.late = False
        self.epoch = 0
        self.due: list[Share] = []

    def ask(self, share: Share) -> None:
        share.asked = True
        self.due.append(share)
        if len(self.due) == BATCH:
            for each in self.due:
                each.asked = False
                each.hear(each.spent, HOURLY.emission_s, 0, share.heard_at_s)
            self.due.clear()


def limit_of(kind: str) -> RateLimit | SharedLimit:
    """As the gateway makes it, with nothing said about its size."""
    return RateLimit(HOURLY) if kind == "memory" else SharedLimit(HOURLY, AnsweringStore())  # type: ignore[arg-type]  # as above


def peak_bytes() -> int:
    """The most that this process has ever held."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def measured(kind: str) -> dict[str, Any]:
    """Each client has a key as long as keys get: longer ones are kept as digests."""
    limit = limit_of(kind)
    head = SimpleNamespace(lines=[b"", b"X-Api-Key", b": ", b"", b"\r\n"])
    exchange: Any = SimpleNamespace(head=head, started_s=0.0, answer_lines=b"")
    before = peak_bytes()
    refused = 0
    for number in range(CLIENTS):
        head.lines[3] = b"%032d" % number
        exchange.started_s, exchange.answer_lines = number / PER_S, b""
        refused += limit.admit(exchange) is not None
    kept = limit.buckets if isinstance(limit, RateLimit) else limit.shares
    return {"refused": refused, "kept": len(kept), "bytes": peak_bytes() - before}


def cost_of(kind: str) -> dict[str, Any]:
    """`measured` in a fresh process; `kind`: ``memory`` or ``redis``."""
    command = [sys.executable, "-m", "tests.support.many_clients", kind]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
