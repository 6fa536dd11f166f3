"""The kinds of values of the configuration, each with its check and its words of advice.

Every kind accepts what the file gives and its own result, so that sections can be built in code too.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo

from lbgateway.config import shapes
from lbgateway.config.document import text_of
from lbgateway.config.shapes import shaped
from lbgateway.config.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]+", re.ASCII)
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", re.ASCII)
_SERVICE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_])?", re.ASCII)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?", re.ASCII)
_PARAMETERS = re.compile(r";|%3B")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)
_PATH_SAFE = "/%:@!$&'()*+,;=-._~{}|[]^`\"<>"
_FRAMING = frozenset(("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"))
_OURS = frozenset(("forwarded", "host", "via", "x-real-ip", "x-request-id"))
MAX_PORT = 65535
MIN_HEAD_BYTES = 2**10
MAX_HEAD_BYTES = 16 * 2**20
"""A head is kept in memory whole, for every connection at once."""


def as_written(value: object) -> object:
    """A scalar's own text, for keys that want text: ``{X-Beta: 1}``; other values as they are."""
    text = text_of(value)
    return value if text is None else text


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 (pydantic reports ValueError only)
    return value


def _duration(value: object) -> object:
    # A plain float is our own result; what the file says remembers its spelling.
    if type(value) is float:
        return value
    return parse_duration(text_of(value) or "")


def _size(value: object) -> object:
    if type(value) is int:
        return value
    return parse_size(text_of(value) or "")


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value if value == "auto" else int(value)
    raise ValueError("must be a number of processes, or auto for one per core")


def _head_size(value: int) -> int:
    if not MIN_HEAD_BYTES <= value <= MAX_HEAD_BYTES:
        raise ValueError(f"must be between {format_size(MIN_HEAD_BYTES)} and {format_size(MAX_HEAD_BYTES)}")
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than zero")
    return value


def _one_line(value: str) -> str:
    if any((character < " " and character != "\t") or character == "\x7f" for character in value):
        raise ValueError("a header value is one line without control characters")
    if value != value.strip(" \t"):
        raise ValueError("a header value cannot begin or end with a space")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a header value is ASCII or Latin-1 text") from None
    return value


def _token(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("not a header name: letters, digits and - only (RFC 9110, section 5.6.2)")
    return value


def _cookie(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("not the name of a cookie, such as access_token")
    return value


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("not a scope: one word without spaces, quotes and backslashes (RFC 6749, section 3.3)")
    return value


def free_header(value: str) -> str:
    """A name that neither frames a message nor is written by the gateway itself."""
    lower = _token(value).lower()
    if lower in _FRAMING:
        raise ValueError(f"{value} belongs to the framing of messages and cannot be used here")
    if lower in _OURS or lower.startswith("x-forwarded-"):
        raise ValueError(f"{value} is written by the gateway itself and cannot be used here")
    return value


def _method(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("not a method, such as GET")
    if value != value.upper():
        raise ValueError(f"methods are written in capitals: {value.upper()}")
    if value in ("CONNECT", "TRACE"):
        raise ValueError(f"{value} is never served")
    return value


def _network(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        network = ipaddress.ip_network(text_of(value) or "", strict=False)
    except ValueError:
        raise ValueError("not an address range, such as 10.0.0.0/8 or ::1/128") from None
    if str(network.network_address) == str(value).partition("/")[0].lower():
        return network
    raise ValueError(f"bits are set behind the prefix length; did you mean {network}?")


def _host(value: str) -> str:
    host = value.lower().rstrip(".")
    if "://" in host or "/" in host:
        raise ValueError("a host is a name only, without scheme or path")
    if re.search(r"(?<!:):\d+$", host) and not host.startswith("["):
        raise ValueError("a host is written without its port; any port matches")
    if not _HOST.fullmatch(host) or ".." in host:
        raise ValueError("not a host name; write shop.example or *.shop.example")
    return host


def service_name(value: str) -> str:
    """A name in the registry's lower case; `ValueError` if it cannot be one."""
    if value == "*" or not _SERVICE.fullmatch(value):
        raise ValueError("not a service name: letters, digits, - _ . only")
    # Consul compares service names without regard to case, and so does /api/{service}.
    return value.lower()


def _path(value: str) -> str:
    """One spelling for one path, the same that `dataplane.target` gives to requests."""
    if not value.startswith("/"):
        raise ValueError(f"must begin with a slash: /{value}")
    if any(character in value for character in "?#\\") or any(character <= " " for character in value):
        raise ValueError("is a path: no query, fragment, backslash or space")
    if "//" in value:
        raise ValueError("has an empty segment (//), which no request ever has")
    path = _ESCAPE.sub(_canonical_escape, quote(value, safe=_PATH_SAFE))
    if any(_PARAMETERS.split(segment)[0] in (".", "..") for segment in path.split("/")):
        raise ValueError("has a . or .. segment, which no request ever has")
    return path


def _canonical_escape(found: re.Match[str]) -> str:
    if found[1] is None:
        raise ValueError("has a % that is no escape; write %25 for the character itself")
    character = chr(int(found[1], 16))
    if character in "/\\" or not " " <= character != "\x7f":
        raise ValueError("has an escaped slash, backslash or control character, which requests may not have")
    return character if _UNRESERVED.fullmatch(character) else found[0].upper()


def _prefix(value: str) -> str:
    """A path without its last slash: a prefix matches whole segments anyway."""
    return _path(value).rstrip("/") or "/"


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("not an address such as http://127.0.0.1:8500")
    return value.rstrip("/")


def _urls(value: object) -> object:
    """One address, or several of a kind."""
    if not isinstance(value, list | tuple):
        return _url(text_of(value) or "")
    if not value:
        raise ValueError("must name at least one address, such as http://127.0.0.1:8500")
    urls = tuple(_url(text_of(one) or "") for one in value)
    if len(set(urls)) < len(urls):
        raise ValueError("names an address twice")
    return urls


def _found(value: str, info: ValidationInfo, kind: Callable[[Path], bool]) -> tuple[Path, bool]:
    """Relative paths start at the folder of the configuration file, wherever the gateway is started. True if it is of the `kind`."""
    path = Path((info.context or {}).get("folder", ".")) / value
    try:
        return path, kind(path)
    except OSError as error:
        raise ValueError(f"cannot look for {path}: {error.strerror}") from None


def _file(value: str, info: ValidationInfo) -> str:
    path, found = _found(value, info, Path.is_file)
    if not found:
        raise ValueError(f"there is no file {path}")
    return str(path)


def _folder(value: str, info: ValidationInfo) -> str:
    path, found = _found(value, info, Path.is_dir)
    if not found:
        raise ValueError(f"there is no folder {path}")
    return str(path)


def _own_file(value: str, info: ValidationInfo) -> str:
    """A file that the gateway writes itself: it need not exist yet."""
    path, taken = _found(value, info, Path.is_dir)
    if taken:
        raise ValueError(f"{path} is a folder; name a file in it, such as {path / 'registry.json'}")
    return str(path)


def split_host_port(value: str) -> tuple[str, int]:
    """``10.0.0.7:9001`` or ``[::1]:9001`` as host (without brackets) and port; `ValueError` otherwise."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        raise ValueError("must be host:port, such as 127.0.0.1:9001")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1])), int(port)
        except ValueError:
            raise ValueError("not an IPv6 address between the brackets") from None
    if ":" in host:
        raise ValueError("an IPv6 address goes in brackets: [::1]:9001")
    if not _HOST.fullmatch(host.lower()) or host.startswith("*"):
        raise ValueError("must be host:port, such as 127.0.0.1:9001")
    return host, int(port)


def _host_port(value: str) -> str:
    split_host_port(value)
    return value


Text = Annotated[str, BeforeValidator(as_written), shaped(shapes.TEXT)]
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[Whole, Field(ge=1), shaped(shapes.COUNT)]
Port = Annotated[Whole, Field(ge=0, le=MAX_PORT), shaped(shapes.PORT)]
Ratio = Annotated[float, BeforeValidator(_whole), Field(ge=0, le=1), shaped(shapes.RATIO)]
Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration), shaped(shapes.DURATION)]
"""Seconds, written with a unit."""
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Size = Annotated[int, BeforeValidator(_size), PlainSerializer(format_size), shaped(shapes.SIZE)]
"""Bytes, written with a unit."""
HeadSize = Annotated[Size, AfterValidator(_head_size)]
Workers = Annotated[int | str, BeforeValidator(_workers), shaped(shapes.WORKERS)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network), PlainSerializer(str), shaped(shapes.NETWORK)]
HeaderName = Annotated[Text, AfterValidator(_token), shaped(shapes.HEADER_NAME)]
FreeHeader = Annotated[Text, AfterValidator(free_header), shaped(shapes.HEADER_NAME)]
Cookie = Annotated[Text, AfterValidator(_cookie), shaped(shapes.COOKIE)]
Scope = Annotated[Text, AfterValidator(_scope), shaped(shapes.SCOPE)]
HeaderValue = Annotated[Text, AfterValidator(_one_line)]
Method = Annotated[Text, AfterValidator(_method), shaped(shapes.METHOD)]
Host = Annotated[Text, AfterValidator(_host)]
HostPort = Annotated[Text, AfterValidator(_host_port), shaped(shapes.HOST_PORT)]
UrlPath = Annotated[Text, AfterValidator(_path), shaped(shapes.PATH)]
Prefix = Annotated[Text, AfterValidator(_prefix), shaped(shapes.PATH)]
ServiceName = Annotated[Text, AfterValidator(service_name), shaped(shapes.SERVICE_NAME)]
Urls = Annotated[str | tuple[str, ...], BeforeValidator(_urls), shaped(shapes.URLS)]
Url = Annotated[Text, AfterValidator(_url), shaped(shapes.URL)]
File = Annotated[Text, AfterValidator(_file), shaped(shapes.FILE)]
Folder = Annotated[Text, AfterValidator(_folder), shaped(shapes.FILE)]
OwnFile = Annotated[Text, AfterValidator(_own_file), shaped(shapes.FILE)]
