"""The store of a knowledge base: a folder that corpora are added to, file by file, and passages are read from.

::

    BASE/journal.jsonl                                    a line a file: what it gave, and the hashes of its parts
    BASE/corpora/<corpus>/<file's sha256>-00000.parquet   its passages
    BASE/corpora/<corpus>/<file's sha256>.refused.jsonl   what was refused of it, the first thousand
    BASE/order/<corpus>/<hash>/                           the passages of all parts in the order of their ids
    BASE/snapshot.json                                    the snapshot, so that it is computed once

A file is done when the journal says so. A stopped `add` leaves nothing that counts: the same command goes on with the
file it stopped in. A file that cannot be used as a whole leaves nothing either, and is tried again the next time.

**Why** the snapshot hashes ids and terms alone: an id is the hash of what a passage says, so two bases that say the
same have one snapshot, whatever the files were called, how they were cut and in which order they came.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from medtrinity25m.errors import ConfigError, DiskError, RefusedError
from medtrinity25m.knowledge import parts
from medtrinity25m.knowledge.corpora import FORMATS
from medtrinity25m.knowledge.corpora.passage import Refusal
from medtrinity25m.knowledge.intake import Given, Intake, Tally, check_names, given_files
from medtrinity25m.knowledge.journal import Entry, Journal
from medtrinity25m.knowledge.parts import Bounds
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.release.workspace import disk_errors, sha256_file, write_committed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Added:
    """What one call added.

    Args:
        files: files that were read.
        skipped: files that were there already.
        ignored: files of folders that are of no format, by their names.
        documents: documents that gave a passage.
        snippets: passages.
        refused: records refused, by reason code.
        empty: records without text.
        failed: files that could not be used as a whole, each with its reason.
    """

    files: int = 0
    skipped: int = 0
    ignored: int = 0
    documents: int = 0
    snippets: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    failed: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class CorpusCount:
    """What a corpus holds; a passage that two files hold counts twice in `snippets`."""

    corpus: str
    license: str
    files: int
    documents: int
    snippets: int
    refused: int
    empty: int


class Store:
    """A knowledge base's passages.

    Args:
        folder: the base; made by the first `add`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = Journal(folder)

    def add(
        self,
        paths: Sequence[Path],
        *,
        format: str | None = None,  # noqa: A002  # the word of the command line
        corpus: str | None = None,
        license: str | None = None,  # noqa: A002  # SPDX's word
        say: Callable[[str], None],
    ) -> Added:
        """Add files, and the files in folders; what is there already is skipped.

        Args:
            paths: files and folders; the order does not matter.
            format: a key of `FORMATS`; by content if None.
            corpus: names the corpus; by format if None.
            license: SPDX id or LicenseRef-… of texts that state none.
            say: is told a line a file.

        Raises:
            ConfigError: a path is not there, a file given by name is of no known format, or its license is missing.
            LockedError: another process adds to the base.
            DiskError: the base cannot be written.
        """
        check_names(format, corpus, license)
        given, ignored = given_files(paths, format, corpus, license)
        total, done, failed = Tally(), [0, 0], list[Refusal]()
        with self._journal.writing():
            known = self._journal.entries()
            for number, file in enumerate(given, start=1):
                try:
                    entry = self._add_file(file, known, license)
                except RefusedError as refusal:
                    failed.append(Refusal(file.name, refusal.code, refusal.detail))
                    say(f"{number:,}/{len(given):,} {file.name}: {refusal}")
                    continue
                done[entry is None] += 1
                if entry is not None:
                    total.add(entry)
                    say(f"{number:,}/{len(given):,} {file.name}: {_words(entry)}")
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        return Added(
            files=done[0],
            skipped=done[1],
            ignored=ignored,
            documents=total.documents,
            snippets=total.snippets,
            refused=dict(sorted(total.refused.items())),
            empty=total.empty,
            failed=tuple(failed),
        )

    def _add_file(self, file: Given, known: dict[tuple[str, str], Entry], license_: str | None) -> Entry | None:
        """Read one file; None if it is there already."""
        before = file.stamp()
        with file.readable():
            digest = sha256_file(file.path)
        format_, corpus = file.kind()
        old = known.get((corpus, digest))
        if old is not None and old.terms == terms_rules() and all(self._stands(old)):
            return None
        intake = Intake(self.folder / "corpora" / corpus, digest, terms_of)
        read = FORMATS[format_](file.path, corpus=corpus, license=license_, name=file.name, cache=self.folder / "cache")
        with intake:
            intake.take(read)
            if file.stamp() != before:
                raise RefusedError("knowledge.changed", f"{file.name} changed while it was read; add it again")
        entry = Entry(
            key=digest, source=file.name, content=digest, corpus=corpus, format=format_, terms=terms_rules(),
            **intake.tally.fields(),
        )  # fmt: skip
        self._journal.record(entry)
        known[corpus, digest] = entry
        return entry

    def _stands(self, entry: Entry) -> Iterator[bool]:
        for bounds, path in zip(entry.parts, self._journal.files(entry), strict=False):
            yield path.is_file() and sha256_file(path) == bounds.sha256

    def add_snippets(self, name: str, snippets: Iterable[Snippet]) -> Added:
        """Add a corpus that a program makes; one of the same name that was added before is replaced.

        Args:
            name: the corpus, which every passage names.
            snippets: the passages, in any order; they are held in memory. Terms they have are kept.

        Raises:
            ConfigError: a passage names another corpus, or its id is not of its content.
        """
        check_names(None, name, None)
        held = sorted(snippets, key=lambda snippet: (snippet.id, snippet.locator, snippet.offset))
        for snippet in held:
            if snippet.corpus != name or snippet.id != snippet_id(name, snippet.title, snippet.text):
                raise ConfigError(
                    f"{snippet.id} at {snippet.locator} is no passage of {name} by its corpus and content"
                )
        content = hashlib.sha256("\n".join(snippet.model_dump_json() for snippet in held).encode()).hexdigest()
        key = hashlib.sha256(f"packaged:{name}".encode()).hexdigest()
        with self._journal.writing():
            old = self._journal.entries().get((name, key))
            if old is not None and old.content == content and old.terms == terms_rules() and all(self._stands(old)):
                return Added(skipped=1)
            with Intake(self.folder / "corpora" / name, content, terms_of) as intake:
                intake.take(held)
            tally = intake.tally.fields()
            self._journal.record(
                Entry(
                    key=key, source=name, content=content, corpus=name, format="packaged", terms=terms_rules(), **tally
                )
            )
        return Added(files=1, documents=intake.tally.documents, snippets=intake.tally.snippets)

    def corpora(self) -> list[CorpusCount]:
        """Return what each corpus holds, by name."""
        found: dict[str, Tally] = {}
        for entry in self._journal.entries().values():
            found.setdefault(entry.corpus, Tally()).add(entry)
        return [
            CorpusCount(
                corpus=corpus,
                license=", ".join(sorted(tally.licenses)),
                files=tally.files,
                documents=tally.documents,
                snippets=tally.snippets,
                refused=tally.refused.total(),
                empty=tally.empty,
            )
            for corpus, tally in sorted(found.items())
        ]

    def snippets(self, corpus: str | None = None) -> Iterator[Snippet]:
        """Yield the passages, of one corpus or all, ordered by id, equal ids once.

        Raises:
            ConfigError: a part is damaged or gone.
        """
        for path in self._paths(corpus):
            for row in parts.read(path):
                yield row.snippet()

    def get(self, ids: Iterable[str]) -> dict[str, Snippet]:
        """Return passages by id, in the order of `ids`; an id that is not there is left out."""
        asked = list(dict.fromkeys(ids))
        found: dict[str, Snippet] = {}
        known = set(self._corpora())
        by_corpus: dict[str, list[str]] = {}
        for one in sorted(asked):
            by_corpus.setdefault(one.partition(":")[0], []).append(one)
        for corpus in by_corpus.keys() & known:
            folder, bounds = self._ordered(corpus)
            starts = [bound.first for bound in bounds]
            by_file: dict[int, list[str]] = {}
            for one in by_corpus[corpus]:
                by_file.setdefault(max(0, bisect_right(starts, one) - 1), []).append(one)
            for number, some in by_file.items():
                found |= {row.id: row.snippet() for row in parts.find(folder / bounds[number].name, some)}
        return {one: found[one] for one in asked if one in found}

    def snapshot(self) -> str:
        """Return the SHA-256 of what the base says: of ids and terms, ordered by id."""
        state = hashlib.sha256(repr([(corpus, self._state(corpus)) for corpus in self._corpora()]).encode()).hexdigest()
        place = self.folder / "snapshot.json"
        with suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(place.read_text(encoding="utf-8"))
            if said["state"] == state:
                return str(said["snapshot"])
        digest = hashlib.sha256()
        for path in self._paths(None):
            for one, terms in parts.read_terms(path):
                digest.update(f"{one}\x1f{','.join(terms)}\n".encode())
        with suppress(ConfigError, DiskError):  # a base on a medium that is only read has none
            write_committed(place, json.dumps({"state": state, "snapshot": digest.hexdigest()}))
        return digest.hexdigest()

    def refusals(self) -> Iterator[tuple[str, Refusal]]:
        """Yield corpus and refusal of each record that was refused, the first thousand of each file."""
        for entry in self._journal.entries().values():
            place = self._journal.files(entry)[-1]
            if place.is_file():
                for line in place.read_text(encoding="utf-8").splitlines():
                    yield entry.corpus, Refusal(**json.loads(line))

    def faults(self) -> list[str]:
        """Return what is wrong with the base, a sentence each; none if all is well."""
        from medtrinity25m.knowledge.faults import faults

        return faults(self._journal, terms_rules())

    def _corpora(self) -> list[str]:
        """Return the corpora in the order of their ids."""
        return sorted({corpus for corpus, _ in self._journal.entries()}, key=lambda corpus: corpus + ":")

    def _paths(self, corpus: str | None) -> Iterator[Path]:
        for one in self._corpora():
            if corpus in (None, one):
                folder, bounds = self._ordered(one)
                yield from (folder / bound.name for bound in bounds)

    def _state(self, corpus: str) -> list[str]:
        entries = self._journal.entries()
        return sorted(bound.sha256 for entry in entries.values() if entry.corpus == corpus for bound in entry.parts)

    def _ordered(self, corpus: str) -> tuple[Path, list[Bounds]]:
        """Return the files that hold a corpus in order, made now if they are not there; a single part is in order."""
        folder = self.folder / "corpora" / corpus
        bounds = [
            bound for entry in self._journal.entries().values() if entry.corpus == corpus for bound in entry.parts
        ]
        if len(bounds) <= 1:
            return folder, bounds
        order = self.folder / "order" / corpus
        place = order / hashlib.sha256("".join(self._state(corpus)).encode()).hexdigest()[:32]
        found = parts.ordered(place)
        if found is None:
            with _waiting(order):
                found = parts.ordered(place) or parts.order(sorted(folder / bound.name for bound in bounds), place)
                for stale in order.iterdir():
                    if stale.is_dir() and stale != place:
                        shutil.rmtree(stale, ignore_errors=True)
        return place, found


def terms_of(title: str, text: str) -> tuple[str, ...]:
    """Return the vocabulary ids that a passage is about."""
    from medtrinity25m.knowledge.terms import terms_of as found

    return found(title, text)


@cache
def terms_rules() -> str:
    """Return a hash of what `terms_of` depends on: the vocabularies and its own module."""
    package = files("medtrinity25m")
    data = [
        *(path for path in (package / "vocab").iterdir() if path.name.endswith(".toml")),
        package / "knowledge" / "terms.py",
    ]
    hashes = sorted((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in data)
    return hashlib.sha256(repr(hashes).encode()).hexdigest()


@contextmanager
def _waiting(folder: Path) -> Iterator[None]:
    """Let one process at a time pass; the others wait."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _words(entry: Entry) -> str:
    refused = ", ".join(f"{count:,} {code}" for code, count in sorted(entry.refused.items()))
    words = f"{entry.snippets:,} passages of {entry.documents:,} documents to {entry.corpus}"
    return (
        words + (f"; without text {entry.empty:,}" if entry.empty else "") + (f"; refused {refused}" if refused else "")
    )
