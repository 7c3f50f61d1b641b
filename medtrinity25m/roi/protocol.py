"""What an expert is asked and what it answers: one protocol for classical code, networks and whole packages.

An expert sees a batch of images, or one volume, and says where it found what, with a score of 0 to 1. It never
decides what is good enough: `min_score` of its card does, in one place for all (`roi.consult`).

Frames are those of `medtrinity25m.triplet`; a volume is in NIfTI's canonical RAS+ orientation (first axis to the
patient's right, second to the front, third to the head), with the affine that takes voxel indices to millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medtrinity25m.triplet import XYXY, Annotation, Frozen


class Query(Frozen):
    """One image put before an expert.

    Args:
        pixels: (H, W) or (H, W, 3) uint8, as shipped.
        values: (H, W) float32 behind the pixels where they are calibrated (`values_unit`), else None.
        spacing_mm: (row, column), None where unknown.
        organs: vocabulary ids the metadata name, for models that take words.
        diseases: the same for diseases.
        boxes: boxes to find the outline in, for models that take boxes as a prompt.
    """

    pixels: NDArray[np.uint8]
    modality: str
    values: NDArray[np.float32] | None = None
    values_unit: Literal["HU"] | None = None
    spacing_mm: tuple[float, float] | None = None
    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()
    boxes: tuple[XYXY, ...] = ()


class Finding(Annotation):
    """A region an expert found: like a mark a person made, with the expert's confidence.

    `label` is the expert's own word; the card says which vocabulary id it means. `expert` is filled in by the caller.
    """

    score: float = Field(ge=0, le=1)


class Volume(Frozen):
    """A whole volume put before an expert.

    Args:
        voxels: (X, Y, Z) float32, RAS+ canonical order, scaled values (HU where `values_unit` says so).
        affine: (4, 4) float64, voxel indices to millimetres in RAS+.
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]
    modality: str
    values_unit: Literal["HU"] | None = None
    organs: tuple[str, ...] = ()
    diseases: tuple[str, ...] = ()


class VolumeFinding(Frozen):
    """A structure an expert found in a volume: `mask` is (X, Y, Z) bool on the volume's own grid."""

    label: str
    mask: NDArray[np.bool_]
    score: float = Field(ge=0, le=1)


class Expert(Protocol):
    """Finds regions in images, a batch at a time."""

    def __call__(self, queries: Sequence[Query], /) -> list[list[Finding]]:
        """Return the findings of each image, in order; none where nothing was found."""
        ...


class VolumeExpert(Protocol):
    """Finds structures in a whole volume."""

    def __call__(self, volume: Volume, /) -> list[VolumeFinding]:
        """Return what was found in the volume; labels may overlap."""
        ...
