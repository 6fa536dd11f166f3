"""Ids that nobody has had before."""

from __future__ import annotations

import os
import re

from lbgateway.dataplane.request_ids import BATCH, IDS, draw


def test_ids_are_128_bits_in_hexadecimal_and_no_two_are_alike():
    """Over several batches."""
    IDS.clear()
    drawn = [draw() for _ in range(3 * BATCH + 1)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(rb"[0-9a-f]{32}", each) for each in drawn)


def test_a_child_process_gives_out_none_of_its_parents_ids():
    """What was drawn before a fork belongs to the parent."""
    draw()
    before = set(IDS)
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, draw())
        os._exit(0)
    os.wait()
    assert os.read(reader, 64) not in before
    assert set(IDS) == before
