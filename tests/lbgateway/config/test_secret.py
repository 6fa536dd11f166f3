"""Secrets stay secret."""

import pickle

import pytest
from pydantic import BaseModel, ValidationError

from lbgateway.config.document import resolve
from lbgateway.config.secret import Secret
from tests.lbgateway.config.reading import errors_of, settings_of


class Holder(BaseModel):
    """Something with a secret in it."""

    token: Secret


def test_a_secret_is_shown_by_nothing():
    """Neither by itself nor by what holds it."""
    holder = Holder.model_validate({"token": "hunter2"})

    shown = [repr(holder), str(holder.token), f"{holder.token}", f"{holder.token!r}", str(holder.model_dump()), holder.model_dump_json()]

    assert not [text for text in shown if "hunter2" in text]
    assert holder.token.reveal() == "hunter2"


def test_a_secret_of_digits_keeps_its_zeros():
    """What YAML takes for a number was meant as text."""
    assert Holder.model_validate({"token": resolve("00123")}).token.reveal() == "00123"


def test_equal_secrets_are_equal():
    """A reload compares settings."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Holder(token=Secret("a")).token == Secret("a")


def test_a_file_gives_its_text_without_the_last_newline(tmp_path):
    """Relative paths start at the configuration's folder."""
    (tmp_path / "key").write_text("hunter2\n")

    holder = Holder.model_validate({"token": {"file": "key"}}, context={"folder": str(tmp_path)})

    assert holder.token.reveal() == "hunter2"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"file": "gone"}, "cannot read .*gone: No such file"),
        ({"file": "empty"}, "is empty"),
        ({"file": "binary"}, "not UTF-8"),
        ({"file": "empty", "more": 1}, "nothing else"),
        ({"path": "x"}, "file: PATH"),
        ({"file": 3}, "file: PATH"),
        ("", "cannot be empty"),
        ([], "from the environment, or"),
    ],
)
def test_what_gives_no_secret_is_refused(tmp_path, value, said):
    """With the reason, and without its content."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(ValidationError, match=said):
        Holder.model_validate({"token": value}, context={"folder": str(tmp_path)})


def test_a_secret_may_travel_to_a_worker():
    """Pickling is no way of showing."""
    assert pickle.loads(pickle.dumps(Secret("a"))) == Secret("a")


@pytest.mark.parametrize("key", ["auth: {session: {store: %s}}", "auth: {default: none}\nrate_limit: {store: %s}"])
def test_the_address_of_a_redis_may_be_in_a_file(key, tmp_path):
    """Its password with it, and whatever that holds it is not shown."""
    (tmp_path / "redis").write_text("redis://:s3cret@s3cret@10.0.0.1:6379/0\n")
    made = settings_of(key % f"{{file: {tmp_path}/redis}}")
    session = made.auth.session
    assert (made.rate_limit.store if session is None else session.store) == "redis://:s3cret@s3cret@10.0.0.1:6379/0"
    assert "redis://***@10.0.0.1:6379/0" in str(made.masked())
    assert "s3cret" not in str(made.masked())
    (tmp_path / "redis").write_text("redis://:s3cret/@10.0.0.1:6379/0\n")
    [error] = errors_of(key % f"{{file: {tmp_path}/redis}}")
    assert "in a password, / ? # [ ] are written as %2F" in error
    [missing] = errors_of(key % f"{{file: {tmp_path}/nothing}}")
    assert "cannot read" in missing
