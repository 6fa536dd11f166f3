"""When snapshots are written, how, and what happens where that fails."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from discovery.instance import NOTHING, Catalog, Remembered, Snapshot, SnapshotState
from discovery.snapshot_format import FROM_DISK
from discovery.snapshot_store import SnapshotStore, is_due, replace_file, worth_writing
from discovery.static import static_instance


def known(*ports: int, confirmed_at_s: float = 0.0, state: SnapshotState = SnapshotState.FRESH) -> Remembered:
    instances = tuple(static_instance("orders", "10.0.0.1", port) for port in ports)
    snapshot = Snapshot("orders", 1, instances, 1, confirmed_at_s, state)
    return Remembered(Catalog({"orders": frozenset()}, confirmed_at_s, state), {"orders": snapshot})


class Scene:
    """A store on a folder of the test, with a clock that the test moves."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now_s = 0.0
        self.errors: list[str] = []
        self.store = SnapshotStore(
            folder / "registry.json", clock=lambda: self.now_s, wall=lambda: 1e9 + self.now_s, on_error=self.errors.append, **settings
        )

    def ports(self) -> list[int] | None:
        """What a later start would know."""
        snapshot = self.store.load().snapshots.get("orders")
        return None if snapshot is None else [i.port for i in snapshot.instances]


def names_in(folder: Path) -> dict[str, int]:
    """Every file with its rights."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("written", "now", "since_s", "due"),
    [
        (NOTHING, known(1), float("inf"), True),
        (known(1), known(1), 59.0, False),
        (known(1), known(1, 2), 4.9, False),
        (known(1), known(1, 2), 5.0, True),
        (known(1), known(1, confirmed_at_s=50.0), 59.9, False),
        (known(1), known(1, confirmed_at_s=50.0), 60.0, True),
        (known(1), known(1), 60.0, False),
        (known(1), replace(known(1), catalog=Catalog({"orders": frozenset("t")}, 0.0)), 5.0, True),
    ],
)
def test_news_is_written_soon_and_confirmations_when_there_is_time(written, now, since_s: float, *, due: bool) -> None:
    """At most once in five seconds; while the registry is away, not at all."""
    assert is_due(written, now, since_s) is due


@pytest.mark.parametrize(
    ("remembered", "worth"),
    [(NOTHING, False), (known(1, state=SnapshotState.SNAPSHOT), False), (known(1), True), (known(1, state=SnapshotState.STALE), True)],
)
def test_until_the_registry_speaks_the_file_knows_better(remembered: Remembered, *, worth: bool) -> None:
    """A start without Consul must not overwrite what it lives on."""
    assert worth_writing(remembered) is worth


async def test_what_is_known_is_there_for_the_next_start(tmp_path: Path) -> None:
    """Readable for the owner only, and nothing else lies beside it."""
    scene = Scene(tmp_path)
    await scene.store._write(known(1, 2))

    [suspect, _] = scene.store.load().snapshots["orders"].instances
    assert (suspect.port, suspect.state, suspect.reason) == (1, "suspect", FROM_DISK)
    assert names_in(tmp_path) == {"registry.json": 0o600}
    assert repr(scene.store) == f"<SnapshotStore {tmp_path}/registry.json services=1>"


async def test_the_end_is_written_too(tmp_path: Path) -> None:
    """Whatever was written a moment ago."""
    scene = Scene(tmp_path)
    remembered = [known(1)]
    scene.store.start(lambda: remembered[0])
    await asyncio.sleep(0)
    remembered[0] = known(1, 2)
    await scene.store.aclose()
    await scene.store.aclose()

    assert scene.ports() == [1, 2]


async def test_a_file_that_is_passed_on_is_not_written_any_more(tmp_path: Path) -> None:
    """Another process writes it by now, and knows better."""
    scene = Scene(tmp_path)
    scene.store.start(lambda: known(1))
    scene.store.pass_on()
    await scene.store.aclose()
    assert scene.ports() is None


async def test_a_store_that_never_began_writes_nothing(tmp_path: Path) -> None:
    """A start that failed must not empty the file."""
    scene = Scene(tmp_path)
    await scene.store.aclose()

    assert names_in(tmp_path) == {}


async def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """For the owner only."""
    scene = Scene(tmp_path / "state")
    await scene.store._write(known(1))

    assert scene.ports() == [1]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


async def test_a_write_that_fails_is_told_once_and_counted_always(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The old file stays; nothing half-written is left; success ends it."""
    scene = Scene(tmp_path)
    folder = scene.store.path
    folder.mkdir()
    for _ in range(2):
        await scene.store._write(known(1))
    assert scene.errors == ["snapshot_write", "snapshot_write"]
    assert [record.getMessage() for record in caplog.records] == ["the registry snapshot cannot be written: Is a directory"]
    assert list(names_in(tmp_path)) == ["registry.json"]
    folder.rmdir()
    await scene.store._write(known(1))

    assert scene.ports() == [1]


async def test_a_bug_does_not_stop_the_gateway_from_stopping(tmp_path: Path) -> None:
    """It is logged and counted like any other failure."""
    scene = Scene(tmp_path)
    snapshot = replace(known(1).snapshots["orders"], confirmed_at_s=float("nan"))
    remembered = replace(known(1), snapshots={"orders": snapshot})
    scene.store.start(lambda: remembered)
    await asyncio.sleep(0)
    await scene.store.aclose()

    assert set(scene.errors) == {"snapshot_write"}
    assert names_in(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"not ours", b"\x00" * 10])
def test_a_file_that_is_not_ours_is_ignored_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    """Never a crash; the file itself is left for whoever wants to look at it."""
    scene = Scene(tmp_path)
    scene.store.path.write_bytes(content)

    assert scene.store.load() is NOTHING
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the registry snapshot is ignored: " in caplog.text
    assert scene.store.path.read_bytes() == content


def test_a_folder_in_its_place_is_ignored_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Like anything else that cannot be read."""
    scene = Scene(tmp_path)
    scene.store.path.mkdir()

    assert scene.store.load() is NOTHING
    assert "the registry snapshot is ignored: Is a directory" in caplog.text


def test_no_file_is_no_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first start has none."""
    caplog.set_level(logging.DEBUG)

    assert Scene(tmp_path).store.load() is NOTHING
    assert caplog.records == []


async def test_another_datacenters_file_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its addresses mean something else there."""
    await Scene(tmp_path, datacenter="dc2").store._write(known(1))

    assert Scene(tmp_path).store.load() is NOTHING
    assert "it was written for consul dc2, not for consul" in caplog.text


def test_leftovers_of_a_killed_gateway_go(tmp_path: Path) -> None:
    """Unless they are so new that another gateway may be writing."""
    scene = Scene(tmp_path)
    old, new, other = (tmp_path / name for name in (".registry.json.1.new", ".registry.json.2.new", ".other.json.1.new"))
    for path in (old, new, other):
        path.write_bytes(b"{")
        os.utime(path, (1e9, 1e9))
    os.utime(old, (1e9 - 100, 1e9 - 100))
    scene.store.load()

    assert sorted(tmp_path.iterdir()) == sorted([new, other])


def test_a_leftovers_rights_and_links_are_not_taken_over(tmp_path: Path) -> None:
    """A file that somebody else prepared must not become readable for him, nor lead elsewhere."""
    place, victim = tmp_path / "registry.json", tmp_path / "victim"
    new = tmp_path / f".registry.json.{os.getpid()}.new"
    new.write_bytes(b"a long leftover")
    new.chmod(0o666)
    replace_file(place, b"short")
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (b"short", 0o600)
    new.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(place, b"other")

    assert not victim.exists()
    assert place.read_bytes() == b"short"
