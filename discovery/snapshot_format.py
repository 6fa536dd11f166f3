"""What the last good snapshots look like on disk, and what of it a later start may believe. Pure.

Moments on disk are Unix seconds: a monotonic clock means nothing to the next boot. Check outputs are
left out (nobody needs them, and they may quote secrets), and so is everything of the gateway's own.
"""

import json
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discovery.instance import Catalog, Instance, InstanceKey, InstanceState, Remembered, Snapshot, SnapshotState
from discovery.protection import USABLE

KIND: Final = "lbgateway registry snapshot"
VERSION: Final = 1
TTL_S: Final = 24 * 3600.0
"""What nobody has confirmed for so long is not served: by then its addresses may belong to others."""

FROM_DISK: Final = "only known from the snapshot on disk"


class Unusable(Exception):
    """A file that is not served from; the message says why, without the file's name."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Instance(_Part):
    datacenter: str
    namespace: str
    node: str
    id: str
    address: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(gt=0, lt=65536)]
    weight: Annotated[int, Field(ge=0)]
    state: Annotated[InstanceState, Field(strict=False)]
    consul_status: str
    tags: list[str]
    meta: dict[str, str]
    zone: str | None
    create_index: int
    modify_index: int


class _Service(_Part):
    confirmed_at: float
    instances: list[_Instance]


class _Catalog(_Part):
    confirmed_at: float
    services: dict[str, list[str]]


class _File(_Part):
    kind: str
    version: int
    provider: str
    datacenter: str
    catalog: _Catalog
    services: dict[str, _Service]


class _Label(BaseModel):
    """The part that every format has, to tell a newer file from a foreign one."""

    kind: str
    version: int


def encode(known: Remembered, *, provider: str, datacenter: str, now_s: float, wall_s: float) -> bytes:
    """The file's content; `known` must have a catalog. `now_s` (monotonic) and `wall_s` (Unix) are the same moment.

    Service by service, one in a line: this runs beside requests, on a thread, and a single call of the
    encoder for 20,000 instances would hold them all up.
    """
    assert known.catalog is not None
    offset_s = wall_s - now_s
    names = {name: sorted(tags) for name, tags in sorted(known.catalog.services.items())}
    head = {
        "kind": KIND,
        "version": VERSION,
        "provider": provider,
        "datacenter": datacenter,
        "catalog": {"confirmed_at": known.catalog.confirmed_at_s + offset_s, "services": names},
    }
    lines = (
        f"{_json(name)}:{_json({'confirmed_at': one.confirmed_at_s + offset_s, 'instances': [_written(i) for i in one.instances]})}"
        for name, one in sorted(known.snapshots.items())
    )
    return (_json(head)[:-1] + ',\n"services":{\n' + ",\n".join(lines) + "\n}}\n").encode()


_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _written(instance: Instance) -> dict[str, object]:
    key = instance.key
    return {
        "datacenter": key.datacenter,
        "namespace": key.namespace,
        "node": key.node,
        "id": key.id,
        "address": instance.address,
        "port": instance.port,
        "weight": max(0, instance.weight),
        "state": instance.state,
        "consul_status": instance.consul_status,
        "tags": instance.tags,
        "meta": dict(instance.meta),
        "zone": instance.zone,
        "create_index": instance.create_index,
        "modify_index": instance.modify_index,
    }


def decode(content: bytes, *, provider: str, datacenter: str, now_s: float, wall_s: float) -> Remembered:
    """What the file remembers: instances that took traffic as SUSPECT, everything in the state SNAPSHOT.

    Services that nobody has confirmed for `TTL_S` are left out; a clock that was set back makes nothing younger than now.

    Raises:
        Unusable: broken, foreign, of another format or registry, or too old as a whole.

    """
    file = _parse(content)
    if (file.provider, file.datacenter) != (provider, datacenter):
        there = f"{file.provider} {file.datacenter}".strip()
        raise Unusable(f"it was written for {there}, not for {f'{provider} {datacenter}'.strip()}")

    def moment_s(confirmed_at: float) -> float:
        return now_s - max(0.0, wall_s - confirmed_at)

    if now_s - moment_s(file.catalog.confirmed_at) >= TTL_S:
        raise Unusable(f"nobody has confirmed it for more than {TTL_S / 3600:g} hours")
    names = {name: frozenset(tags) for name, tags in file.catalog.services.items()}
    snapshots = {
        name: Snapshot(name, 1, _read(name, one.instances, provider), 0, moment_s(one.confirmed_at), SnapshotState.SNAPSHOT)
        for name, one in file.services.items()
        if now_s - moment_s(one.confirmed_at) < TTL_S
    }
    return Remembered(Catalog(names, moment_s(file.catalog.confirmed_at), SnapshotState.SNAPSHOT), snapshots)


def _parse(content: bytes) -> _File:
    try:
        label = _Label.model_validate_json(content)
    except ValidationError as error:
        broken = any(detail["type"] == "json_invalid" for detail in error.errors(include_url=False))
        raise Unusable("it is not whole JSON" if broken else "it is no registry snapshot of lbgateway") from None
    if label.kind != KIND:
        raise Unusable("it is no registry snapshot of lbgateway")
    if label.version != VERSION:
        raise Unusable(f"it has format {label.version}, this version reads format {VERSION}")
    try:
        return _File.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Unusable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _read(service: str, written: list[_Instance], provider: str) -> tuple[Instance, ...]:
    instances = (
        Instance(
            key=InstanceKey(provider, one.datacenter, one.namespace, one.node, one.id),
            service=service,
            address=one.address,
            port=one.port,
            weight=one.weight,
            state=InstanceState.SUSPECT if one.state in USABLE else one.state,
            reason=FROM_DISK,
            consul_status=one.consul_status,
            tags=tuple(one.tags),
            meta=one.meta,
            zone=one.zone,
            create_index=one.create_index,
            modify_index=one.modify_index,
        )
        for one in written
    )
    return tuple(sorted(instances, key=lambda instance: instance.key))
