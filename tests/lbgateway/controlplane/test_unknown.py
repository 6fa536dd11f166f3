"""What is said of services and instances that there are not."""

from __future__ import annotations

import pytest

from lbgateway.controlplane.unknown import unknown_instance, unknown_service
from tests.support.fake_gateway import FakeGateway, instance

PORT = FakeGateway({"orders": [instance("o-1"), instance("o-22")], "users": []}, unexposed=["billing"])


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("ordes", 'There is no service "ordes"; did you mean `orders`?'),
        ("Users", 'There is no service "Users"; did you mean `users`?'),
        ("x", 'There is no service "x". There are orders, users.'),
    ],
)
def test_the_nearest_service_is_named(service: str, said: str):
    """Where one is near; else those that there are."""
    assert unknown_service(PORT, service).detail == said


def test_a_service_that_is_not_exposed_is_another_matter():
    """There is nothing misspelt: there is something to do."""
    assert "lbgateway.enable=true" in unknown_service(PORT, "billing").detail


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("o-2", 'orders has no instance "o-2"; did you mean `o-22`?'),
        ("n1:o-3", 'orders has no instance "n1:o-3"; did you mean `n1:o-1`?'),
        ("x", 'orders has no instance "x". It has o-1, o-22.'),
    ],
)
def test_the_nearest_instance_is_named(name: str, said: str):
    """With its node where it was asked for with one."""
    assert unknown_instance(PORT, "orders", name).detail == said


def test_a_service_without_instances_has_none_that_is_near():
    """And that is what is said."""
    assert unknown_instance(PORT, "users", "u-1").detail == 'users has no instance "u-1". It has none.'


def test_of_many_the_first_few_are_named():
    """A sentence is for reading."""
    port = FakeGateway({f"s{number:02}": [] for number in range(30)})
    assert unknown_service(port, "x").detail == f'There is no service "x". There are {", ".join(f"s{n:02}" for n in range(10))} …'
