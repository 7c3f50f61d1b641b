"""The index of a base: vectors, BM25, subjects and a Chroma collection, under `BASE/index/<embedder>/`.

::

    index/wordllama-0123456789ab/       an embedder, by its weights
        <state>/                        a state of the base, by its snapshot and the vocabularies
            marker.json                 written last: counts, sizes, hashes; without it nothing here is trusted
            ids.npy                     ids of the passages, sorted; a row is a place in this list
            vectors.f32                 one vector a row
            corpus.npy, plain.npy       which corpus a row is of, and whether its title is plain
            term_rows.npy, term_starts.npy   rows about each term; of rows without, rows that say its name
            bm25/                       bm25s
        chroma/                         PersistentClient, one collection a state

Building is resumed where it was stopped; vectors of passages that an older snapshot had are taken from there. One
process builds, others wait. Whoever reads maps the files and holds no lock.

**Why** passages are numbered in the order of their ids: then the index depends on what a base holds and not on how it
came there. Why the vectors lie beside Chroma too: an approximate search answers with what its graph happens to reach,
and which graph that is depends on threads and on the order of insertion. Below `search.EXACT_LIMIT` passages every
vector is compared, and above it what Chroma returns is compared again with these.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.embedders import Embedder, Vector
from medtrinity25m.knowledge.lexical import Lexical, LexicalBuilder
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.knowledge.store import terms_rules
from medtrinity25m.knowledge.terms import kinds, of_kind, plain_title, said, terms_of
from medtrinity25m.release.workspace import disk_errors, sha256_file, write_committed

FORMAT = 2  # of the files; another number is built anew
BLOCK = 1024  # passages embedded between two syncs: a stopped build loses seconds
STATE_DIGITS = 16
MARKER = "marker.json"
SAID = "said "  # before a term: what passages without a subject say of it somewhere
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Shelf(Protocol):
    """What is indexed: see `knowledge.store.Store`."""

    def snippets(self) -> Iterator[Snippet]:
        """Yield every passage once, ordered by id."""
        ...

    def get(self, ids: Iterable[str], /) -> dict[str, Snippet]:
        """Return passages by id."""
        ...

    def snapshot(self) -> str:
        """Return a hash of what the shelf holds."""
        ...


@dataclass(frozen=True)
class Index:
    """A complete index, read; the arrays are mapped, not loaded."""

    folder: Path
    marker: dict[str, Any]

    @property
    def count(self) -> int:
        """Passages in the index."""
        return int(self.marker["count"])

    @cached_property
    def ids(self) -> NDArray[np.bytes_]:
        """Ids by row, sorted, (count,) bytes."""
        ids: NDArray[np.bytes_] = np.load(self.folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        return ids

    @cached_property
    def vectors(self) -> Vector:
        """(count, dim) float32, mapped."""
        shape = (self.count, int(self.marker["dim"]))
        return np.memmap(self.folder / "vectors.f32", np.float32, "r", shape=shape)

    @cached_property
    def lexical(self) -> Lexical:
        """The BM25 index."""
        return Lexical.load(self.folder / "bm25")

    @cached_property
    def _corpus(self) -> NDArray[np.uint16]:
        corpus: NDArray[np.uint16] = np.load(self.folder / "corpus.npy", mmap_mode="r", allow_pickle=False)
        return corpus

    @cached_property
    def plain(self) -> Mask:
        """Which rows have a plain title, see `terms.plain_title`, that names no disease but the passage's."""
        plain: Mask = np.load(self.folder / "plain.npy", mmap_mode="r", allow_pickle=False)
        return plain

    @cached_property
    def _terms(self) -> tuple[dict[str, int], NDArray[np.int64], Rows]:
        starts = np.load(self.folder / "term_starts.npy", mmap_mode="r", allow_pickle=False)
        rows = np.load(self.folder / "term_rows.npy", mmap_mode="r", allow_pickle=False)
        known = {term: at for at, term in enumerate(self.marker["terms"])}
        return known, np.asarray(starts), np.asarray(rows)  # slices of a memory map are slow to make

    def id(self, row: int | np.int64) -> str:
        """Return the id of a row."""
        return bytes(self.ids[row]).decode()

    @property
    def name(self) -> str:
        """A name for collections: embedder and state."""
        return f"{self.marker['embedder']}-{self.folder.name}"

    def corpus(self, row: int | np.int64) -> str:
        """Return the corpus of a row."""
        return str(self.marker["corpora"][self._corpus[row]])

    def rows(self, ids: Iterable[str]) -> list[int]:
        """Return the rows of ids that are in the index."""
        wanted = np.asarray([one.encode() for one in ids], self.ids.dtype)
        at = np.minimum(np.searchsorted(self.ids, wanted), self.count - 1)
        return [int(row) for row, one in zip(at, wanted, strict=True) if self.ids[row] == one]

    def about(self, terms: Iterable[str]) -> Mask:
        """Return which rows are about one of the terms, (count,) bool."""
        known, starts, rows = self._terms
        mask = np.zeros(self.count, np.bool_)
        for term in terms:
            if (at := known.get(term)) is not None:
                mask[rows[starts[at] : starts[at + 1]]] = True
        return mask

    def saying(self, terms: Iterable[str]) -> Mask:
        """Return which rows are about nothing known and have the name of one of the terms, (count,) bool."""
        return self.about(SAID + term for term in terms)

    @cached_property
    def about_kind(self) -> dict[str, Mask]:
        """Which rows are about a disease, an organ or a modality at all."""
        kind_of = kinds()
        return {
            kind: self.about(term for term in self.marker["terms"] if kind_of.get(term) == kind)
            for kind in ("disease", "anatomy", "modality")
        }

    def of_corpora(self, corpora: Iterable[str]) -> Mask:
        """Return which rows are of one of the corpora, (count,) bool.

        Raises:
            ConfigError: the base has no such corpus.
        """
        known: list[str] = self.marker["corpora"]
        for corpus in corpora:
            if corpus not in known:
                raise ConfigError(f"knowledge: no corpus {corpus!r} in this base; it has {', '.join(known)}")
        return np.isin(self._corpus, [known.index(corpus) for corpus in corpora])


def quiet(_line: str) -> None:
    """Say nothing."""


def open_index(
    base: Path, shelf: Shelf, embedder: Embedder, *, limit: int, say: Callable[[str], None] = quiet
) -> Index:
    """Return the index of what the shelf holds now, built or mended first where need be.

    Args:
        base: folder of the base; the index goes below it.
        shelf: what is indexed.
        embedder: makes the vectors.
        limit: up to so many passages the hashes of the files are compared too, not only their sizes.
        say: told what takes time.

    Raises:
        ConfigError: the shelf is empty, or a package is missing.
    """
    snapshot = shelf.snapshot()
    home = base / "index" / embedder.key
    state = hashlib.sha256(f"{snapshot} {terms_rules()}".encode()).hexdigest()
    folder = home / state[:STATE_DIGITS]
    marker = _trusted(folder, snapshot, embedder.key, limit)
    if marker is None:
        with disk_errors(home), locked(home):
            marker = _trusted(folder, snapshot, embedder.key, limit)  # whoever held the lock may have built it
            if marker is None:
                shutil.rmtree(folder, ignore_errors=True)
                say(f"indexing passages with {embedder.key}")
                marker = _build(home, folder, shelf, embedder, snapshot, say)
                _remove_others(home, folder)
    return Index(folder, marker)


def index_faults(base: Path) -> list[str]:
    """Return what is wrong with the complete indexes of a base, a sentence each; a search mends it."""
    faults = []
    for path in sorted(base.glob(f"index/*/*/{MARKER}")):
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))["files"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            faults.append(f"{path}: cannot be read; delete its folder, the next search builds it anew")
            continue
        for name, entry in entries:
            file = path.parent / name
            if not file.is_file() or sha256_file(file) != entry["sha256"]:
                faults.append(f"{file}: missing or damaged; delete {path.parent}, the next search builds it anew")
    return faults


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the lock of an embedder's folder, waiting for whoever has it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _trusted(folder: Path, snapshot: str, key: str, limit: int) -> dict[str, Any] | None:
    """Return the marker of a complete index, or None."""
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        same = (marker["format"], marker["snapshot"], marker["embedder"]) == (FORMAT, snapshot, key)
        sizes = all((folder / name).stat().st_size == entry["bytes"] for name, entry in marker["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not (same and sizes):
        return None
    if marker["count"] <= limit and any(
        sha256_file(folder / name) != entry["sha256"] for name, entry in marker["files"].items()
    ):
        return None
    return marker


def _build(
    home: Path, folder: Path, shelf: Shelf, embedder: Embedder, snapshot: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Build an index beside its place, put it there when it is complete, and return its marker."""
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    older = _older(home, embedder.key)
    notes = _Notes()
    with (part / "vectors.f32").open("ab") as file:
        row_bytes = embedder.dim * 4
        have = file.tell() // (row_bytes * BLOCK) * BLOCK  # whole blocks; a torn one is made again
        file.truncate(have * row_bytes)
        for block in _blocks(shelf.snippets()):
            notes.add(block)
            if len(notes.ids) > have:
                file.write(_vectors(block, embedder, older).tobytes())
                file.flush()
                os.fsync(file.fileno())
            if len(notes.ids) % (BLOCK * 64) == 0:
                say(f"indexed {len(notes.ids):,} passages")
    if not notes.ids:
        raise ConfigError("knowledge: the base holds no passage; `medtrinity25m knowledge add` puts some in")
    notes.save(part)
    files = {
        str(path.relative_to(part)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(part.rglob("*"))
        if path.is_file() and path.name != MARKER
    }
    marker = {
        "format": FORMAT, "snapshot": snapshot, "embedder": embedder.key, "count": len(notes.ids), "dim": embedder.dim,
        "corpora": sorted(set(notes.corpora)), "terms": sorted(notes.terms), "files": files,
    }  # fmt: skip
    write_committed(part / MARKER, json.dumps(marker, indent=1))
    part.replace(folder)
    say(f"indexed {len(notes.ids):,} passages")
    return marker


class _Notes:
    """What is noted of the passages besides their vectors, row by row."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.corpora: list[str] = []
        self.plain: list[bool] = []
        self.terms: dict[str, list[int]] = {}
        self.words = LexicalBuilder()

    def add(self, block: list[Snippet]) -> None:
        for snippet in block:
            terms = snippet.terms or [SAID + term for term in sorted(said(snippet.title, snippet.text))]
            for term in terms:
                self.terms.setdefault(term, []).append(len(self.ids))
            self.ids.append(snippet.id.encode())
            self.corpora.append(snippet.corpus)
            self.plain.append(_plain(snippet))
            self.words.add(snippet)

    def save(self, folder: Path) -> None:
        if any(one >= other for one, other in zip(self.ids, self.ids[1:], strict=False)):
            raise ValueError("the shelf does not give its passages once and ordered by id")
        names = {name: at for at, name in enumerate(sorted(set(self.corpora)))}
        rows = [self.terms[term] for term in sorted(self.terms)]
        arrays = {
            "ids": np.asarray(self.ids),
            "corpus": np.asarray([names[corpus] for corpus in self.corpora], np.uint16),
            "plain": np.asarray(self.plain),
            "term_rows": np.concatenate([np.asarray(some, np.int64) for some in rows] or [np.empty(0, np.int64)]),
            "term_starts": np.cumsum([0, *map(len, rows)]),
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        self.words.save(folder / "bm25")


def _plain(snippet: Snippet) -> bool:
    """Say whether a title is plain, and names no disease that the passage is said not to be about."""
    if not plain_title(snippet.title):
        return False
    return of_kind(terms_of(snippet.title, ""), "disease") <= set(snippet.terms)


def _vectors(block: list[Snippet], embedder: Embedder, older: list[Index]) -> Vector:
    """Return the vectors of some passages, those that an older index has from there: an id is its content."""
    vectors = np.zeros((len(block), embedder.dim), np.float32)
    missing = dict(enumerate(block))
    for index in older:
        for at, snippet in list(missing.items()):
            for row in index.rows([snippet.id]):
                vectors[at] = index.vectors[row]
                del missing[at]
    if missing:
        vectors[list(missing)] = embedder.passages(list(missing.values()))
    return vectors


def _blocks(snippets: Iterator[Snippet]) -> Iterator[list[Snippet]]:
    while block := list(islice(snippets, BLOCK)):
        yield block


def _older(home: Path, key: str) -> list[Index]:
    """Return the complete indexes of other snapshots."""
    found = []
    for path in sorted(home.glob(f"*/{MARKER}")):
        try:
            snapshot = json.loads(path.read_text(encoding="utf-8"))["snapshot"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        marker = _trusted(path.parent, snapshot, key, limit=0)
        if marker is not None:
            found.append(Index(path.parent, marker))
    return found


def _remove_others(home: Path, folder: Path) -> None:
    """Remove the indexes of former snapshots; who reads one still has it mapped."""
    for path in home.iterdir():
        if path.is_dir() and path not in (folder, home / "chroma"):
            shutil.rmtree(path, ignore_errors=True)
