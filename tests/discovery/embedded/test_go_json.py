"""Bodies are read as Consul's decoder reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.embedded.go_json import DecodeError, Field, decode, keys, parse_bool, parse_duration

FIELDS = keys(
    Field("Name"),
    Field("Port", "int"),
    Field("Flag", "bool"),
    Field("Tags", "[]string"),
    Field("Meta", "map[string]string"),
    Field("Header", "map[string][]string"),
    Field("Wait", "duration"),
    Field("One", "object", keys(Field("Inner"))),
    Field("Many", "[]object", keys(Field("Inner"))),
    Field("Places", "map[string]object", keys(Field("Port", "int"))),
    Field("Anything", "ignored"),
    the_name="Name",
)


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        (b'{"Name":"a"}', "Name", "a"),
        (b'{"nAmE":"a"}', "Name", "a"),
        (b'{"the_name":"a"}', "Name", "a"),
        (b'{"Name":null}', "Name", ""),
        (b'{"Name":"a","name":"b"}', "Name", "b"),
        (b'{"Name":"a"} and more', "Name", "a"),
        (b"null", "Port", 0),
        (b'{"Port":80}', "Port", 80),
        (b'{"Flag":true}', "Flag", True),
        (b'{"Tags":["a",null,"b"]}', "Tags", ("a", "b")),
        (b'{"Meta":{"k":"v","n":null}}', "Meta", {"k": "v"}),
        (b'{"Header":{"A":["b","c"]}}', "Header", {"A": ("b", "c")}),
        (b'{"Wait":"1m30s"}', "Wait", 90.0),
        (b'{"Wait":1500000000}', "Wait", 1.5),
        (b'{"Wait":true}', "Wait", 0.0),
        (b'{"One":{"inner":"x"}}', "One", {"Inner": "x"}),
        (b"{}", "One", None),
        (b'{"Many":[{"Inner":"x"},{}]}', "Many", ({"Inner": "x"}, {"Inner": ""})),
        (b'{"Places":{"lan":{"port":7}}}', "Places", {"lan": {"Port": 7}}),
        (b'{"Anything":[1,{}]}', "Anything", [1, {}]),
    ],
)
def test_a_value_is_found_by_its_name(body: bytes, name: str, value: object) -> None:
    """In any case, under its aliases, with the zero of its type where it is missing."""
    assert decode(body, FIELDS)[name] == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"  ", "EOF"),
        (b'{"Name":', "unexpected EOF"),
        (b'{"Name":"a', "unexpected EOF"),
        (b'{"Name":x}', "invalid character 'x' looking for beginning of value"),
        (b'{"Port":NaN}', "invalid character 'N' looking for beginning of value"),
        (b'"x"', "json: cannot unmarshal string into Go value of type object"),
        (b'{"Bogus":1}', 'json: unknown field "Bogus"'),
        (b'{"One":{"Bogus":1}}', 'json: unknown field "Bogus"'),
        (b'{"Name":true}', "json: cannot unmarshal bool into Go struct field .Name of type string"),
        (b'{"Port":true}', "json: cannot unmarshal bool into Go struct field .Port of type int"),
        (b'{"Port":1.5}', "json: cannot unmarshal number 1.5 into Go struct field .Port of type int"),
        (b'{"Tags":[1]}', "json: cannot unmarshal number into Go struct field .Tags of type string"),
        (b'{"Meta":{"a":1}}', "json: cannot unmarshal number into Go struct field .Meta of type string"),
        (b'{"Many":{}}', "json: cannot unmarshal object into Go struct field .Many of type []object"),
        (b'{"Wait":"soon"}', 'time: invalid duration "soon"'),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_what_cannot_be_read_is_named(body: bytes, text: str) -> None:
    """In the words of Go's decoder."""
    with pytest.raises(DecodeError) as caught:
        decode(body, FIELDS)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5s", 5),
        ("+5s", 5),
        ("-5s", -5),
        ("250ms", 0.25),
        ("1h2m3s", 3723),
        ("1.5m", 90),
        (".5s", 0.5),
        ("100us", 1e-4),
        ("1ns", 1e-9),
    ],
)
def test_durations_are_numbers_with_units(text: str, seconds: float) -> None:
    """Several of them add up; a sign is for the whole."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("s", 'time: invalid duration "s"'),
        ("10", 'time: missing unit in duration "10"'),
        ("1s5", 'time: missing unit in duration "1s5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
    ],
)
def test_a_bad_duration_is_named(text: str, problem: str) -> None:
    """A bare number has no unit: is it seconds, is it milliseconds?"""
    with pytest.raises(DecodeError) as caught:
        parse_duration(text)
    assert str(caught.value) == problem


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,NamePort1.5 ntrue', max_size=60).map(str.encode))
def test_no_body_surprises_the_decoder(body: bytes) -> None:
    """It is decoded, or refused with a text; never anything else."""
    try:
        found: object = set(decode(body, FIELDS))
    except DecodeError as error:
        found = str(error)
    assert found == {field.name for field in FIELDS.values()} or (isinstance(found, str) and found)


@given(st.text(max_size=12) | st.from_regex(r"[-+]?([0-9.]{1,4}[nuµmsh]{0,2}){1,3}", fullmatch=True))
def test_no_duration_surprises_the_parser(text: str) -> None:
    """As above."""
    try:
        found: object = parse_duration(text)
    except DecodeError as error:
        found = str(error)
    assert isinstance(found, float) or text in str(found)


def test_booleans_have_six_spellings_each() -> None:
    """Those of Go; "yes" is not one of them."""
    assert [parse_bool(text) for text in ("1", "t", "T", "true", "True", "TRUE")] == [True] * 6
    assert [parse_bool(text) for text in ("0", "f", "F", "false", "False", "FALSE")] == [False] * 6
    with pytest.raises(ValueError, match="yes"):
        parse_bool("yes")
