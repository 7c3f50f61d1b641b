"""The gate on the packaged base: nothing about another organ, and the disease first, for every disease."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from medtrinity25m.caption import CoarseCaption
from medtrinity25m.knowledge.embedders import make_embedder
from medtrinity25m.knowledge.places import around, finest, located, parts, same_place, wholes
from medtrinity25m.knowledge.retrieve import packaged_base, query_of
from medtrinity25m.knowledge.search import Base
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.store import Store
from medtrinity25m.knowledge.subject import Subject
from medtrinity25m.knowledge.terms import of_kind, wider
from medtrinity25m.registry import packaged_sources, vocabulary
from medtrinity25m.triplet import ROI, Sample

ORGANS = ("liver", "lung", "brain")  # where diseases of any organ are looked for
Asked = tuple[str, str, list[Snippet]]
"""A disease, an organ, and the passages for them."""
Ask = Callable[..., list[Snippet]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The packaged base."""
    folder = packaged_base(tmp_path_factory.mktemp("packaged"))
    return Base(folder, Store(folder), make_embedder("wordllama"))


@pytest.fixture(scope="module")
def ask(base: Base) -> Ask:
    """Answers what a build would: the passages for a picture of an organ, labeled with a disease."""

    def answer(disease: str | None, organ: str | None, modality: str) -> list[Snippet]:
        labels = () if disease is None else (disease,)
        rois = tuple(
            ROI(xyxy=(0, 0, 8, 8), label=label, origin="box", area_fraction=0.1, position="center, middle")
            for label in labels
        )
        sample = Sample(
            id="0", locator="0", source="test", license="CC0-1.0", modality=modality, rois=rois,
            organs=() if organ is None else (organ,), diseases=labels, disease=disease or "unknown",
        )  # fmt: skip
        text, terms = query_of(CoarseCaption()(sample))
        return [hit.snippet for hit in base.search(text, terms=terms)]

    return answer


@pytest.fixture(scope="module")
def all_diseases(ask: Ask) -> list[Asked]:
    """Every disease in the first organ it occurs in, or in three where it may be anywhere."""
    shown: dict[str, str] = {}
    for source in packaged_sources().values():
        for meaning in filter(None, map(source.meaning, source.labels)):
            for disease in meaning.diseases:
                shown.setdefault(disease, source.modality or next(iter(source.modalities.values()), "ct"))
    return [
        (term.id, organ, ask(term.id, organ, shown.get(term.id, "ct")))
        for term in vocabulary("disease").terms.values()
        for organ in (term.organs[:1] or ORGANS)
    ]


def organs_of(snippet: Snippet) -> frozenset[str]:
    """Return the organs a passage names."""
    return of_kind(snippet.terms, "anatomy")


def named(snippets: Iterable[Snippet]) -> list[str]:
    """Return the titles of passages."""
    return [snippet.title for snippet in snippets]


def test_no_passage_names_only_organs_elsewhere(all_diseases: list[Asked]) -> None:
    """For every disease and organ each passage names no organ, or the organ, a part of it, or a whole it is in."""
    assert len({disease for disease, _, _ in all_diseases}) == len(vocabulary("disease").terms)
    for disease, organ, found in all_diseases:
        for snippet in found:
            organs = organs_of(snippet)
            assert not organs or same_place({organ}, organs), f"{disease} of {organ}: {snippet.title} {organs}"


def test_no_passage_is_about_another_disease_only(all_diseases: list[Asked]) -> None:
    """A passage that names diseases names the query's, or what it is a kind of."""
    for disease, organ, found in all_diseases:
        for snippet in found:
            diseases = of_kind(snippet.terms, "disease")
            assert not diseases or diseases & {disease, *wider(disease)}, f"{disease} of {organ}: {snippet.title}"


def test_the_first_passage_is_about_the_disease(all_diseases: list[Asked]) -> None:
    """All of them, by the query that a build makes of a coarse caption."""
    missed = [(disease, organ) for disease, organ, found in all_diseases if not found or disease not in found[0].terms]
    assert missed == []


def test_the_disease_comes_first_in_words_too(base: Base) -> None:
    """The same without ids, by the words of a question; what the vocabulary words alike may be found instead."""
    terms = vocabulary("disease").terms.values()
    first = [base.search(f"A CT image, labeled {term.name}.", top_k=1) for term in terms]
    right = sum(bool(hits) and term.id in hits[0].snippet.terms for term, hits in zip(terms, first, strict=True))
    assert right >= 0.95 * len(terms)


def test_a_lesion_of_the_liver_is_not_one_of_mouth_vessel_skin_or_brain(ask: Ask) -> None:
    """Names that merely hold the word lesion are out; the note on lesions is first, and the liver's is there."""
    titles = named(ask("lesion", "liver", "mri"))
    assert titles[0] == "lesion"
    assert "liver" in titles
    assert not [title for title in titles if title.endswith(" lesion")]


def test_a_microaneurysm_of_the_retina_is_not_one_of_the_glomerulus(ask: Ask) -> None:
    """Those of macula and fundus stay, after the note."""
    titles = named(ask("microaneurysm", "retina", "fundus"))
    assert titles[0] == "retinal microaneurysm"
    assert "Macular microaneurysm/hemorrhage" in titles
    assert "Glomerular capillary microaneurysm" not in titles


def test_where_the_labeled_organ_is_not_that_of_the_disease_both_count(ask: Ask) -> None:
    """A chest radiograph shows the spine too: passages on scoliosis name it, and are wanted."""
    found = ask("scoliosis", "chest", "xray")
    assert any("spine" in organs_of(snippet) and "scoliosis" in snippet.terms for snippet in found)


def test_a_disease_of_a_tissue_is_not_cited_from_another_region(ask: Ask) -> None:
    """Lymph nodes are everywhere: of the mediastinum for a chest, never of the groin; aneurysms likewise."""
    found = ask("lymphadenopathy", "chest", "ct")
    assert "Mediastinal lymphadenopathy" in named(found)
    assert not {"Inguinal lymphadenopathy", "Cervical lymphadenopathy"} & set(named(found))
    assert "Iliac artery aneurysm" not in named(ask("intracranial_aneurysm", "brain", "ct"))


def test_a_title_that_names_a_disease_is_not_on_its_organ(ask: Ask) -> None:
    """HPO's bone cyst and nevus mean more than ours, so they are about an organ only, and yet not on it."""
    assert "Bone cyst" not in named(ask("nonossifying_fibroma", "tibia", "xray"))
    assert "Nevus" not in named(ask("melanoma", "skin", "dermoscopy"))


def test_an_organ_alone_finds_the_passage_on_it(ask: Ask) -> None:
    """Where no disease is labeled no passage is about one."""
    found = ask(None, "pancreas", "ct")
    assert "pancreas" in named(found)
    assert not [snippet for snippet in found if of_kind(snippet.terms, "disease")]


def test_where_no_organ_is_known_no_passage_names_one(ask: Ask) -> None:
    """A lesion of nobody knows what: only what is said of lesions anywhere."""
    found = ask("lesion", None, "mri")
    assert named(found)[0] == "lesion"
    assert not [snippet for snippet in found if organs_of(snippet)]


def test_a_passage_without_a_subject_must_name_what_is_asked_for(tmp_path: Path) -> None:
    """As whole words in title or text, in any plural and spelling; what it calls absent it does not name."""
    texts = {
        "Notice 1": "In the series there were many tumours.",
        "Notice 2": "Wheels of a bus.",
        "Notice 3": "Round shadows, no tumor.",
        "Notice 4": "Seen beside the hepatic border.",
    }
    made = [
        Snippet(
            id=snippet_id("made", title, f"Seen twice. {text}"), title=title, text=f"Seen twice. {text}",
            corpus="made", license="CC0-1.0", locator="made",
        )
        for title, text in texts.items()
    ]  # fmt: skip
    store = Store(tmp_path / "base")
    store.add_snippets("made", made)
    opened = Base(tmp_path / "base", store, make_embedder("wordllama"), floor=-1.0)

    def titles(*terms: str) -> set[str]:
        return set(named(hit.snippet for hit in opened.search("Seen twice.", terms=terms)))

    assert titles("ct", "liver", "tumor") == {"Notice 1", "Notice 4"}
    assert titles("ct", "tumor") == {"Notice 1"}
    assert titles("ct") == set(texts), "a modality alone asks for no name"


def test_places_of_a_subject_are_the_organs_it_names_and_homes_elsewhere() -> None:
    """An organ narrows what a disease leaves open; a tissue of a disease never widens where."""

    def places(*terms: str) -> frozenset[str]:
        return Subject.of("", terms).places

    assert places("multiple_sclerosis", "brain") == {"brain"}
    assert places("multiple_sclerosis") == {"brain", "spinal_cord"}
    assert places("osteoporosis", "knee") == {"knee", "bone"}
    assert places("lesion", "liver") == {"liver"}
    assert places("lesion") == frozenset()


def test_parts_and_wholes_are_one_place_and_neighbors_are_not() -> None:
    """By what the vocabulary says an organ is part of; tissues lie nowhere."""
    assert {"eye", "head", "whole_body"} <= wholes("retina")
    assert "macula" in parts("retina")
    assert same_place({"macula"}, {"eye"})
    assert same_place({"abdomen"}, {"portal_vein"})
    assert not same_place({"liver"}, {"spleen"})
    assert not same_place({"liver"}, {"vessel"})
    assert finest({"eye", "retina", "skin"}) == {"retina", "skin"}
    assert {"spine", "fetal_head", "face"} <= located()
    assert not located() & {"bone", "vessel", "skin", "lymph_node", "bone_marrow", "cell"}
    assert around(()) == frozenset()
