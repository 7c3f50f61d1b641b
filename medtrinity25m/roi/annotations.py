"""Fill `rois` of a sample from its `annotations`, by its source's rule: the marks of people, or of experts.

Nothing is guessed: an image without marks gets no region, unless its source says that the image as a whole
is the finding. A region keeps the expert that found it, and its score: a model's guess never looks like a
radiologist's mask.

**Why** a box outside its image rejects the sample: taken silently, the row would claim that nobody marked
anything there, while the commonest causes, boxes of another image or in another unit, spoil its neighbors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.registry import RESERVED, ROIRule
from medtrinity25m.roi import geometry
from medtrinity25m.roi.geometry import Piece
from medtrinity25m.roi.readers import merged
from medtrinity25m.triplet import ROI, XYXY, Annotation, Sample


@dataclass(frozen=True)
class Locate:
    """Fill `rois` from `annotations`; used as `each(Locate(rules))`.

    `rules` holds one `ROIRule` for every source id. What each rule makes:

    * `components`: one region per 4-connected component of a mask, per instance of an instance map, per box;
    * `classes`: one region per label, the union of its masks and instances; `count` adds up the components
      of every mask and the instances of every map, each mark for itself, because people mark objects that
      touch; boxes with that label, having no shape to unite, become one box around them all;
    * `whole_image`: one region that is the whole image, called by the sample's disease, else its first organ;
      none where neither is known.

    Components and instances under `min_area_px` or `min_area_mm2` are dropped, before a union is made; boxes
    are kept as given and clipped. Regions are ordered by label, then by the top and the left of their box.

    Raises `RefusedError`: `roi.empty_box` (see `geometry.clip`), `roi.no_spacing` (an area in mm2 on an image
    without spacing), `roi.shape_mismatch` (a mask that is not its image's size), `roi.unused_marks`
    (marks on an image whose source says `whole_image`).
    """

    rules: Mapping[str, ROIRule]

    def __call__(self, sample: Sample) -> Sample:
        """Return `sample` with its regions."""
        if sample.source not in self.rules:
            known = ", ".join(sorted(self.rules))
            raise ConfigError(f"no ROI rule for source {sample.source!r}; rules are given for {known}")
        rule = self.rules[sample.source]
        if rule.rule == "whole_image":
            return sample.with_(rois=_whole_image(sample))
        for mark in sample.annotations:
            _check_shape(mark, sample)
        if rule.readers == "merge":
            sample = sample.with_(annotations=merged(sample))
        least_px = _least_area_px(rule, sample)
        make = _unions if rule.rule == "classes" else _separate
        rois = sorted(make(sample, least_px), key=_order)
        return sample.with_(rois=tuple(rois))


def region(
    sample: Sample,
    label: str,
    xyxy: XYXY,
    piece: Piece | None = None,
    count: int = 1,
    expert: str | None = None,
    score: float | None = None,
) -> ROI:
    """Return one region of `sample` with everything that follows from its box and mask filled in."""
    area = geometry.box_area_px(xyxy) if piece is None else piece.area_px
    return ROI(
        xyxy=xyxy,
        label=label,
        origin="expert" if expert is not None else "box" if piece is None else "mask",
        expert=expert,
        score=score,
        mask=None if piece is None else piece.mask,
        count=count,
        area_fraction=geometry.area_fraction(area, sample.height, sample.width),
        position=geometry.position(xyxy, sample.height, sample.width),
        size_mm=geometry.size_mm(xyxy, sample.spacing_mm),
    )


def _order(roi: ROI) -> tuple[object, ...]:
    """Sort key: label, top, left; then what is left to tell two regions apart."""
    x0, y0, x1, y1 = roi.xyxy
    return roi.label, y0, x0, y1, x1, b"" if roi.mask is None else roi.mask.tobytes()


def _check_shape(mark: Annotation, sample: Sample) -> None:
    """Refuse a mask or instance map that is not as large as the image."""
    array = mark.mask if mark.mask is not None else mark.instances
    if array is not None and array.shape != (sample.height, sample.width):
        raise RefusedError(
            "roi.shape_mismatch",
            f"the mask of {mark.label!r} has {' x '.join(map(str, array.shape))} pixels (rows x columns), "
            f"its image {sample.height} x {sample.width}; check that they belong together",
        )


def _least_area_px(rule: ROIRule, sample: Sample) -> float:
    """Return the smallest area in pixels that a component may have."""
    if rule.min_area_mm2 is None:
        return rule.min_area_px or 1
    if sample.spacing_mm is None:
        if all(mark.box is not None for mark in sample.annotations):
            return 1
        raise RefusedError(
            "roi.no_spacing",
            f"min_area_mm2 = {rule.min_area_mm2:g} needs pixel spacing, which {sample.locator} has not; "
            "give spacing_mm in the source's TOML, or min_area_px",
        )
    return rule.min_area_mm2 / (sample.spacing_mm[0] * sample.spacing_mm[1])


def _pieces(mark: Annotation, least_px: float) -> list[Piece]:
    """Return the components of a mask, or the instances of an instance map, that are large enough."""
    if mark.instances is not None:
        found = geometry.instances(mark.instances)
    elif mark.mask is not None:
        found = geometry.components(mark.mask)
    else:
        return []
    return [piece for piece in found if piece.area_px >= least_px]


def _separate(sample: Sample, least_px: float) -> Iterator[ROI]:
    """Make one region per component, instance and box."""
    for mark in sample.annotations:
        if mark.box is not None:
            box = geometry.clip(mark.box, sample.height, sample.width)
            yield region(sample, mark.label, box, expert=mark.expert, score=mark.score)
        for piece in _pieces(mark, least_px):
            yield region(sample, mark.label, piece.xyxy, piece, expert=mark.expert, score=mark.score)


def _unions(sample: Sample, least_px: float) -> Iterator[ROI]:
    """Make one region per label for its masks and instances, and one for its boxes."""

    def kind(mark: Annotation) -> tuple[str, str]:
        return mark.label, mark.expert or ""

    for (label, expert), group in groupby(sorted(sample.annotations, key=kind), key=kind):
        marks = list(group)
        given = [mark.box for mark in marks if mark.box is not None]
        boxes = [geometry.clip(box, sample.height, sample.width) for box in given]
        if boxes:
            x0, y0, x1, y1 = zip(*boxes, strict=True)
            around = (min(x0), min(y0), max(x1), max(y1))
            score = _mean_score([mark for mark in marks if mark.box is not None])
            yield region(sample, label, around, count=len(boxes), expert=expert or None, score=score)
        yield from _union(sample, label, [mark for mark in marks if mark.box is None], least_px)


def _mean_score(marks: Sequence[Annotation]) -> float | None:
    """Return the mean score of an expert's marks, None for a person's."""
    scores = [mark.score for mark in marks if mark.score is not None]
    return sum(scores) / len(scores) if scores else None


def _union(sample: Sample, label: str, marks: Sequence[Annotation], least_px: float) -> Iterator[ROI]:
    """Unite the masks and instances of one label, if anything of them is large enough."""
    full = np.zeros((sample.height, sample.width), dtype=np.bool_)
    pieces = [piece for mark in marks for piece in _pieces(mark, least_px)]
    for (x0, y0, x1, y1), crop in pieces:
        full[y0:y1, x0:x1] |= crop
    whole = geometry.cut(full)
    if whole is not None:
        expert, score = marks[0].expert, _mean_score(marks)
        yield region(sample, label, whole.xyxy, whole, len(pieces), expert, score)


def _whole_image(sample: Sample) -> tuple[ROI, ...]:
    """Make the region that is the whole image, or none where it has no name."""
    if sample.annotations:
        raise RefusedError(
            "roi.unused_marks",
            f"{sample.source} says that the whole image is the finding, yet {sample.locator} has "
            f'{len(sample.annotations)} marks; use rule = "components" or "classes"',
        )
    names = [*(() if sample.disease in RESERVED else (sample.disease,)), *sample.organs]
    if not names:
        return ()
    box = (0, 0, sample.width, sample.height)
    return (region(sample, names[0], box).with_(origin="whole_image"),)
