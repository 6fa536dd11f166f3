"""One spelling for one path."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lbgateway.dataplane.target import Target, normalise


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
        (b'/a|b{c}^`"<>[d]', b'/a|b{c}^`"<>[d]', b""),
        (b"/a:b@c!$&'()*+,=", b"/a:b@c!$&'()*+,=", b""),
    ],
)
def test_a_path_gets_its_normal_form(target, path, query):
    """The query goes on as it came."""
    assert normalise(target) == Target(path, query, b"")


@pytest.mark.parametrize(
    "target",
    [
        b"", b"a", b"?x", b"a/b", b"*x", b"/*#", b"**",
        b"/a%2Fb", b"/a%2fb", b"/a\\b", b"/a%5cb", b"/%5C",
        b"/a%00", b"/a%0d%0aX: y", b"/a%7f", b"/a\x00", b"/a b", b"/a\tb", b"/a\x7f",
        b"/caf\xc3\xa9", b"/a?\xff", b"/a?x y", b"/a#b", b"/a?b#c",
        b"/..", b"/../a", b"/a/../..", b"/%2e%2e/a", b"/./../a",
        b"/a//..", b"/a//../b", b"//..",
        b"/..;/a", b"/a/..;x=1/b", b"/.;/a", b"/a/%2e%2e;/b", b"/a/..%3bx/b", b"/a/..%3B",
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
