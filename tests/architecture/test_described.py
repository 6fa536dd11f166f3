"""Each key of the configuration is described for whoever writes the file in an editor."""

from __future__ import annotations

from lbgateway.config.schema import descriptions, schema


def test_each_key_has_its_sentence() -> None:
    """A new key takes a line in lbgateway/config/descriptions.toml, a removed one takes its line along."""
    built = schema()
    sections = {**built["$defs"], "Settings": built}
    sections["InstanceSettings"] = sections["InstanceSettings"]["anyOf"][1]
    keys = {f"[{name}] {key}" for name, section in sections.items() for key in section.get("properties", {}) if name[0].isupper()}
    described = {f"[{name}] {key}" for name, section in descriptions().items() for key in section}
    keys -= {key for key in keys if key.startswith("[Variable]")}
    assert sorted(keys - described) == [], "without a description in lbgateway/config/descriptions.toml"
    assert sorted(described - keys) == [], "described, but there is no such key"


def test_sentences_are_sentences() -> None:
    """They begin big or with a value's name, and end with a full stop."""
    texts = [text for section in descriptions().values() for text in section.values()]
    assert [text for text in texts if not text.endswith((".", "…"))] == []
