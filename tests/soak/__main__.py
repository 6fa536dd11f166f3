"""make soak: an hour of mixed traffic while things go wrong, and what of the gateway's has grown.

python -m tests.soak [--minutes 60] [--per-second 100] [--seed 1]

Prints a table, and puts it into docs/reliability.md if it was an hour and nothing is wrong. Exit code 1 if something is: then what
explains it is left in a folder below build/soak (`tests.soak.evidence`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from tests.soak.evidence import grouped
from tests.soak.stage import run
from tests.soak.verdict import table, wrong

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / "build" / "soak"
BEGIN, END = "<!-- made by make soak -->", "<!-- end of what make soak has made -->"
ENOUGH_MINUTES = 60
FIRST = 11_000
"""More tokens than the gateway remembers."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=60, help="how long things go wrong; half a minute at least")
    parser.add_argument("--per-second", type=float, default=100, help="beginnings of a client a second; some ask several times")
    parser.add_argument("--seed", type=int, default=1, help="of the lot that decides what happens next")
    asked = parser.parse_args()
    keep = KEPT / time.strftime("%Y-%m-%dT%H-%M-%S")
    print(f"what is lost is told at once; what explains it will be in {keep.relative_to(ROOT)}", flush=True)
    found = run(
        seconds=asked.minutes * 60, warm_s=40, per_second=asked.per_second, every_s=5, seed=asked.seed, first=FIRST, keep=keep
    )  # fmt: skip
    for name, counts in (("asked", found.told.asked), ("told", found.told.told), ("happened", found.happened), ("counted", found.counted)):
        print(f"{name}: {dict(sorted(counts.items()))}")
    print(f"p99 of reads: {found.told.p99_s * 1000:.0f} ms\n\n{table(found)}\n", flush=True)
    reasons = wrong(found)
    print("\n".join(reasons) if reasons else "nothing has grown, nothing is left, all is counted")
    if not reasons and asked.minutes >= ENOUGH_MINUTES:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{rest.partition(END)[2]}")
    if reasons:
        print("\n".join(grouped(found.lost)))
        print(f"what explains it: {keep}")
    else:
        shutil.rmtree(keep)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
