"""Snippets of the pages that are no configuration: programs, commands, targets."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess

import pytest

from lbgateway.cli import parser
from tests.support.pages import PAGES, ROOT, blocks


def commands() -> list[tuple[str, str]]:
    """Each ``lbgateway …`` of a block, as a shell would start it."""
    found = []
    for place, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            started = re.search(r"(?:^|[(&|;] *)(?:\.venv/bin/)?lbgateway (.*?)(?= 2>|[&|;>)#]|$)", line)
            if started:
                found.append((place, started.group(1).strip()))
    return found


@pytest.mark.parametrize(("place", "text"), blocks("python"))
def test_a_program_of_the_pages_is_python(place: str, text: str) -> None:
    """And what it imports of ours exists."""
    tree = compile(text, place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("lbgateway", "discovery", "balancers"):
            exec(compile(ast.Module([node], []), place, "exec"), {})  # one import, of this repository


@pytest.mark.parametrize(("place", "text"), blocks("sh"))
def test_a_command_of_the_pages_is_shell(place: str, text: str) -> None:
    """bash can read it; what comes of it see `test_shell_lines` and `test_tutorial`."""
    read = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert read.returncode == 0, f"{place}: {read.stderr}"


@pytest.mark.parametrize(("place", "command"), commands())
def test_a_command_of_the_pages_is_one_of_ours(place: str, command: str) -> None:
    """With options that it takes."""
    assert parser().parse_args(shlex.split(command)).command, place


def test_a_target_of_the_pages_is_in_the_makefile() -> None:
    """``make x`` in any page, in a block or in a sentence."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^|&& )make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test", "up"} <= named <= targets
