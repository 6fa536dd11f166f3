"""Who is there for the gateway alone is not there for others."""

from __future__ import annotations

from types import SimpleNamespace

from lbgateway.errors import NoRoute
from lbgateway.policies.secluded import Secluded


def test_a_hidden_service_is_like_one_that_there_is_not():
    """By its name in the path; all others pass."""
    asked: list[str] = []

    def missing(name: str) -> NoRoute:
        asked.append(name)
        return NoRoute()

    policy = Secluded(lambda name: name == "auth", missing)

    def verdict(path: bytes):
        return policy(SimpleNamespace(route=SimpleNamespace(service_of=lambda path: path.decode()), target=SimpleNamespace(path=path)))

    assert isinstance(verdict(b"auth"), NoRoute)
    assert verdict(b"orders") is None
    assert asked == ["auth"]
