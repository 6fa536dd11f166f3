"""From words to wishes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.composition.declaration import Wish, declare
from tests.lbgateway.composition.registrations import asks, instance


def route_of(wish: Wish) -> dict[str, object]:
    """What the wish says beyond the defaults."""
    return {key: getattr(wish.route, key) for key in wish.route.model_fields_set}


def test_who_says_nothing_asks_for_nothing():
    """The opt-in is no wish."""
    assert declare("orders", [instance("orders", 1, "lbgateway.enable=true", "v1")]) is None
    assert declare("orders", []) is None


def test_tags_make_a_route_and_settings():
    """Each key goes where it belongs."""
    about_the_route = ("prefix=/shop", "host=Shop.example", "strip_prefix=true", "methods=GET, POST", "add_prefix=/v1")
    told = asks("orders", *about_the_route, "balancer=p2c", "timeout.response=2s", "retry.attempts=1")
    [wish] = told.wishes
    assert wish.spelled == "lbgateway.prefix=/shop"
    assert route_of(wish) == {
        "prefix": "/shop", "service": "orders", "host": "shop.example", "strip_prefix": True, "methods": ("GET", "POST"),
        "add_prefix": "/v1",
    }  # fmt: skip
    assert (told.settings.balancer, told.settings.timeout.response, told.settings.retry.attempts) == ("p2c", 2.0, 1)
    assert (told.problems, told.came) == ((), 1)


def test_settings_alone_make_no_route():
    """`/api/{service}` has the service already."""
    assert asks("orders", "balancer=p2c").wishes == ()


def test_without_a_prefix_a_route_is_the_services_own():
    """What is said of a route has to be about one."""
    [wish] = asks("orders", "host=shop.example").wishes
    assert (wish.route.prefix, wish.spelled) == ("/api/orders", None)


def test_several_prefixes_are_several_routes():
    """All of them with the other tags; one that cannot be a prefix disables itself."""
    told = asks("orders", "prefix=/a", "prefix=/b", "prefix=shop", "strip_prefix=true")
    assert [(wish.route.prefix, wish.route.strip_prefix) for wish in told.wishes] == [("/a", True), ("/b", True)]
    assert [problem.spelled for problem in told.problems] == ["lbgateway.prefix=shop"]


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("perfix=/shop", "no setting that a tag can have; did you mean `prefix`?"),
        ("service=billing", "no setting that a tag can have"),
        ("auth=none", "not for services to set; an operator may allow it: discovery.consul.allow_tag_keys: [auth]"),
        ("timeout.pool_idle=1s", "not for services to set; an operator may allow it: discovery.consul.allow_tag_keys: [timeout.pool_idle]"),
        ("prefix=", "has no value"),
        ("balancer", "has no value"),
        ("balancer=ring_hash", "`ring_hash` is not available in this version"),
        ("timeout.response=soon", "not a duration: write for example 250ms, 5s, 1m30s or 1h"),
        ("strip_prefix=[", "not a YAML value; put it in quotes if it is meant as text"),
        ("host=http://x", "a host is a name only, without scheme or path"),
    ],
)
def test_a_bad_word_disables_itself(tag, message):
    """And nothing else."""
    told = asks("orders", tag, "prefix=/shop", "retry.attempts=3")
    assert [(problem.spelled, problem.message) for problem in told.problems] == [(f"lbgateway.{tag}", message)]
    assert [wish.route.prefix for wish in told.wishes] == ["/shop"]
    assert told.settings.retry.attempts == 3


def test_an_operator_may_allow_more():
    """And the value is checked like any other."""
    told = asks("orders", "prefix=/shop", "auth=none", "max_body=1MiB", granted=("auth", "max_body"))
    assert (told.wishes[0].route.auth, told.wishes[0].route.max_body, told.problems) == ("none", 2**20, ())
    assert "required, optional, none" in asks("orders", "auth=non", granted=("auth",)).problems[0].message


def test_what_is_said_twice_counts_once():
    """The first one does."""
    told = asks("orders", "balancer=p2c", "balancer=random")
    assert (told.settings.balancer, told.problems[0].message) == ("p2c", "said twice: lbgateway.balancer=p2c came first")


def test_the_newest_speaks_and_the_service_is_as_old_as_its_first():
    """Conflicts are among the problems."""
    told = declare("orders", [instance("orders", 3, "lbgateway.prefix=/old"), instance("orders", 8, "lbgateway.prefix=/new")])
    assert told is not None
    assert ([wish.route.prefix for wish in told.wishes], told.came) == (["/new"], 3)
    assert [problem.spelled for problem in told.problems] == ["lbgateway.prefix=/old"]
    silent = declare("orders", [instance("orders", 3, "lbgateway.prefix=/old"), instance("orders", 8)])
    assert silent is not None
    assert (silent.wishes, [problem.spelled for problem in silent.problems]) == ((), ["lbgateway.prefix=/old"])


def test_a_name_that_no_route_can_have_is_said():
    """Consul lets services be called anything."""
    told = asks("no way!", "prefix=/shop")
    assert told.wishes == ()
    assert "not a service name" in told.problems[0].message


KEYS = st.sampled_from(["prefix", "host", "methods", "timeout.idle", "auth", "rate_limit", "x", ""])


@given(st.lists(st.tuples(KEYS, st.text(max_size=12))))
def test_no_tag_breaks_the_reading(pairs):
    """It is understood, or shown with a reason."""
    tags = [f"{key}={value}" for key, value in pairs]
    told = declare("orders", [instance("orders", 1, *(f"lbgateway.{tag}" for tag in tags))], ["auth", "rate_limit"])
    if told is not None:
        assert all(problem.message for problem in told.problems)
        assert {wish.route.service for wish in told.wishes} <= {"orders"}
