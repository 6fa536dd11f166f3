"""Short ways to say what is registered, and what is configured."""

from __future__ import annotations

from discovery.instance import Instance, InstanceKey, Snapshot
from lbgateway.composition.declaration import Declaration, declare
from lbgateway.config import Settings, load_text

BASE = "auth: {default: none}\n"


def settings_of(text: str = "") -> Settings:
    return load_text(BASE + text, "gw.yaml", {})


def instance(
    service: str, number: int, *tags: str, meta: dict[str, str] | None = None, came: int | None = None, changed: int = 0
) -> Instance:
    """Instance ``orders-1``; it came with index `number` unless `came` says otherwise."""
    created = number if came is None else came
    return Instance(
        key=InstanceKey("consul", "dc1", "", "n1", f"{service}-{number}"),
        service=service,
        address="10.0.0.1",
        port=9000 + number,
        tags=tags,
        meta=meta or {},
        create_index=created,
        modify_index=changed or created,
    )


def snapshot(service: str, *instances: Instance) -> Snapshot:
    return Snapshot(service, 1, instances, 7, 0.0)


def asks(service: str, *tags: str, came: int = 1, granted: tuple[str, ...] = ()) -> Declaration:
    """What a service with one instance asks for; ``lbgateway.`` is put before each tag."""
    found = declare(service, [instance(service, 1, *(f"lbgateway.{tag}" for tag in tags), came=came)], granted)
    assert found is not None
    return found
