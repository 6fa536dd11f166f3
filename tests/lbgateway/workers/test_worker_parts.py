"""What a worker is put together from."""

from __future__ import annotations

import os
import sys

import pytest

from lbgateway.ratelimit.table_limit import TableLimit
from lbgateway.telemetry.access_log import AccessLog
from lbgateway.workers.relayed_source import RelayedSource
from lbgateway.workers.shared_endpoint import SharedEndpoint
from lbgateway.workers.shared_line import SharedLine
from tests.lbgateway.config.reading import settings_of
from tests.support.worker_gateways import BASE, Together


async def test_a_worker_asks_nobody_and_shares_what_it_has():
    """The registry is the parent's word, endpoints and lines are on the board, and health checks are somebody else's."""
    async with Together() as gateways:
        for half in gateways.workers:
            upstream = half.gateway.plane.upstreams["orders"]
            assert isinstance(half.gateway.source, RelayedSource)
            assert all(isinstance(each, SharedEndpoint) for each in half.endpoints())
            assert isinstance(upstream.line, SharedLine)
            assert (half.gateway.store, half.gateway.embedded, half.gateway.checker._ticking) == (None, None, None)


async def test_all_mean_the_same_place_by_the_same_number():
    """Or a limit would be counted at somebody else's."""
    async with Together() as gateways:
        assert [[each.number for each in sorted(all_of_them, key=lambda each: each.id)] for all_of_them in gateways.everybody()] == [
            [each.number for each in gateways.workers[0].endpoints()]
        ] * 3


async def test_limits_in_memory_are_counted_in_the_table():
    """And where a store is away, each worker counts its part of one gateway's part."""
    async with Together() as gateways:
        half = gateways.workers[0]
        text = BASE + "services: {orders: {instances: [h:1]}}\nrate_limit: {default: {requests: 5}}\n"
        half.gateway.reload(settings_of(text))
        [policy] = {id(each): each for each in half.gateway.limiter.limits._policies.values()}.values()
        assert isinstance(policy, TableLimit)
        half.parts.gateways = 3
        assert half.gateway.limiter._gateways() == 6


@pytest.mark.parametrize(("workers", "trials"), [(1, 3), (2, 2), (5, 1)])
async def test_trials_are_divided_and_adaptive_limits_are_the_parent_s(workers, trials):
    """One trial at least for each."""
    text = ", limits: {adaptive: true}, breaker: {half_open_requests: 3}"
    async with Together(text, workers=workers) as gateways:
        rules = gateways.workers[0].gateway.plane.upstreams["orders"].rules
        assert rules.breaker is not None
        assert (rules.breaker.half_open_requests, rules.adaptive) == (trials, False)
        assert gateways.parent.plane.upstreams["orders"].rules.adaptive


async def test_a_worker_writes_its_own_access_log(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """To a pipe in whole lines, since others write there, too; None where there is none."""
    settings = settings_of("auth: {default: none}")
    read, write = os.pipe()
    async with Together() as gateways:
        parts = gateways.workers[0].parts
        assert parts.access_log(gateways.settings.logging) is None
        with os.fdopen(write, "w") as pipe, (tmp_path / "log").open("w") as file:
            for output in (pipe, file):
                monkeypatch.setattr(sys, "stdout", output)
                log = parts.access_log(settings.logging)
                assert isinstance(log, AccessLog)
            monkeypatch.undo()
    os.close(read)
