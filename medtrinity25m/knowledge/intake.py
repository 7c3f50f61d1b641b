"""Files on their way into a knowledge base: which there are, and their passages written to sorted parts."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from medtrinity25m.errors import ConfigError, RefusedError, one_line
from medtrinity25m.knowledge import parts
from medtrinity25m.knowledge.corpora import FORMATS, default_corpus, detect, document, is_candidate
from medtrinity25m.knowledge.corpora.passage import EMPTY, Read, Refusal
from medtrinity25m.knowledge.journal import Entry
from medtrinity25m.knowledge.parts import Bounds, Row
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.registry import LICENSE_PATTERN
from medtrinity25m.release.workspace import write_committed

LISTED = 1_000  # refusals of a file that are listed; all are counted
MAX_CHARACTERS = 100 << 20  # of a part: 50,000 passages have 50 million as a rule
NEED_LICENSE = ("textbook",)
_CORPUS = re.compile(r"[a-z][a-z0-9_-]*")

TermsOf = Callable[[str, str], tuple[str, ...]]


class Stamp(NamedTuple):
    """What tells that a file changed while it was read."""

    size: int
    changed_ns: int
    inode: int


@dataclass(frozen=True)
class Given:
    """One file to read: where it lies, its name in locators, and what the user said it is."""

    path: Path
    name: str
    format: str | None
    corpus: str | None
    license: str | None

    def kind(self) -> tuple[str, str]:
        """Return format and corpus of a file that may be one of many.

        Raises:
            RefusedError: `knowledge.unknown`: it is of no known format, or its license is missing.
        """
        try:
            return self.checked()
        except ConfigError as error:
            raise RefusedError("knowledge.unknown", str(error)) from None

    def checked(self) -> tuple[str, str]:
        """Return format and corpus; what is missing is the user's to say."""
        found = self.format or detect(self.path)
        if found in NEED_LICENSE and self.license is None:
            raise ConfigError(f"{self.path}: a {found} file states no license; give it with --license")
        return found, self.corpus or default_corpus(found, self.path)

    def stamp(self) -> Stamp:
        """Return the state of the file now."""
        with self.readable():
            status = self.path.stat()
            return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turn what the disk raises into a refusal of the file."""
        try:
            yield
        except OSError as error:
            raise RefusedError("knowledge.unreadable", f"{self.name}: {error.strerror or error}") from None


def check_names(format_: str | None, corpus: str | None, license_: str | None) -> None:
    """Refuse a format, corpus or license that cannot be.

    Raises:
        ConfigError: with what can be.
    """
    if format_ is not None and format_ not in FORMATS:
        raise ConfigError(f"no format {format_!r}; there are {', '.join(FORMATS)}")
    if corpus is not None and not _CORPUS.fullmatch(corpus):
        raise ConfigError(f"corpus {corpus!r}: use lower-case letters, digits, _ and -, a letter first")
    if license_ is not None and not re.fullmatch(LICENSE_PATTERN, license_):
        raise ConfigError(f"license {license_!r} is no SPDX id and no LicenseRef-…")


def given_files(
    paths: Iterable[Path], format_: str | None, corpus: str | None, license_: str | None
) -> tuple[list[Given], int]:
    """Return the files to read, sorted by name and place, and how many files of folders are of no format.

    Links within folders are not followed, whatever is no regular file is left out.

    Raises:
        ConfigError: a path is not there, or a file that was named is of no format or lacks its license.
    """
    found: dict[Path, Given] = {}
    ignored = 0
    for path in paths:
        if path.is_dir():
            for place in _walk(path):
                if format_ is not None or is_candidate(place):
                    name = one_line(place.relative_to(path).as_posix())
                    found.setdefault(place.resolve(), Given(place, name, format_, corpus, license_))
                else:
                    ignored += 1
        elif path.is_file():
            given = Given(path, one_line(path.name), format_, corpus, license_)
            given.checked()
            found[path.resolve()] = given
        else:
            raise ConfigError(f"{path} is neither a file nor a folder; give what was downloaded")
    return sorted(found.values(), key=lambda given: (given.name, str(given.path))), ignored


def _walk(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


@dataclass
class Tally:
    """Counts of one file, or of several."""

    files: int = 0
    documents: int = 0
    snippets: int = 0
    empty: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    parts: list[Bounds] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Add what a file gave; its parts are not listed again."""
        self.files += 1
        self.documents += entry.documents
        self.snippets += entry.snippets
        self.empty += entry.empty
        self.refused.update(entry.refused)
        self.licenses.update(entry.licenses)

    def fields(self) -> dict[str, Any]:
        """Return the counts as an entry has them."""
        counts = {name: getattr(self, name) for name in ("documents", "snippets", "empty")}
        return counts | {
            "refused": dict(sorted(self.refused.items())),
            "licenses": dict(sorted(self.licenses.items())),
            "parts": tuple(self.parts),
        }


class Intake:
    """Writes what a reader yields as sorted parts; nothing stays if the reader raises.

    Args:
        folder: the corpus's folder.
        content: SHA-256 that names the parts.
        terms_of: says what a passage is about, where it does not say so itself.
    """

    def __init__(self, folder: Path, content: str, terms_of: TermsOf) -> None:
        self._folder, self._content, self._terms_of = folder, content, terms_of
        self._rows: list[Row] = []
        self._characters = 0
        self._listed: list[Refusal] = []
        self.tally = Tally()

    def take(self, read: Iterable[Read]) -> None:
        """Take all that a reader yields."""
        last = None
        for one in read:
            if isinstance(one, Refusal):
                self._refuse(one)
                continue
            if (of := document(one.locator)) != last:
                self.tally.documents += 1
                last = of
            self._keep(one)
        self._flush()
        if self._listed:
            text = "".join(json.dumps(asdict(one), sort_keys=True) + "\n" for one in self._listed)
            write_committed(self._folder / f"{self._content}.refused.jsonl", text)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.code == EMPTY:
            self.tally.empty += 1
            return
        self.tally.refused[refusal.code] += 1
        if len(self._listed) < LISTED:
            self._listed.append(refusal)

    def _keep(self, snippet: Snippet) -> None:
        terms = snippet.terms or self._terms_of(snippet.title, snippet.text)
        self._rows.append(parts.row_of(snippet, tuple(sorted(set(terms)))))
        self._characters += len(snippet.text) + len(snippet.title)
        if len(self._rows) >= parts.MAX_ROWS or self._characters >= MAX_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._rows.sort()
        rows = list(parts.distinct(self._rows))
        name = f"{self._content}-{len(self.tally.parts):05}.parquet"
        self.tally.parts.append(parts.write(self._folder / name, rows))
        self.tally.snippets += len(rows)
        self.tally.licenses.update(row.license for row in rows)
        self._rows, self._characters = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for bounds in self.tally.parts:
                (self._folder / bounds.name).unlink(missing_ok=True)
            (self._folder / f"{self._content}.refused.jsonl").unlink(missing_ok=True)
