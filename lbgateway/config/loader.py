"""From a file and the environment to `Settings`, or to every error at once. The only reader of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from lbgateway.config.advice import warn
from lbgateway.config.availability import offered, unavailable, without_off
from lbgateway.config.document import Document, parse, parse_value, read_text
from lbgateway.config.environment import Override, overrides, proxies, put
from lbgateway.config.errors import ConfigErrors, Finding, KeyPath, Origin, in_order
from lbgateway.config.instances import read_instances
from lbgateway.config.messages import explain
from lbgateway.config.semantics import check
from lbgateway.config.settings import Settings
from lbgateway.config.twice import same_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lbgateway.config.route import RouteSettings
    from lbgateway.config.semantics import Fits, Whole


def load(path: str | Path, environ: Mapping[str, str], options: Iterable[Override] = ()) -> Settings:
    """Read a file. `options` (from the command line) win over variables, variables over the file.

    Raises `ConfigErrors` with every error, also if the file cannot be read.
    """
    return load_text(read_text(path), str(path), environ, options)


def load_text(text: str, filename: str, environ: Mapping[str, str], options: Iterable[Override] = ()) -> Settings:
    """Like `load`, for a text. `filename` names it in errors; its folder is where relative paths start."""
    document = parse(text, filename, environ)
    if document.findings and not document.root:
        # Nothing could be read, and an empty configuration has errors of its own that would only distract.
        raise ConfigErrors(document.findings)
    for override in (*overrides(environ, Settings.model_fields), *options):
        _apply(document, override)

    def fits(settings: Settings, routes: dict[int, RouteSettings], document: Document, sound: Whole) -> Iterator[Finding]:
        yield from check(settings, routes, document, sound)
        yield from _instances(settings, sound, environ)

    settings = Reader(document, fits).read()
    settings.surround(proxies(environ))
    settings.note(str(finding) for finding in in_order(warn(settings, document)))
    return settings


def _instances(settings: Settings, sound: Whole, environ: Mapping[str, str]) -> Iterable[Finding]:
    """What the file behind ``discovery.file`` has wrong; its services are read again by whoever follows it."""
    discovery = settings.discovery
    if discovery.provider == "file" and discovery.file is not None and sound(("discovery",)):
        try:
            read_instances(discovery.file.path, environ)
        except ConfigErrors as bad:
            return bad.errors
    return ()


class Reader:
    """Collects findings in three passes: what is not built, what the schema refuses, what does not fit together.

    `fits` is the third.
    """

    def __init__(self, document: Document, fits: Fits) -> None:
        self._document = document
        self._fits = fits
        _fold_services(document)
        self._folder = str(Path(document.source).parent)
        self._wrong = set(document.broken)
        self.findings: list[Finding] = list(document.findings)

    def read(self) -> Settings:
        """The settings; raises `ConfigErrors` with every finding."""
        document = self._document
        for path, message in (*unavailable(document.root), *same_names(document.root)):
            self._add(path, message)
        left_out: set[KeyPath] = set()
        try:
            settings = self._validate(document.root)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._add(*explain(detail, Settings, offered))
            left_out = _units(finding.path for finding in self.findings)
            settings = self._validate(_without(document.root, left_out))
        routes = self._sound_routes(settings, left_out)
        self.findings += self._fits(settings, routes, document, self._sound)
        if self.findings:
            raise ConfigErrors(self.findings)
        return settings

    def _validate(self, root: dict[str, object]) -> Settings:
        return Settings.model_validate(without_off(root), context={"folder": self._folder})

    def _add(self, path: KeyPath, message: str) -> None:
        """Note an error, unless the value itself or the map around it is already known to be wrong."""
        if not any(path[:length] in self._wrong for length in range(1, len(path) + 1)):
            self._wrong.add(path)
            self.findings.append(Finding(self._document.origin(path), self._visible(path), message))

    def _visible(self, path: KeyPath) -> KeyPath:
        """Cut what the schema added: ``instances[0]`` may be written as text, without an ``address`` key."""
        value: object = self._document.root
        for depth, step in enumerate(path):
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int):
                if step >= len(value):
                    return path  # what is missing there
                value = value[step]
            elif value is not None:
                return path[:depth]
        return path

    def _sound(self, path: KeyPath) -> bool:
        return not any(finding.path[: len(path)] == path for finding in self.findings)

    def _sound_routes(self, settings: Settings, left_out: set[KeyPath]) -> dict[int, RouteSettings]:
        """The routes without errors, by their place in the file."""
        written = self._document.root.get("routes")
        if settings.has_default_route or not isinstance(written, list):
            return {}
        kept = [index for index in range(len(written)) if ("routes", index) not in left_out]
        routes = dict(zip(kept, settings.routes, strict=True))
        return {index: route for index, route in routes.items() if self._sound(("routes", index))}


def _fold_services(document: Document) -> None:
    """Settings know a service in lower case: let its lines be found by that name, too."""
    for path, origin in list(document.origins.items()):
        if len(path) > 1 and path[0] == "services":
            document.origins.setdefault(("services", str(path[1]).lower(), *path[2:]), origin)


def _units(paths: Iterable[KeyPath]) -> set[KeyPath]:
    """What has to be left out to go on without a wrong value: one route, one service, or a whole section."""
    return {path[:2] if path[0] in ("routes", "services") else path[:1] for path in paths if path}


def _without(root: dict[str, object], units: set[KeyPath]) -> dict[str, object]:
    kept = {key: value for key, value in root.items() if (key,) not in units}
    routes, services = kept.get("routes"), kept.get("services")
    if isinstance(routes, list):
        kept["routes"] = [route for index, route in enumerate(routes) if ("routes", index) not in units]
    if isinstance(services, dict):
        kept["services"] = {name: value for name, value in services.items() if ("services", name) not in units}
    return kept


def _apply(document: Document, override: Override) -> None:
    """Put one value over what the file says, and remember where it came from."""
    origin = Origin(override.origin)
    try:
        value = parse_value(override.text)
        root, path = put(document.root, override.keys, value)
    except ValueError as error:
        document.findings.append(Finding(origin, override.keys, str(error)))
        document.broken.add(override.keys)
        return
    document.root = root
    for length in range(1, len(path)):
        document.origins.setdefault(path[:length], origin)
    # The value of the file is gone, and what was wrong with it too.
    document.origins = {known: place for known, place in document.origins.items() if known[: len(path)] != path}
    document.origins[path] = origin
    document.broken = {known for known in document.broken if known[: len(path)] != path}
    document.findings = [finding for finding in document.findings if finding.path[: len(path)] != path]
