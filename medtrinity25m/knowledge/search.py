"""`Base`: the nearest passages of a base, the same ones every time.

A query is answered in five steps. (1) `subject` says which passages are sure to fit and which perhaps. (2) Of both,
the nearest by vector and (3) the best by BM25 are candidates. (4) Every candidate's similarity is computed exactly:
products of float32 in float64 lose nothing, `math.fsum` adds them with one rounding, and six decimals are kept; what
fits only perhaps must reach the floor. (5) Candidates are ordered: first those about a disease the query names, of
these first the ones whose title says no more, then by reciprocal rank fusion (Cormack et al. 2009, k = 60) of both
lists, then by id. The score of a hit is its similarity, which means something alone; the sum of the fusion does not.

**Why**

- *exact up to `EXACT_LIMIT` passages*: comparing a million vectors takes a fraction of a second, less than Chroma's
  answer, and has no luck in it. Chroma is filled all the same: other programs read it, and a base may grow. Above,
  passages that are sure to fit are still all compared. Only those that perhaps fit come from Chroma's graph, and
  which of these it misses is not promised to be the same in a rebuilt one; scores and order of what it finds are.
  `benchmarks/retrieval.md` says how often it misses.
- *the disease first*: in a sentence on a CT image of the lung labeled sarcoma most words are not about the sarcoma, and
  neither is the nearest passage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.approximate import Approximate, open_approximate
from medtrinity25m.knowledge.embedders import Embedder, Vector
from medtrinity25m.knowledge.index import Index, Mask, Shelf, open_index, quiet
from medtrinity25m.knowledge.lexical import best
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.knowledge.subject import Subject

EXACT_LIMIT = 1_000_000  # passages: 1 GB of vectors by wordllama; see above
CANDIDATES = 64  # of each list; eight times the usual top_k
MORE = 4  # so many times more are asked of Chroma, since it returns some that do not fit
RRF_K = 60
DECIMALS = 6  # of a score: float32 vectors say no more
SLACK = 1e-4  # a float32 matrix product is wrong by less, for vectors of length 1


@dataclass(frozen=True)
class Hit:
    """A passage and how similar it is to the query: the cosine, or the inner product where the embedder has it so."""

    snippet: Snippet
    score: float


@dataclass(frozen=True)
class Base:
    """A base that can be searched; its index is built or mended when it is first needed.

    Args:
        folder: where the base lies; the index goes to `index/` below it.
        shelf: what it holds.
        embedder: makes the vectors.
        server: URL of a Chroma server, which is asked whatever the size of the base; None keeps Chroma in the folder.
        floor: lowest score of a passage that is not sure to fit; None is the embedder's own. Where nobody measured
            one, such passages are left out.
        exact_limit: up to so many passages every vector is compared.
        say: told what takes time.
    """

    folder: Path
    shelf: Shelf
    embedder: Embedder
    server: str | None = None
    floor: float | None = None
    exact_limit: int = EXACT_LIMIT
    say: Callable[[str], None] = field(default=quiet, compare=False)

    @cached_property
    def index(self) -> Index:
        """The index of what the shelf held when it was first needed."""
        return open_index(self.folder, self.shelf, self.embedder, limit=self.exact_limit, say=self.say)

    @cached_property
    def _approximate(self) -> Approximate | None:
        if self.server is None and self.index.count <= self.exact_limit:
            return None
        return self._chroma()

    def _chroma(self) -> Approximate:
        return open_approximate(self.folder / "index" / self.embedder.key, self.index, self.server, self.say)

    def prepare(self) -> None:
        """Build the index and fill Chroma, so that workers, and other programs, find both there."""
        self.say(f"{self.folder}: {self.index.count:,} passages by {self.embedder.key}")
        if self._approximate is None:
            self._chroma().close()
        self.say("every vector is compared" if self._approximate is None else "candidates come from Chroma")

    def close(self) -> None:
        """Let go of Chroma, if it was opened."""
        opened = self.__dict__.pop("_approximate", None)
        if opened is not None:
            opened.close()

    @property
    def least(self) -> float:
        """The floor that holds."""
        floor = self.embedder.floor if self.floor is None else self.floor
        return math.inf if floor is None else floor

    def fingerprint(self) -> dict[str, Any]:
        """Return what a search depends on besides the query."""
        return {
            "snapshot": self.index.marker["snapshot"],
            "snippets": self.index.count,
            "corpora": self.index.marker["corpora"],
            "embedder": self.embedder.key,
            "floor": None if math.isinf(self.least) else self.least,
            "exact": self.server is None and self.index.count <= self.exact_limit,
        }

    def search(
        self, text: str, *, terms: Collection[str] | None = None, top_k: int = 8, corpora: Sequence[str] = ()
    ) -> list[Hit]:
        """Return up to `top_k` passages, the best first; fewer or none where nothing fits.

        Args:
            text: the query.
            terms: vocabulary ids of what it is about; None takes them from the words of the text.
            top_k: at most so many.
            corpora: only passages of these; none means all.

        Raises:
            ConfigError: the base is empty, has no such corpus, or a package is missing.
            FetchError: the Chroma server does not answer.
        """
        subject = Subject.of(text, terms)
        sure, perhaps = subject.admits(self.index)
        if corpora:
            chosen = self.index.of_corpora(corpora)
            sure, perhaps = sure & chosen, perhaps & chosen
        vector = self.embedder.query(text)
        words = self.index.lexical.scores(text)
        worded = {*best(words, sure, CANDIDATES), *best(words, perhaps, CANDIDATES)}
        rows = worded | self._nearest(vector, sure) | self._near(vector, perhaps, subject, corpora)
        scores = {row: s for row, s in self._scores(vector, sorted(rows)).items() if sure[row] or s >= self.least}
        fused = _fuse(
            sorted(scores, key=lambda row: (-scores[row], row)),
            sorted(worded & scores.keys(), key=lambda row: (-words[row], row)),
        )
        named = self.index.about(subject.diseases)
        plain = named & self.index.plain
        order = sorted(scores, key=lambda row: (not plain[row], not named[row], -fused.get(row, 0.0), row))[:top_k]
        snippets = self.passages([self.index.id(row) for row in order])
        return [Hit(snippet, scores[row]) for snippet, row in zip(snippets, order, strict=True)]

    def passages(self, ids: Sequence[str]) -> list[Snippet]:
        """Return passages in the order of their ids given.

        Raises:
            ConfigError: the base does not hold one.
        """
        found = self.shelf.get(ids)
        for one in ids:
            if one not in found:
                raise ConfigError(f"knowledge: {self.folder} has no passage {one}; was the base changed meanwhile?")
        return [found[one] for one in ids]

    def _near(self, vector: Vector, allowed: Mask, subject: Subject, corpora: Sequence[str]) -> set[int]:
        """Return the allowed rows nearest to a vector, and perhaps some more; Chroma's where there are too many."""
        if math.isinf(self.least):
            return set()
        if self._approximate is None:
            return self._nearest(vector, allowed)
        found = self._approximate.nearest(vector, MORE * CANDIDATES, corpora=corpora, diseases=not subject.known)
        return {row for row in found if allowed[row]}

    def _nearest(self, vector: Vector, allowed: Mask) -> set[int]:
        """Return the allowed rows nearest to a vector: every one is compared, and all that tie for the last place."""
        rows = np.flatnonzero(allowed)
        if len(rows) > CANDIDATES:
            most = len(rows) > self.index.count // 8  # then a pass over everything is quicker than picking rows
            similar = (self.index.vectors @ vector)[rows] if most else self.index.vectors[rows] @ vector
            slack = SLACK * max(1.0, float(np.abs(similar).max()))
            least = np.partition(similar, len(rows) - CANDIDATES)[len(rows) - CANDIDATES] - slack
            rows = rows[similar >= least]
        scores = self._scores(vector, rows.tolist())
        return set(sorted(scores, key=lambda row: (-scores[row], row))[:CANDIDATES])

    def _scores(self, vector: Vector, rows: Sequence[int]) -> dict[int, float]:
        """Return the exact similarity of rows, to six decimals."""
        query = vector.astype(np.float64)
        products = self.index.vectors[list(rows)].astype(np.float64) * query
        return {row: round(math.fsum(terms), DECIMALS) for row, terms in zip(rows, products.tolist(), strict=True)}


def _fuse(*lists: Sequence[int]) -> dict[int, float]:
    """Return the reciprocal rank fusion of ranked lists."""
    fused: dict[int, float] = {}
    for ranked in lists:
        for rank, row in enumerate(ranked[:CANDIDATES], start=1):
            fused[row] = fused.get(row, 0.0) + 1 / (RRF_K + rank)
    return fused
