"""Who may wait, who is turned away, and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest

from lbgateway.dataplane.waiting_line import WaitingLine


class Waiter:
    """As much of an exchange as a line knows."""

    def __init__(self, until_s: float = 60.0, *, wants: str = "ab") -> None:
        self.until_s = until_s
        self.wants = wants
        self.sent_on: list[float] = []

    def served_by(self, room: str) -> bool:
        return any(each in self.wants for each in room)

    def on_room(self, now_s: float) -> None:
        self.sent_on.append(now_s)


def joined(line: WaitingLine, waiter: Waiter, places: int = 9, per_second: float = 0.0) -> Any:
    return line.join(waiter, 1.0, places=places, per_second=per_second)  # type: ignore[arg-type]  # see Waiter


def test_first_come_first_served():
    """As long as there is room."""
    line, waiters, room = WaitingLine(), [Waiter() for _ in range(3)], ["", "a", "b"]
    for waiter in waiters:
        assert joined(line, waiter) is None
    line.advance(room.pop, 2.0)  # type: ignore[arg-type]  # letters for endpoints
    assert [waiter.sent_on for waiter in waiters] == [[2.0], [2.0], []]
    assert len(line) == 1


def test_who_leaves_is_passed_over():
    """Also somebody who never waited."""
    line, first, second = WaitingLine(), Waiter(), Waiter()
    joined(line, first)
    joined(line, second)
    for waiter in (first, Waiter()):
        line.leave(waiter)  # type: ignore[arg-type]  # as above
    line.advance(lambda: "a", 2.0)  # type: ignore[arg-type,return-value]  # as above
    assert (first.sent_on, second.sent_on, len(line)) == ([], [2.0], 0)


def test_room_goes_to_the_first_that_can_use_it():
    """Whoever waits for another endpoint keeps the place."""
    line, picky, other = WaitingLine(), Waiter(wants="b"), Waiter()
    joined(line, picky)
    joined(line, other)
    line.advance(lambda: "a", 2.0)  # type: ignore[arg-type,return-value]  # as above
    assert (picky.sent_on, other.sent_on, len(line)) == ([], [2.0], 1)
    line.advance(lambda: "ab", 3.0)  # type: ignore[arg-type,return-value]  # as above
    assert (picky.sent_on, len(line)) == ([3.0], 0)


@pytest.mark.parametrize(
    ("waiting", "until_s", "places", "per_second", "retry_after"),
    [
        (0, 60.0, 0, 0.0, b"1"),
        (2, 60.0, 2, 0.0, b"1"),
        (2, 60.0, 2, 0.5, b"6"),
        (4, 2.0, 9, 2.0, b"3"),
        (9, 60.0, 9, 0.01, b"30"),
        (4, 60.0, 9, 2.0, None),
        (0, 1.0, 9, 0.0, None),
    ],
)
def test_who_cannot_be_served_in_time_is_told_at_once(waiting, until_s, places, per_second, retry_after):
    """With the seconds after which it is worth while to come again; where nobody knows how fast the line moves, time is no reason."""
    line = WaitingLine()
    for _ in range(waiting):
        joined(line, Waiter(1e9))
    error = joined(line, Waiter(until_s), places, per_second)
    assert (None if error is None else error.headers) == (None if retry_after is None else b"Retry-After: %b\r\n" % retry_after)
    assert len(line) == waiting + (error is None)
