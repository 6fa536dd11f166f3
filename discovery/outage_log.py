"""What the log says of a registry: one line per outage and kind of failure, however many watches fail, and one when it is over.

An agent that serves some reads and cuts others, for it has too many connections, goes from one outage into the
next within a second. What was told lately is not told again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from discovery.errors import INDEX_RESET, Denied

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("discovery.consul")

ABOUT_TOKENS: Final = " (is the token known to this Consul, and does it have service:read and node:read?)"
SELDOM_S: Final = 30.0
"""Between two lines about the same kind of failure, at least."""


class OutageLog:
    """`url` tells who is asked now; `on_error` gets the kind of every failure, those included that are not logged.

    `clock`: monotonic seconds.
    """

    def __init__(self, url: Callable[[], str], on_error: Callable[[str], None], clock: Callable[[], float]) -> None:
        # for life
        self._url = url
        self._on_error = on_error
        self._clock = clock
        self._told_at_s: dict[str, float] = {}
        """When each kind of failure was logged for the last time."""
        # since the last line about a recovery
        self._logged: set[str] = set()

    def failed(self, kind: str, text: str) -> None:
        """A read failed."""
        self._on_error(kind)
        if kind == INDEX_RESET:
            log.info("Consul's index went backwards: it was restarted or restored", extra={"url": self._url()})
        elif kind not in self._logged and self._clock() - self._told_at_s.get(kind, float("-inf")) >= SELDOM_S:
            self._logged.add(kind)
            self._told_at_s[kind] = self._clock()
            text += ABOUT_TOKENS if kind == Denied.kind else ""
            log.warning("Consul cannot be read, what is known stays: %s", text, extra={"url": self._url(), "reason": kind})

    def moved(self, left: str, taken: str) -> None:
        """Another agent is asked."""
        log.warning("another Consul agent is asked from now on, instead of %s", left, extra={"url": taken})

    def recovered(self) -> None:
        """Reads succeed again, after some that failed, and no watch is still without an answer."""
        if self._logged:
            self._logged.clear()
            log.info("Consul answers again", extra={"url": self._url()})
