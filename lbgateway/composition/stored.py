"""The part of the configuration that lies in the registry's key-value store (``discovery.consul.config_key``).

It is applied whole or not at all, and nothing that happens to the key takes away what was good: not a mistake in
it, not its deletion, not a token that may not read it any more. To take everything back, one writes ``{}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from lbgateway.composition.compose import NOTHING
from lbgateway.config import ConfigErrors
from lbgateway.config.fragment import load_fragment

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.instance import KeyValue
    from lbgateway.config.fragment import Fragment
    from lbgateway.controlplane.route_views import ConfigKeyView

log = structlog.get_logger("lbgateway")

INVALID = "config_key_invalid"
MISSING = "config_key_missing"
READING = "config_key_unreadable"
"""Kinds of ``lbgateway_discovery_errors_total``."""


class StoredConfig:
    """What one key says, and what of it is in force.

    `on_error` gets the kind of every refusal.
    """

    def __init__(self, key: str, on_error: Callable[[str], None]) -> None:
        # for life
        self.key = key.strip("/")
        self._on_error = on_error
        # since the last good text
        self.fragment = NOTHING
        self._applied: bytes | None = None
        # since the last news
        self._value: bytes | None = None
        self._heard = False
        self._reading = False
        self.errors: list[str] = []
        """Why the newest text is not in force."""
        self.unreadable: str | None = None
        """Why nothing newer than the last text is known."""

    def __repr__(self) -> str:
        return f"<StoredConfig {self.key} {self.state} routes={len(self.fragment.routes)}>"

    @property
    def state(self) -> str:
        """``unknown`` before the first answer, ``absent``, ``applied``; ``kept`` while the last good text stands in for a newer one."""
        if self._applied is None and (not self._heard or self._reading):
            return "unknown"
        if self._applied is None:
            return "refused" if self.errors else "absent"
        return "kept" if self.errors else "applied"

    def hear(self, news: KeyValue) -> bytes | None:
        """Take over what the registry says; returns a text that is new, to be given to `read` and its outcome to `take`."""
        if news.last_error is not None:
            if self.unreadable is None:
                self._on_error(READING)
                log.info("the configuration key cannot be read, what is known stays", key=self.key, error=news.last_error)
            self.unreadable = news.last_error
            return None
        self.unreadable = None
        if self._heard and news.value == self._value:
            return None
        self._heard, self._value = True, news.value
        self._reading = news.value is not None and bool(news.value.strip())
        if self._reading:
            return news.value
        self._miss("there is no such key" if news.value is None else "the key is empty")
        return None

    def read(self, text: bytes) -> Fragment | list[str]:
        """What a text says, or its errors. Changes nothing, and may take a second: half a MiB of YAML is no matter for the event loop."""
        try:
            return load_fragment(text.decode("utf-8-sig"), f"kv:{self.key}")
        except ConfigErrors as problem:
            return [str(error) for error in problem.errors]
        except UnicodeDecodeError:
            return [f"kv:{self.key}: is not UTF-8 text"]

    def take(self, text: bytes, outcome: Fragment | list[str]) -> bool:
        """Put what was read into force; True if that is something else than before. A text that is old news by now is none."""
        if text != self._value:
            return False
        self._reading = False
        if isinstance(outcome, list):
            self._refuse(outcome)
            return False
        self.errors = []
        self.fragment, self._applied = outcome, text
        log.info("configuration from the key applied", key=self.key, routes=len(outcome.routes), services=len(outcome.services))
        return True

    def _miss(self, what: str) -> None:
        """No error before there ever was one: it may be written later."""
        if self._applied is None:
            self.errors = []
            log.info("no configuration in the key yet", key=self.key, reason=what)
            return
        self.errors = [f"kv:{self.key}: {what}; what it said last stays in force (write {{}} to take it back)"]
        self._on_error(MISSING)
        log.warning("the configuration key is gone, what it said last stays", key=self.key, reason=what)

    def _refuse(self, errors: list[str]) -> None:
        self.errors = errors
        self._on_error(INVALID)
        log.error("configuration from the key refused, what was good stays", key=self.key, errors=errors)

    def view(self) -> ConfigKeyView:
        """As ``/admin/routes`` shows it."""
        error = "\n".join(self.errors) or self.unreadable
        return {"key": self.key, "state": self.state, "error": error}
