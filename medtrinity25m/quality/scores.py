"""Scores a description 0, 1 or 2 on the paper's five attributes, from the row alone and the same every time.

The paper (arXiv 2408.02900) has an MLLM score each attribute 0 to 2 and publishes no rubric; this is ours. `RUBRIC`
holds its words, which go into the judge's prompt too (`judge.py`); this is how the program counts. A claim speaks
about an attribute as `ASPECTS` says; claims of all four texts count, in the caption again.

* Any *contradicted* claim about an attribute: 0.
* What the row holds about an attribute is *needed*. All of it said and supported: 2. Something said, but not all of
  it, or nothing of it supported, or more unsupported claims than supported ones: 1. Nothing said: 0.
* Where the row holds *nothing* about an attribute: 2 if something supported is said of it all the same (that there
  is no region), else 1: there was nothing to state. Such a 1 tells nothing of the describer, so `held` names the
  attributes that a row can be judged on and reports give the means over those beside the means over all rows.

==========  ================================================================================================
attribute   needed for 2
==========  ================================================================================================
modality    the modality; every row holds one. View and orientation need not be said, but may not be wrong.
structures  an organ where `organs` has one; a disease, or that there is none, where `disease` is not unknown; the
            side where `laterality` has one; the label of a region that is neither among `organs` nor `diseases`
roi         where a region lies and how large it is; with several regions, or one that unites several, how many. A
            region that is the whole image: that it is. An image without region: nothing is held; saying that
            there is none gives 2.
texture     two of brightness, evenness, margin and shape of a region. Nothing is held without a region, or where
            it is the whole image.
relation    one supported claim on how regions lie to each other, to a midline or to the image, or any in
            `relation_text` that is not about modality. Nothing is held without a region, or where it is the whole
            image.
==========  ================================================================================================

A normal image that is said to be one thus comes to 8 of 10, one that nobody knows anything about to 7: full marks
are for rows that hold much and say it right.

**Why** nothing is left empty where it does not apply: the paper's scores are five numbers and their sum, users
filter by `quality.total`, and a null there would drop every normal image from such a filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from medtrinity25m.triplet import Quality, Sample

QualityAttribute = Literal["modality", "structures", "roi", "texture", "relation"]
ATTRIBUTES: tuple[QualityAttribute, ...] = ("modality", "structures", "roi", "texture", "relation")
"""The paper's five, in its order."""

RUBRIC: dict[QualityAttribute, str] = {
    "modality": "what kind of image it is (CT, MRI, radiograph, ...), and its view where the text gives one.",
    "structures": "which organs or structures are shown, on which side, and which disease the image is labeled with.",
    "roi": "where the region of interest lies in the image, how large it is, and how many regions there are.",
    "texture": "how the region looks: lighter or darker than its surroundings, even or uneven, its margin and shape.",
    "relation": "how the region lies to other regions, to the midline or to the rest of the image.",
}
"""What each attribute is about, in words for a person and for a judging model."""

LEVELS = {
    2: "said, and right by the image and the facts; nothing that the facts hold about it is missing",
    1: "said in part, or said in a way that the image and the facts cannot decide; also when the facts hold nothing "
    "about it and the text says nothing about it",
    0: "wrong, or not said although the facts hold it",
}
"""What each score means."""

ASPECTS: dict[str, tuple[QualityAttribute, str]] = {
    "modality": ("modality", "modality"),
    "view": ("modality", "view"),
    "organ": ("structures", "organ"),
    "disease": ("structures", "disease"),
    "laterality": ("structures", "laterality"),
    "image_left": ("modality", "orientation"),
    "label": ("structures", "label"),
    "label_count": ("roi", "number"),
    "roi_count": ("roi", "number"),
    "count": ("roi", "number"),
    "position_horizontal": ("roi", "position"),
    "position_vertical": ("roi", "position"),
    "patient_side": ("roi", "position"),
    "origin": ("roi", "extent"),
    "area_share": ("roi", "extent"),
    "total_share": ("roi", "extent"),
    "least_share": ("roi", "extent"),
    "most_share": ("roi", "extent"),
    "each_share": ("roi", "extent"),
    "size": ("roi", "extent"),
    "width": ("roi", "extent"),
    "height": ("roi", "extent"),
    "intensity": ("texture", "brightness"),
    "mean_hu": ("texture", "brightness"),
    "texture": ("texture", "evenness"),
    "margin": ("texture", "margin"),
    "shape": ("texture", "shape"),
    "contact": ("relation", "place"),
    "gap": ("relation", "place"),
    "direction": ("relation", "place"),
    "nearest_pair": ("relation", "place"),
    "nearest_to": ("relation", "place"),
    "half": ("relation", "place"),
    "midline_gap": ("relation", "place"),
    "left_half_share": ("relation", "place"),
    "regions_in": ("relation", "place"),
}
"""Claim attribute (its part before `:`) → the attribute it is scored under, and which aspect of it it is."""

_ENOUGH_OF_TEXTURE = 2  # "hypodense" alone, or "round" alone, is no description of a lesion


class Said(NamedTuple):
    """What scoring reads of a claim."""

    field: str
    attribute: str
    value: str
    about_region: bool
    verdict: str


@dataclass(frozen=True)
class Described:
    """What scoring reads of a row, from the pipeline or from a release."""

    organs: tuple[str, ...]
    diseases: tuple[str, ...]
    disease: str
    laterality: str | None
    regions: tuple[tuple[str, str, int], ...]
    """Label, origin and count of each region."""
    claims: tuple[Said, ...]

    @classmethod
    def of_sample(cls, sample: Sample) -> Described:
        """Read a sample in the making."""
        return cls(
            organs=sample.organs,
            diseases=sample.diseases,
            disease=sample.disease,
            laterality=sample.laterality,
            regions=tuple((roi.label, roi.origin, roi.count) for roi in sample.rois),
            claims=tuple(Said(c.field, c.attribute, c.value, c.roi is not None, c.verdict) for c in sample.claims),
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Described:
        """Read a shipped row, of `data/` or of `metadata/`."""
        return cls(
            organs=tuple(row["organs"]),
            diseases=tuple(row["diseases"]),
            disease=row["disease"],
            laterality=row["laterality"],
            regions=tuple((roi["label"], roi["origin"], roi["count"]) for roi in row["rois"]),
            claims=tuple(
                Said(c["field"], c["attribute"], c["value"], c["roi"] is not None, c["verdict"]) for c in row["claims"]
            ),
        )

    @property
    def whole_image(self) -> bool:
        """Say whether the region of interest is the image as a whole."""
        return any(origin == "whole_image" for _, origin, _ in self.regions)


COLUMNS = ("organs", "diseases", "disease", "laterality", "rois", "claims")
"""The columns `Described.of_row` reads."""


@dataclass(frozen=True)
class Score:
    """Fill `quality`; used as `each(Score())`, after everything that writes claims."""

    def __call__(self, sample: Sample, /) -> Sample:
        """Return `sample` with its scores."""
        return sample.with_(quality=score(Described.of_sample(sample)))


def score(row: Described) -> Quality:
    """Return the scores of a described row, by the rules above."""
    needed = _needed(row)
    said = _by_attribute(row)
    levels = {name: float(_level(said[name], needed[name])) for name in ATTRIBUTES}
    texture = {aspect for aspect, verdict in said["texture"] if verdict == "supported"}
    if needed["texture"] and levels["texture"] == 2 and len(texture) < _ENOUGH_OF_TEXTURE:
        levels["texture"] = 1.0
    return Quality(**levels, total=sum(levels.values()))


def held(row: Described) -> frozenset[QualityAttribute]:
    """Return the attributes the row holds something about."""
    return frozenset(name for name, aspects in _needed(row).items() if aspects)


def _needed(row: Described) -> dict[QualityAttribute, tuple[str, ...]]:
    """Return the aspects of each attribute that the row holds; `any` stands for whichever."""
    structures = [
        ("organ", bool(row.organs)),
        ("disease", row.disease != "unknown"),
        ("laterality", row.laterality is not None),
        ("label", any(label not in (*row.organs, *row.diseases) for label, _, _ in row.regions)),
    ]
    located = bool(row.regions) and not row.whole_image
    several = len(row.regions) > 1 or any(count > 1 for _, _, count in row.regions)
    place = ("position", "extent", *(("number",) if several else ())) if located else ()
    return {
        "modality": ("modality",),
        "structures": tuple(aspect for aspect, holds in structures if holds),
        "roi": ("extent",) if row.whole_image else place,
        "texture": ("any",) if located else (),
        "relation": ("any",) if located else (),
    }


def _by_attribute(row: Described) -> dict[QualityAttribute, list[tuple[str, str]]]:
    """Return aspect and verdict of every claim, under the attributes it is about."""
    labels = {label for label, _, _ in row.regions}
    found: dict[QualityAttribute, list[tuple[str, str]]] = {name: [] for name in ATTRIBUTES}
    for claim in row.claims:
        base = claim.attribute.partition(":")[0]
        name, aspect = ASPECTS.get(base, (None, ""))
        if base in ("width", "height") and not claim.about_region and claim.field == "global_text":
            name = None  # the size of the picture, not of a region
        if name is not None:
            found[name].append((aspect, claim.verdict))
        if name == "structures" and claim.value in labels:
            found[name].append(("label", claim.verdict))
        if claim.field == "relation_text" and name not in ("modality", "relation"):
            found["relation"].append(("place", claim.verdict))
    return found


def _level(said: list[tuple[str, str]], needed: tuple[str, ...]) -> int:
    """Return 0, 1 or 2 for the (aspect, verdict) pairs of one attribute."""
    verdicts = [verdict for _, verdict in said]
    if "contradicted" in verdicts:
        return 0
    if needed and not said:
        return 0
    supported = {aspect for aspect, verdict in said if verdict == "supported"}
    complete = bool(supported) and all(aspect == "any" or aspect in supported for aspect in needed)
    return 2 if complete and verdicts.count("unsupported") <= verdicts.count("supported") else 1
