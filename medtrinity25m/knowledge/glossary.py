"""The glossary: one passage a vocabulary term, cited by every row that uses the term.

It says what an id in `modality`, `organs` or `diseases` stands for: name, synonyms, codes. A term is found by its
id, so the score of a citation is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from medtrinity25m.registry import RESERVED, Term, vocabulary
from medtrinity25m.triplet import Passage, Sample

CORPUS = "medtrinity25m-glossary"
LICENSE = "Apache-2.0"
KINDS: tuple[Literal["modality", "anatomy", "disease"], ...] = ("modality", "anatomy", "disease")


def passage_id(kind: str, term_id: str) -> str:
    """Return the id of a term's passage: `glossary:disease/pneumonia`."""
    return f"glossary:{kind}/{term_id}"


@dataclass(frozen=True)
class Cite:
    """Fill `knowledge` with the glossary passages of the sample's modality, organs and diseases."""

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with its citations."""
        terms = [("modality", sample.modality)]
        terms += [("anatomy", organ) for organ in sample.organs]
        terms += [("disease", disease) for disease in sample.diseases if disease not in RESERVED]
        return sample.with_(knowledge=tuple(Passage(passage_id=passage_id(*term), score=1.0) for term in terms))


def passages(cited: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the passages as rows of `knowledge/`, by id; only those in `cited` when given."""
    wanted = None if cited is None else set(cited)
    rows = [_row(kind, term) for kind in KINDS for term in vocabulary(kind).terms.values()]
    yield from (
        row for row in sorted(rows, key=lambda row: row["passage_id"]) if wanted is None or row["passage_id"] in wanted
    )


def _row(kind: str, term: Term) -> dict[str, Any]:
    return {
        "passage_id": passage_id(kind, term.id),
        "title": term.name,
        "text": _text(kind, term),
        "corpus": CORPUS,
        "license": LICENSE,
        "locator": f"medtrinity25m/vocab/{kind}.toml#{term.id}",
        "offset": 0,
        "terms": [term.id],
    }


def _text(kind: str, term: Term) -> str:
    noun = {"modality": "imaging modality", "anatomy": "anatomical structure", "disease": term.kind or "disease"}[kind]
    sentences = [f"{term.name[:1].upper()}{term.name[1:]} is {'an' if noun[0] in 'aeiou' else 'a'} {noun}."]
    if term.synonyms:
        sentences.append(f"Also written: {', '.join(term.synonyms)}.")
    codes = [("ICD-10-CM", term.icd10), ("SNOMED CT", term.snomed), ("RadLex", term.radlex)]
    said = [f"{system} {code}" for system, code in codes if code is not None]
    said += [f"DICOM {', '.join(term.dicom)}"] if term.dicom else []
    return " ".join(sentences + ([f"Codes: {'; '.join(said)}."] if said else []))
