"""What leaves the gateway about its requests: lines of the access log, and spans. Both follow the configuration."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from lbgateway import __version__
from lbgateway.dataplane.trace import Tracing
from lbgateway.telemetry.access_log import AccessLog
from lbgateway.telemetry.span_export import SpanExport

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.config import Settings
    from lbgateway.config.operations import LoggingSettings, TracingSettings
    from lbgateway.dataplane.plane import DataPlane


def access_log_of(logging: LoggingSettings) -> AccessLog | None:
    """On standard output, where one is wanted."""
    return AccessLog(sys.stdout.buffer, format=logging.format, sample=logging.sample) if logging.access_log else None


class Reporting:
    """Of one data plane. `access_log` makes the log that settings ask for."""

    def __init__(self, plane: DataPlane, access_log: Callable[[LoggingSettings], AccessLog | None] = access_log_of) -> None:
        self._plane = plane
        self._make_access_log = access_log
        self._logging: LoggingSettings | None = None
        self._tracing: TracingSettings | None = None
        self._export: SpanExport | None = None

    def follow(self, settings: Settings) -> None:
        """Take over other settings; what has not changed goes on as it was."""
        if settings.logging != self._logging:
            self._follow_logging(settings.logging)
        if settings.tracing != self._tracing:
            self._follow_tracing(settings.tracing)

    def _follow_logging(self, logging: LoggingSettings) -> None:
        # Closing one waits for its reader, which requests should not: so never without a reason.
        self._logging, before = logging, self._plane.access_log
        self._plane.access_log = self._make_access_log(logging)
        if before is not None:
            before.close()
        if self._plane.access_log is not None:
            self._plane.access_log.start()

    def _follow_tracing(self, tracing: TracingSettings | None) -> None:
        plane, before = self._plane, self._export
        if tracing is None:
            self._export = plane.tracing = None
        else:
            if self._tracing is None or before is None or self._tracing.otlp != tracing.otlp:
                self._export = SpanExport(tracing.otlp, plane.metrics.spans, __version__)
                self._export.start()
            assert self._export is not None
            plane.tracing = Tracing(tracing.sample, self._export.append)
        self._tracing = tracing
        if before is not None and before is not self._export:
            plane.spawn(asyncio.to_thread(before.close))

    async def aclose(self) -> None:
        """Write and send what is left, as far as somebody takes it."""
        if self._plane.access_log is not None:
            self._plane.access_log.close()
        if self._export is not None:
            await asyncio.to_thread(self._export.close)
