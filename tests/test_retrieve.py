"""The stage that gives samples their passages, the packaged base, and the verbs of `medtrinity25m knowledge`."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medtrinity25m.caption import CoarseCaption
from medtrinity25m.commands.knowledge import app
from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.glossary import Cite
from medtrinity25m.knowledge.options import Knowledge
from medtrinity25m.knowledge.retrieve import Passages, Retrieve, open_base, packaged_base, query_of
from medtrinity25m.knowledge.search import Base
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.store import Store
from medtrinity25m.knowledge.terms import terms_of
from medtrinity25m.pipeline import Stage, each
from medtrinity25m.registry import vocabulary
from medtrinity25m.triplet import ROI, Sample
from test_knowledge_search import Shelf

Law = Callable[[Stage, Sequence[Sample]], list[Sample]]
NOTES = {
    "Pneumonia": "An infection fills the air spaces.",
    "Lung": "Both lungs hold air and are dark on CT.",
    "Glaucoma": "The cup of the optic disc is large.",
    "CT window and display": "Air is dark.",
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A base of four notes."""
    made = [
        Snippet(
            id=snippet_id("made", title, text), title=title, text=text, corpus="made", license="CC0-1.0", locator="m"
        )
        for title, text in NOTES.items()
    ]
    Store(tmp_path / "base").add_snippets("made", made)
    return tmp_path / "base"


@pytest.fixture
def pneumonia(sample: Sample) -> Sample:
    """A CT image of the lung, labeled pneumonia, one region."""
    roi = ROI(xyxy=(5, 10, 25, 20), label="pneumonia", origin="box", area_fraction=0.1, position="center, middle")
    facts = {"organs": ("lung",), "diseases": ("pneumonia",), "disease": "pneumonia", "rois": (roi, roi)}
    return CoarseCaption()(sample.with_(**facts))


def titles(base: Path, sample: Sample) -> list[str]:
    """Return the titles of a sample's passages."""
    held = Store(base).get([passage.passage_id for passage in sample.knowledge])
    return [held[passage.passage_id].title for passage in sample.knowledge if passage.passage_id in held]


def test_a_query_is_the_coarse_caption_and_the_labels(pneumonia: Sample, sample: Sample) -> None:
    """Each label once, in words; what it is about comes from the columns, `none` and `unknown` left out."""
    text, terms = query_of(pneumonia)
    assert text == f"{pneumonia.coarse_caption} pneumonia."
    assert terms == ("ct", "lung", "pneumonia")
    assert query_of(sample) == ("", ("ct",))
    assert query_of(sample.with_(disease="none"))[1] == ("ct",)


def test_the_stage_adds_passages_to_those_that_are_cited(
    filled: Path, pneumonia: Sample, sample: Sample, assert_stage: Law
) -> None:
    """The disease first, then organ and modality, no glaucoma; nothing twice; the law of stages holds."""
    stage = Retrieve(Knowledge(base=filled), filled.parent, filled.parent)
    cited = Cite()(pneumonia)
    made, plain = assert_stage(each(stage), [cited, sample])
    assert made.knowledge[: len(cited.knowledge)] == cited.knowledge
    assert titles(filled, made)[0] == "Pneumonia"
    assert sorted(titles(filled, made)) == ["CT window and display", "Lung", "Pneumonia"]
    assert titles(filled, plain) == ["CT window and display"]
    assert stage(made).knowledge == made.knowledge
    fewer = Retrieve(Knowledge(base=Path("base"), top_k=1), filled.parent, filled.parent)
    assert titles(filled, fewer(pneumonia)) == ["Pneumonia"], "a relative path starts from the config's folder"


def test_passages_do_not_depend_on_the_process(filled: Path, pneumonia: Sample) -> None:
    """Two processes with other hash seeds, threads and no index at hand: the same ids and scores."""
    code = (
        "import sys; from pathlib import Path; from medtrinity25m.knowledge.options import Knowledge;"
        "from medtrinity25m.knowledge.retrieve import open_base;"
        "base = Path(sys.argv[1]); opened = open_base(Knowledge(base=base), base.parent, base.parent);"
        "print([(hit.snippet.id, hit.score) for hit in opened.search('A CT image of the lung, labeled pneumonia.')])"
    )
    printed = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed}
        copy = filled.parent / f"copy{seed}"
        subprocess.run(["cp", "-r", str(filled), str(copy)], check=True)
        done = subprocess.run(
            [sys.executable, "-c", code, str(copy)], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(done.stdout)
    assert len(printed) == 1
    assert "made:" in printed.pop()


def test_the_packaged_base_is_made_once(tmp_path: Path, pneumonia: Sample) -> None:
    """HPO's definitions and our notes; the second call finds it, a stopped one leaves nothing that counts."""
    half = tmp_path / "knowledge"
    half.mkdir()
    said: list[str] = []
    folder = packaged_base(tmp_path, said.append)
    assert {one.corpus for one in Store(folder).corpora()} == {"hpo", "medtrinity25m-notes"}
    assert len(said) == 3
    stamp = folder.stat().st_mtime_ns
    folder_again = packaged_base(tmp_path, said.append)
    assert (folder_again, folder.stat().st_mtime_ns, len(said)) == (folder, stamp, 3)
    stage = Retrieve(Knowledge(), tmp_path, Path("/nowhere"))
    found = stage(pneumonia)
    assert titles(folder, found)[0].casefold() == "pneumonia"
    assert len(found.knowledge) == Knowledge().top_k
    about = {term for one in Store(folder).get(p.passage_id for p in found.knowledge).values() for term in one.terms}
    assert about.isdisjoint({"glaucoma", "glioma", "lung_cancer"})


def test_a_query_for_each_disease_finds_a_passage_about_it_first(tmp_path: Path, sample: Sample) -> None:
    """Every one by the subjects that the corpora state; 95 in 100 where only the titles say what passages are about."""
    store = Store(packaged_base(tmp_path))
    snippets = list(store.snippets())
    by_title = Shelf(one.with_(terms=terms_of(one.title, one.text)) for one in snippets)
    shipped = open_base(Knowledge(), tmp_path, tmp_path)
    titled = Base(tmp_path / "titled", by_title, shipped.embedder)
    right = [0, 0]
    diseases = vocabulary("disease").terms
    for term in diseases.values():
        roi = ROI(xyxy=(5, 10, 25, 20), label=term.id, origin="box", area_fraction=0.1, position="center, middle")
        facts = {"organs": term.organs[:1], "diseases": (term.id,), "disease": term.id, "rois": (roi,)}
        text, terms = query_of(CoarseCaption()(sample.with_(**facts)))
        for at, base in enumerate((shipped, titled)):
            found = base.passages([hit.snippet.id for hit in base.search(text, terms=terms, top_k=1)])
            right[at] += any(term.id in one.terms for one in store.get(one.id for one in found).values())
    assert right[0] == len(diseases)
    assert right[1] >= 0.95 * len(diseases)


def test_passages_are_given_by_id_in_the_order_asked(filled: Path) -> None:
    """What a describer quotes; an id that the base does not hold is said, not skipped."""
    ids = [one.id for one in Store(filled).snippets()][::-1]
    give = pickle.loads(pickle.dumps(Passages(Knowledge(base=filled), filled.parent, filled.parent)))
    assert [one.id for one in give(ids)] == ids
    with pytest.raises(ConfigError, match="has no passage made:0"):
        give([*ids, "made:0"])


def test_a_base_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By its path, with the command that makes one."""
    with pytest.raises(ConfigError, match="missing is no folder; `medtrinity25m knowledge add`"):
        open_base(Knowledge(base=Path("missing")), tmp_path, tmp_path)


def test_the_verbs_fill_list_ask_and_check_a_base(tmp_path: Path) -> None:
    """add, list, query, verify on a textbook of two pages; a damaged part fails verify by name."""
    book = tmp_path / "book.md"
    book.write_text("# Pneumonia\n\nAn infection fills the air spaces of the lung.\n\n# Glaucoma\n\nA large cup.\n")
    base = str(tmp_path / "base")
    ask = CliRunner().invoke
    added = ask(app, ["add", base, str(book), "--format", "textbook", "--license", "CC0-1.0"])
    assert added.exit_code == 0, added.output
    again = ask(app, ["add", base, str(book), "--format", "textbook", "--license", "CC0-1.0"])
    assert "1 there already" in again.output
    listed = ask(app, ["list", base])
    assert "CC0-1.0" in listed.output
    assert Store(Path(base)).snapshot() in listed.output
    asked = ask(app, ["query", base, "A CT image of the lung, labeled pneumonia.", "--top-k", "1"])
    assert asked.exit_code == 0, asked.output
    assert "fills the air spaces" in asked.output
    assert "large cup" not in asked.output
    nothing = ask(app, ["query", base, "A fundus image, labeled drusen."])
    assert "nothing fits" in nothing.output
    assert ask(app, ["verify", base]).exit_code == 0
    vectors = next(Path(base).glob("index/*/*/vectors.f32"))
    vectors.write_bytes(bytes(len(vectors.read_bytes())))
    checked = ask(app, ["verify", base])
    assert checked.exit_code == 3
    assert "vectors.f32: missing or damaged" in checked.output
    assert ask(app, ["query", base, "pneumonia"]).exit_code == 0
    assert ask(app, ["verify", base]).exit_code == 0, "the query mended it"
    for verb in ("list", "verify"):
        missing = ask(app, [verb, str(tmp_path / "missing")])
        assert (missing.exit_code, "is no folder" in missing.output) == (2, True)


def test_vectors_of_a_base_are_mapped_not_loaded(filled: Path) -> None:
    """Workers on one machine share the pages of a large base."""
    opened = open_base(Knowledge(base=filled), filled.parent, filled.parent)
    opened.prepare()
    assert isinstance(opened.index.vectors, np.memmap)
