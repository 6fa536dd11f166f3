"""Events: one stream, one shape, no secrets."""

import io
import json
import logging

import pytest
import structlog

from lbgateway.telemetry.logging import REDACTED, configure, redact


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Each test configures the process's logging; the next one finds what the first one found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def events(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object():
    """With its time, level, logger and fields."""
    stream = io.StringIO()
    configure("info", "json", stream=stream)

    structlog.get_logger("lbgateway.runtime").info("instance_added", service="orders", instance="o-1")

    [event] = events(stream)
    assert event.pop("time").endswith("Z")
    assert event == {"event": "instance_added", "level": "info", "logger": "lbgateway.runtime", "service": "orders", "instance": "o-1"}


def test_a_library_s_message_has_the_same_shape():
    """The stdlib's loggers go through the same handler, with their extra fields."""
    stream = io.StringIO()
    configure("info", "json", stream=stream)

    logging.getLogger("discovery.consul").warning("read of %s failed", "orders", extra={"service": "orders"})

    [event] = events(stream)
    assert (event["event"], event["level"], event["logger"], event["service"]) == (
        "read of orders failed",
        "warning",
        "discovery.consul",
        "orders",
    )


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", ["d", "i", "w"]), ("info", ["i", "w"]), ("warning", ["w"]), ("error", [])],
)
def test_the_level_holds_for_both_kinds(level, heard):
    """structlog's and the stdlib's loggers are filtered alike."""
    stream = io.StringIO()
    configure(level, "json", stream=stream)

    for logger in (structlog.get_logger("a"), logging.getLogger("b")):
        logger.debug("d")
        logger.info("i")
        logger.warning("w")

    assert [event["event"] for event in events(stream)] == heard * 2


def test_chatty_libraries_are_quiet_even_at_debug():
    """httpx logs every URL at INFO, and a URL may hold a token; uvicorn's start and end are told by the gateway."""
    stream = io.StringIO()
    configure("debug", "json", stream=stream)

    logging.getLogger("httpx").info("GET http://127.0.0.1/?token=abc")
    logging.getLogger("uvicorn.access").error("GET /")
    logging.getLogger("uvicorn.error").info("Started server process [1]")
    logging.getLogger("uvicorn.error").error("something broke")

    assert [event["event"] for event in events(stream)] == ["something broke"]


def test_a_line_begins_with_what_a_reader_looks_for():
    """When, how bad, what: the rest follows."""
    stream = io.StringIO()
    configure("info", "json", stream=stream)

    structlog.get_logger("a").warning("reloaded", routes=3, services=2)

    assert list(events(stream)[0])[:3] == ["time", "level", "event"]


def test_a_traceback_is_a_field():
    """An exception does not break the one-line-per-event rule."""
    stream = io.StringIO()
    configure("info", "json", stream=stream)

    try:
        raise ValueError("no")  # noqa: TRY301 the traceback is the point
    except ValueError:
        structlog.get_logger("a").exception("bug")

    [event] = events(stream)
    assert "ValueError: no" in event["exception"]


def test_configuring_again_replaces():
    """A reload changes format and level without doubling the lines."""
    first, second = io.StringIO(), io.StringIO()
    logger = structlog.get_logger("a")
    configure("info", "json", stream=first)
    logger.info("one")
    configure("debug", "console", stream=second)
    logger.debug("two", service="orders")

    assert [event["event"] for event in events(first)] == ["one"]
    assert second.getvalue().count("\n") == 1
    assert "two" in second.getvalue()
    assert "service=orders" in second.getvalue()
    assert "\x1b" not in second.getvalue()


@pytest.mark.parametrize(
    ("event", "clean"),
    [
        ({"event": "x", "token": "abc"}, {"event": "x", "token": REDACTED}),
        ({"admin_Token": "abc"}, {"admin_Token": REDACTED}),
        ({"headers": {"Authorization": "Bearer abc", "accept": "*/*"}}, {"headers": {"Authorization": REDACTED, "accept": "*/*"}}),
        ({"url": "redis://user:pw@h:6379/0"}, {"url": f"redis://{REDACTED}@h:6379/0"}),
        ({"urls": ["http://u@h/", "b"]}, {"urls": [f"http://{REDACTED}@h/", "b"]}),
        ({"token": None}, {"token": None}),
        ({"port": 8080, "event": "a@b"}, {"port": 8080, "event": "a@b"}),
    ],
)
def test_secrets_are_taken_out(event, clean):
    """By the key's name, at any depth, and out of URLs."""
    assert redact(None, "info", event) == clean


def test_an_unknown_level_is_refused():
    """The configuration allows four."""
    with pytest.raises(KeyError):
        configure("loud", "json", stream=io.StringIO())
