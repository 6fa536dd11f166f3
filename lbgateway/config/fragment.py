"""Parts of a configuration from elsewhere than the file: a text in the registry's store, settings in tags.

The same validation as the file's. But whoever writes there need not be who runs the gateway: variables of its
environment are not for them to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from lbgateway.config.availability import offered, unavailable, without_off
from lbgateway.config.document import parse
from lbgateway.config.errors import ConfigErrors, KeyPath, spell
from lbgateway.config.loader import Reader
from lbgateway.config.messages import explain
from lbgateway.config.semantics import check_parts
from lbgateway.config.settings import Settings

if TYPE_CHECKING:
    from lbgateway.config.route import RouteSettings
    from lbgateway.config.service import ServiceSettings

Keys = tuple[str, ...]
"""A key by its steps: ``("timeout", "response")``."""

Root = Callable[[dict[str, object]], dict[str, object]]

PARTS: Final = ("routes", "services")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Routes, each with the place where it was written, and settings of services."""

    routes: tuple[RouteSettings, ...] = ()
    places: tuple[str, ...] = ()
    services: Mapping[str, ServiceSettings] = field(default_factory=dict)


def load_fragment(text: str, source: str) -> Fragment:
    """Read ``routes:`` and ``services:`` in YAML; `source` names the text in errors.

    Raises `ConfigErrors` with every error: it is whole, or nothing.
    """
    document = parse(text, source, None)
    if document.findings and not document.root:
        raise ConfigErrors(document.findings)
    for key in [key for key in document.root if key not in PARTS]:
        document.complain((key,), "only `routes` and `services` can be set here")
        del document.root[key]
    settings = Reader(document, check_parts).read()
    routes = () if settings.has_default_route else settings.routes
    return Fragment(routes, tuple(str(document.origin(("routes", index))) for index in range(len(routes))), settings.services)


def route_of(given: Mapping[Keys, object]) -> tuple[RouteSettings, dict[Keys, str]]:
    """A route with what of `given` can be used, and what is wrong with the rest."""
    settings, wrong = _settings_of(given, lambda part: {"routes": [part]}, ("routes", 0))
    return settings.routes[0], wrong


def service_of(given: Mapping[Keys, object]) -> tuple[ServiceSettings, dict[Keys, str]]:
    """A service's settings with what of `given` can be used, and what is wrong with the rest."""
    settings, wrong = _settings_of(given, lambda part: {"services": {"any": part}}, ("services", "any"))
    return settings.services["any"], wrong


def _settings_of(given: Mapping[Keys, object], root_of: Root, above: KeyPath) -> tuple[Settings, dict[Keys, str]]:
    """Leave out what is wrong until the rest is right: each key stands for itself."""
    left, wrong = dict(given), dict[Keys, str]()
    while True:
        root = root_of(_nested(left))
        errors = list(unavailable(root))
        try:
            settings = Settings.model_validate(without_off(root))
        except ValidationError as problem:
            errors += [explain(detail, Settings, offered) for detail in problem.errors(include_url=False)]
        else:
            if not errors:
                return settings, wrong
        for path, message in errors:
            for keys, words in _blamed(left, path[len(above) :], message):
                wrong.setdefault(keys, words)
        left = {keys: value for keys, value in left.items() if keys not in wrong}


def _blamed(given: Mapping[Keys, object], path: KeyPath, message: str) -> Iterator[tuple[Keys, str]]:
    """The keys that an error is about: the one it names, or, where one is missing, those beside it."""
    exact = [keys for keys in given if path[: len(keys)] == keys]
    for keys in exact or [keys for keys in given if keys[:1] == path[:1]] or given:
        yield keys, message if exact else f"{spell(path)}: {message}"


def _nested(given: Mapping[Keys, object]) -> dict[str, object]:
    root: dict[str, object] = {}
    for keys, value in given.items():
        holder = root
        for key in keys[:-1]:
            inner = holder.setdefault(key, {})
            assert isinstance(inner, dict)
            holder = inner
        holder[keys[-1]] = value
    return root
