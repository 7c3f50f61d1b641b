"""Does a query find the right passages, and what does it cost? Writes `retrieval.md`.

    python benchmarks/retrieval.py                       # wordllama and minilm over the packaged corpora: six minutes
    python benchmarks/retrieval.py --embedder wordllama  # one of them, to the screen only
    python benchmarks/retrieval.py --scale 250000        # the cost of a large base of drawn passages, likewise

One query a disease of the vocabulary, worded as a build words it: the coarse caption of a picture labeled with the
disease, and the label. A passage is right for it if the corpus says that it is about the disease: HPO terms were mapped
to the vocabulary by hand, notes were written for their terms.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from medtrinity25m.caption import CoarseCaption
from medtrinity25m.knowledge.embedders import Embedder, Vector, make_embedder
from medtrinity25m.knowledge.lexical import best
from medtrinity25m.knowledge.retrieve import packaged_base, query_of
from medtrinity25m.knowledge.search import Base, Hit
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.store import Store
from medtrinity25m.knowledge.terms import plain_title, terms_of, wider
from medtrinity25m.registry import packaged_sources, vocabulary
from medtrinity25m.triplet import ROI, Sample

HERE = Path(__file__).parent
RIGHT = 0.9  # of the passages above the floor must be about the disease
Name = Literal["wordllama", "minilm"]
NAMES: tuple[Name, ...] = ("wordllama", "minilm")
Ranked = list[tuple[str, float]]
"""Ids and scores, the best first."""


@dataclass(frozen=True)
class Question:
    """A query and the passages that are right for it."""

    disease: str
    text: str
    terms: tuple[str, ...]
    right: frozenset[str]


class Shelf:
    """Passages in memory, under other terms than the corpus gives them."""

    def __init__(self, snippets: Iterable[Snippet]) -> None:
        self.held = {one.id: one for one in sorted(snippets, key=lambda one: one.id)}

    def snippets(self) -> Iterator[Snippet]:
        """Yield every passage by id."""
        yield from self.held.values()

    def get(self, ids: Iterable[str], /) -> dict[str, Snippet]:
        """Return passages by id."""
        return {one: self.held[one] for one in ids}

    def snapshot(self) -> str:
        """Return a name of the state; each of these shelves has a folder of its own."""
        return f"{len(self.held):064d}"


class Once:
    """An embedder that embeds a passage once, for the shelves that hold it under other terms."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.key, self.dim, self.floor = inner.key, inner.dim, inner.floor
        self.known: dict[str, Vector] = {}

    def passages(self, snippets: Sequence[Snippet], /) -> Vector:
        """Return (n, dim) float32, one row a passage."""
        new = [one for one in snippets if one.id not in self.known]
        self.known.update(zip((one.id for one in new), self.inner.passages(new), strict=True))
        return np.stack([self.known[one.id] for one in snippets])

    def query(self, text: str, /) -> Vector:
        """Return (dim,) float32."""
        return self.inner.query(text)


@cache
def modality_of(disease: str) -> str:
    """Return the modality in which the sources show a disease most often; CT where none does."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for source in packaged_sources().values():
        for raw in source.labels:
            meaning = source.meaning(raw)
            for one in meaning.diseases if meaning else ():
                seen[one].update([source.modality] if source.modality else source.modalities.values())
    return min(seen[disease], key=lambda one: (-seen[disease][one], one), default="ct")


def questions(snippets: Sequence[Snippet]) -> list[Question]:
    """Return a question for each disease of the vocabulary, worded by the stages of a build."""
    found = []
    for term in vocabulary("disease").terms.values():
        roi = ROI(xyxy=(0, 0, 8, 8), label=term.id, origin="box", area_fraction=0.1, position="center, middle")
        sample = Sample(
            id="0", locator="0", source="benchmark", license="CC0-1.0", modality=modality_of(term.id),
            organs=term.organs[:1], diseases=(term.id,), disease=term.id, rois=(roi,),
        )  # fmt: skip
        text, terms = query_of(CoarseCaption()(sample))
        right = frozenset(one.id for one in snippets if term.id in one.terms)
        found.append(Question(term.id, text, terms, right))
    return found


def ranked(hits: Sequence[Hit]) -> Ranked:
    """Return ids and scores of hits."""
    return [(hit.snippet.id, hit.score) for hit in hits]


def ways(base: Base, titled: Base, bare: Base) -> dict[str, Callable[[Question], Ranked]]:
    """Return the ways to answer that are compared, from vectors alone to what a build does."""

    def by_vector(question: Question) -> Ranked:
        vector = bare.embedder.query(question.text)
        similar = bare.index.vectors @ vector
        order = np.argsort(-similar, kind="stable")[:8]
        return [(bare.index.id(int(row)), float(similar[row])) for row in order]

    def by_words(question: Question) -> Ranked:
        scores = bare.index.lexical.scores(question.text)
        rows = best(scores, np.ones(bare.index.count, np.bool_), 8)
        return [(bare.index.id(row), float(scores[row])) for row in rows]

    return {
        "vectors alone": by_vector,
        "BM25 alone": by_words,
        "both, fused": lambda question: ranked(bare.search(question.text, terms=())),
        "both, fused, and the gate by titles": lambda question: ranked(
            titled.search(question.text, terms=question.terms)
        ),
        "both, fused, and the gate as shipped": lambda question: ranked(
            base.search(question.text, terms=question.terms)
        ),
    }


def figures(
    asked: Sequence[Question], answer: Callable[[Question], Ranked], nameless: frozenset[str]
) -> tuple[float, ...]:
    """Return recall at 1 and at 8, the mean reciprocal rank, the passages cited a query, and two shares of these.

    The first share is about another disease, the second about something that the vocabularies have no word for.
    """
    first, among, reciprocal, cited, wrong, unknown = 0, 0, 0.0, 0, 0, 0
    other = {one for question in asked for one in question.right}
    for question in asked:
        ids = [one for one, _ in answer(question)]
        places = [place for place, one in enumerate(ids, start=1) if one in question.right]
        first += places[:1] == [1]
        among += bool(places)
        reciprocal += 1 / places[0] if places else 0
        kin = frozenset().union(*(one.right for one in asked if one.disease in wider(question.disease)))
        cited += len(ids)
        wrong += sum(one in other and one not in question.right and one not in kin for one in ids)
        unknown += sum(one in nameless for one in ids)
    shares = (count / len(asked) for count in (first, among, reciprocal, cited))
    return *shares, wrong / max(cited, 1), unknown / max(cited, 1)


def floor_of(asked: Sequence[Question], bare: Base) -> list[tuple[float, float, float, int]]:
    """Return for each floor: the share of right passages above it, the share of the right ones kept, and how many."""
    marks: list[tuple[float, bool]] = []
    for question in asked:
        kin = {one.disease: one.right for one in asked}
        right = question.right.union(*(kin[one] for one in wider(question.disease)))
        marks += [(score, one in right) for one, score in ranked(bare.search(question.text, terms=()))]
    scores, good = np.asarray([score for score, _ in marks]), np.asarray([mark for _, mark in marks])
    rows = []
    for floor in np.arange(0.30, 1.0, 0.01).round(2).tolist():
        above = scores >= floor
        if above.any():
            kept = float((good & above).sum() / good.sum())
            rows.append((floor, float(good[above].mean()), kept, int(above.sum())))
    return rows


def chosen(rows: Sequence[tuple[float, float, float, int]]) -> float:
    """Return the lowest floor from which on the share of right passages never falls below `RIGHT`."""
    bad = [floor for floor, right, _, _ in rows if right < RIGHT]
    return round(max(bad, default=0.0) + 0.01, 2)


def measure(name: Name, folder: Path) -> list[str]:
    """Return the lines about one embedder."""
    store = Store(packaged_base(folder))
    snippets = list(store.snippets())
    embedder = Once(make_embedder(name))
    shelves = {
        "titled": Shelf(one.with_(terms=terms_of(one.title, one.text)) for one in snippets),
        "bare": Shelf(one.with_(terms=()) for one in snippets),
    }
    start = time.perf_counter()
    base = Base(store.folder, store, embedder)
    base.prepare()
    built = time.perf_counter() - start
    titled = Base(folder / name / "titled", shelves["titled"], embedder)
    bare = Base(folder / name / "bare", shelves["bare"], embedder, floor=-1.0)
    asked = questions(snippets)
    start = time.perf_counter()
    for question in asked:
        base.search(question.text, terms=question.terms)
    each_ms = (time.perf_counter() - start) / len(asked) * 1000
    rows = floor_of(asked, bare)
    diseases = vocabulary("disease").terms.keys()
    nameless = frozenset(one.id for one in snippets if diseases.isdisjoint(one.terms) and not plain_title(one.title))
    said = [
        f"## {name}", "",
        f"{len(snippets):,} passages, {len(asked)} queries; {sum(bool(one.right) for one in asked)} diseases have a "
        f"passage. Index built in {built:.1f} s, a query takes {each_ms:.1f} ms.", "",
        "| answered by | right first | right among 8 | MRR | cited a query | about another disease | without a word |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for way, answer in ways(base, titled, bare).items():
        one, eight, mrr, cited, wrong, unknown = figures(asked, answer, nameless)
        said.append(f"| {way} | {one:.1%} | {eight:.1%} | {mrr:.3f} | {cited:.1f} | {wrong:.1%} | {unknown:.1%} |")
    said += [
        "",
        f"Floor {chosen(rows):g}; shipped: {embedder.floor:g}. What a floor alone would do, without subjects:",
        "",
    ]
    said += ["| floor | right above it | of the right ones kept | passages above |", "| --- | --- | --- | --- |"]
    shown = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, chosen(rows)}
    said += [f"| {f:g} | {right:.1%} | {kept:.1%} | {n:,} |" for f, right, kept, n in rows if f in shown]
    return [*said, ""]


class Drawn:
    """Drawn passages of 60 words: a vocabulary with Zipf's frequencies, titles with terms in a third of them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def snippets(self) -> Iterator[Snippet]:
        """Yield every passage by id."""
        chance = np.random.default_rng(0)
        ids = sorted(f"drawn:{number:024x}" for number in random.Random(0).sample(range(1 << 62), self.count))
        names = [term.name for term in vocabulary("disease").terms.values()]
        words = np.asarray([f"word{number}" for number in range(50_000)] + names)
        for at, one in enumerate(ids):
            drawn = words[np.minimum(chance.zipf(1.3, 60), len(words)) - 1]
            title = f"{names[at % len(names)]} of {drawn[0]}" if at % 3 == 0 else f"On {drawn[1]}"
            text = " ".join(drawn)
            about = terms_of(title, text)
            yield Snippet(id=one, title=title, text=text, corpus="drawn", license="CC0-1.0", locator="0", terms=about)

    def get(self, ids: Iterable[str], /) -> dict[str, Snippet]:
        """Return stand-ins: texts are not measured here."""
        return {
            one: Snippet(id=one, title="", text=snippet_id("a", "", one), corpus="drawn", license="0", locator="0")
            for one in ids
        }

    def snapshot(self) -> str:
        """Return a name of the state."""
        return f"{self.count:064d}"


def scale(count: int, folder: Path) -> list[str]:
    """Return what a large base costs: time, memory and disk, compared and through Chroma; and what Chroma misses."""
    asked = questions([])[::6]
    embedder = make_embedder("wordllama")
    said = [f"## {count:,} drawn passages, wordllama", ""]
    near: list[list[set[str]]] = []
    for way, limit in (("every vector compared", count), ("Chroma where a subject is not known", 0)):
        base = Base(folder / "scale", Drawn(count), embedder, floor=0.2, exact_limit=limit)
        start = time.perf_counter()
        base.prepare()
        built = time.perf_counter() - start
        base.search(asked[0].text, terms=asked[0].terms)
        start = time.perf_counter()
        for question in asked:
            base.search(question.text, terms=question.terms)
        each_ms = (time.perf_counter() - start) / len(asked) * 1000
        start = time.perf_counter()
        near.append([{one for one, _ in ranked(base.search(f"word{n} word{n + 9}", top_k=64))} for n in range(40, 90)])
        free_ms = (time.perf_counter() - start) / 50 * 1000
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        size = sum(path.stat().st_size for path in (folder / "scale").rglob("*") if path.is_file()) / 1e9
        cost = f"{peak:.2f} GB of memory at most, {size:.2f} GB on disk"
        said.append(
            f"* {way}: built in {built:.0f} s, {each_ms:.0f} ms a query, {free_ms:.0f} ms without subject, {cost}"
        )
        base.close()
    kept = sum(len(one & other) for one, other in zip(*near, strict=True)) / sum(map(len, near[0]))
    said.append(f"* of 64 hits of a query without subject, Chroma's candidates hold {kept:.1%}")
    return [*said, ""]


def main() -> None:
    """Measure, print, and write `retrieval.md` unless only a part was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedder", choices=NAMES, help="only this one, to the screen")
    parser.add_argument("--scale", type=int, help="only the cost of so many drawn passages, to the screen")
    parser.add_argument("--folder", type=Path, help="keep the bases here; a second run is quicker")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).absolute()
        if given.scale:
            print("\n".join(scale(given.scale, folder)))
            return
        said = [line for name in ([given.embedder] if given.embedder else NAMES) for line in measure(name, folder)]
        print("\n".join(said))
        if not given.embedder:
            said += scale(100_000, folder)
            head = ["# Retrieval", "", "Written by `python benchmarks/retrieval.py`; see there for what is asked.", ""]
            (HERE / "retrieval.md").write_text("\n".join([*head, *said]), encoding="utf-8")


if __name__ == "__main__":
    main()
