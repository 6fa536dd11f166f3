"""Shared memory between the processes of one gateway, with a second process where it takes one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from lbgateway.workers import board as board_module
from lbgateway.workers.board import BUCKETS, NOT_SERVING, SLOTS, WAYS, Board

OTHER = """
import sys
from lbgateway.workers.board import Board
board = Board(int(sys.argv[1]), 2)
board.rows[1][7] = 42
board.keys[5], board.moments[5] = 2**64 - 1, 1.5
board.lock(3)
print("held", flush=True)
input()
"""


def other(board: Board) -> subprocess.Popen[bytes]:
    """A second process, which has written, and holds the lock of place 3 until it is told something."""
    command = [sys.executable, "-c", OTHER, str(board.descriptor)]
    process = subprocess.Popen(command, pass_fds=[board.descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def closed(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", timeout=10)


def test_a_new_board_is_blank_and_nobody_serves():
    """And as large as it says."""
    board = Board.create(3)

    assert [len(row) >= SLOTS + 1 for row in board.rows] == [True] * 3
    assert (len(board.keys), len(board.moments)) == (BUCKETS * WAYS, BUCKETS * WAYS)
    assert board.doors.tolist() == [NOT_SERVING, 0] * 3
    assert not any(board.rows[2].tolist())
    assert repr(board) == "<Board for 3 workers>"


def test_what_one_process_writes_all_read():
    """Each row belongs to one, and no row reaches into another or into what lies behind."""
    board = Board.create(2)
    process = other(board)
    board.rows[0][SLOTS], board.limits[SLOTS] = 9, 8

    assert (board.rows[1][7], board.keys[5], board.moments[5]) == (42, 2**64 - 1, 1.5)
    assert (board.rows[1][0], board.limits[0], board.doors.tolist()) == (0, 0, [NOT_SERVING, 0] * 2)
    closed(process)


def test_a_worker_that_is_gone_leaves_a_blank_row():
    """What the others have written stays."""
    board = Board.create(2)
    board.rows[0][1] = board.rows[1][1] = 5
    board.doors[0] = board.doors[2] = 6
    board.wipe(0)

    assert (board.rows[0][1], board.rows[1][1], board.doors.tolist()) == (0, 5, [NOT_SERVING, 0, 6, 0])


def test_who_dies_holding_a_lock_lets_go():
    """SIGKILL to the holder: whoever waits gets it, and other places were free all the time."""
    board = Board.create(2)
    process = other(board)
    board.lock(4)
    board.unlock(4)
    waiting = os.fork()
    if not waiting:  # locks are a process's own, so it takes a third one to wait
        board_module.LOCK_WITHIN_S = 60
        board.lock(3)
        os._exit(0)
    assert os.waitpid(waiting, os.WNOHANG) == (0, 0)
    process.send_signal(signal.SIGKILL)
    assert os.waitpid(waiting, 0)[1] == 0
    process.communicate()


def test_who_is_stopped_holding_a_lock_stops_nobody():
    """SIGSTOP to the holder: the others go on after a moment, and what they unlock is not the holder's."""
    board = Board.create(2)
    process = other(board)
    process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        began_s = time.monotonic()
        board.lock(3)
        board.unlock(3)
        assert time.monotonic() - began_s < 1.0
    process.send_signal(signal.SIGCONT)
    closed(process)
    board.lock(3)
    board.unlock(3)
