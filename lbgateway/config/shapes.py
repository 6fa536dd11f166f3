"""What an editor is told of each kind of value: its part of the JSON Schema. The checks themselves are in `fields`.

A shape accepts everything that the check accepts, and most of what it refuses not: an editor that marks a good
file as wrong is worse than one that misses a mistake which ``lbgateway check`` finds.
"""

from typing import Any

from pydantic import WithJsonSchema

Shape = dict[str, Any]

ONE_DURATION = r"[0-9]+(\.[0-9]+)?(ms|s|m|h|d)"
SCALARS = ["string", "number", "boolean"]

TEXT: Shape = {"type": SCALARS}
COUNT: Shape = {"type": "integer", "minimum": 1}
PORT: Shape = {"type": "integer", "minimum": 0, "maximum": 65535}
RATIO: Shape = {"type": "number", "minimum": 0, "maximum": 1}
DURATION: Shape = {
    "title": "duration",
    "type": "string",
    "pattern": f"^\\s*({ONE_DURATION})+\\s*$",
    "examples": ["250ms", "5s", "1m30s"],
}
HEDGE_AFTER: Shape = {
    "title": "duration or percentile",
    "type": "string",
    "pattern": f"^\\s*(({ONE_DURATION})+|p[0-9]+(\\.[0-9]+)?)\\s*$",
    "examples": ["p95", "50ms"],
}
SIZE: Shape = {
    "title": "size",
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]\s*$",
    "examples": ["512B", "64KiB", "10MiB"],
}
WORKERS: Shape = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}
NETWORK: Shape = {"title": "address range", "type": "string", "examples": ["10.0.0.0/8", "::1/128"]}
HOST_PORT: Shape = {
    "title": "host:port",
    "type": "string",
    "pattern": r"^[^\s/]+:[0-9]{1,5}$",
    "examples": ["127.0.0.1:9001", "[::1]:9001"],
}
PATH: Shape = {"title": "path", "type": "string", "pattern": "^/", "examples": ["/v1/orders"]}
URL: Shape = {"title": "http or https address", "type": "string", "pattern": "^https?://", "examples": ["http://127.0.0.1:8500"]}
URLS: Shape = {"anyOf": [URL, {"type": "array", "items": URL, "minItems": 1}]}
FILE: Shape = {"title": "file", "type": SCALARS, "description": "Relative paths start at the folder of this file."}
SERVICE_NAME: Shape = {"title": "service name", "type": SCALARS, "pattern": "^[A-Za-z0-9_]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_])?$"}
METHOD: Shape = {"title": "method", "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Z-]+$", "examples": ["GET", "POST"]}
HEADER_NAME: Shape = {"title": "header name", "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}
COOKIE: Shape = {**HEADER_NAME, "title": "name of a cookie", "type": SCALARS}
SCOPE: Shape = {"title": "scope", "type": SCALARS, "pattern": r"^[!#-\[\]-~]+$", "examples": ["orders:read"]}
SECRET: Shape = {
    "title": "secret",
    "anyOf": [
        TEXT,
        {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"], "additionalProperties": False},
    ],
    "examples": ["${JWT_SECRET}", {"file": "secrets/jwt"}],
}
STORE: Shape = {**SECRET, "title": "address", "examples": ["redis://127.0.0.1:6379/0", {"file": "secrets/redis"}]}
PUBLIC_KEY: Shape = {**SECRET, "title": "public key in PEM form", "examples": [{"file": "issuer.pem"}]}
LIMIT_KEY: Shape = {"title": "who is counted", "type": "string", "pattern": "^(client|subject|route|header:.+|claim:.+)$"}
EXPOSE: Shape = {"anyOf": [{"enum": ["tagged", "all"]}, {"type": "array", "items": {"type": "string"}}]}
ONE_OR_MANY: Shape = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
CLAIMS: Shape = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}}


def shaped(shape: Shape) -> WithJsonSchema:
    """For the end of an ``Annotated``."""
    return WithJsonSchema(shape)
