"""The two records and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from medtrinity25m.features import FEATURES, METADATA_FEATURES
from medtrinity25m.triplet import ROI, Annotation, Claim, EncodedImage, Triplet


def roi(**more):
    return ROI(
        **(
            {"xyxy": (1, 2, 4, 6), "label": "lesion", "origin": "box", "area_fraction": 0.1, "position": "left, upper"}
            | more
        )
    )


def test_the_columns_of_a_triplet_are_the_columns_of_a_shard():
    """`Triplet` and the Arrow features name the same columns; `metadata` lacks only the image."""
    assert set(Triplet.model_fields) == set(FEATURES)
    assert set(FEATURES) - set(METADATA_FEATURES) == {"image"}


def test_a_change_is_a_validated_copy(sample):
    """`with_` leaves the original alone and checks the new value."""
    assert (sample.with_(disease="none").disease, sample.disease) == ("none", "unknown")
    with pytest.raises(ValidationError):
        sample.with_(colour="green")


@pytest.mark.parametrize("box", [(3, 0, 3, 4), (5, 0, 3, 4), (-1, 0, 3, 4), (0, 4, 3, 4)])
def test_a_box_without_area_is_refused(box):
    """Half-open boxes have x0 < x1 and y0 < y1 and lie in the positive quadrant."""
    with pytest.raises(ValidationError, match="no area or a negative corner"):
        roi(xyxy=box)


def test_a_mask_crop_must_have_the_size_of_its_box():
    """A crop of another size would be pasted somewhere else than it was drawn."""
    with pytest.raises(ValidationError, match="mask crop is"):
        roi(mask=np.ones((3, 3), bool))


def test_a_roi_gives_its_full_mask_and_its_coco_box():
    """The crop lands where its box is; COCO is x, y, width, height."""
    made = roi(mask=np.ones((4, 3), bool))

    full = made.full_mask(10, 8)

    assert (full.sum(), full[2:6, 1:4].all(), made.coco()) == (12, True, [1, 2, 3, 4])


def test_an_annotation_is_exactly_one_kind_of_mark():
    """Neither none nor two."""
    with pytest.raises(ValidationError, match="exactly one"):
        Annotation(label="lesion")
    with pytest.raises(ValidationError, match="exactly one"):
        Annotation(label="lesion", mask=np.ones((2, 2), bool), box=(0, 0, 1, 1))


def test_a_claim_that_spans_nothing_cannot_be_shipped():
    """A row whose claim leaves its text is refused before it is written."""
    claim = Claim(field="caption", start=3, end=9, attribute="modality", value="ct", evidence="metadata:modality")
    common = {"id": "x", "modality": "ct", "source": "s", "license": "MIT", "rois": (), "width": 1, "height": 1}

    with pytest.raises(ValidationError, match="spans 3:9 of caption"):
        Triplet(**common, image=EncodedImage(bytes=b"x"), caption="short", claims=(claim,))


def test_equal_samples_have_equal_digests(sample):
    """A digest covers arrays by content."""
    other = sample.pixels.copy()
    other[0, 0] += 1

    assert sample.digest() == sample.with_(pixels=sample.pixels.copy()).digest()
    assert sample.digest() != sample.with_(pixels=other).digest()
