"""The suites of real bytes run over both transports: see `tests.support.transport_cases`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.live_gateway import services_reached_by
from tests.support.transport_cases import SUITES, exception_for

TRANSPORTS = ("native", "httpx")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in SUITES:
        metafunc.parametrize("transport", TRANSPORTS, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """How the gateways of a module reach their services."""
    chosen = getattr(request, "param", "native")
    with services_reached_by(chosen):
        yield chosen


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what httpx cannot do; each case has its reason, and there are tests for what happens instead."""
    left_out = [item for item in items if _is_exception(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_exception(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is None or callspec.params.get("transport") != "httpx" or item.path.stem not in SUITES:
        return False
    name = item.name.replace("httpx-", "").replace("-httpx", "").replace("[httpx]", "")
    return exception_for(item.path.name, name, item.originalname) is not None  # type: ignore[attr-defined]  # items of functions have it
