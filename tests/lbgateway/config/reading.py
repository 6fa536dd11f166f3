"""Short ways to read a configuration in tests."""

from __future__ import annotations

import textwrap

from lbgateway.config import ConfigErrors, Settings, load_text


def settings_of(text: str, **environ: str) -> Settings:
    """The settings of a text that is fine."""
    return load_text(textwrap.dedent(text), "gw.yaml", environ)


def errors_of(text: str, **environ: str) -> list[str]:
    """The errors of a text, each as the operator reads it; empty if it is fine."""
    try:
        settings_of(text, **environ)
    except ConfigErrors as problem:
        return [str(error) for error in problem.errors]
    return []
