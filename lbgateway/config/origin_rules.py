r"""Origins that ``cors`` allows by a pattern: whether anybody can have one of them, and what it costs to find out.

A pattern cannot be asked what it means, but it can be tried on origins that nobody has in mind: names made up for it, under
endings where everybody can register a name, and such names glued to those in the pattern. The names are random, from a seed
that is the pattern itself: the same file has the same answer, and none can be written around a list of known names.

Patterns in which one repetition holds another may take time that doubles with each letter (``([a-z-]+\.?)+``): whoever sends such
an origin would hold up everybody. So a pattern is tried on origins that grow, in time that it may take.
"""

from __future__ import annotations

import re
import string
import time
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.edge import CorsSettings
    from lbgateway.config.errors import KeyPath

MADE_UP: Final = 24
"""Names per pattern: so many, that one which allows half of all names is found out."""
ENDINGS: Final = (".com", ".net", ".org", ".io", ".dev", ".app", ".xyz", ".de", ".co.uk")
"""Where anybody can register a name."""
NOBODYS: Final = "null"
"""What a page in a sandboxed frame is called, whosever it is (HTML, section 7.1.1)."""

LONGEST_ORIGIN: Final = 300
"""A scheme, a name of 253 bytes (RFC 1035, section 2.3.4) and a port. No pattern is asked about a longer one."""
LONGEST_S: Final = 0.02
_LENGTHS: Final = (*range(8, 40, 2), 48, 60, 80, 110, 150, 210, LONGEST_ORIGIN)
"""From one to the next, no time grows beyond measure."""
_PIECES: Final = (b"a", b"1", b"a1", b"a.", b"a-", b".", b"-")

_name = re.compile(r"[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)+").findall
_SHORT: Final = 3
"""At most so long is what comes before a country's ending, such as the ``co`` of ``co.uk``."""


def check_origins(cors: CorsSettings, written: CorsSettings, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """What would let pages of anybody act in their visitors' names. `path`: where `written` is, from which `cors` follows."""
    pattern = cors.allow_origin_regex
    here = (*path, "allow_origin_regex") if "allow_origin_regex" in written.model_fields_set else path
    if pattern is not None and is_slow(pattern):
        yield here, "takes so long for some origins that whoever sends them holds up everybody: let no repetition hold another"
        return
    if not cors.allow_credentials:
        return
    if "*" in cors.allow_origins:
        yield path, 'allow_credentials with allow_origins: ["*"] would let every page act in its visitor\'s name: name the origins'
    found = stranger(pattern) if pattern is not None else None
    if found is not None:
        text = (
            f"allow_credentials with the pattern '{pattern}' would let pages that are not yours act in their visitors' "
            f"names: it matches {found}. Write your domain out, its dots escaped, and one of them between it and what may vary: "
            r"https://([a-z0-9-]+\.)?app\.example"
        )
        yield here, text


def stranger(pattern: str) -> str | None:
    """An origin which anybody can have and that `pattern`, which compiles, matches as a whole; None if none was found."""
    fits = re.compile(pattern.encode()).fullmatch
    return next((origin for origin in _origins(pattern) if fits(origin.encode())), None)


def is_slow(pattern: str) -> bool:
    """Whether an origin of `LONGEST_ORIGIN` bytes may take more than `LONGEST_S`; it takes little more to find that out."""
    fits = re.compile(pattern.encode()).fullmatch
    for length in _LENGTHS:
        for piece in _PIECES:
            origin = b"https://" + piece * (length // len(piece)) + b"!"
            began_s = time.thread_time()
            fits(origin)
            if time.thread_time() - began_s > LONGEST_S:
                return True
    return False


def _origins(pattern: str) -> Iterator[str]:
    yield NOBODYS
    dice = Random(f"origins for {pattern}")  # noqa: S311 nobody has to guess them
    names = [_made_up(dice) for _ in range(MADE_UP)]
    hosts = [f"{name}{ending}" for name in names for ending in ENDINGS]
    hosts += [f"{one}.{two}{dice.choice(ENDINGS)}" for one, two in zip(names, reversed(names), strict=True)]
    hosts += [".".join(str(dice.randrange(11, 100)) for _ in range(4)) for _ in range(4)]
    for name, written in product(names[:8], dict.fromkeys(_name(re.sub(r"\\([.-])|\[\.\]", lambda found: found[1] or ".", pattern)))):
        hosts += [f"{written}.{name}.com", *(f"{name}{between}{_registered(written)}" for between in ("", "-"))]
    for scheme, host, port in product(("https", "http"), hosts, ("", ":8443")):
        yield f"{scheme}://{host}{port}"


def _made_up(dice: Random) -> str:
    """Letters, or digits among them."""
    letters = string.ascii_lowercase + dice.choice(("", string.digits))
    return dice.choice(string.ascii_lowercase) + "".join(dice.choices(letters, k=dice.randrange(6, 13)))


def _registered(host: str) -> str:
    """The part of it that somebody has registered: two names, or three before a country's ending."""
    names = host.split(".")
    three = len(names) > 2 and len(names[-1]) == 2 and len(names[-2]) <= _SHORT
    return ".".join(names[-3 if three else -2 :])
