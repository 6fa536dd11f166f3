"""What a worker is put together from: a whole data plane that asks the parent for everything there is one of."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from lbgateway.parts import Parts
from lbgateway.ratelimit.limiter import Limiter
from lbgateway.ratelimit.table import LimitTable
from lbgateway.telemetry.access_log import AccessLog
from lbgateway.workers.board import SLOTS, WAYS
from lbgateway.workers.relayed_source import RelayedSource
from lbgateway.workers.shared_line import SharedLine
from lbgateway.workers.whole_lines import WholeLines

if TYPE_CHECKING:
    from random import Random

    from discovery.source import Source
    from lbgateway.config import Settings
    from lbgateway.config.operations import LoggingSettings
    from lbgateway.config.service import ServiceSettings
    from lbgateway.controlplane.app import ControlPlaneSettings
    from lbgateway.dataplane.asgi import Application
    from lbgateway.dataplane.news import Others
    from lbgateway.dataplane.rules import UpstreamRules
    from lbgateway.dataplane.upstream import Upstream
    from lbgateway.runtime import Gateway
    from lbgateway.workers.board import Board
    from lbgateway.workers.shared_endpoint import Places


class WorkerParts(Parts):
    """`secret` hides from clients which counter of a limit is theirs; `others` hears what this worker decides."""

    leads = False

    def __init__(self, board: Board, places: Places, secret: bytes, application: Application) -> None:
        self.others: Others | None = None
        self.gateways = 1
        """So many there are, as the parent knows."""
        self._board = board
        self._places = places
        self._application = application
        self._random: Random | None = None
        self._table = LimitTable(
            board.keys, board.moments, WAYS,
            lock=lambda bucket: board.lock(SLOTS + bucket), unlock=lambda bucket: board.unlock(SLOTS + bucket), secret=secret,
        )  # fmt: skip

    def bind(self, gateway: Gateway, others: Others) -> None:
        """The gateway is made: from now on its endpoints are shared, and its decisions told."""
        self.others, self._random = others, gateway.plane.random
        gateway.plane.make_endpoint = self._places.made
        for upstream in gateway.plane.upstreams.values():
            self.on_upstream(upstream)

    def store(self, *_given: object) -> None:
        """The parent's."""

    def source(self, settings: Settings, *_given: object) -> Source:
        return RelayedSource(settings.discovery.provider, self._places.slots)

    async def registry(self, settings: Settings) -> None:
        """The parent's."""

    def limiter(self, gateway: Gateway) -> Limiter:  # noqa: ARG002 the parent knows how many gateways there are
        # Where a store is away, every worker counts by itself.
        return Limiter(lambda: self.gateways * self._board.workers, self._table)

    def application(self, gateway: Gateway, settings: Settings, control: ControlPlaneSettings) -> Application:  # noqa: ARG002 the parent's has them
        return self._application

    def access_log(self, logging: LoggingSettings) -> AccessLog | None:
        if not logging.access_log:
            return None
        output = sys.stdout.buffer
        if stat.S_ISFIFO(os.fstat(output.fileno()).st_mode):
            return AccessLog(WholeLines(output.fileno()), format=logging.format, sample=logging.sample)  # type: ignore[arg-type]  # a BinaryIO but for what is not written
        return super().access_log(logging)

    def rules(self, service: ServiceSettings) -> UpstreamRules:
        """Each worker has its part of the trials of a half-open breaker, one at least; adaptive limits are found out by the parent."""
        rules = super().rules(service)
        if rules.breaker is not None:
            trials = ceil(rules.breaker.half_open_requests / self._board.workers)
            rules = replace(rules, breaker=replace(rules.breaker, half_open_requests=trials))
        return replace(rules, adaptive=False)

    def on_upstream(self, upstream: Upstream) -> None:
        if self._random is not None:
            upstream.news.others = self.others
            upstream.processes = self._board.workers
            upstream.line = SharedLine(self._places, upstream.name, self._random, upstream.advance_line)
