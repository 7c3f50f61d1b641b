"""Every number and judgment in a text is a claim, and every claim is found again in the shipped row."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

from cases import LESION, MAKERS, assert_clean_sentences, described, disc, shaded
from medtrinity25m.description import appearance, outline, relation
from medtrinity25m.description.scene import Scene
from medtrinity25m.release.png import encode_image, encode_mask
from medtrinity25m.triplet import ROI, Annotation, Claim, EncodedImage, Facts, Sample, Triplet, TripletROI

FIELDS = ("global_text", "local_text", "relation_text", "caption")


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def case(request: pytest.FixtureRequest) -> Sample:
    """Each kind of picture, described."""
    sample: Sample = request.param()
    return sample


def shipped(sample: Sample) -> Triplet:
    """The row of a sample: pixels and masks as PNG, boxes as COCO, nothing else of the pipeline."""
    assert sample.pixels is not None
    rois = []
    for roi in sample.rois:
        full = roi.full_mask(sample.height, sample.width)
        fields = {name: getattr(roi, name) for name in type(roi).model_fields if name not in ("xyxy", "mask")}
        mask = None if full is None else EncodedImage(bytes=encode_mask(full))
        rois.append(TripletROI(**fields, bbox=tuple(roi.coco()), mask=mask))  # type: ignore[arg-type]
    facts = {name: getattr(sample, name) for name in Facts.model_fields}
    image = EncodedImage(bytes=encode_image(sample.pixels))
    return Triplet(**facts, image=image, width=sample.width, height=sample.height, rois=tuple(rois))


class Row:
    """A shipped row opened with Pillow, and each attribute computed anew from it."""

    def __init__(self, triplet: Triplet) -> None:
        self.row = triplet
        self.gray = np.asarray(Image.open(io.BytesIO(triplet.image.bytes)).convert("L"))
        self.masks = [self._mask(roi) for roi in triplet.rois]
        self.scene = Scene(self.gray, tuple(self._roi(roi) for roi in triplet.rois), triplet.spacing_mm)

    def _mask(self, roi: TripletROI) -> np.ndarray:
        if roi.mask is not None:
            return np.asarray(Image.open(io.BytesIO(roi.mask.bytes)).convert("L")) > 0
        x, y, width, height = roi.bbox
        full = np.zeros(self.gray.shape, bool)
        full[y : y + height, x : x + width] = True
        return full

    def _roi(self, roi: TripletROI) -> ROI:
        x, y, width, height = roi.bbox
        fields = {name: getattr(roi, name) for name in type(roi).model_fields if name not in ("bbox", "mask")}
        crop = None if roi.mask is None else self._mask(roi)[y : y + height, x : x + width]
        return ROI(**fields, xyxy=(x, y, x + width, y + height), mask=crop)

    def value(self, claim: Claim) -> str | None:
        """The value the row gives a claim."""
        name, _, argument = claim.attribute.partition(":")
        if claim.evidence.startswith("metadata:"):
            return self.column(name, argument, claim)
        if name in ("intensity", "texture", "margin", "shape"):
            return self.judgment(name, claim.roi or 0)
        if claim.roi is None or name in ("nearest_pair", "nearest_to"):
            return self.of_all(name, argument, claim)
        return self.of_one(name, argument, claim)

    def column(self, name: str, argument: str, claim: Claim) -> str | None:
        """Values that stand in a column."""
        row = self.row
        if name == "ordinal":
            return str((claim.roi or 0) + 1)
        if name == "patient_side":
            left, right = row.image_left, "left" if row.image_left == "right" else "right"
            return left if self.half(claim.roi or 0) == "left" else right
        if name.startswith("window_") and row.window is not None:
            found = getattr(row.window, name.removeprefix("window_"))
            return found if isinstance(found, str) else f"{found:g}"
        column = claim.evidence.removeprefix("metadata:")
        if column.startswith("rois."):
            about = [roi for i, roi in enumerate(row.rois) if claim.roi in (None, i)]
            found = {str(getattr(roi, column.removeprefix("rois."))) for roi in about}
            return claim.value if claim.value in found else str(found)
        found = getattr(row, column)
        return claim.value if isinstance(found, tuple) and claim.value in found else str(found)

    def judgment(self, name: str, index: int) -> str | None:
        """Judgments, measured on the decoded picture."""
        view, unit = self.scene.surroundings(index), self.scene.unit_px
        if name == "shape":
            return outline.shape(self.scene.mask(index), self.row.spacing_mm)
        if name == "intensity":
            return appearance.brightness(view)
        return appearance.texture(view, unit) if name == "texture" else outline.margin(view, unit)

    def percent(self, share: Fraction) -> str:
        """A share in percent to one decimal, neither nothing nor all by rounding."""
        rounded = Decimal(share.numerator * 100) / Decimal(share.denominator)
        words = str(rounded.quantize(Decimal("0.1"), ROUND_HALF_UP))
        return "<0.1" if words == "0.0" else ">99.9" if words == "100.0" and share < 1 else words

    def length(self, pixels: float, spacing: float | None, unit: str | None) -> str:
        """A length in the unit of the claim."""
        if unit == "px" or unit is None:
            return f"{math.floor(pixels + 0.5)}"
        assert spacing is not None
        return f"{pixels * spacing * {'mm': 1, 'µm': 1000}[unit]:.1f}"

    def area(self, index: int) -> int:
        """Pixels of a region."""
        return int(self.masks[index].sum())

    def half(self, index: int) -> str:
        """The half of the picture in which all pixels of a region lie, or both."""
        columns = np.flatnonzero(self.masks[index].any(axis=0))
        middle = self.gray.shape[1] / 2
        return "left" if columns[-1] + 1 <= middle else "right" if columns[0] >= middle else "both"

    def off_midline(self, index: int) -> float:
        """Columns between a region and the midline."""
        columns = np.flatnonzero(self.masks[index].any(axis=0))
        middle = self.gray.shape[1] / 2
        return max(0.0, columns[0] - middle, middle - columns[-1] - 1)

    def gap(self, one: int, other: int, *, scaled: bool) -> float:
        """The smallest distance between the edges of two regions, by a distance map of one grown."""
        spacing = (self.row.spacing_mm or (1, 1)) if scaled else (1, 1)
        grown = ndimage.binary_dilation(self.masks[one], np.ones((3, 3)))
        return round(float(ndimage.distance_transform_edt(~grown, sampling=spacing)[self.masks[other]].min()), 6)

    def nearest(self, pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """The pair with the smallest gap."""
        return min(pairs, key=lambda two: (self.gap(*two, scaled=True), two))

    def of_all(self, name: str, argument: str, claim: Claim) -> str | None:
        """Values about all regions, or about the picture."""
        every = range(len(self.masks))
        if name in ("width", "height"):
            axis = 1 if name == "width" else 0
            spacing = None if self.row.spacing_mm is None else self.row.spacing_mm[axis]
            return self.length(self.gray.shape[axis], spacing, claim.unit)
        if name == "nearest_pair":
            return " ".join(map(str, self.nearest(list(itertools.combinations(every, 2)))))
        if name == "nearest_to" and argument == "midline":
            return str(min(every, key=self.off_midline))
        if name == "nearest_to":
            return str(self.nearest([(index, int(argument)) for index in every if index != int(argument)])[0])
        shares = {
            "total_share": lambda: np.logical_or.reduce(self.masks).sum(),
            "least_share": lambda: min(map(self.area, every)),
            "each_share": lambda: min(map(self.area, every)),
            "most_share": lambda: max(map(self.area, every)),
        }
        if name in shares:
            return self.percent(Fraction(int(shares[name]()), self.gray.size))
        counts = {
            "roi_count": len(self.masks),
            "label_count": sum(roi.label == argument for roi in self.row.rois),
            "regions_in": sum(self.half(index) == argument for index in every),
        }
        return str(counts[name])

    def of_one(self, name: str, argument: str, claim: Claim) -> str | None:
        """Values about one region."""
        index = claim.roi or 0
        mask, roi = self.masks[index], self.row.rois[index]
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        spacing = self.row.spacing_mm or (None, None)
        extent = {"width": columns[-1] + 1 - columns[0], "height": rows[-1] + 1 - rows[0]}
        if name in extent:
            return self.length(extent[name], spacing[1 if name == "width" else 0], claim.unit)
        if name == "area_share":
            return self.percent(Fraction(int(mask.sum()), mask.size))
        if name.startswith("position_"):
            return roi.position.split(", ")[0 if name.endswith("horizontal") else 1]
        if name == "size_rank":
            ranked = sorted(range(len(self.masks)), key=lambda other: (-self.area(other), other))
            return str(ranked.index(index) + 1)
        if name == "half":
            return self.half(index)
        if name == "midline_gap":
            return self.length(self.off_midline(index), spacing[1], claim.unit)
        if name == "left_half_share":
            both = np.repeat(mask, 2, axis=1)  # so that the midline of an odd width runs between columns
            return self.percent(Fraction(int(both[:, : mask.shape[1]].sum()), int(both.sum())))
        if name == "gap":
            scaled = claim.unit != "px"
            return self.length(self.gap(index, int(argument), scaled=scaled), 1.0, claim.unit)
        if name == "contact":
            return relation.pair(self.scene, index, int(argument)).contact
        assert name == "direction"
        return relation.pair(self.scene, index, int(argument)).direction

    def mean_hu(self, index: int) -> tuple[float, float]:
        """Mean attenuation read off the gray levels through the window, and how much a level is worth."""
        window = self.row.window
        assert window is not None
        level = float(self.gray[self.masks[index]].mean())
        return (level / 255 - 0.5) * (window.width - 1) + window.center - 0.5, (window.width - 1) / 255


def test_every_claim_is_found_again_in_the_row(case: Sample) -> None:
    """Each value is recomputed from the shipped row alone: picture, masks, spacing, columns."""
    row = Row(shipped(case))

    for claim in case.claims:
        if claim.attribute == "mean_hu":
            mean, level = row.mean_hu(claim.roi or 0)
            assert abs(mean - int(claim.value)) <= level + 0.5
        else:
            assert (claim.attribute, row.value(claim)) == (claim.attribute, claim.value)


# `, both labeled` and `, all cell nuclei` follow a count that is claimed; `(center 40` is the window's
STATED = re.compile(
    r"\d[\d.]*|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|first|second|third|fourth|fifth"
    r"|(?<!, )both|(?<!, )all|no|largest|smallest|nearest|left|right|upper|lower|middle"
    r"|center(?! -?\d)|inside|overlaps|touches|above|below"
    r"|hypo\w+|hyper\w+|iso\w+|darker|lighter|similar|homogeneous|heterogeneous|sharp|ill-defined|round|oval|irregular"
    r"|CT|MR|axial|coronal)\b"
)


def test_every_number_and_judgment_lies_in_a_claim(case: Sample) -> None:
    """No digit, number word, place, direction or judgment stands outside the spans."""
    for field in FIELDS:
        text = getattr(case, field) or ""
        claimed = [(claim.start, claim.end) for claim in case.claims if claim.field == field]
        for match in STATED.finditer(text):
            inside = any(start <= match.start() and match.end() <= end for start, end in claimed)
            assert inside, (field, match.group(), text)


def test_spans_reslice_to_words_that_hold_their_value(case: Sample) -> None:
    """A span is never empty, stays in its field, and a number in a value is a number in its words."""
    for claim in case.claims:
        words = (getattr(case, claim.field) or "")[claim.start : claim.end]
        assert words.strip() == words != ""
        if re.fullmatch(r"-?\d+\.\d", claim.value) or claim.unit is not None:
            assert claim.value.lstrip("<>") in words


@settings(deadline=None, max_examples=40)
@given(st.lists(LESION, min_size=1, max_size=7), st.sampled_from([None, (0.8, 0.8), (3.0, 0.4), (1e-3, 1e-3)]))
def test_any_lesions_give_claims_that_hold(
    lesions: list[tuple[float, ...]], spacing: tuple[float, float] | None
) -> None:
    """Whatever is drawn: spans fit, numbers are claimed, values come out of the row again."""
    parts = [(disc(*lesion[:4]), lesion[4]) for lesion in lesions]
    marks = [Annotation(label=("tumor", "cyst")[i % 2], mask=mask) for i, (mask, _) in enumerate(parts)]
    sample = described(shaded(*parts), *marks, modality="mri", spacing_mm=spacing)

    test_every_claim_is_found_again_in_the_row(sample)
    test_every_number_and_judgment_lies_in_a_claim(sample)
    assert_clean_sentences(sample)


TINY = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.lists(arrays.arrays(np.int32, size, elements=st.integers(0, 2)), min_size=1, max_size=2)
)


@settings(deadline=None, max_examples=60)
@given(TINY, st.sampled_from(["components", "classes"]), st.sampled_from([None, (0.7, 1.3)]))
def test_tiny_pictures_are_described_too(
    maps: list[np.ndarray], rule: str, spacing: tuple[float, float] | None
) -> None:
    """Pictures of one pixel, regions without surroundings, ties everywhere: nothing fails, everything holds."""
    marks = [Annotation(label=("tumor", "cyst")[i], instances=labels) for i, labels in enumerate(maps)]
    pixels = (maps[0] * 90).astype(np.uint8)
    sample = described(pixels, *marks, rule=rule, spacing_mm=spacing, image_left="right")

    test_every_claim_is_found_again_in_the_row(sample)
    test_every_number_and_judgment_lies_in_a_claim(sample)
    assert_clean_sentences(sample)
