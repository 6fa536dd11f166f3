"""The operating system's numbers of the gateway's processes, beside what the processes themselves can tell."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbgateway.telemetry.process_numbers import process_families

NAMES = {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds",
    "process_open_fds",
    "process_max_fds",
}


def numbers(*pids: int | str) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in process_families(pids)}


@pytest.fixture
def other() -> Iterator[int]:
    """A second process, which holds what it has."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_a_process_is_told_as_it_is():
    """Beside what this one knows of itself."""
    told = numbers("self")

    assert set(told) == NAMES
    assert told["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert told["process_open_fds"] == pytest.approx(len(list(Path("/proc/self/fd").iterdir())), abs=1)
    assert told["process_cpu_seconds"] == pytest.approx(time.process_time(), abs=0.5)
    assert 0 < time.time() - told["process_start_time_seconds"] < 24 * 3600


def test_several_processes_are_one_gateway(other: int):
    """Files and time are added up; it has begun with the oldest."""
    one, two, both = numbers(os.getpid()), numbers(other), numbers(os.getpid(), other)

    assert set(both) == NAMES
    assert both["process_open_fds"] == pytest.approx(one["process_open_fds"] + two["process_open_fds"], abs=2)
    assert both["process_max_fds"] == one["process_max_fds"] + two["process_max_fds"]
    assert both["process_resident_memory_bytes"] > one["process_resident_memory_bytes"]
    assert both["process_start_time_seconds"] == one["process_start_time_seconds"] <= two["process_start_time_seconds"]


def test_a_process_that_has_ended_is_not_counted(other: int):
    """Between two looks one may have left; what the others have is still told."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)

    assert numbers(other, int(ended.stdout)).keys() == NAMES
    assert numbers(int(ended.stdout)) == {}


def test_the_time_of_a_process_that_has_ended_stays(other: int):
    """A counter never goes backwards because one of several processes is gone."""
    before = numbers("self", other)["process_cpu_seconds"]
    subprocess.run([sys.executable, "-c", "x = sum(range(40_000_000))"], check=True)

    assert numbers("self", other)["process_cpu_seconds"] >= before + 0.05
