"""What services say of themselves."""

import pytest

from lbgateway.composition.words import Problem, Word, disagreements, speaker_of, words_of
from tests.lbgateway.composition.registrations import instance


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        ("lbgateway.prefix=/shop", ("prefix", "/shop")),
        ("LBGateway.Prefix = /Shop=1 ", ("prefix", "/Shop=1")),
        ("lbgateway.timeout.response=2s", ("timeout.response", "2s")),
        ("lbgateway.prefix", ("prefix", None)),
        ("lbgateway.prefix=", ("prefix", "")),
        ("lbgateway.unheard_of=1", ("unheard_of", "1")),
        ("lbgateway.enable=true", None),
        ("lbgateway-prefix=/shop", None),
        ("prefix=/shop", None),
        ("v1", None),
    ],
)
def test_a_tag_is_a_word(tag, word):
    """Keys in any case, values as they are; the opt-in is the registry's business."""
    assert [(said.key, said.value) for said in words_of(instance("a", 1, tag))] == ([] if word is None else [word])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lbgateway-prefix", "prefix"),
        ("lbgateway-strip_prefix", "strip_prefix"),
        ("lbgateway-strip-prefix", "strip_prefix"),
        ("lbgateway-timeout-response", "timeout.response"),
        ("LBGATEWAY-timeout-tunnel_idle", "timeout.tunnel_idle"),
        ("lbgateway-unheard-of", "unheard.of"),
        ("lbgateway-enable", None),
        ("zone", None),
    ],
)
def test_meta_says_it_with_dashes(key, meant):
    """A dash is a dot, or the underscore of a key that has one."""
    assert [word.key for word in words_of(instance("a", 1, meta={key: "x"}))] == ([] if meant is None else [meant])


def test_words_come_once_tags_first():
    """What tag and Meta both say is said once."""
    tags = ("lbgateway.host=b", "v1", "lbgateway.prefix=/a", "lbgateway.prefix=/a")
    assert words_of(instance("a", 1, *tags, meta={"lbgateway-host": "b", "lbgateway-x": "1"})) == (
        Word("host", "b", "lbgateway.host=b"),
        Word("prefix", "/a", "lbgateway.prefix=/a"),
        Word("x", "1", "lbgateway-x=1"),
    )


def test_the_newest_registration_speaks():
    """Also where an old instance was registered anew, with other tags."""
    assert speaker_of([instance("a", 1), instance("a", 2)]).id == "a-2"
    assert speaker_of([instance("a", 1, changed=9), instance("a", 2)]).id == "a-1"
    assert speaker_of([instance("a", 1, came=5), instance("a", 2, came=5)]).id == "a-2"


def test_disagreements_say_who_and_what():
    """Both ways, each word once, with a few names."""
    old = [instance("a", number, "lbgateway.prefix=/old", "lbgateway.host=h") for number in range(1, 6)]
    new = instance("a", 9, "lbgateway.prefix=/new", "lbgateway.balancer=p2c", "lbgateway.host=h")
    others = "a-1, a-2, a-3 and 2 more"
    assert disagreements([*old, new], new) == [
        Problem("lbgateway.prefix=/old", f"not in force: said by {others}, but a-9, registered later, speaks for the service"),
        Problem("lbgateway.balancer=p2c", f"in force: said by a-9, registered last, though not by {others}"),
    ]
    assert disagreements([new, new], new) == []
