"""What is given twice in other words: of the two, one would be lost in silence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.config.availability import matching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.errors import KeyPath
    from lbgateway.config.service import ServiceSettings

CASELESS = (
    "services",
    "discovery.consul.tag_prefixes",
    "routes[].headers",
    "routes[].request_headers.set",
    "routes[].response_headers.set",
    "security_headers",
)
"""Maps whose names mean the same in capitals."""


def same_names(root: dict[str, object]) -> Iterator[tuple[KeyPath, str]]:
    """Names in a document that only their case tells apart."""
    for pattern in CASELESS:
        for path, names in matching(root, pattern):
            known: dict[str, str] = {}
            for name in names if isinstance(names, dict) else ():
                first = known.setdefault(name.lower(), name)
                if first != name:
                    yield (*path, name), f"is the same as `{first}`: names are compared without regard to case"


def same_instances(service: ServiceSettings) -> Iterator[tuple[KeyPath, str]]:
    """Instances that have one id, which is the address where none is given."""
    known: dict[str, int] = {}
    for position, one in enumerate(service.instances):
        identity = one.id or one.address
        first = known.setdefault(identity, position)
        if first != position:
            yield ("instances", position), f"has the id of item {first}: {identity}"
