"""Which routes meet, and who wins: compared with what the route table does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.composition.overlap import covers, meet, rank, segments_of
from lbgateway.config import RouteSettings
from lbgateway.dataplane.compiling import compile_routes
from tests.lbgateway.composition.registrations import settings_of
from tests.lbgateway.dataplane.tables import FIELDS, serves_host
from tests.lbgateway.dataplane.tables import covers as covers_path

ROUTES = st.builds(
    lambda host, prefix, methods, headers: RouteSettings(
        host=host, prefix=prefix, methods=methods, headers=headers, service=None if prefix.endswith("}") else "x"
    ),
    st.sampled_from([None, "a.b", "*.b", "*.a.b", "c.a.b"]),
    st.sampled_from(["/", "/api", "/api/{service}", "/api/orders", "/api/orders/x", "/shop"]),
    st.sampled_from([None, ("GET",), ("GET", "PUT"), ("PUT",)]),
    st.sampled_from([{}, {"X-Beta": "1"}, {"x-beta": "2"}, {"X-More": "a b"}]),
)
REQUESTS = [
    (host, path, method)
    for host in ("a.b", "c.a.b", "d.b", "z")
    for path in ("/", "/api/orders", "/api/orders/x", "/api/users", "/shop/1")
    for method in ("GET", "PUT")
]
HEADERS = {"x-beta": "1", "x-more": "a b"}


def takes(route: RouteSettings, host: str, path: str, method: str) -> bool:
    return (
        serves_host(route.host, host)
        and covers_path(route.prefix, path)
        and (route.methods is None or method in route.methods)
        and all(HEADERS.get(name.lower()) == value for name, value in route.headers.items())
    )


@pytest.mark.parametrize(
    ("above", "below", "answer"),
    [("/", "/x", True), ("/api", "/api", True), ("/api", "/api/x", True), ("/api", "/apix", False), ("/api/x", "/api", False)],
)
def test_prefixes_cover_whole_segments(above, below, answer):
    """As in the route table."""
    assert covers(segments_of(above), segments_of(below)) is answer


@given(ROUTES, ROUTES)
def test_routes_meet_if_a_request_would_do_for_both(one, other):
    """Whatever both take, they meet in."""
    both = any(takes(one, *request) and takes(other, *request) for request in REQUESTS)
    assert meet(one, other) >= both
    assert meet(one, other) == meet(other, one)


@given(ROUTES, ROUTES)
def test_the_larger_rank_gets_the_request(one, other):
    """The table and this order agree, or one of them lets a service take what is another's."""
    if rank(one) == rank(other):
        return
    settings = settings_of().composed((one, other), {})
    table = compile_routes(settings)
    best = max(one, other, key=rank)
    for host, path, method in REQUESTS:
        if takes(one, host, path, method) and takes(other, host, path, method):
            found = table.match(host.encode(), path.encode(), method.encode(), FIELDS)
            assert found is not None
            assert (found.host, found.view["prefix"], found.view["methods"] and tuple(found.view["methods"])) == (
                best.host, best.prefix, best.methods,
            )  # fmt: skip
