"""What may come next on the command line: asked by the shells' scripts (`lbgateway.cli.completion`) as ``lbgateway complete``.

Commands, options and fixed values are those of the parser. Names of services and instances are those of the gateway that
the command would talk to; if that does not answer at once, there are none, and nobody hears of it.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from lbgateway.cli import parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Ask = Callable[[str, argparse.Namespace], dict[str, Any]]
    """Path and access (``admin``, ``token``, ``cacert``) -> the JSON there, ``{}`` if there is none."""

WITHIN_S = 1.0
"""Somebody waits with a finger on the key."""
MOST = 2000
"""Instances of one service."""
FILES = ":files"
"""In place of candidates: names of files are the shell's own business."""
STATES = ("ready", "warming", "ejected", "unhealthy", "critical", "maintenance", "draining", "suspect", "gone")

_is_plain = re.compile(r"[\w.:@/+=,%-]+").fullmatch
"""Names in a registry are anybody's, and the shell reads what it is given once more: others are not offered."""


class Candidate(NamedTuple):
    """One word, and what it means."""

    word: str
    meaning: str = ""


def main(arguments: Sequence[str], ask: Ask | None = None) -> int:
    """Print the candidates for `arguments`: the shell's name, the index of the word to complete, and all words."""
    shell, index, *given = arguments
    words, current = (split if shell == "bash" else as_they_are)(given, int(index))
    found = candidates(words, current, ask or ask_gateway)
    if found is None:
        print(FILES)
    else:
        for each in found:
            if each.word.startswith(current):
                print(written(each, current, shell))
    return 0


def as_they_are(given: Sequence[str], index: int) -> tuple[list[str], str]:
    """The words between the program's name and the one at `index`, and that one."""
    return list(given[1:index]), given[index] if index < len(given) else ""


def split(given: Sequence[str], index: int) -> tuple[list[str], str]:
    """The same of bash, which makes words of their own of ``:`` and ``=`` and what is around them."""
    words: list[str] = []
    glue = False
    for word in given[: index + 1]:
        between = bool(word) and not word.strip(":=")
        if words and (between or glue):
            words[-1] += word
        else:
            words.append(word)
        glue = between
    return words[1:-1], words[-1] if len(words) > 1 else ""


def written(candidate: Candidate, current: str, shell: str) -> str:
    """As the shell takes it: bash only wants what comes after the last ``:`` or ``=`` of the `current` word."""
    word, meaning = candidate
    if shell == "bash":
        return word[max(current.rfind(":"), current.rfind("=")) + 1 :]
    if shell == "zsh":
        word = word.replace("\\", "\\\\").replace(":", "\\:")
        return f"{word}:{meaning}" if meaning else word
    return f"{word}\t{meaning}" if meaning else word


@dataclass
class Line:
    """What is on the command line already."""

    command: argparse.ArgumentParser
    expects: argparse.Action | None
    """The option whose value comes next."""
    given: set[str]
    """Destinations of the options."""
    places: list[str]
    """Positional arguments."""
    access: argparse.Namespace


def candidates(words: Sequence[str], current: str, ask: Ask) -> list[Candidate] | None:
    """What may stand in the place of `current` after `words`; None for names of files."""
    line = _read(words)
    if line.expects is not None:
        return _values(line.expects, line, ask)
    if current.startswith("--") and "=" in current:
        name = current.partition("=")[0]
        option = next((each for each in _actions(line.command) if name in each.option_strings and each.nargs != 0), None)
        found = _values(option, line, ask) if option is not None else []
        return None if found is None else [Candidate(f"{name}={each.word}", each.meaning) for each in found]
    if current.startswith("-"):
        return [
            Candidate(each.option_strings[-1], each.help or "")
            for each in _actions(line.command)
            if each.option_strings and (each.dest not in line.given or isinstance(each.default, list))
        ]
    places = [each for each in _actions(line.command) if not each.option_strings]
    if len(line.places) < len(places):
        return _values(places[len(line.places)], line, ask)
    return None if places and places[-1].nargs == argparse.REMAINDER else []


def _read(words: Iterable[str]) -> Line:
    line = Line(parser(), None, set(), [], argparse.Namespace(admin=None, token=None, cacert=None))
    for word in words:
        option, _, value = word.partition("=")
        if line.expects is not None:
            setattr(line.access, line.expects.dest, word)
            line.expects = None
        elif word.startswith("-"):
            action = next((each for each in _actions(line.command) if option in each.option_strings), None)
            if action is not None:
                line.given.add(action.dest)
                setattr(line.access, action.dest, value)
                line.expects = action if action.nargs != 0 and "=" not in word else None
        else:
            _place(line, word)
    return line


def _place(line: Line, word: str) -> None:
    """A word that is no option: the next command, or the next argument."""
    nested = next((each for each in _actions(line.command) if isinstance(each, argparse._SubParsersAction)), None)  # noqa: SLF001 as below
    if nested is not None and word in nested.choices:
        line.command, line.places = nested.choices[word], []
    else:
        line.places.append(word)


def _actions(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return command._actions  # noqa: SLF001 argparse has no other way to tell what it takes


def _values(action: argparse.Action, line: Line, ask: Ask) -> list[Candidate] | None:
    """What an argument may be."""
    if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 as above
        return [Candidate(each.dest, each.help or "") for each in action._get_subactions()]  # noqa: SLF001 as above
    if action.choices is not None:
        return [Candidate(str(each)) for each in action.choices]
    if action.metavar in ("FILE", "COMMAND"):
        return None
    return list(_names(str(action.metavar), line, ask))


def _names(kind: str, line: Line, ask: Ask) -> Iterator[Candidate]:
    if kind == "STATE":
        yield from map(Candidate, STATES)
    elif kind == "N" and line.places:
        yield Candidate("default", "the registry's")
    elif kind == "SERVICE":
        for service in ask("/admin/upstreams?summary=true", line.access).get("services", ()):
            states = ", ".join(f"{count} {state}" for state, count in service.get("states", {}).items() if count)
            yield from _offered(str(service.get("name")), states)
    elif kind == "INSTANCE" and line.places:
        found = ask(f"/admin/upstreams/{quote(line.places[0], safe='')}?limit={MOST}", line.access).get("instances", ())
        ids = Counter(each.get("id") for each in found)
        for each in found:
            name = str(each.get("id")) if ids[each.get("id")] == 1 else f"{each.get('node')}:{each.get('id')}"
            yield from _offered(name, str(each.get("state")))


def _offered(name: str, meaning: str) -> Iterator[Candidate]:
    if _is_plain(name) and not name.startswith("-"):
        yield Candidate(name, meaning)


def ask_gateway(path: str, access: argparse.Namespace) -> dict[str, Any]:
    """The JSON at `path`, or nothing."""
    from lbgateway.cli.admin_client import AdminError, access_of, fetch

    try:
        return fetch(path, access_of(access), within_s=WITHIN_S)
    except AdminError:
        return {}
