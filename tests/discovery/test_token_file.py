"""A token is renewed by whoever renews tokens, not by a restart."""

from __future__ import annotations

from pathlib import Path

from discovery.token_file import TokenFile


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Replaced or rewritten, with or without a newline at its end; and never shown."""
    path = tmp_path / "token"
    path.write_text("old\n")
    token = TokenFile(path, "old")
    assert token() == "old"
    path.write_text("renewed\n")
    assert token() == "renewed"
    (tmp_path / "new").write_text("swapped")
    (tmp_path / "new").replace(path)
    assert token() == "swapped"
    assert "swapped" not in repr(token)


def test_what_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    """Away, empty or no text: the last one stays until there is another."""
    path = tmp_path / "token"
    token = TokenFile(path, "first")
    assert token() == "first"
    for content in (b"", b"\xff\xfe\xff"):
        path.write_bytes(content)
        assert token() == "first"
    path.write_text("second")
    assert token() == "second"
    path.unlink()
    assert token() == "second"
