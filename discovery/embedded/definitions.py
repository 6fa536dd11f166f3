"""From the body of a registration to what is to be registered, or a refusal in Consul's words. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from discovery.embedded.go_json import DecodeError, Field, decode, keys
from discovery.embedded.records import CRITICAL, STATUSES, CheckDefinition, Refusal, Registration, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHORTEST_INTERVAL_S = 1.0
SHORTEST_DEREGISTER_S = 60.0
MAX_META = 64

_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")
ANY_ADDRESS = ("0.0.0.0", "::", "[::]")  # noqa: S104 refused, not bound

_CHECK_FIELDS = (
    Field("Name"),
    Field("Status"),
    Field("Notes"),
    Field("ServiceID"),
    Field("ScriptArgs", "[]string"),
    Field("HTTP"),
    Field("Header", "map[string][]string"),
    Field("Method"),
    Field("Body"),
    Field("TCP"),
    Field("Interval", "duration"),
    Field("Timeout", "duration"),
    Field("TTL", "duration"),
    Field("DeregisterCriticalServiceAfter", "duration"),
    Field("DockerContainerID"),
    Field("Shell"),
    Field("GRPC"),
    Field("GRPCUseTLS", "bool"),
    Field("AliasNode"),
    Field("AliasService"),
    Field("TLSSkipVerify", "bool"),
    Field("SuccessBeforePassing", "int"),
    Field("FailuresBeforeCritical", "int"),
    Field("OutputMaxSize", "int"),
    Field("ProxyHTTP"),
    Field("ProxyGRPC"),
)
_SNAKE = {
    "args": "ScriptArgs",
    "script_args": "ScriptArgs",
    "service_id": "ServiceID",
    "deregister_critical_service_after": "DeregisterCriticalServiceAfter",
    "docker_container_id": "DockerContainerID",
    "tls_skip_verify": "TLSSkipVerify",
}
# The same check is named by "CheckID" inside a service, but by "ID" when registered on its own.
_SERVICE_CHECK = keys(Field("CheckID"), *_CHECK_FIELDS, **_SNAKE)
_OWN_CHECK = keys(Field("ID"), Field("Token"), *_CHECK_FIELDS, **_SNAKE)
ADDRESS = keys(Field("Address"), Field("Port", "int"))
_SERVICE = keys(
    Field("ID"),
    Field("Name"),
    Field("Tags", "[]string"),
    Field("Address"),
    Field("Port", "int"),
    Field("TaggedAddresses", "map[string]object", ADDRESS),
    Field("Meta", "map[string]string"),
    Field("Weights", "object", keys(Field("Passing", "int"), Field("Warning", "int"))),
    Field("EnableTagOverride", "bool"),
    Field("Check", "object", _SERVICE_CHECK),
    Field("Checks", "[]object", _SERVICE_CHECK),
    Field("Token"),
    Field("Kind"),
    Field("Proxy", "ignored"),
    Field("Connect", "ignored"),
    tagged_addresses="TaggedAddresses",
    enable_tag_override="EnableTagOverride",
)
_UPDATE = keys(Field("Status"), Field("Output"))


def parse_service(body: bytes) -> Registration:
    """Read the body of ``agent/service/register``.

    Raises:
        Refusal: 400, or 500 for a check that would run a program.

    """
    given = decode_body(body, _SERVICE)
    if not given["Name"]:
        raise Refusal(400, "Missing service name")
    if given["Address"] in ANY_ADDRESS:
        raise Refusal(400, "Invalid service address")
    if given["Kind"] or given["Proxy"] or given["Connect"]:
        raise Refusal(400, "Invalid service: the development registry has no service mesh (Kind, Proxy, Connect)")
    weights = given["Weights"] or {"Passing": 1, "Warning": 1}
    _check_weights(weights)
    _check_meta(given["Meta"])
    service = Service(
        id=given["ID"] or given["Name"],
        name=given["Name"],
        tags=given["Tags"],
        address=given["Address"],
        port=given["Port"],
        tagged_addresses=_tagged_addresses(given["TaggedAddresses"], given["Address"], given["Port"]),
        meta=given["Meta"],
        weight_passing=weights["Passing"],
        weight_warning=weights["Warning"],
        enable_tag_override=given["EnableTagOverride"],
    )
    return Registration(service, tuple(_service_checks(service, given)))


def parse_check(body: bytes) -> CheckDefinition:
    """Read the body of ``agent/check/register``.

    Raises:
        Refusal: 400, or 500 for a check that would run a program.

    """
    given = decode_body(body, _OWN_CHECK)
    if not given["Name"]:
        raise Refusal(400, "Missing check name")
    if given["Status"] and given["Status"] not in STATUSES:
        raise Refusal(400, "Bad check status")
    return _definition(given, id=given["ID"] or given["Name"], name=given["Name"], service_id=given["ServiceID"])


def parse_update(body: bytes) -> tuple[str, str]:
    """Read status and output from the body of ``agent/check/update``.

    Raises:
        Refusal: 400.

    """
    given = decode_body(body, _UPDATE)
    if given["Status"] not in STATUSES:
        raise Refusal(400, f"Invalid check status: '{given['Status']}'")
    return given["Status"], given["Output"]


def decode_body(body: bytes, fields: Mapping[str, Field], name: str = "") -> dict[str, Any]:
    """Read a body; `name` is the structure that it is for, as errors call it.

    Raises:
        Refusal: 400.

    """
    try:
        return decode(body, fields, name)
    except DecodeError as error:
        raise Refusal(400, f"Request decode failed: {error}") from error


def _check_weights(weights: Mapping[str, int]) -> None:
    if weights["Passing"] < 1:
        raise Refusal(400, "Invalid Weights: Passing must be greater than 0")
    if weights["Warning"] < 0:
        raise Refusal(400, "Invalid Weights: Warning must be greater or equal than 0")
    if max(weights.values()) > 65535:
        raise Refusal(400, "Invalid Weights: DNS Weight must be between 0 and 65535")


def _check_meta(meta: Mapping[str, str]) -> None:
    if len(meta) > MAX_META:
        raise Refusal(400, f"Invalid Service Meta: Node metadata cannot contain more than {MAX_META} key/value pairs")
    for key, value in meta.items():
        problem = _meta_problem(key, value)
        if problem:
            raise Refusal(400, f"Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {problem}")


def _meta_problem(key: str, value: str) -> str | None:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > 128:
        return "Key is too long (limit: 128 characters)"
    if key.startswith("consul-"):
        return "Key prefix 'consul-' is reserved for internal use"
    return "Value is too long (limit: 512 characters)" if len(value) > 512 else None


def _tagged_addresses(given: Mapping[str, Mapping[str, Any]], address: str, port: int) -> dict[str, tuple[str, int]]:
    """What was given, completed by the family of an address that is an IP number."""
    tagged = {name: (one["Address"], one["Port"]) for name, one in given.items()}
    try:
        family = ipaddress.ip_address(address).version
    except ValueError:
        return tagged
    return {f"lan_ipv{family}": (address, port), f"wan_ipv{family}": (address, port)} | tagged


def _service_checks(service: Service, given: Mapping[str, Any]) -> Iterator[CheckDefinition]:
    single = given["Check"]
    wanted = [single] if single and any(single.values()) else []
    wanted.extend(given["Checks"])
    for number, one in enumerate(wanted, 1):
        if one["Status"] and one["Status"] not in STATUSES:
            raise Refusal(400, "Status for checks must 'passing', 'warning', 'critical'")
        default_id = f"service:{service.id}" if len(wanted) == 1 else f"service:{service.id}:{number}"
        name = one["Name"] or f"Service '{service.name}' check"
        yield _definition(one, id=one["CheckID"] or default_id, name=name, service_id=service.id)


def _definition(given: Mapping[str, Any], *, id: str, name: str, service_id: str) -> CheckDefinition:  # noqa: A002 Consul's word
    _check_kind(given)
    return CheckDefinition(
        kind="http" if given["HTTP"] else "tcp" if given["TCP"] else "ttl",
        id=id,
        name=name,
        status=given["Status"] or CRITICAL,
        notes=given["Notes"],
        service_id=service_id,
        ttl_s=given["TTL"],
        interval_s=max(given["Interval"], SHORTEST_INTERVAL_S),
        timeout_s=given["Timeout"] if given["Timeout"] > 0 else 10.0,
        http=given["HTTP"],
        method=given["Method"] or "GET",
        header=given["Header"],
        body=given["Body"],
        tcp=given["TCP"],
        tls_skip_verify=given["TLSSkipVerify"],
        success_before_passing=given["SuccessBeforePassing"],
        failures_before_critical=given["FailuresBeforeCritical"],
        deregister_after_s=max(given["DeregisterCriticalServiceAfter"], SHORTEST_DEREGISTER_S)
        if given["DeregisterCriticalServiceAfter"] > 0
        else 0.0,
    )


def _check_kind(given: Mapping[str, Any]) -> None:
    runs_program = bool(given["ScriptArgs"] or given["DockerContainerID"])
    probes = runs_program or bool(given["HTTP"] or given["TCP"] or given["GRPC"])
    if given["Interval"] > 0 and given["TTL"] > 0:
        raise Refusal(400, "Invalid check: Interval and TTL cannot both be specified")
    if probes and given["Interval"] <= 0:
        raise Refusal(400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")
    if runs_program:
        # Consul's own refusal, status included. Here there is no option that would allow it.
        raise Refusal(500, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
    if given["GRPC"] or given["AliasNode"] or given["AliasService"]:
        raise Refusal(400, "Invalid check: the development registry knows TTL, HTTP and TCP checks only")
    if not probes and given["TTL"] <= 0:
        raise Refusal(400, "Invalid check: TTL must be > 0 for TTL checks")
