"""How a request may end, by its kind, whatever happens meanwhile. Pure."""

from __future__ import annotations

SURE = {
    "read": {"200"},
    "read over httpx": {"200"},
    "signed": {"200"},
    "forged": {"401"},
    "limited": {"200", "429"},
    "unknown": {"404"},
    "burst": {"200", "503"},
    "pipelined": {"200"},
    "slow head": {"200"},
    "leaver": {"gone"},
    "quitter": {"gone", *("500", "502", "504")},
    "unfinished": {"gone"},
}
"""How these must end whatever happens: what may run twice is tried again."""

NEVER = ("another's answer", "another echo", "nothing within", "closed without an answer", "connecting")
"""How nothing may end. A long answer may be cut, and what changes something may be answered 500, 502 or 504, with its instance."""


def may_be(kind: str, ending: str) -> bool:
    """Whether a request of this kind may end so: a status, ``gone``, ``cut`` …"""
    return not ending.startswith(NEVER) and ending in SURE.get(kind, {ending})
