"""`lbgateway completion`: a script for each shell. `tests/integration/test_shells.py` runs them."""

from __future__ import annotations

import pytest

from lbgateway.cli import FINE, main


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete -F"), ("zsh", "#compdef lbgateway"), ("fish", "complete -c lbgateway")])
def test_each_shell_has_its_script(shell: str, line: str, capsys: pytest.CaptureFixture[str]):
    """With how to use it in its first lines."""
    assert main(["completion", shell]) == FINE
    script = capsys.readouterr().out
    assert line in script
    assert any(f"lbgateway completion {shell}" in each and each.startswith("#") for each in script.splitlines()[:2])


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    """And those that there are, are named."""
    with pytest.raises(SystemExit) as ended:
        main(["completion", "ksh"])
    assert ended.value.code == 2
    assert "bash" in capsys.readouterr().err
