"""The access log's queue: bounded, in order, and never in the way of a request."""

import io
import json
import threading

import pytest

from lbgateway.telemetry.access_log import BATCH, AccessLog


def record(n: int = 0, *, status: int = 200, slug: str | None = None):
    asked = (float(n), b"r-%d" % n, "c", "GET", b"h", b"/", "r", "s", "e")
    return (*asked, status, slug, 0.001, 0.001, 1, 0, 0, b"", False, "c", None, None, None, 0)


class Naps:
    """Counts the naps and takes none."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def lines(stream: io.BytesIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_closing_writes_all_that_was_appended_in_order():
    """A gateway that ends loses no line."""
    stream = io.BytesIO()
    log = AccessLog(stream, sleep=Naps())

    for n in range(BATCH * 3 + 1):
        log.append(record(n))
    log.close()

    assert [line["request_id"] for line in lines(stream)] == [f"r-{n}" for n in range(BATCH * 3 + 1)]


def test_it_naps_after_each_batch():
    """Rendering a long queue lets the event loop run in between."""
    naps = Naps()
    log = AccessLog(io.BytesIO(), sleep=naps)

    for n in range(BATCH * 2 + 1):
        log.append(record(n))
    log.close()

    assert len(naps.taken) == 3


def test_a_full_queue_drops_counts_and_says_so():
    """Memory stays bounded, and the gap in the log can be seen in the log."""
    stream = io.BytesIO()
    log = AccessLog(stream, size=2, sleep=Naps())

    for n in range(5):
        log.append(record(n))
    assert log.dropped == 3
    assert repr(log) == "<AccessLog queued=2 dropped=3>"
    log.close()

    assert [line.get("request_id", line.get("event")) for line in lines(stream)] == ["r-0", "r-1", "access_log_dropped"]
    assert lines(stream)[-1]["count"] == 3


@pytest.mark.parametrize(("sample", "written"), [(1.0, 100), (0.5, 50), (0.25, 25), (0.0, 0)])
def test_a_sample_is_an_even_share(sample, written):
    """Deterministic: a share of 100 exchanges is exact."""
    stream = io.BytesIO()
    log = AccessLog(stream, sample=sample, sleep=Naps())

    for n in range(100):
        log.append(record(n))
    log.close()

    assert len(lines(stream)) == written


@pytest.mark.parametrize(("status", "slug"), [(500, None), (499, "client_gone"), (404, "no_route"), (200, "upstream_closed")])
def test_failures_are_written_whatever_the_sample(status, slug):
    """A thousandth of the traffic must not mean a thousandth of the errors."""
    stream = io.BytesIO()
    log = AccessLog(stream, sample=0.0, sleep=Naps())

    log.append(record(status=status, slug=slug))
    log.close()

    assert [line["status"] for line in lines(stream)] == [status]


def test_times_are_wall_clock_times():
    """Records carry the monotonic clock; lines carry the calendar."""
    stream = io.BytesIO()
    log = AccessLog(stream, monotonic=lambda: 10.0, wall=lambda: 1_000_010.0, sleep=Naps())

    log.append(record(10))
    log.close()

    assert lines(stream)[0]["time"] == "1970-01-12T13:46:50.000Z"


class Gone(io.BytesIO):
    """A pipe whose reader has left."""

    writes = 0

    def write(self, data) -> int:
        self.writes += 1
        raise BrokenPipeError


def test_a_reader_that_has_left_is_written_to_once():
    """The gateway serves on without an access log, and the queue still empties."""
    stream = Gone()
    log = AccessLog(stream, sleep=Naps())

    for n in range(BATCH * 2):
        log.append(record(n))
    log.close()

    assert stream.writes == 1
    assert repr(log) == "<AccessLog queued=0 dropped=0 broken>"


class Announcing(io.BytesIO):
    """Tells when something has been written, and by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()
        self.thread = ""

    def write(self, data) -> int:
        self.thread = threading.current_thread().name
        self.written.set()
        return super().write(data)


def test_a_running_log_writes_from_a_thread_of_its_own():
    """The event loop only appends."""
    stream = Announcing()
    log = AccessLog(stream, format="console")

    log.start()
    log.append(record())
    assert stream.written.wait(5)
    log.append(record())
    log.close()

    assert stream.thread == "access-log"
    assert stream.getvalue().count(b"\n") == 2


def test_an_unknown_format_is_refused():
    """The configuration allows json and console."""
    with pytest.raises(KeyError):
        AccessLog(io.BytesIO(), format="xml")
