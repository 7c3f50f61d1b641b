"""What a passage is about is read from its title, by the words of the vocabularies."""

from __future__ import annotations

import time

import pytest

from medtrinity25m.knowledge.terms import kinds, plain_title, terms_of, wider
from medtrinity25m.registry import vocabulary

TITLES = {
    "Pulmonary metastases of renal cell carcinomas": {"lung_metastasis", "renal_cell_carcinoma"},
    "Tumours of the oesophagus": {"tumor", "esophagus"},
    "Crohn's disease on MRI": {"crohn_disease", "mri"},
    "Acute myeloid leukaemia": {"acute_myeloid_leukemia"},
    "Multiple lung NODULES": {"pulmonary_nodule"},
    "COVID-19 pneumonia": {"covid_19"},
    "White blood cells": {"white_blood_cell"},
    "Vertebrae and toes": {"vertebra", "toe"},
    "non-Hodgkin lymphoma": {"non_hodgkin_lymphoma"},
    "Patients without pneumonia": set(),
    "A trial of us in at nv and df": set(),
}


@pytest.mark.parametrize("title", TITLES)
def test_a_title_says_what_a_passage_is_about(title: str) -> None:
    """Whole words, the longest first, in any number and spelling; what is denied does not count."""
    assert set(terms_of(title, "Pneumothorax is not asked.")) == TITLES[title] or (
        not TITLES[title] and terms_of(title, "") == ()
    )


def test_the_first_sentence_speaks_where_the_title_is_silent() -> None:
    """The second sentence does not, nor any where the title has a term."""
    text = "Glaucoma damages the optic nerve. Cataract clouds the lens."
    assert terms_of("Background", text) == ("glaucoma", "optic_nerve")
    assert terms_of("Drusen", text) == ("drusen",)


def test_acronyms_count_in_capitals_only() -> None:
    """`scc` in a sentence may be anything, `SCC` is a carcinoma; two of them take an s."""
    assert terms_of("SCC of unknown origin", "") == ("squamous_cell_carcinoma",)
    assert terms_of("SCCs of unknown origin", "") == ("squamous_cell_carcinoma",)
    assert terms_of("The scc command", "") == ()


def test_every_term_is_found_by_its_own_name() -> None:
    """A vocabulary of 500 terms, each of which names itself, its plural included."""
    lost = [
        (term.id, word)
        for kind in ("modality", "anatomy", "disease")
        for term in vocabulary(kind).terms.values()  # type: ignore[arg-type]
        for word in filter(None, (term.name, term.plural, None if term.name[-1] in "sxyu" else f"{term.name}s"))
        if term.id not in terms_of(word, "")
    ]
    assert lost == []
    assert len(kinds()) == sum(len(vocabulary(kind).terms) for kind in ("modality", "anatomy", "disease"))  # type: ignore[arg-type]


def test_a_kind_of_a_disease_is_known_by_the_end_of_its_name() -> None:
    """Where the place fits and the name does not mislead."""
    assert wider("pulmonary_nodule") == {"nodule"}
    assert wider("lung_squamous_cell_carcinoma") == {"squamous_cell_carcinoma", "carcinoma"}
    assert wider("nodule") == frozenset(), "the general is no kind of the special"
    for misleading in ("non_hodgkin_lymphoma", "pulmonary_hypertension", "pyogenic_granuloma"):
        assert wider(misleading) <= {"lymphoma"}
    assert "emphysema" not in wider("subcutaneous_emphysema"), "another place"


def test_a_plain_title_names_terms_and_nothing_else() -> None:
    """A section's heading does not count, a word the vocabularies lack does."""
    assert plain_title("Pulmonary Nodule -- Treatment of the elderly")
    assert plain_title("Anatomy of the normal liver")
    assert plain_title("CT window and display")
    assert not plain_title("Fungus ball of the lung")
    assert not plain_title("Overview and introduction")


def test_a_million_titles_take_a_minute() -> None:
    """Measured 25 µs a title; ten times that would make a corpus of 24 million take hours more."""
    start = time.perf_counter()
    for number in range(2000):
        terms_of(f"Pulmonary metastases of renal cell carcinomas: a study of {number} patients", "")
    assert time.perf_counter() - start < 0.5
