"""Each source file has its test file, and each test file its source: a reader always knows where to look."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("balancers", "discovery", "lbgateway")

WITHOUT_TEST: dict[str, str] = {
    "discovery/source.py": "one Protocol, nothing that runs",
    "lbgateway/controlplane/port.py": "Protocols and TypedDicts, nothing that runs",
    "lbgateway/controlplane/route_views.py": "TypedDicts, nothing that runs",
}
WITHOUT_SOURCE: dict[str, str] = {
    "tests/lbgateway/dataplane/test_exchange_breaker.py": "the playbooks of exchange.py about a service whose breaker is open",
    "tests/lbgateway/dataplane/test_exchange_limits.py": "the playbooks of exchange.py about instances that have enough to do",
    "tests/lbgateway/dataplane/test_exchange_ejection.py": "the playbooks of exchange.py about blame, and of the way back",
    "tests/lbgateway/dataplane/test_exchange_retries.py": "the playbooks of exchange.py about attempts after the first",
    "tests/lbgateway/dataplane/test_exchange_properties.py": "random histories over protocol, exchange, pool and connection together",
    "tests/lbgateway/dataplane/test_exchange_parked.py": "what exchange.py does while a policy waits, apart from the way of all others",
    "tests/lbgateway/dataplane/test_repeated_answers.py": "one trick of connection.py, held against the same file without it",
    "tests/balancers/test_failing.py": "balancers, ejection and retries together, in the world of failing.py",
    "tests/balancers/test_simulation.py": "all balancers against each other, in the world of simulation.py",
}


def sources() -> list[str]:
    """All source files that decide something: an ``__init__`` or ``__main__`` that only names things is left out."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith("__") or defines_something(path)]


def defines_something(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body)


def mirror_of(source: str) -> str:
    """``tests/balancers/test_ewma.py``; ``__main__`` and ``__init__`` lose their underscores."""
    path = Path(source)
    return (Path("tests") / path.parent / f"test_{path.stem.strip('_')}.py").as_posix()


def mirrors() -> list[str]:
    files = [path for package in PACKAGES for path in sorted((ROOT / "tests" / package).rglob("test_*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in files]


def test_each_source_file_has_its_test_file() -> None:
    """What changes together lies where one looks for it."""
    wanted = [mirror_of(each) for each in sources() if each not in WITHOUT_TEST]
    missing = [each for each in wanted if not (ROOT / each).is_file()]
    assert not missing, "\n" + "\n".join(missing)


def test_each_test_file_has_its_source_file() -> None:
    """A renamed source takes its test along."""
    wanted = {mirror_of(source) for source in sources()}
    assert [each for each in mirrors() if each not in wanted and each not in WITHOUT_SOURCE] == []


def test_exceptions_are_still_needed() -> None:
    """An exception whose file is gone, or has its test by now, goes too."""
    needless = [each for each in WITHOUT_TEST if not (ROOT / each).is_file() or (ROOT / mirror_of(each)).is_file()]
    assert needless + [each for each in WITHOUT_SOURCE if not (ROOT / each).is_file()] == []
