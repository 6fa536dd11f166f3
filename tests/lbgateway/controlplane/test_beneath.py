"""Files that are opened beneath a folder, while somebody moves what is in it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lbgateway.controlplane import beneath
from lbgateway.controlplane.beneath import DEEPEST, LONGEST_NAME, OpenFile, open_beneath, open_parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file, one in a folder of its own, and their namesakes outside, which are secret."""
    for where, text in (("dist", "public"), ("outside", "secret")):
        (tmp_path / where / "deep" / "er").mkdir(parents=True)
        for name in ("a.txt", "deep/b.txt", "deep/er/c.txt"):
            (tmp_path / where / name).write_text(text)
    return tmp_path / "dist"


def content(file: OpenFile | None) -> str | None:
    if file is None:
        return None
    text = file.read(0, 1000).decode()
    file.close()
    return text


def put_link(place: Path, target: Path) -> None:
    """A link in the place of whatever is there, as one step."""
    spare = place.with_name(f"{place.name}.spare")
    spare.symlink_to(target)
    if place.is_dir() and not place.is_symlink():
        place.rename(place.with_name(f"{place.name}.was"))
    spare.replace(place)


@pytest.mark.parametrize(
    ("parts", "moved"),
    [
        (("a.txt",), "a.txt"),
        (("deep", "b.txt"), "deep"),
        (("deep", "b.txt"), "deep/b.txt"),
        (("deep", "er", "c.txt"), "deep"),
        (("deep", "er", "c.txt"), "deep/er"),
        (("deep", "er", "c.txt"), "deep/er/c.txt"),
    ],
)
def test_what_was_resolved_is_not_opened_through_a_link_that_came_later(folder, parts, moved):
    """A folder on the way, or the file itself; wherever the link leads."""
    assert content(open_parts(folder, parts)) == "public"
    put_link(folder / moved, folder.parent / "outside" / moved)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        open_parts(folder, parts)
    assert open_beneath(folder, "/".join(parts)) is None


def test_links_that_stay_inside_are_followed(folder):
    """As Kubernetes mounts a ConfigMap: by links to a hidden folder, which it exchanges."""
    (folder / "..data").symlink_to("deep")
    (folder / "b.txt").symlink_to("..data/b.txt")
    (folder / "twice.txt").symlink_to("b.txt")
    assert [content(open_beneath(folder, name)) for name in ("b.txt", "twice.txt", "deep/../a.txt")] == ["public"] * 3


def test_what_is_no_file_is_not_opened(folder):
    """A folder, the folder itself, a pipe, for which nobody waits, and names that no file system takes."""
    os.mkfifo(folder / "pipe")
    for name in ("deep", "", ".", "..", "../outside/a.txt", "/etc/passwd", "pipe", "gone", "a.txt/", "a.txt/x", "\0", "x" * 5000):
        assert content(open_beneath(folder, name)) in (None, "public" if name == "a.txt/" else None)


def test_a_name_is_looked_for_within_reason(folder, monkeypatch):
    """Thirty thousand parts would take a fifth of a second of the disk and of everybody else."""
    deep = folder.joinpath(*("d" * (DEEPEST - 1)))
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("public")
    assert content(open_beneath(folder, "d/" * (DEEPEST - 1) + "a.txt")) == "public"
    monkeypatch.setattr(Path, "resolve", None)
    for name in ("a/" * 30_000, "a/" * (DEEPEST + 1), "a" * (LONGEST_NAME + 1)):
        assert open_beneath(folder, name) is None


def test_a_file_is_what_was_opened_whatever_becomes_of_its_name(folder):
    """Its size and its bytes belong together."""
    file = open_beneath(folder, "a.txt")
    assert file is not None
    put_link(folder / "a.txt", folder.parent / "outside" / "a.txt")
    assert (file.status.st_size, file.read(0, 100), file.read(2, 2), file.read(6, 9)) == (6, b"public", b"bl", b"")
    file.close()
    file.close()
    assert (file.read(0, 100), repr(file)) == (b"", "<OpenFile closed>")


def test_nothing_leads_out_while_links_come_and_go(folder):
    """Somebody exchanges a file and a folder for links to secrets as fast as can be; each is served some of the time."""
    done, seen = threading.Event(), set()

    def exchange() -> None:
        while not done.is_set():
            for name in ("a.txt", "deep"):
                real, link = folder / f"{name}.real", folder / f"{name}.link"
                link.symlink_to(folder.parent / "outside" / name)
                (folder / name).rename(real)
                link.rename(folder / name)
                (folder / name).unlink()
                real.rename(folder / name)

    mover = threading.Thread(target=exchange)
    mover.start()
    try:
        for _ in range(3000):
            seen.update((name, content(open_beneath(folder, name))) for name in ("a.txt", "deep/er/c.txt"))
    finally:
        done.set()
        mover.join()
    assert seen == {(name, text) for name in ("a.txt", "deep/er/c.txt") for text in ("public", None)}


def test_folders_are_opened_to_pass_through_them_alone(folder):
    """Where the system can do that, they need not be readable."""
    assert beneath._FOLDER & os.O_NOFOLLOW
    (folder / "deep").chmod(0o300)
    assert content(open_beneath(folder, "deep/b.txt")) == "public"
