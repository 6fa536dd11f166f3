"""A service-discovery-aware load-balancing API gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbgateway.client import BalancedTransport

__version__ = "0.1.0"

__all__ = ["BalancedTransport", "__version__"]


def __getattr__(name: str) -> Any:
    """`BalancedTransport` brings all of the gateway along: loaded when it is asked for."""
    if name == "BalancedTransport":
        from lbgateway.client import BalancedTransport  # noqa: PLC0415 see above

        return BalancedTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
