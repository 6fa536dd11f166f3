"""Lines of several processes in one pipe."""

from __future__ import annotations

import os
import threading

from hypothesis import given
from hypothesis import strategies as st

from lbgateway.workers.whole_lines import MOST_BYTES, WholeLines, pieces

TEXTS = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=20).map(b"".join)


@given(TEXTS, st.integers(1, 50))
def test_pieces_are_whole_lines_that_fit(text, most):
    """Together they are what was to be written; only a line that is too long by itself is longer."""
    found = list(pieces(text, most))

    assert b"".join(found) == text
    assert all(piece.endswith(b"\n") for piece in found)
    assert all(len(piece) <= most or piece.count(b"\n") == 1 for piece in found)


def test_two_writers_share_a_pipe_line_by_line():
    """However much each has to say at once, and however slowly it is read."""
    read, write = os.pipe()
    lines = {each: bytes([each]) * 300 + b"\n" for each in b"ab"}
    writers = [threading.Thread(target=WholeLines(write).write, args=[line * 2000]) for line in lines.values()]
    for writer in writers:
        writer.start()
    text, total = bytearray(), sum(len(line) * 2000 for line in lines.values())
    while len(text) < total:
        text += os.read(read, 1 << 16)
    for writer in writers:
        writer.join()
    for each in (read, write):
        os.close(each)

    assert set(bytes(text).splitlines(keepends=True)) == set(lines.values())


def test_a_line_that_is_too_long_is_written_all_the_same():
    """Cut maybe, but whole where nobody else writes."""
    read, write = os.pipe()
    line = b"x" * (MOST_BYTES + 10) + b"\n"
    assert WholeLines(write).writable()
    assert WholeLines(write).write(line) == len(line)
    assert os.read(read, 1 << 16) == line
    for each in (read, write):
        os.close(each)
