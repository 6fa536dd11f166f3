"""The file behind ``discovery.file``: services with their instances. `read_instances` gives them, or every error at once.

    orders:
      - 127.0.0.1:9001
      - {address: 127.0.0.1:9002, weight: 3, state: draining, reason: disk swap}

An item is one of ``services.*.instances`` with two keys more. The same shape as in the configuration is
read, too: ``services: {orders: {instances: [...]}}``.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationError

from lbgateway.config.document import Document, parse, read_text
from lbgateway.config.errors import ConfigErrors, Finding, KeyPath, Origin
from lbgateway.config.fields import Text, service_name
from lbgateway.config.messages import explain
from lbgateway.config.section import Section
from lbgateway.config.service import InstanceSettings, instance_item

ForcedState = Literal["ready", "passing", "warning", "critical", "maintenance", "draining", "suspect"]


class ListedInstance(InstanceSettings):
    """An instance as the file gives it; ``ready`` and ``passing`` mean the same."""

    state: ForcedState = "ready"
    reason: Text | None = None


class ListedService(Section):
    instances: tuple[Annotated[ListedInstance, BeforeValidator(instance_item)], ...] = ()


class InstancesFile(Section):
    services: dict[Annotated[str, AfterValidator(service_name)], ListedService]


def read_instances(path: str | Path, environ: Mapping[str, str] | None = None) -> dict[str, tuple[ListedInstance, ...]]:
    """Services in lower case to instances; `environ` fills ``${NAME}`` in, by default the process's own.

    Raises:
        ConfigErrors: every mistake with its line, also if the file cannot be read.

    """
    text = read_text(path)
    if _blank(text):
        raise ConfigErrors([Finding(Origin(str(path), 1), (), "the file is empty; write {} if there is no service")])
    document = parse(text, str(path), os.environ if environ is None else environ, "orders: [127.0.0.1:9001]")
    if document.findings:
        raise ConfigErrors(document.findings)
    try:
        listed = InstancesFile.model_validate({"services": _normalised(document.root)})
    except ValidationError as error:
        raise ConfigErrors(_findings(error, document)) from None
    services = {name: service.instances for name, service in listed.services.items()}
    if twice := list(_twice(listed, document)):
        raise ConfigErrors(twice)
    return services


def _blank(text: str) -> bool:
    """Nothing but comments: what a writer leaves who has just begun."""
    return all(line.strip() in ("", "---") or line.lstrip().startswith("#") for line in text.splitlines())


def _normalised(root: dict[str, object]) -> dict[str, object]:
    """One shape for all that may be written; what fits none of them is left for the schema to refuse."""
    inner = root.get("services")
    services = inner if isinstance(inner, dict) and len(root) == 1 else root
    return {name: value if isinstance(value, dict) else {"instances": [] if value is None else value} for name, value in services.items()}


def _findings(error: ValidationError, document: Document) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        path, message = explain(detail, InstancesFile, lambda _path, values: values)
        written = _as_written(path, document.root)
        yield Finding(document.origin(written), written, message)


def _as_written(path: KeyPath, root: object) -> KeyPath:
    """`path` without the steps that only the normal shape has."""
    value, written = root, list[str | int]()
    for position, step in enumerate(path):
        if isinstance(value, dict) and (step in value or position == len(path) - 1):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
        else:
            continue
        written.append(step)
    return tuple(written)


def _twice(listed: InstancesFile, document: Document) -> Iterator[Finding]:
    """Of two instances with one identity, one would be lost."""
    names: dict[str, str] = {}
    for written in _normalised(document.root):
        first = names.setdefault(written.lower(), written)
        if first != written:
            path = _as_written(("services", written), document.root)
            yield Finding(document.origin(path), path, f"is the same service as `{first}`: names are compared without regard to case")
    for name, service in listed.services.items():
        seen: dict[str, int] = {}
        for position, one in enumerate(service.instances):
            first_position = seen.setdefault(one.id or one.address, position)
            if first_position != position:
                path = _as_written(("services", names[name], "instances", position), document.root)
                yield Finding(document.origin(path), path, f"has the id of item {first_position}: {one.id or one.address}")
