"""From the bodies of ``catalog/register`` and ``catalog/deregister`` to what they mean, or a refusal in Consul's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discovery.embedded.definitions import ADDRESS, ANY_ADDRESS, decode_body
from discovery.embedded.go_json import Field, keys
from discovery.embedded.records import CRITICAL, CatalogEntry, CatalogRemoval, Check, Node, Refusal, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE = keys(
    Field("ID"),
    Field("Service"),
    Field("Tags", "[]string"),
    Field("Address"),
    Field("Port", "int"),
    Field("TaggedAddresses", "map[string]object", ADDRESS),
    Field("Meta", "map[string]string"),
    Field("Weights", "object", keys(Field("Passing", "int"), Field("Warning", "int"))),
    Field("EnableTagOverride", "bool"),
    Field("Kind", "ignored"),
    Field("Proxy", "ignored"),
    Field("Connect", "ignored"),
    Field("CreateIndex", "ignored"),
    Field("ModifyIndex", "ignored"),
)
_CHECK = keys(
    Field("Node"),
    Field("CheckID"),
    Field("Name"),
    Field("Status"),
    Field("Notes"),
    Field("Output"),
    Field("ServiceID"),
    Field("ServiceName", "ignored"),
    Field("ServiceTags", "ignored"),
    Field("Type"),
    Field("Definition", "ignored"),
    Field("CreateIndex", "ignored"),
    Field("ModifyIndex", "ignored"),
)
_REGISTER = keys(
    Field("Datacenter"),
    Field("ID"),
    Field("Node"),
    Field("Address"),
    Field("TaggedAddresses", "map[string]string"),
    Field("NodeMeta", "map[string]string"),
    Field("Service", "object", _SERVICE),
    Field("Check", "object", _CHECK),
    Field("Checks", "[]object", _CHECK),
    Field("SkipNodeUpdate", "bool"),
    Field("Token"),
)
_DEREGISTER = keys(Field("Datacenter"), Field("Node"), Field("ServiceID"), Field("CheckID"), Field("Token"))


def parse_entry(body: bytes, datacenter: str) -> CatalogEntry:
    """Read the body of ``catalog/register``.

    Raises:
        Refusal: 400 for what cannot be read, 500 for what makes no sense.

    """
    given = _decode(body, _REGISTER, "RegisterRequest", datacenter)
    if not (given["Address"] or given["SkipNodeUpdate"]):
        raise Refusal(500, "Must provide address if SkipNodeUpdate is not set")
    node = Node(given["ID"], given["Node"], given["Address"], datacenter, given["TaggedAddresses"], given["NodeMeta"])
    checks = [*([given["Check"]] if given["Check"] else []), *given["Checks"]]
    service = _service(given["Service"]) if given["Service"] else None
    return CatalogEntry(node, service, tuple(_check(one, node.name) for one in checks), given["SkipNodeUpdate"])


def parse_removal(body: bytes, datacenter: str) -> CatalogRemoval:
    """Read the body of ``catalog/deregister``.

    Raises:
        Refusal: 400 for what cannot be read, 500 for what makes no sense.

    """
    given = _decode(body, _DEREGISTER, "DeregisterRequest", datacenter)
    return CatalogRemoval(given["Node"], given["ServiceID"], given["CheckID"])


def _decode(body: bytes, fields: Mapping[str, Field], name: str, datacenter: str) -> dict[str, Any]:
    given = decode_body(body, fields, name)
    if given["Datacenter"] not in ("", datacenter):
        raise Refusal(500, "No path to datacenter")
    if not given["Node"]:
        raise Refusal(500, "Must provide node")
    return given


def _service(given: Mapping[str, Any]) -> Service:
    if given["ID"] and not given["Service"]:
        raise Refusal(500, "Must provide service name with ID")
    if given["Address"] in ANY_ADDRESS:
        raise Refusal(500, "Invalid service address")
    weights = given["Weights"] or {"Passing": 1, "Warning": 1}
    return Service(
        id=given["ID"] or given["Service"],
        name=given["Service"],
        tags=given["Tags"],
        address=given["Address"],
        port=given["Port"],
        tagged_addresses={name: (one["Address"], one["Port"]) for name, one in given["TaggedAddresses"].items()},
        meta=given["Meta"],
        weight_passing=weights["Passing"],
        weight_warning=weights["Warning"],
        enable_tag_override=given["EnableTagOverride"],
    )


def _check(given: Mapping[str, Any], node: str) -> Check:
    if given["Node"] not in ("", node):
        raise Refusal(500, f'check node "{given["Node"]}" does not match node "{node}"')
    return Check(
        id=given["CheckID"] or given["Name"],
        name=given["Name"],
        status=given["Status"] or CRITICAL,
        notes=given["Notes"],
        output=given["Output"],
        service_id=given["ServiceID"],
        type=given["Type"],
    )
