"""From a finished sample to the shipped row: pixels and masks encoded once, everything validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrinity25m.errors import RefusedError
from medtrinity25m.release.png import encode_image, encode_mask
from medtrinity25m.triplet import ROI, EncodedImage, Facts, Sample, Triplet, TripletROI


def to_triplet(sample: Sample) -> Triplet:
    """Return the row of a sample that was not rejected.

    Raises:
        RefusedError: `row.no_pixels` when there is nothing to ship.
    """
    if sample.pixels is None:
        raise RefusedError("row.no_pixels", f"{sample.locator} has no pixels")
    shared = {name: getattr(sample, name) for name in Facts.model_fields}
    return Triplet(
        **shared,
        image=EncodedImage(bytes=sample.encoded or encode_image(sample.pixels)),
        width=sample.width,
        height=sample.height,
        rois=tuple(_roi(roi, sample.height, sample.width) for roi in sample.rois),
    )


def _roi(roi: ROI, height: int, width: int) -> TripletROI:
    mask = roi.full_mask(height, width)
    x, y, box_width, box_height = roi.coco()
    return TripletROI(
        bbox=(x, y, box_width, box_height),
        mask=None if mask is None else EncodedImage(bytes=encode_mask(mask)),
        **{name: getattr(roi, name) for name in TripletROI.model_fields if name not in ("bbox", "mask")},
    )


def data_row(triplet: Triplet) -> dict[str, Any]:
    """Return the row for `data/`, as plain Python values."""
    return triplet.model_dump()


def metadata_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same row for `metadata/`: without image and mask bytes."""
    bare = {name: value for name, value in row.items() if name != "image"}
    bare["rois"] = [{key: value for key, value in roi.items() if key != "mask"} for roi in row["rois"]]
    return bare


def row_bytes(row: Mapping[str, Any]) -> int:
    """Return the bytes of a row's image and masks, which is nearly all there is."""
    masks = sum(len(roi["mask"]["bytes"]) for roi in row["rois"] if roi["mask"] is not None)
    return len(row["image"]["bytes"]) + masks
