"""Standard streams that are closed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.gateway_process import ROOT

TELL = """
import os, sys
from lbgateway.cli.streams import stand_in
stand_in()
report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(report, repr((report, [each is None for each in (sys.stdin, sys.stdout, sys.stderr)], os.get_inheritable(1))).encode())
print("heard by whoever listens")
"""


@pytest.mark.parametrize("closed", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_what_is_opened_next_takes_no_streams_place(tmp_path, closed):
    """Numbers below 3 are taken, children have them too, and whoever prints finds something to print to."""

    def close() -> None:
        for number in closed:
            os.close(number)

    told = tmp_path / "told"
    command = [sys.executable, "-c", TELL, str(told)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, preexec_fn=close, timeout=20, check=False
    )

    assert done.returncode == 0
    report, absent, inherited = eval(told.read_text())
    assert report > 2
    assert absent == [False, False, False]
    assert inherited is True
    assert done.stdout == (b"" if 1 in closed else b"heard by whoever listens\n")
