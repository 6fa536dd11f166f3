"""make chaos: everything that may go wrong, with real processes, and what clients saw of it.

python -m tests.chaos [--only killed,deployed] [--over native] [--repeat 10] [--seconds 4]

Prints a line for each scenario as it ends, and puts it into the table of docs/reliability.md if it has held. Exit code 1 if one has not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from tests.chaos.report import HEAD, PAGE, merged, row
from tests.chaos.scenarios import BOTH, SCENARIOS, House, Scenario
from tests.chaos.stage import Result

SECONDS = 4.0
FIRST_LINES = 40
NAMES = [each.name for each in SCENARIOS]


def names(text: str) -> list[str]:
    """Names of scenarios, with commas between them."""
    given = [name.strip() for name in text.split(",")]
    if unknown := [name for name in given if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"no scenario {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return given


def chosen(only: list[str], over: str | None) -> list[tuple[Scenario, str]]:
    """Scenarios and the transports that they are played over."""
    return [(each, way) for each in SCENARIOS if each.name in only for way in each.transports if over in (None, way)]


def repeated(house: House, scenario: Scenario, transport: str, times: int, seconds: float) -> list[Result] | None:
    """All results, or None with the reason on stderr as soon as one is not as it should be."""
    results = []
    for number in range(1, times + 1):
        try:
            results.append(house.play(scenario, transport, seconds))
        except (AssertionError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            told = "\n".join(str(error).splitlines()[:FIRST_LINES])
            print(f"FAILED: {scenario.name} over {transport}, time {number}:\n{told}", file=sys.stderr, flush=True)
            return None
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--only", type=names, default=NAMES, help=f"with commas: {', '.join(NAMES)}")
    parser.add_argument("--over", choices=BOTH, help="the transport, if not both")
    parser.add_argument("--repeat", type=int, default=1, help="how often each is played")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long a fault lasts")
    asked = parser.parse_args()
    began_s, held, failed = time.monotonic(), 0, 0
    print(HEAD, flush=True)
    with House() as house:
        for scenario, transport in chosen(asked.only, asked.over):
            results = repeated(house, scenario, transport, asked.repeat, asked.seconds)
            if results is None:
                failed += 1
                continue
            held += 1
            told = row(scenario, transport, results)
            PAGE.write_text(merged(PAGE.read_text(), [told]))
            print(told, flush=True)
    print(f"{held} held, {failed} did not; {time.monotonic() - began_s:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
