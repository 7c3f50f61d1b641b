"""BM25 over the words of title and text, by bm25s: what finds a rare word that vectors blur.

**Why** token ids of our own: bm25s numbers its vocabulary in the order of a Python set, which differs from process to
process. Ids by first appearance, passages in order of their ids and a query's words in alphabetical order make every
float32 sum the same sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.snippet import Snippet

K1, B = 1.5, 0.75  # of BM25, as Lucene and bm25s have them
TOKEN = re.compile(r"[^\W_]+")
STOP_WORDS = frozenset(
    """a an and are as at be by for from has have in is it its of on or that the their there these this to was were
    which with""".split()  # noqa: SIM905 - a list of thirty quoted words reads worse
)


def tokens_of(text: str) -> list[str]:
    """Return the words of a text that count, in lower case, a plural s taken off."""
    words = (word for word in TOKEN.findall(text.casefold()) if word not in STOP_WORDS)
    return [word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word for word in words]


class LexicalBuilder:
    """Collects passages, in the order of their ids, and writes their index."""

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._documents: list[NDArray[np.int32]] = []

    def add(self, snippet: Snippet) -> None:
        """Add the next passage."""
        known = self._vocabulary
        numbers = [known.setdefault(word, len(known)) for word in tokens_of(f"{snippet.title} {snippet.text}")]
        self._documents.append(np.asarray(numbers or [known.setdefault("", len(known))], np.int32))

    def save(self, folder: Path) -> None:
        """Write the index of what was added to a folder."""
        bm25s = _bm25s()
        model = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
        documents = [document.tolist() for document in self._documents]
        model.index((documents, self._vocabulary), create_empty_token=False, show_progress=False)
        model.save(folder, show_progress=False)


@dataclass(frozen=True)
class Lexical:
    """A written index, read."""

    model: Any
    vocabulary: dict[str, int]

    @classmethod
    def load(cls, folder: Path) -> Lexical:
        """Read the index in a folder; its arrays stay on disk and are mapped."""
        model = _bm25s().BM25.load(folder, mmap=True, load_corpus=False)
        return cls(model, model.vocab_dict)

    def scores(self, text: str) -> NDArray[np.float32]:
        """Return the BM25 score of every passage, in the order of their ids; 0 where no word is shared."""
        numbers = [self.vocabulary[word] for word in sorted(set(tokens_of(text))) if word in self.vocabulary]
        scores: NDArray[np.float32] = self.model.get_scores_from_ids(numbers)
        return scores


def best(scores: NDArray[np.float32], allowed: NDArray[np.bool_], count: int) -> list[int]:
    """Return up to `count` allowed rows with a score above 0, the best first, equal ones by row."""
    rows = np.flatnonzero(allowed & (scores > 0))
    if len(rows) > count:
        least = np.partition(scores[rows], len(rows) - count)[len(rows) - count]
        rows = rows[scores[rows] >= least]
    order: Sequence[int] = np.lexsort((rows, -scores[rows])).tolist()
    return [int(rows[at]) for at in order[:count]]


def _bm25s() -> Any:
    if find_spec("bm25s") is None:
        raise ConfigError("knowledge: bm25s is missing; pip install 'medtrinity25m[knowledge]'")
    import bm25s

    return bm25s
