"""The coarse caption: one grammar, only from metadata, in the vocabularies' words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from medtrinity25m.caption import VIEWS, CoarseCaption
from medtrinity25m.pipeline import Stage, each
from medtrinity25m.registry import vocabulary
from medtrinity25m.triplet import ROI, Sample


def known(**columns: Any) -> Sample:
    """A small sample with the columns given."""
    base = {"id": "a", "locator": "a.png", "modality": "ct", "source": "drawn", "license": "CC0-1.0"}
    return Sample(**(base | {"pixels": np.zeros((10, 10), np.uint8)} | columns))


def region(label: str, count: int = 1, origin: str = "box") -> ROI:
    """A region with a label; where it lies is no matter of a caption."""
    place: dict[str, Any] = {"xyxy": (0, 0, 5, 5), "area_fraction": 0.25, "position": "left, upper"}
    return ROI(label=label, count=count, origin=origin, **place)  # type: ignore[arg-type]


def caption(**columns: Any) -> str:
    """The coarse caption of a sample with the columns given."""
    return CoarseCaption()(known(**columns)).coarse_caption or ""


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "A CT image."),
        ({"modality": "mri"}, "An MR image."),
        ({"modality": "mri", "view": "sagittal", "organs": ("knee",)}, "A sagittal MR image of the knee."),
        ({"view": "axial", "organs": ("brain",)}, "An axial CT image of the brain."),
        (
            {"modality": "xray", "view": "ap", "organs": ("chest",), "disease": "none"},
            "An anteroposterior radiograph of the chest, labeled as showing no disease.",
        ),
        (
            {"modality": "xray", "view": "mlo", "organs": ("breast",), "laterality": "left"},
            "A mediolateral oblique radiograph of the left breast.",
        ),
        (
            {"modality": "xray", "organs": ("chest",), "laterality": "right"},
            "A radiograph of the chest, right side.",
        ),
        (
            {"organs": ("liver", "spleen", "kidney"), "laterality": "left"},
            "A CT image of the liver, the spleen, and the left kidney.",
        ),
        (
            {"modality": "fundus", "organs": ("retina",), "disease": "diabetic_retinopathy"},
            "A fundus image of the retina, labeled diabetic retinopathy.",
        ),
        (
            {
                "modality": "xray",
                "disease": "pneumonia",
                "diseases": ("pleural_effusion", "pneumonia"),
            },
            "A radiograph, labeled pneumonia and pleural effusion.",
        ),
        ({"modality": "microscopy", "organs": ("cell_nucleus",)}, "A microscopy image of cell nuclei."),
        ({"modality": "histopathology", "organs": ("colon",)}, "A histopathology image of the colon."),
        ({"modality": "ultrasound"}, "An ultrasound image."),
    ],
)
def test_the_picture_in_one_sentence(columns: dict[str, Any], expected: str) -> None:
    """Modality, view, organs, side and disease, with the right articles."""
    assert caption(**columns) == expected


@pytest.mark.parametrize(
    ("rois", "expected"),
    [
        ((region("lesion"),), "The annotated region of interest is labeled lesion."),
        (
            (region("cell_nucleus", 125, "mask"),),
            "The annotated regions of interest are 125 cell nuclei.",
        ),
        (
            (region("edema"), region("tumor"), region("tumor")),
            "The annotated regions of interest are one region labeled edema and two regions labeled tumor.",
        ),
        (
            (region("kidney"), region("kidney")),
            "The annotated regions of interest are two regions labeled kidney.",
        ),
        (
            (region("skin", 1, "whole_image"),),
            "The region of interest is the whole image, labeled skin.",
        ),
        ((region("lung", 1, "expert"),), "The located region of interest is labeled lung."),
    ],
)
def test_the_regions_in_one_sentence(rois: tuple[ROI, ...], expected: str) -> None:
    """Labels and numbers of the regions, plural where the vocabulary has one."""
    assert caption(rois=rois) == f"A CT image. {expected}"


def test_an_unknown_disease_is_not_mentioned() -> None:
    """Nobody said, so nothing is said: not even that it is unknown."""
    assert "label" not in caption(disease="unknown", organs=("lung",))


@pytest.mark.parametrize("modality", sorted(vocabulary("modality").terms))
@pytest.mark.parametrize("view", [None, *VIEWS])
def test_articles_suit_every_modality_and_view(modality: str, view: str | None) -> None:
    """`an` before a vowel (and before MR, spoken em-ar), `a` before the rest."""
    first, second = caption(modality=modality, view=view).split()[:2]

    assert (first == "An") == (second[0].lower() in "aeiou" or second == "MR")


def test_every_label_of_the_vocabularies_can_be_captioned() -> None:
    """No organ or disease breaks the grammar: one sentence each, no empty word, no double blank."""
    for organ in vocabulary("anatomy").terms:
        assert "  " not in caption(organs=(organ,), rois=(region(organ), region(organ)))
    for disease in vocabulary("disease").terms:
        text = caption(disease=disease, rois=(region(disease),))
        assert text.count(vocabulary("disease")[disease].name) == 2


def test_the_pixels_do_not_matter() -> None:
    """The caption is about the metadata alone."""
    assert caption(pixels=np.zeros((5, 5), np.uint8)) == caption(pixels=np.full((9, 9, 3), 200, np.uint8))


def test_captioning_is_a_stage(assert_stage: Callable[[Stage, Sequence[Sample]], list[Sample]]) -> None:
    """The law of stages holds for each(CoarseCaption())."""
    made = assert_stage(each(CoarseCaption()), [known(), known(modality="mri")])

    assert [sample.coarse_caption for sample in made] == ["A CT image.", "An MR image."]
