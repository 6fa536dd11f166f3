"""Runs one command beside its registration, and ends both in the right order.

Signals are not handled but waited for: they stay blocked in this process, and arrive one by one between two looks at
the command, so that nothing here can be interrupted by one.
"""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discovery.registration import Registration

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Those that ask a program to end: the registry hears of them first."""
PASSED_ON = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH})
WAITED_FOR = STOP_SIGNALS | PASSED_ON | {signal.SIGCHLD}
LOOK_EVERY_S = 5.0
"""A child's end comes as SIGCHLD; this is for the one that nobody should miss."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes as a shell's."""


class CannotStart(Exception):
    """There is no such command; the message is for people."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Supervisor:
    """`run` is its whole life. `drain_pause_s`: between closed to traffic and the signal for the command."""

    def __init__(self, command: Sequence[str], registration: Registration, drain_pause_s: float) -> None:
        self._command = list(command)
        self._registration = registration
        self._drain_pause_s = drain_pause_s
        self._stopping: int | None = None
        self._due_s = 0.0

    def run(self) -> int:
        """The command's exit code, 128+n where signal n has ended it.

        Raises:
            CannotStart: there is nothing to run.

        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
        try:
            child = self._start(before)
            self._registration.begin(when_listening=True)
            try:
                code = self._until_ended(child)
            finally:
                self._registration.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return code if code >= 0 else 128 - code

    def _start(self, mask: set[int | signal.Signals]) -> subprocess.Popen[bytes]:
        """The command, in a session of its own: a Ctrl-C is for us, who then end it in order."""
        try:
            return subprocess.Popen(  # noqa: S603 running what the user says is what we are for
                self._command,
                start_new_session=True,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),  # noqa: PLW1509 there is no other thread yet
            )
        except FileNotFoundError:
            raise CannotStart(f"{self._command[0]}: command not found", NOT_FOUND) from None
        except OSError as error:
            raise CannotStart(f"{self._command[0]}: {error.strerror}", NOT_EXECUTABLE) from None

    def _until_ended(self, child: subprocess.Popen[bytes]) -> int:
        while child.poll() is None:
            received = signal.sigtimedwait(WAITED_FOR, self._patience_s())
            if received is not None:
                self._take(received.si_signo, child)
            elif self._stopping is not None and time.monotonic() >= self._due_s:
                self._pass_on(child)
        return int(child.returncode)

    def _patience_s(self) -> float:
        if self._stopping is None:
            return LOOK_EVERY_S
        return min(max(self._due_s - time.monotonic(), 0.0), LOOK_EVERY_S)

    def _take(self, number: int, child: subprocess.Popen[bytes]) -> None:
        if number == signal.SIGCHLD:
            return
        if number not in STOP_SIGNALS:
            child.send_signal(number)
            return
        impatient = self._stopping is not None
        self._stopping = number
        if impatient or not self._registration.announced:
            self._pass_on(child)  # nobody has been sent there, or somebody does not want to wait
        else:
            self._due_s = time.monotonic() + self._drain_pause_s
        self._registration.leave()

    def _pass_on(self, child: subprocess.Popen[bytes]) -> None:
        assert self._stopping is not None
        child.send_signal(self._stopping)
        self._due_s = float("inf")
