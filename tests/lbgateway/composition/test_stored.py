"""The part of the configuration in the registry's store: nothing that happens to it takes away what was good."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from discovery.instance import KeyValue
from lbgateway.composition.stored import StoredConfig

GOOD = b"routes: [{prefix: /a, service: a}]\n"
STAYS = "what it said last stays in force (write {} to take it back)"
BAD = b"routes:\n  - {prefix: a}\n"


@pytest.fixture
def kinds() -> list[str]:
    return []


@pytest.fixture
def stored(kinds: list[str]) -> StoredConfig:
    return StoredConfig("/lbgateway/routes", kinds.append)


def hear(stored: StoredConfig, value: bytes | None, last_error: str | None = None) -> tuple[bool, str, int]:
    """What was changed, the state after it, and how many routes are in force."""
    text = stored.hear(KeyValue("lbgateway/routes", value, 7, last_error))
    changed = text is not None and stored.take(text, stored.read(text))
    return changed, stored.state, len(stored.fragment.routes)


def test_a_key_may_be_written_later(stored: StoredConfig, kinds: list[str]) -> None:
    """Its absence is no error then."""
    assert stored.state == "unknown"
    assert hear(stored, None) == (False, "absent", 0)
    assert hear(stored, b" \n") == (False, "absent", 0)
    assert hear(stored, GOOD) == (True, "applied", 1)
    assert (kinds, stored.view()) == ([], {"key": "lbgateway/routes", "state": "applied", "error": None})


@pytest.mark.parametrize(
    ("value", "error", "kind"),
    [
        (BAD, "kv:lbgateway/routes:2: routes[0].prefix: must begin with a slash: /a", "config_key_invalid"),
        (b"\xff", "kv:lbgateway/routes: is not UTF-8 text", "config_key_invalid"),
        (None, f"kv:lbgateway/routes: there is no such key; {STAYS}", "config_key_missing"),
        (b"", f"kv:lbgateway/routes: the key is empty; {STAYS}", "config_key_missing"),
    ],
)
def test_what_was_good_stays(stored: StoredConfig, kinds: list[str], value: bytes | None, error: str, kind: str) -> None:
    """With an error until the next good text; and the log has one line for each change, however often it is told."""
    hear(stored, GOOD)
    with capture_logs() as logs:
        assert hear(stored, value) == (False, "kept", 1)
        assert hear(stored, value) == (False, "kept", 1)
    assert stored.view()["error"] == error
    assert kinds == [kind]
    assert len(logs) == 1
    assert hear(stored, GOOD) == (True, "applied", 1)
    assert stored.view()["error"] is None


def test_a_first_text_that_is_bad_is_refused(stored: StoredConfig) -> None:
    """There is nothing to keep."""
    assert hear(stored, BAD) == (False, "refused", 0)
    assert hear(stored, None) == (False, "absent", 0)


def test_an_empty_map_takes_everything_back(stored: StoredConfig) -> None:
    """Deletion does not: it may be an accident."""
    hear(stored, GOOD)
    assert hear(stored, b"{}") == (True, "applied", 0)


def test_a_key_that_cannot_be_read_keeps_what_is_known(stored: StoredConfig, kinds: list[str]) -> None:
    """Counted once for each outage; the error of the text comes before that of the reading."""
    hear(stored, GOOD)
    for _ in range(2):
        assert hear(stored, GOOD, "HTTP 403: Permission denied") == (False, "applied", 1)
    assert (stored.view()["error"], kinds) == ("HTTP 403: Permission denied", ["config_key_unreadable"])
    assert hear(stored, GOOD) == (False, "applied", 1)
    assert stored.view()["error"] is None


def test_before_the_first_answer_nothing_is_known(stored: StoredConfig) -> None:
    """A failure says nothing of the key."""
    assert hear(stored, None, "refused") == (False, "unknown", 0)
    assert repr(stored) == "<StoredConfig lbgateway/routes unknown routes=0>"


def test_a_text_that_is_old_news_by_the_time_it_is_read_is_not_applied(stored: StoredConfig) -> None:
    """Reading takes time, and the newest counts; until the first one is read nothing is known."""
    first = stored.hear(KeyValue("lbgateway/routes", GOOD))
    assert (first, stored.state) == (GOOD, "unknown")
    second = stored.hear(KeyValue("lbgateway/routes", b"{}"))
    assert second == b"{}"
    assert not stored.take(GOOD, stored.read(GOOD))
    assert stored.take(second, stored.read(second))
    assert (stored.state, stored.fragment.routes) == ("applied", ())
