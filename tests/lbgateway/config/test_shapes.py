"""What an editor accepts and what the gateway accepts are the same, or the editor accepts more."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from lbgateway.config import fields, shapes
from lbgateway.config.units import parse_duration, parse_size

PIECES = st.lists(st.sampled_from(["1", "05", "2.5", ".", "ms", "s", "m", "h", "d", "K", "Ki", "MiB", "b", "B", " ", "-", "x"]), max_size=5)


def takes(shape: shapes.Shape, value: object) -> bool:
    return Draft202012Validator(shape).is_valid(value)


@pytest.mark.parametrize(("shape", "parse"), [(shapes.DURATION, parse_duration), (shapes.SIZE, parse_size)])
@given(pieces=PIECES)
def test_units_are_those_of_the_parser(shape: shapes.Shape, parse: Callable[[str], float], pieces: list[str]) -> None:
    """Text by text, of the pieces that could make one."""
    text = "".join(pieces)
    with contextlib.suppress(ValueError):
        parse(text)
        assert takes(shape, text), text


@pytest.mark.parametrize(
    ("kind", "shape", "values"),
    [
        (fields.Workers, shapes.WORKERS, [1, 8, "auto"]),
        (fields.HostPort, shapes.HOST_PORT, ["127.0.0.1:9001", "[::1]:9001", "orders.example:1"]),
        (fields.Url, shapes.URL, ["http://127.0.0.1:8500", "https://consul.example/x"]),
        (fields.Prefix, shapes.PATH, ["/", "/api/orders/", "/a%20b"]),
        (fields.ServiceName, shapes.SERVICE_NAME, ["orders", "Orders-2", "a.b_c", "7"]),
        (fields.Method, shapes.METHOD, ["GET", "M-SEARCH"]),
        (fields.HeaderName, shapes.HEADER_NAME, ["X-Beta", "etag"]),
        (fields.Cookie, shapes.COOKIE, ["access_token", "__Host-sid"]),
        (fields.Scope, shapes.SCOPE, ["orders:read", "https://api.example/orders"]),
        (fields.Port, shapes.PORT, [0, 65535]),
        (fields.Count, shapes.COUNT, [1, 10_000]),
        (fields.Ratio, shapes.RATIO, [0, 0.5, 1]),
    ],
)
def test_what_the_gateway_takes_an_editor_takes(kind: object, shape: shapes.Shape, values: list[object]) -> None:
    """Examples of each kind; and the shape's own examples are good."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    for value in [*values, *shape.get("examples", ())]:
        adapter.validate_python(value)
        assert takes(shape, value), value
    with pytest.raises(ValidationError):
        adapter.validate_python({})
    assert not takes(shape, {})
