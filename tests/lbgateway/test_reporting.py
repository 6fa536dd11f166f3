"""The access log and the export of spans follow the configuration; what has not changed goes on."""

from __future__ import annotations

import asyncio

from lbgateway.dataplane.plane import DataPlane
from lbgateway.reporting import Reporting
from lbgateway.telemetry.span_export import OUTCOMES
from tests.lbgateway.config.reading import settings_of
from tests.lbgateway.telemetry.test_spans import record
from tests.support.collector import Collector


def follow(reporting: Reporting, tracing: str = "null", logging: str = "{access_log: false}") -> None:
    reporting.follow(settings_of(f"auth: {{default: none}}\ntracing: {tracing}\nlogging: {logging}"))


async def test_a_plane_traces_where_that_is_configured():
    """And nothing is counted, imported or started where it is not."""
    plane = DataPlane(asyncio.get_running_loop())
    reporting = Reporting(plane)
    follow(reporting)
    assert (plane.tracing, plane.metrics.spans) == (None, {})
    with Collector() as collector:
        follow(reporting, f"{{otlp: '{collector.url}', sample: 1.0}}")
        assert plane.tracing is not None
        assert plane.metrics.spans == dict.fromkeys(OUTCOMES, 0)
        follow(reporting)
        assert plane.tracing is None
    await reporting.aclose()


async def test_another_share_keeps_the_export_and_another_collector_gets_what_comes_from_then_on():
    """The one before gets what was meant for it."""
    plane = DataPlane(asyncio.get_running_loop())
    reporting = Reporting(plane)
    with Collector() as one, Collector() as other:
        follow(reporting, f"{{otlp: '{one.url}', sample: 0.1}}")
        before = reporting._export
        assert before is not None
        follow(reporting, f"{{otlp: '{one.url}', sample: 0.2}}")
        assert reporting._export is before
        before.append(record())
        follow(reporting, f"{{otlp: '{other.url}', sample: 0.2}}")
        after = reporting._export
        assert after is not None
        after.append(record())
        await reporting.aclose()
        await asyncio.gather(*plane._tasks)
        assert (len(one.spans), len(other.spans)) == (3, 3)
        assert plane.metrics.spans["exported"] == 6


async def test_a_log_that_does_not_change_is_not_opened_anew():
    """Closing one waits for its reader."""
    plane = DataPlane(asyncio.get_running_loop())
    reporting = Reporting(plane)
    follow(reporting, logging="{access_log: true, sample: 0.5}")
    log = plane.access_log
    assert log is not None
    follow(reporting, "{otlp: 'http://127.0.0.1:1'}", "{access_log: true, sample: 0.5}")
    assert plane.access_log is log
    follow(reporting)
    assert plane.access_log is None
    await reporting.aclose()
