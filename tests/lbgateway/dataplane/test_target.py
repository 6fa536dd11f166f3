"""One spelling for one path."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbgateway.dataplane.target import Target, normalise, without_parameters
from tests.lbgateway.dataplane.readings import NEVER, OVERLONG, readings


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/api/orders/1", b"/api/orders/1", b""),
        (b"/a/", b"/a/", b""),
        (b"/a?x=1", b"/a", b"?x=1"),
        (b"/a?", b"/a", b"?"),
        (b"/a?x=../%2F//?\\%", b"/a", b"?x=../%2F//?\\%"),
        (b"/a.b/c..d/...", b"/a.b/c..d/...", b""),
        (b"/.well-known/x", b"/.well-known/x", b""),
        (b"/%7Eme/%41", b"/~me/A", b""),
        (b"/caf%c3%a9/%3a", b"/caf%C3%A9/%3A", b""),
        (b"/100%25", b"/100%25", b""),
        (b"/%252e%252e/x", b"/%252e%252e/x", b""),
        (b"/a/./b", b"/a/b", b""),
        (b"/a/../b", b"/b", b""),
        (b"/a/b/..", b"/a/", b""),
        (b"/a/.", b"/a/", b""),
        (b"/a/..", b"/", b""),
        (b"/.", b"/", b""),
        (b"/a/%2e%2E/b", b"/b", b""),
        (b"/a/%2e/b", b"/a/b", b""),
        (b"//a//b//", b"/a/b/", b""),
        (b"//", b"/", b""),
        (b"/a/..//b", b"/b", b""),
        (b"/a;v=1/b;x=..", b"/a;v=1/b;x=..", b""),
        (b"/a%3bv/;/b", b"/a%3Bv/;/b", b""),
        (b"/a;v/../b", b"/b", b""),
        (b'/a|b{c}^`"<>[d]', b'/a|b{c}^`"<>[d]', b""),
        (b"/a:b@c!$&'()*+,=", b"/a:b@c!$&'()*+,=", b""),
    ],
)
def test_a_path_gets_its_normal_form(target, path, query):
    """The query goes on as it came."""
    assert normalise(target) == Target(path, query, b"", b";" in path or b"%3B" in path)


@pytest.mark.parametrize(
    "target",
    [
        b"", b"a", b"?x", b"a/b", b"*x", b"/*#", b"**",
        b"/a%2Fb", b"/a%2fb", b"/a\\b", b"/a%5cb", b"/%5C",
        b"/a%00", b"/a%0d%0aX: y", b"/a%7f", b"/a\x00", b"/a b", b"/a\tb", b"/a\x7f",
        b"/caf\xc3\xa9", b"/a?\xff", b"/a?x y", b"/a#b", b"/a?b#c",
        b"/..", b"/../a", b"/a/../..", b"/%2e%2e/a", b"/./../a",
        b"/a//..", b"/a//../b", b"//..",
        b"/..;/a", b"/a/..;x=1/b", b"/.;/a", b"/a/%2e%2e;/b", b"/a/..%3bx/b", b"/a/..%3B", b"/;/..", b"/a/;x/../b", b"/a/%3bx/..",
        b"/%", b"/%2", b"/%zz", b"/a%g1", b"/%c0%ae", b"/%C1%9c", b"/%e0%80%af", b"/%F0%80%80%AF",
        b"http://", b"http:///a", b"http://u@h/a", b"http://u:p@h/", b"ftp://h/a", b"http:/a", b"http://h#x", b"http://h\\x/", b"http://h/../a",
        b"host:443", b"javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_two_parties_could_read_differently_is_refused(target):
    """Never repaired: a repair is a reading of its own."""
    assert normalise(target) is None


@pytest.mark.parametrize(
    ("target", "result"),
    [
        (b"http://shop.example/a?b", Target(b"/a", b"?b", b"shop.example")),
        (b"HTTPS://shop.example:8443/a/../b", Target(b"/b", b"", b"shop.example:8443")),
        (b"http://shop.example", Target(b"/", b"", b"shop.example")),
        (b"http://shop.example?b=/c", Target(b"/", b"?b=/c", b"shop.example")),
        (b"http://[::1]:80/a", Target(b"/a", b"", b"[::1]:80")),
        (b"http://h//a", Target(b"/a", b"", b"h")),
        (b"*", Target(b"*", b"", b"")),
    ],
)
def test_other_forms_of_a_target(target, result):
    """The absolute form brings its authority; the asterisk is left to who knows the method."""
    assert normalise(target) == result


TRICKY = st.lists(
    st.sampled_from(b"/ // . .. /./ /../ %2e %2E %2f %5c %41 %7e %c3%a9 %25 ; a B ? \\".split()),
    max_size=12,
).map(b"".join)


@given(st.one_of(TRICKY.map(lambda tail: b"/" + tail), st.binary(max_size=30).map(lambda tail: b"/" + tail)))
@example(b"/%2E%2E%2F")
def test_what_is_accepted_is_normal(target):
    """Nothing in it can move a path any more, and saying it again changes nothing."""
    found = normalise(target)
    if found is None:
        return
    path = found.path

    assert path.startswith(b"/")
    assert b"//" not in path
    assert b"\\" not in path
    assert not {b".", b".."} & set(path.split(b"/"))
    assert path.isascii()
    assert b"%2F" not in path.upper()
    assert normalise(path + found.query) == found


@given(st.lists(st.text("abcXYZ019-_~.!$&'()*+,=:@|", min_size=1, max_size=6).filter(lambda text: text not in (".", "..")), max_size=5))
def test_plain_paths_are_left_as_they_are(segments):
    """The warm path and the slow one agree."""
    path = "/" + "/".join(segments)

    assert normalise(path.encode()) == Target(path.encode(), b"", b"")


@given(TRICKY.filter(lambda tail: b"?" not in tail))
def test_escaped_dots_are_dots(tail):
    """Whoever decodes first gets the same answer."""
    plain = b"/" + tail

    assert normalise(plain) == normalise(plain.replace(b".", b"%2E"))


ANY_PATH = st.lists(
    st.sampled_from([
        b"/", b"/", b"//", b".", b"..", b"/../", b"/./", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"\\", b";", b";x=1", b"%3b", b"%3B",
        b"a", b"B", b"-", b"%41", b"%7e", b"%25", b"%252e", b"%252f", b"%c0%ae", b"%C0%AF", b"%e0%80%af", b"%c3%a9", b"%20", b"%00", b"%0A",
        b"\x01", b"#", b"%", b"%z",
    ]),
    max_size=9,
).map(lambda parts: b"/" + b"".join(parts))  # fmt: skip


@settings(max_examples=4 * settings().max_examples)
@given(ANY_PATH)
@example(b"/a//..")
@example(b"/..;/a")
@example(b"/%2e%2e;/a")
@example(b"/a/%c0%ae%c0%ae/b")
def test_what_is_accepted_has_one_reading_and_what_is_refused_has_several(path):
    """Against a reference that knows nothing of the rules here, only of the programs that read paths."""
    found, meanings = normalise(path), readings(path)
    if found is None:
        assert NEVER.search(path) or OVERLONG.search(unquote_to_bytes(path)) or len(meanings) > 1, meanings
        return
    assert not NEVER.search(path)
    assert len(meanings) == 1
    assert readings(found.path) == meanings
    assert found.path.endswith(b"/") is (found.path == b"/" or names_a_directory(path))


def names_a_directory(path: bytes) -> bool:
    """The last segment is empty, or dots, however they are spelt."""
    return path.rpartition(b"/")[2].lower().replace(b"%2e", b".") in (b"", b".", b"..")


def test_the_reference_knows_the_known_holes():
    """If it saw no difference, the test above would prove nothing."""
    dots = (b"/a/..;/b", b"/a//../b", b"/../a", b"/a/%2e%2e%2fb", b"/a/..%3b")
    for path in (*dots, b"/a%2fb", b"/a\\..\\b", b"/%c0%ae%c0%ae/b", b"/.%5c", b"/%e0%80%af"):
        assert len(readings(path)) > 1, path
    for path in (b"/a/../b", b"/a;x/b", b"//a", b"/%41/%2e/b", b"/%252e%252e/a", b"/a/%2E%2e/b", b"/caf%C3%A9"):
        assert len(readings(path)) == 1, path


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        (b"/a", b"/a"), (b"/a;v=1/b", b"/a/b"), (b"/a;v;w", b"/a"), (b"/a%3Bv/b%3B", b"/a/b"), (b"/a;%3B/b", b"/a/b"),
        (b"/;x/a", b"/a"), (b"/;", b"/"), (b"/a/;/", b"/a/"),
    ],
)  # fmt: skip
def test_the_other_reading_of_parameters(path, bare):
    """The names alone."""
    assert without_parameters(path) == bare
