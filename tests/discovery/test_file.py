"""A list in a file, look by look: the test looks itself, and waits for nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from discovery.file import GONE, FileSource, stamp_of
from discovery.instance import Catalog, Snapshot, SourceStatus
from discovery.static import static_instance


def read(path: Path) -> dict[str, list]:
    """``orders 80 81`` per line; a word that is no number is a mistake."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except FileNotFoundError:
        raise ValueError(f"{path.name}: cannot be read") from None
    mistakes = [f"{path.name}:{n}: {word}" for n, (_, *words) in enumerate(lines, 1) for word in words if not word.isdigit()]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return {name: [static_instance(name, "10.0.0.1", int(word), provider="file") for word in words] for name, *words in lines}


class Scene:
    """A source with everything that it told."""

    def __init__(self, folder: Path, text: str | None = "orders 80\n") -> None:
        self.path = folder / "instances.txt"
        self.now_s = 0.0
        self.errors: list[str] = []
        self.updates: list[str] = []
        self.told: list[Snapshot] = []
        self.catalogs: list[Catalog] = []
        if text is not None:
            self.write(text)
        self.source = FileSource(self.path, read, clock=lambda: self.now_s, on_error=self.errors.append, on_update=self.updates.append)
        for name in ("orders", "users"):
            self.source.watch(name, self.told.append)
        self.source.watch_catalog(self.catalogs.append)

    def write(self, text: str) -> None:
        """Like an editor: another file with the same name, at a moment of its own."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    async def looks(self, times: int = 2) -> None:
        for _ in range(times):
            self.now_s += 1.0
            await self.source._look()

    @property
    def last(self) -> list[str]:
        """The newest of each service."""
        newest = {snapshot.service: snapshot for snapshot in self.told}
        return [f"{name} v{s.version} {s.state} {','.join(str(i.port) for i in s.instances)}" for name, s in sorted(newest.items())]


async def test_nothing_is_known_before_the_first_look(tmp_path: Path) -> None:
    """Unknown is not empty."""
    scene = Scene(tmp_path)

    assert (scene.told, scene.catalogs, scene.source.snapshot("orders")) == ([], [], None)
    assert scene.source.status() == SourceStatus("file", None, None, None)


async def test_the_file_is_the_whole_list(tmp_path: Path) -> None:
    """Services that it does not have are empty; new ones are told with the catalog."""
    scene = Scene(tmp_path)
    await scene.looks()
    assert scene.last == ["orders v2 fresh 80", "users v1 fresh "]
    assert [sorted(catalog.services) for catalog in scene.catalogs] == [["orders"]]
    scene.write("users 90 91\n")
    await scene.looks()

    assert scene.last == ["orders v3 fresh ", "users v2 fresh 90,91"]
    assert sorted(scene.catalogs[-1].services) == ["users"]
    assert scene.updates == ["orders", "orders", "users"]
    assert scene.errors == []


async def test_an_unchanged_file_is_confirmed_and_not_read_again(tmp_path: Path) -> None:
    """Its age is that of the last look."""
    scene = Scene(tmp_path)
    await scene.looks(10)
    scene.now_s += 0.2

    assert len(scene.told) == 2
    status = scene.source.status()
    assert (status.state, status.age_s) == ("fresh", pytest.approx(0.2))


async def test_a_file_that_is_still_being_written_waits(tmp_path: Path) -> None:
    """It is read when its stamp has been the same twice."""
    scene = Scene(tmp_path)
    await scene.looks()
    for length in range(3, 12, 4):
        scene.path.write_text("orders 80 81 82\n"[:length])
        await scene.looks(1)
    scene.path.write_text("orders 80 81 82\n")
    await scene.looks(1)
    assert scene.last[0] == "orders v2 fresh 80"
    await scene.looks(1)

    assert scene.last[0] == "orders v3 fresh 80,81,82"
    assert scene.errors == []


async def test_a_bad_file_takes_nothing_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Stale, with its first mistake and their number; told, logged and counted once; the next good one ends it."""
    scene = Scene(tmp_path)
    await scene.looks()
    scene.write("orders 80\nusers x\nusers y\n")
    await scene.looks(5)
    assert scene.last == ["orders v2 stale 80", "users v1 stale "]
    status = scene.source.status()
    assert (status.state, status.age_s, status.last_error) == ("stale", 5.0, "instances.txt:2: x (and 1 more)")
    assert scene.catalogs[-1].state == "stale"
    assert scene.errors == ["malformed"]
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning == "the instances file is not used, what is known stays: instances.txt:2: x\ninstances.txt:3: y"
    scene.write("orders 80\n")
    await scene.looks()

    assert scene.last == ["orders v2 fresh 80", "users v1 fresh "]
    assert scene.source.status().last_error is None


async def test_a_vanished_file_takes_nothing_away(tmp_path: Path) -> None:
    """Also when it comes back as it was."""
    scene = Scene(tmp_path)
    await scene.looks()
    away = scene.path.rename(tmp_path / "away")
    await scene.looks(1)
    assert scene.source.status().state == "fresh"  # it may be on its way back
    await scene.looks(1)
    assert scene.last[0] == "orders v2 stale 80"
    assert (scene.errors, scene.source.status().last_error) == (["unreachable"], "instances.txt: cannot be read")
    away.rename(scene.path)
    await scene.looks()

    assert scene.last[0] == "orders v2 fresh 80"


async def test_without_a_file_there_is_nothing_to_tell(tmp_path: Path) -> None:
    """Neither state nor age, but the error; what comes later is taken."""
    scene = Scene(tmp_path, text=None)
    await scene.looks()
    assert scene.told == []
    assert scene.source.status() == SourceStatus("file", None, None, "instances.txt: cannot be read")
    scene.write("orders 80\n")
    await scene.looks()

    assert scene.last[0] == "orders v2 fresh 80"


async def test_links_are_followed(tmp_path: Path) -> None:
    """A Kubernetes ConfigMap changes by a link to another folder."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / "instances.txt").write_text(f"orders 8{number}\n")
        os.utime(folder / "instances.txt", (1e9, 1e9))
    (tmp_path / "instances.txt").symlink_to(folders[0] / "instances.txt")
    scene = Scene(tmp_path, text=None)
    await scene.looks()
    other = tmp_path / "other"
    other.symlink_to(folders[1] / "instances.txt")
    other.rename(scene.path)
    await scene.looks()

    assert scene.last[0] == "orders v3 fresh 81"


async def test_another_path_is_followed_without_a_break(tmp_path: Path) -> None:
    """The old list counts until the new one has been read; the same path changes nothing."""
    scene = Scene(tmp_path)
    await scene.looks()
    other = tmp_path / "other.txt"
    other.write_text("orders 99\n")
    scene.source.follow(scene.path)
    await scene.looks()
    assert len(scene.told) == 2
    scene.source.follow(other)
    await scene.looks(1)
    assert scene.last[0] == "orders v2 fresh 80"
    await scene.looks(1)

    assert scene.last[0] == "orders v3 fresh 99"


async def test_a_change_while_it_is_read_is_not_believed(tmp_path: Path) -> None:
    """The next look reads it again."""
    scene = Scene(tmp_path)

    def read_slowly(path: Path) -> dict[str, list]:
        services = read(path)
        scene.write("orders 81\n")
        scene.source._read = read
        return services

    scene.source._read = read_slowly
    await scene.looks(2)
    assert scene.told == []
    await scene.looks(2)

    assert scene.last[0] == "orders v2 fresh 81"


async def test_it_looks_by_itself_until_it_is_closed(tmp_path: Path) -> None:
    """The first time at once; a bug in between is an error like others."""
    scene = Scene(tmp_path)
    told = asyncio.Event()
    scene.source.watch("orders", lambda _: told.set())
    await scene.source.start()
    await asyncio.wait_for(told.wait(), 5)
    await scene.source.aclose()
    await scene.source.aclose()

    assert scene.source._task is not None
    assert scene.source._task.cancelled()


async def test_a_bug_does_not_end_it(tmp_path: Path) -> None:
    """It is logged and shown; discovery goes on."""
    scene = Scene(tmp_path)

    def broken(_: Path) -> dict[str, list]:
        raise ZeroDivisionError

    scene.source._read = broken
    await scene.source.start()
    while not scene.errors:  # noqa: ASYNC110 the source has no event for it
        await asyncio.sleep(0.01)
    await scene.source.aclose()

    assert scene.source.status().last_error == "internal error: ZeroDivisionError()"


def test_a_stamp_tells_files_apart(tmp_path: Path) -> None:
    """By inode where size and time are the same; what is not there has none."""
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_text("x")
        os.utime(path, (1e9, 1e9))

    assert stamp_of(one) == stamp_of(one) != stamp_of(two)
    assert stamp_of(tmp_path / "absent") == GONE
