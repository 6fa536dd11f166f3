"""The diagrams and tables of docs/discovery.md, drawn from the tables that the code decides by.

``python -m tests.support.state_diagrams`` writes them into the page; a test keeps the page equal to the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from balancers.endpoint import EndpointState
from discovery.pacing import TRANSITIONS as WATCH
from discovery.protection import Why
from discovery.trust import TRANSITIONS as TRUST
from lbgateway.dataplane.members import STATES
from lbgateway.instance_views import NOT_PICKABLE, PICKABLE

PAGE = Path(__file__).parents[2] / "docs" / "discovery.md"
COMMAND = "python -m tests.support.state_diagrams"


def states_of_discovery() -> str:
    """Mermaid: what makes something kept fresh, stale, expired."""
    ways = [("[*]" if state is None else state.value, news, after) for state, nexts in TRUST.items() for news, after in nexts.items()]
    edges = [f"{state} --> {after.value}: {news.value}" for state, news, after in ways]
    return mermaid("stateDiagram-v2", edges)


def states_of_a_watch() -> str:
    """Mermaid: how one watch goes on asking. Staying in a state is left out, stopping is possible everywhere."""
    edges = ["[*] --> init"]
    for state, nexts in WATCH.items():
        edges += [f"{state.value} --> {after.value}" for after in sorted(nexts) if after not in (state, "stopped")]
    return mermaid("stateDiagram-v2", edges)


def states_of_an_instance() -> str:
    """Mermaid: from the registry's word to what becomes of the instance."""
    edges = [f'registry_{word.value}(["{word.value}"]) --> {state.value}["{state.value}"]' for word, state in STATES.items()]
    picked = ",".join(sorted({state.value for state in STATES.values()} & {state.value for state in PICKABLE}))
    return mermaid("flowchart LR", [*edges, "classDef picked stroke-width:3px", f"class {picked} picked"])


def who_takes_traffic() -> str:
    """Every state of an instance, in the words of *explain*."""
    rows = [(f"`{state.value}`", "yes" if state in PICKABLE else "no", explained(state)) for state in EndpointState]
    return table(("state", "takes traffic", "what it means"), rows)


def explained(state: EndpointState) -> str:
    text = PICKABLE.get(state) or NOT_PICKABLE.get(state) or "gets no new requests"
    return text.partition(": ")[2] if text.startswith(state.value) and ": " in text else text


def doubts() -> str:
    """Every reason for which a loss is not believed at once."""
    return table(("doubt", "reason shown beside `suspect`"), [(f"`{why.name.lower()}`", why.value) for why in Why])


def mermaid(kind: str, lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", kind, *(f"    {line}" for line in lines), "```"])


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


PARTS = {each.__name__: each for each in (states_of_discovery, states_of_a_watch, states_of_an_instance, who_takes_traffic, doubts)}


def filled(page: str) -> str:
    """The page with every part drawn anew between its marks."""
    for name, draw in PARTS.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        assert found, f"the page has no place for {name}"
        page = before + begin + draw() + "\n" + end + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
