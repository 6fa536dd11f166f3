"""Habits that a machine can see: reasons beside exceptions, sentences on tests, no place of one machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("balancers", "discovery", "lbgateway", "tests", "benchmarks", "examples")
TEXT_SUFFIXES = {"", ".cfg", ".css", ".hcl", ".html", ".js", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# A code, then a reason: "noqa: A002 the registry's own word".
BARE_EXCEPTION = re.compile(
    r"""\#\s*(?:
        noqa (?! :\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*\s+(?:\#\s*)?[\w`"'(/] )
      | type:\s*ignore (?! \[[a-z-]+(?:,\s*[a-z-]+)*\]\s+(?:\#\s*)?[\w`"'(/] )
      | pragma:\s*no\ (?:cover|branch) (?! \s+(?:\#\s*)?[\w`"'(/] )
    )""",
    re.VERBOSE,
)
# Written in pieces, or this file would find itself.
PLACES = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/" + r"\w|\b(?:pypi|registry\.npmjs|deb\.debian|hub\.docker)\." + r"(?:org|com)\b")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|TB" + r"D)\b")
NEVER_RUN = re.compile(r"pytest\.(?:skip|xfail|importorskip)\b|mark\.(?:skip|skipif|xfail)\b|unittest\.mock|monkeypatch\.setattr\(\"")


def assert_none(found: list[str]) -> None:
    """Show all of them, which a comparison of lists does not."""
    assert not found, "\n" + "\n".join(found)


def code_files() -> list[Path]:
    return [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))]


def text_files() -> list[Path]:
    """Every text of the repository; folders of tools begin with a dot, apart from those of CI."""
    tops = [top for top in sorted(ROOT.iterdir()) if not top.name.startswith(".") or top.name in (".ci", ".github")]
    files = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    return [path for path in files if path.is_file() and path.suffix in TEXT_SUFFIXES and not generated(path)]


def generated(path: Path) -> bool:
    return any(part in ("__pycache__", "build", "dist") or part.endswith(".egg-info") for part in path.parts)


def findings(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def all_tests() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def test_each_exception_has_a_code_and_a_reason() -> None:
    """Whoever switches off a check says which and why."""
    assert_none(findings(BARE_EXCEPTION, code_files()))


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("x = 1  # no" + "qa", True),
        ("x = 1  # no" + "qa: A002", True),
        ("x = 1  # no" + "qa: A002 the registry's own word", False),
        ("x = 1  # no" + "qa: A002, S101 the registry's own word", False),
        ("x = 1  # type: " + "ignore", True),
        ("x = 1  # type: " + "ignore[attr-defined]", True),
        ("x = 1  # type: " + "ignore[attr-defined] uvicorn has no types here", False),
        ("x = 1  # type: " + "ignore[attr-defined]  # uvicorn has no types here", False),
        ("x = 1  # pragma: " + "no cover", True),
        ("x = 1  # pragma: " + "no cover runs in a child", False),
    ],
)
def test_a_reason_is_told_from_none(line: str, *, bare: bool) -> None:
    """The pattern above does what it says."""
    assert bool(BARE_EXCEPTION.search(line)) is bare


def test_no_place_of_one_machine_is_named() -> None:
    """Neither folders of a developer nor package registries: where things come from is the environment's business."""
    assert_none(findings(PLACES, text_files()))


def test_nothing_is_left_unfinished() -> None:
    """What is missing stands in an issue, not in the code."""
    assert_none(findings(UNFINISHED, text_files()))


def test_every_test_runs_and_none_patches() -> None:
    """A skipped test proves nothing; doubles are small classes of ours."""
    assert_none(findings(NEVER_RUN, [path for path in code_files() if path.name != "test_habits.py"]))


def test_every_test_has_its_sentence() -> None:
    """The name and the docstring tell the behaviour to someone who does not read the body."""
    assert_none([where for where, node in all_tests() if not (ast.get_docstring(node) or "").strip()])
