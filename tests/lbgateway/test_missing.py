"""What is said of a service that the gateway does not know."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from lbgateway.errors import NoEndpoint, NoRoute
from lbgateway.missing import HINT_EVERY_S, Missing


class Known:
    """A registry and a composer, as far as they are asked."""

    def __init__(self, *, heard: bool = True, lingers: bool = False, registered: tuple[str, ...] = ()) -> None:
        self.heard = lambda: heard
        self.lingers = lambda _name: lingers
        self.registered = lambda name: name in registered


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        (Known(heard=False), NoEndpoint),
        (Known(lingers=True), NoEndpoint),
        (Known(), NoRoute),
        (Known(registered=("orders",)), NoRoute),
    ],
)
def test_unknown_and_unexposed_look_alike(known, answer):
    """Only where nobody can know yet, or a route is left over, it is 503."""
    assert isinstance(Missing(known, known).error_for("orders"), answer)


def test_the_operator_is_told_what_to_do_and_not_too_often():
    """A scanner must not fill the log."""
    known, now = Known(registered=("orders", "consul")), [0.0]
    missing = Missing(known, known, lambda: now[0])
    with capture_logs() as logs:
        for _ in range(3):
            missing.error_for("orders")
            missing.error_for("consul")
            missing.error_for("unheard-of")
        now[0] = HINT_EVERY_S
        missing.error_for("orders")
    assert [entry["service"] for entry in logs] == ["orders", "orders"]
    assert "lbgateway.enable=true" in logs[0]["what_to_do"]
