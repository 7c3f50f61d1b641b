"""The vocabularies are data that other modules trust blindly: every promise their headers make is checked here."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

VOCAB = Path(__file__).parent.parent / "medtrinity25m" / "vocab"
Terms = list[dict[str, Any]]


def load(name: str) -> Terms:
    """The [[term]] tables of one vocabulary."""
    terms: Terms = tomllib.loads((VOCAB / f"{name}.toml").read_text(encoding="utf-8"))["term"]
    return terms


MODALITY, ANATOMY, DISEASE = load("modality"), load("anatomy"), load("disease")


def folded(text: str) -> str:
    """A name as it is looked up: case, hyphens and underscores do not count."""
    return " ".join(text.casefold().replace("-", " ").replace("_", " ").split())


def shared(terms: Terms, *keys: str) -> dict[str, set[str]]:
    """Each spelling under the given keys that leads to more than one term."""
    owners: dict[str, set[str]] = defaultdict(set)
    for term in terms:
        for key in keys:
            value = term.get(key, [])
            for spelling in [value] if isinstance(value, str) else value:
                owners[folded(spelling)].add(term["id"])
    return {spelling: ids for spelling, ids in owners.items() if len(ids) > 1}


def test_there_are_exactly_the_ten_modalities() -> None:
    """The paper's ten, no other, and each can say one picture and three brightnesses."""
    ten = "ct mri xray histopathology microscopy dermoscopy fundus endoscopy ultrasound pet"
    assert [term["id"] for term in MODALITY] == ten.split()
    for term in MODALITY:
        assert term["article"] == ("an" if term["image"][0] in "aeiouM" else "a")
        assert all(term[key] for key in ("name", "image", "dicom", "lower", "equal", "higher"))


def test_the_vocabulary_covers_what_the_paper_claims() -> None:
    """The paper says more than 65 diseases."""
    assert len(DISEASE) >= 65
    assert len(ANATOMY) >= 45


def test_an_id_belongs_to_one_term_and_none_is_reserved() -> None:
    """Ids are snake_case, unique across anatomy and disease, and never a word that means no disease."""
    ids = [term["id"] for term in ANATOMY + DISEASE]
    assert len(ids) == len(set(ids))
    assert not set(ids) & {"none", "unknown", "background"}
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", id_) for id_ in ids)


def test_a_spelling_leads_to_one_term() -> None:
    """Id, name, plural and synonyms resolve across anatomy and disease; modality is asked apart."""
    assert shared(ANATOMY + DISEASE, "id", "name", "plural", "synonyms") == {}
    assert shared(MODALITY, "id", "name", "image", "synonyms") == {}


def test_a_disease_occurs_in_organs_we_know() -> None:
    """Organs are anatomy ids; kind and region are closed lists."""
    known = {term["id"] for term in ANATOMY}
    assert {organ for term in DISEASE for organ in term["organs"]} <= known
    assert {term["kind"] for term in DISEASE} == {"disease", "finding"}
    assert {term["region"] for term in ANATOMY} == {"head_neck", "thorax", "abdomen", "pelvis", "limb", "other"}
    assert {term["window"] for term in ANATOMY if "window" in term} == {"lung", "soft_tissue", "bone", "brain"}


def test_a_code_has_the_form_of_its_standard() -> None:
    """A code is given whole or not at all."""
    icd10 = [term["icd10"] for term in DISEASE if "icd10" in term]
    assert all(re.fullmatch(r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?", code) for code in icd10)
    snomed = [term["snomed"] for term in ANATOMY + DISEASE if "snomed" in term]
    assert all(re.fullmatch(r"\d{6,18}", code) for code in snomed)


def test_a_dicom_value_stands_under_one_term() -> None:
    """Modality and Body Part Examined are looked up backwards, from the value to the term."""
    assert shared(MODALITY, "dicom") == {}
    assert shared(ANATOMY, "dicom") == {}
