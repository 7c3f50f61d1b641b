"""Searching a base: the same passages and scores however it was filled, and none about something else."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.knowledge.embedders import make_embedder
from medtrinity25m.knowledge.index import index_faults
from medtrinity25m.knowledge.search import Base
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.terms import terms_of
from medtrinity25m.registry import vocabulary

QUERIES = (
    "An axial CT image of the lung, labeled pneumonia.",
    "An MR image of the brain, labeled glioblastoma. The annotated region of interest is labeled glioblastoma.",
    "A fundus image of the retina.",
    "yellow deposits",
)


def note(title: str, text: str, corpus: str = "made", terms: tuple[str, ...] | None = None) -> Snippet:
    """Return a passage, its terms by its title unless said."""
    about = terms_of(title, text) if terms is None else terms
    name = snippet_id(corpus, title, text)
    return Snippet(id=name, title=title, text=text, corpus=corpus, license="CC0-1.0", locator="made", terms=about)


def notes(count: int = 600) -> list[Snippet]:
    """Return two notes a disease, one an organ, and prose on nothing in particular, in two corpora."""
    made = [note("CT window and display", "Dense bone is bright on CT, air is dark.")]
    for term in vocabulary("disease").terms.values():
        made.append(note(term.name, f"A {term.kind} that is called {term.name}.", "first"))
        made.append(note(f"Unusual {term.name} of the third type", f"Rarely {term.name} is unusual.", "second"))
    made += [note(term.name, f"Where the {term.name} lies.") for term in vocabulary("anatomy").terms.values()]
    words = ("wall", "line", "shadow", "round", "dense", "thin", "border", "cavity", "margin", "yellow", "deposits")
    words += ("lung", "brain", "retina")
    chance = random.Random(0)
    made += [note(f"Notice {n}", f"{' '.join(chance.choices(words, k=9))} {n}.", terms=()) for n in range(count)]
    return made


class Shelf:
    """Passages in memory, given in the order of their ids whatever the order they came in."""

    def __init__(self, snippets: Iterable[Snippet]) -> None:
        self.held = {one.id: one for one in snippets}
        self.read = 0

    def snippets(self) -> Iterator[Snippet]:
        for one in sorted(self.held.values(), key=lambda one: one.id):
            self.read += 1
            yield one

    def get(self, ids: Iterable[str]) -> dict[str, Snippet]:
        return {one: self.held[one] for one in ids}

    def snapshot(self) -> str:
        return hashlib.sha256(repr(sorted((one.id, one.terms) for one in self.held.values())).encode()).hexdigest()


def base(folder: Path, snippets: Iterable[Snippet], **options: object) -> Base:
    """Return a base in memory and its index in a folder."""
    return Base(folder, Shelf(snippets), make_embedder("wordllama"), **{"floor": 0.1, **options})  # type: ignore[arg-type]


def answers(opened: Base, **options: object) -> list[list[tuple[str, float]]]:
    """Return ids and scores of what every query finds."""
    return [[(hit.snippet.id, hit.score) for hit in opened.search(text, **options)] for text in QUERIES]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The base of the notes, every vector compared."""
    return base(tmp_path_factory.mktemp("whole"), notes())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_shuffled_and_rebuilt_base_gives_the_same_ids_and_scores(whole: Base, tmp_path: Path) -> None:
    """Three orders of insertion, three builds: the same index files and the same answers, eight each."""
    expected = answers(whole)
    assert all(len(found) == 8 for found in expected)
    for seed in range(3):
        shuffled = notes()
        random.Random(seed).shuffle(shuffled)
        again = base(tmp_path / str(seed), shuffled)
        assert answers(again) == expected
        assert again.index.marker["files"] == whole.index.marker["files"]


def test_chroma_embedded_and_served_give_what_comparing_everything_gives(
    whole: Base, server: str, tmp_path: Path
) -> None:
    """Candidates from a graph, built twice and served: the same ids and scores."""
    shuffled = notes()
    random.Random(7).shuffle(shuffled)
    embedded = base(tmp_path / "embedded", shuffled, exact_limit=0)
    assert answers(embedded) == answers(whole)
    assert answers(base(tmp_path / "embedded", notes(), exact_limit=0)) == answers(whole), "opened again"
    served = base(tmp_path / "served", notes(), exact_limit=0, server=server)
    assert answers(served) == answers(whole)
    assert not (tmp_path / "served" / "index" / served.embedder.key / "chroma").exists()
    for corpora in (("first",), ("second", "made")):
        assert answers(served, corpora=corpora) == answers(whole, corpora=corpora)
    assert not embedded.fingerprint()["exact"]
    served.close()


def test_preparing_a_small_base_fills_chroma_for_others_and_a_server_that_is_named_is_asked(
    server: str, tmp_path: Path
) -> None:
    """Anybody with chromadb finds the vectors of every passage; no URL is left unused because a base is small."""
    import chromadb

    opened = base(tmp_path, notes())
    opened.prepare()

    folder = tmp_path / "index" / opened.embedder.key / "chroma"
    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    assert sum(one.count() for one in client.list_collections()) == opened.index.count
    client.close()
    assert opened.fingerprint()["exact"]
    assert not base(tmp_path, notes(), server=server).fingerprint()["exact"]


def test_a_score_is_the_cosine_to_six_decimals(whole: Base) -> None:
    """Computed once more from the texts; a machine with other sums would still say the same."""
    for hit in whole.search(QUERIES[0]):
        one, other = whole.embedder.query(QUERIES[0]), whole.embedder.passages([hit.snippet])[0]
        cosine = float(np.dot(one.astype(np.float64), other.astype(np.float64)))
        assert hit.score == pytest.approx(cosine, abs=1e-6)
        assert round(hit.score, 6) == hit.score


def test_a_query_for_each_disease_finds_it_first(whole: Base) -> None:
    """Of 313 diseases with two notes each, the plain one comes first."""
    for term in vocabulary("disease").terms.values():
        organ = f" of the {vocabulary('anatomy')[term.organs[0]].name}" if term.organs else ""
        first = whole.search(f"A CT image{organ}, labeled {term.name}.", terms=(term.id, "ct", *term.organs))[0]
        assert first.snippet.title == term.name


def test_no_passage_is_about_another_disease_or_organ(whole: Base) -> None:
    """A glioblastoma gets no meningioma and no liver; without a label there is no disease at all."""
    hits = whole.search(QUERIES[1], terms=("mri", "brain", "glioblastoma"), top_k=64)
    named = {term for hit in hits for term in hit.snippet.terms}
    assert {"glioblastoma", "brain"} <= named
    assert named <= {"glioblastoma", *vocabulary("disease")["glioblastoma"].organs, "brain", "mri"}
    healthy = whole.search("An MR image of the brain.", terms=("mri", "brain"), top_k=64)
    assert {term for hit in healthy for term in hit.snippet.terms} == {"brain"}


def test_what_a_disease_is_a_kind_of_may_be_cited_in_its_place(tmp_path: Path) -> None:
    """A pulmonary nodule is a nodule, and not one of the thyroid; the special is never cited for the general."""
    held = [
        note("Nodule", "A nodule is round."),
        note("Nodule of the thyroid gland and lung", "x", terms=("nodule", "lung")),
        note("Nodules of the skin", "x", terms=("nodule", "skin")),
        note("Thyroid nodule", "A nodule of the thyroid."),
        note("Pulmonary nodule", "A nodule of the lung."),
    ]
    opened = base(tmp_path, held, floor=None)
    titles = [hit.snippet.title for hit in opened.search("A CT image, labeled pulmonary nodule.")]
    assert titles[0] == "Pulmonary nodule"
    assert set(titles[1:]) == {"Nodule", "Nodule of the thyroid gland and lung"}
    general = opened.search("A CT image of the lung, labeled nodule.", terms=("ct", "lung", "nodule"))
    assert {hit.snippet.title for hit in general} == {"Nodule", "Nodule of the thyroid gland and lung"}


def test_a_passage_whose_subject_is_unknown_needs_the_floor(tmp_path: Path) -> None:
    """So does one on an organ and something the vocabularies do not know; where nobody measured, none passes."""
    held = [
        note("Liver", "The liver on CT is of even density."),
        note("Fungus ball of the liver", "A CT image of the liver with a fungus ball."),
        note("Strange things", "A CT image of the liver.", terms=()),
        note("Other things", "Wheels of a bus.", terms=()),
    ]
    query = "A CT image of the liver."
    by_floor = {
        floor: {hit.snippet.title for hit in base(tmp_path, held, floor=floor).search(query)}
        for floor in (-1.0, 0.5, float("inf"))
    }
    assert by_floor[-1.0] == by_floor[0.5], "a passage that never names the liver is out at any floor"
    assert by_floor[0.5] == {"Liver", "Fungus ball of the liver", "Strange things"}
    assert by_floor[float("inf")] == {"Liver"}
    assert base(tmp_path, held, floor=None).least == make_embedder("wordllama").floor


def test_a_damaged_index_is_built_anew(tmp_path: Path) -> None:
    """A flipped bit, a file cut short or gone, a marker of nonsense: named, and mended by the next search."""
    expected = answers(base(tmp_path, notes()))
    home = next((tmp_path / "index").iterdir())
    folder = next(path for path in home.iterdir() if path.is_dir())
    for harm in ("flip", "cut", "gone", "marker"):
        vectors = folder / "vectors.f32"
        content = bytearray(vectors.read_bytes())
        content[1000] ^= 1
        match harm:
            case "flip":
                vectors.write_bytes(content)
            case "cut":
                vectors.write_bytes(content[:-4])
            case "gone":
                (folder / "ids.npy").unlink()
            case "marker":
                (folder / "marker.json").write_text('{"format": 1}')
        assert len(index_faults(tmp_path)) == 1, harm
        assert answers(base(tmp_path, notes())) == expected
        assert index_faults(tmp_path) == []


def test_a_damaged_chroma_is_filled_anew(whole: Base, tmp_path: Path) -> None:
    """Its database overwritten: the vectors beside it are enough."""
    first = base(tmp_path, notes(), exact_limit=0)
    expected = answers(first)
    first.close()
    (tmp_path / "index" / first.embedder.key / "chroma" / "chroma.sqlite3").write_bytes(b"no database" * 500)
    said: list[str] = []
    assert answers(base(tmp_path, notes(), exact_limit=0, say=said.append)) == expected
    assert any("damaged" in line for line in said)


def test_a_stopped_build_goes_on_and_a_grown_base_embeds_only_what_is_new(tmp_path: Path) -> None:
    """Vectors of whole blocks are kept; those of an older state are taken over by their ids."""
    counted = Counting()
    opened = Base(tmp_path, Shelf(notes(3000)), counted, floor=0.1)
    counted.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        opened.search(QUERIES[0])
    counted.stop_after, counted.passages_seen = 99, 0
    count = len(opened.shelf.held)  # type: ignore[attr-defined]
    found = answers(opened)
    assert counted.passages_seen == count - 2 * 1024
    assert found == answers(base(tmp_path / "fresh", notes(3000)))
    counted.passages_seen = 0
    grown = Base(tmp_path, Shelf([*notes(3000), note("New", "A new note.")]), counted, floor=0.1)
    assert grown.search(QUERIES[0])
    assert counted.passages_seen == 1
    folders = [path for path in (tmp_path / "index" / counted.key).iterdir() if path.is_dir()]
    assert len(folders) == 1, "the older state is removed"


class Counting:
    """The default embedder, which counts what it is asked and can be stopped."""

    def __init__(self) -> None:
        self._inner = make_embedder("wordllama")
        self.key, self.dim, self.floor = self._inner.key, self._inner.dim, self._inner.floor
        self.calls = self.passages_seen = 0
        self.stop_after = 99
        self.query = self._inner.query

    def passages(self, snippets: list[Snippet]) -> np.ndarray:
        if self.calls >= self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.passages_seen += len(snippets)
        return self._inner.passages(snippets)


def _ask(folder: str) -> list[list[tuple[str, float]]]:
    return answers(base(Path(folder), notes(), exact_limit=0))


def test_processes_that_open_a_base_at_once_agree(tmp_path: Path, whole: Base) -> None:
    """Three at once: one builds, the others wait, all read."""
    with get_context("spawn").Pool(3) as pool:
        found = pool.map(_ask, [str(tmp_path)] * 3)
    assert found == [answers(whole)] * 3


def test_what_cannot_be_searched_is_said(whole: Base, tmp_path: Path) -> None:
    """An empty base, a corpus that is not there, a server that is none."""
    with pytest.raises(ConfigError, match="holds no passage"):
        base(tmp_path / "empty", []).search("lung")
    with pytest.raises(ConfigError, match="no corpus 'third'.*first, made, second"):
        whole.search("lung", corpora=("third",))
    with pytest.raises(FetchError, match="no Chroma server"):
        base(tmp_path / "served", notes(3), exact_limit=0, server="http://127.0.0.1:9").search("lung")


def test_a_base_says_what_its_answers_depend_on(whole: Base) -> None:
    """Snapshot, embedder, floor: what a manifest keeps."""
    said = whole.fingerprint()
    assert said["snapshot"] == whole.shelf.snapshot()
    assert said["snippets"] == len(whole.shelf.held)  # type: ignore[attr-defined]
    assert (said["floor"], said["exact"], said["corpora"]) == (0.1, True, ["first", "made", "second"])
    assert json.loads(json.dumps(said)) == said
