"""Committing files, the journal, the lock."""

from __future__ import annotations

import errno
import json
import multiprocessing
from pathlib import Path

import pytest

from medtrinity25m.errors import DiskError, LockedError
from medtrinity25m.release.workspace import PART, Workspace, committed, disk_errors, write_committed


@pytest.fixture
def space(tmp_path):
    """A created workspace for `tmp_path/release`."""
    made = Workspace(tmp_path / "release")
    made.create()
    return made


def hold(folder: str, ready: multiprocessing.synchronize.Event, release: multiprocessing.synchronize.Event) -> None:
    with Workspace(Path(folder)).locked():
        ready.set()
        release.wait(20)


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    """An error while writing leaves the old file and no temporary one."""
    path = tmp_path / "a.txt"
    write_committed(path, "old")

    def stopped() -> None:
        with committed(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()

    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_the_journal_ignores_a_torn_line(space):
    """A killed worker's last line is dropped; lines before and after it count."""
    space.record({"name": "a", "rows": 1})
    journal = next(space.journals.iterdir())
    journal.write_text(journal.read_text() + '{"name": "b", "ro')
    space.record({"name": "c", "rows": 3})

    assert {name: entry["rows"] for name, entry in space.journal().items()} == {"a": 1, "c": 3}


def test_the_second_of_two_builds_is_told_who_holds_the_folder(space, tmp_path):
    """The lock is another process's; the error names it."""
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(tmp_path / "release"), ready, release))
    other.start()
    assert ready.wait(20)

    with pytest.raises(LockedError, match=f"process {other.pid}"), space.locked():
        pass

    release.set()
    other.join(20)
    with space.locked():
        pass


def test_leftovers_of_a_stopped_build_are_swept(space):
    """Only uncommitted files go."""
    (space.release / "data").mkdir()
    left, kept = space.release / "data" / f"x.parquet.7{PART}", space.release / "data" / "y.parquet"
    left.touch()
    kept.touch()

    space.sweep()

    assert (left.exists(), kept.exists()) == (False, True)


def test_a_full_disk_is_an_error_of_its_own_with_the_path():
    """ENOSPC becomes `DiskError`, exit code 74; other errors fly."""
    with pytest.raises(DiskError, match="x.parquet: No space left") as caught, disk_errors(Path("x.parquet")):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert caught.value.exit_code == 74
    with pytest.raises(OSError, match="odd"), disk_errors(Path("x")):
        raise OSError(errno.EBADF, "odd")


def test_the_work_folder_is_private_and_beside_the_release(space):
    """It may hold names of patients."""
    assert space.work.parent == space.release.parent
    assert space.work.stat().st_mode & 0o077 == 0
    assert json.dumps(str(space.work)).endswith('release.work"')
