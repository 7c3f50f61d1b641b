"""The journal of a knowledge base: which files were read, by which process it may be written, what may be swept.

A line a file, appended and synced after the file's parts stand. A torn last line is what a killed process was writing:
it is ignored, and so are the parts it would have named.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from medtrinity25m.errors import ConfigError, LockedError
from medtrinity25m.knowledge.parts import Bounds
from medtrinity25m.release.workspace import PART, disk_errors
from medtrinity25m.triplet import Frozen

_OURS = re.compile(rf"[0-9a-f]{{64}}(-\d{{5}}\.parquet|\.refused\.jsonl)(\.\d+{re.escape(PART)})?")


class Entry(Frozen):
    """What one file gave.

    Args:
        key: SHA-256 of the file; of a packaged corpus, of its name.
        source: what the file is called in locators.
        content: SHA-256 of what was read; `key` for a file.
        corpus: names the corpus.
        format: which reader read it, or `packaged`.
        licenses: passages by license.
        documents: documents that gave a passage.
        snippets: passages, equal ones within a part once.
        refused: records refused, by reason code.
        empty: records without text.
        parts: the files that hold the passages.
        terms: hash of the rules that said what passages are about.
    """

    key: str
    source: str
    content: str
    corpus: str
    format: str
    licenses: dict[str, int]
    documents: int
    snippets: int
    refused: dict[str, int]
    empty: int
    parts: tuple[Bounds, ...]
    terms: str


class Journal:
    """The journal in a base's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.jsonl"
        self._held: tuple[tuple[int, int], dict[tuple[str, str], Entry]] | None = None

    def entries(self) -> dict[tuple[str, str], Entry]:
        """Return what is done, by corpus and key, sorted; of two lines on one file the later holds."""
        if not self.path.is_file():
            return {}
        status = self.path.stat()
        state = (status.st_size, status.st_mtime_ns)
        if self._held is None or self._held[0] != state:
            self._held = (state, self._read())
        return dict(self._held[1])

    def _read(self) -> dict[tuple[str, str], Entry]:
        done: dict[tuple[str, str], Entry] = {}
        with disk_errors(self.path), self.path.open(encoding="utf-8", errors="replace") as handle:
            for line in handle:
                try:
                    entry = Entry(**json.loads(line))
                except (ValueError, TypeError, ValidationError):
                    continue
                done[entry.corpus, entry.key] = entry
        return dict(sorted(done.items()))

    def record(self, entry: Entry) -> None:
        """Append a line and see it to the disk."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as handle:
            handle.write("\n" + json.dumps(entry.model_dump(), sort_keys=True) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the base for writing: made if it is not there, leftovers of stopped processes swept.

        Raises:
            LockedError: another process holds it.
            ConfigError: the folder holds something else.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is a file; give a folder for the knowledge base")
        if self.folder.is_dir() and not self.path.exists() and any(self.folder.iterdir()):
            raise ConfigError(f"{self.folder} holds files and is no knowledge base; give an empty folder or a new one")
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        with disk_errors(self.folder), (self.folder / "lock").open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                raise LockedError(f"{self.folder} is being written by {holder}; wait for it or stop it") from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove files of ours below `corpora` that no line names; whatever else lies there stays."""
        kept = {path for entry in self.entries().values() for path in self.files(entry)}
        with disk_errors(self.folder):
            for path in self.present():
                if path not in kept:
                    path.unlink()

    def files(self, entry: Entry) -> list[Path]:
        """Return the places of an entry's parts, and of the list of what was refused, which may not be there."""
        folder = self.folder / "corpora" / entry.corpus
        return [*(folder / bounds.name for bounds in entry.parts), folder / f"{entry.content}.refused.jsonl"]

    def present(self) -> list[Path]:
        """Return the files below `corpora` that are ours by their names, sorted; whatever else lies there is not."""
        return sorted(path for path in (self.folder / "corpora").glob("*/*") if _OURS.fullmatch(path.name))
