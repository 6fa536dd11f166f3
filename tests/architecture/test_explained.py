"""Pages that explain: what they name is in the code, and what they compute is what the code computes."""

from __future__ import annotations

import ast
import importlib
import random
import re
from pathlib import Path

import pytest

from balancers.endpoint import Endpoint
from balancers.ewma import Ewma
from lbgateway.config import ConfigErrors, load_text

ROOT = Path(__file__).parents[2]
LIFE = (ROOT / "docs" / "life-of-a-request.md").read_text()
NAMES = sorted(set(re.findall(r"`(lbgateway\.[\w.]+(?::[\w.]+)?)`", LIFE)))
PROMISED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "threat-model.md").read_text())))
EXAMPLE = re.findall(r"^\| (\w) \| (\d+) ms \| (\d+) \| (\d+) \| ([\d.]+) ms \|$", LIFE, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_life_of_a_request_is_in_the_code(name: str) -> None:
    """Whoever renames a step of the way renames it on the page."""
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part)


@pytest.mark.parametrize(("file", "test"), PROMISED)
def test_a_promise_has_its_test(file: str, test: str) -> None:
    """Each promise of the page on threats names a test that exists."""
    tree = ast.parse((ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_pages_name_something() -> None:
    """A pattern that finds nothing would prove nothing."""
    assert (len(NAMES) > 20, len(PROMISED) > 25, len(EXAMPLE)) == (True, True, 3)


def endpoints() -> dict[str, Endpoint]:
    """The three of the example, with a sample just taken."""
    made = {}
    for name, latency_ms, active, weight, _ in EXAMPLE:
        endpoint = made[name] = Endpoint(name, name)
        endpoint.latency_s, endpoint.latency_at_s = int(latency_ms) / 1000, 1.0
        endpoint.active, endpoint.weight = int(active), int(weight)
    return made


def test_the_example_is_computed_by_the_balancer() -> None:
    """The costs of the page are those of `Ewma.cost`, to a tenth of a millisecond."""
    balancer: Ewma[Endpoint] = Ewma(random.Random(1))
    three = endpoints()
    balancer.rebuild(tuple(three.values()))

    assert {name: f"{balancer.cost(each, 1.0) * 1000:.1f}" for name, each in three.items()} == {row[0]: row[4] for row in EXAMPLE}


def test_the_example_ends_as_the_page_says() -> None:
    """The dear one is never picked; of the equal ones the one drawn first is, by weight."""
    balancer: Ewma[Endpoint] = Ewma(random.Random(1))
    three = endpoints()
    balancer.rebuild(tuple(three.values()))
    picks = [balancer.pick(1.0) for _ in range(200)]

    assert {pick.id for pick in picks if pick} == {"b", "c"}


def test_the_runbook_knows_every_answer_of_the_gateways_own() -> None:
    """Whoever gets one finds what to do: all slugs but those of a redirect and of a client that has left."""
    slugs = set(re.findall(r"^\| \d+ \| `(\w+)` \|", (ROOT / "docs" / "reference" / "errors.md").read_text(), re.MULTILINE))
    runbook = (ROOT / "docs" / "runbook.md").read_text()

    assert len(slugs) > 20
    assert {slug for slug in slugs if f"`{slug}`" not in runbook} == {"redirected", "client_gone"}


def test_the_defaults_protect_as_the_page_says() -> None:
    """Local, closed, opt-in, verified; and required tokens that nobody can check are refused."""
    with pytest.raises(ConfigErrors):
        load_text("{}", "gateway.yaml", {})
    text = "auth: {jwt: {secret: 0123456789abcdef0123456789abcdef}}\nservices: {orders: {scheme: https, tls: {}}}"
    settings = load_text(text, "gateway.yaml", {})
    orders, jwt = settings.services["orders"], settings.auth.jwt

    assert (settings.server.host, settings.auth.default, settings.discovery.consul.expose) == ("127.0.0.1", "required", "tagged")
    assert (settings.admin.token, settings.admin.allow_loopback, settings.metrics.public) == (None, False, True)
    assert settings.security_headers == {}, "nothing changed of those that are built in"
    assert jwt is not None
    assert list(jwt.required_claims) == ["exp"]
    assert orders.tls is not None
    assert orders.tls.verify
    assert (settings.server.max_body, settings.rate_limit.default) == (None, None)
    assert orders.breaker is not None
    assert (orders.retry.budget, orders.outlier.max_ejected, orders.timeout.total) == (0.2, 0.5, 60.0)
