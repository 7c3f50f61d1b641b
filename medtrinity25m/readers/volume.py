"""Whole volumes for those who need all planes at once: NIfTI files, and DICOM series put together by geometry.

A volume is given in NIfTI's canonical RAS+ orientation with its affine, whatever it was stored as; `planes_of` brings a
mask on that grid back to the planes as they are shown, pixel by pixel. Nothing is interpolated on either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.planes import PlaneGeometry, planes
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.series import gaps

Mask = NDArray[np.bool_]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's patient axes to NIfTI's


@dataclass(frozen=True)
class Grid:
    """A volume's voxels, (X, Y, Z) float32 in RAS+ order, and the way back to planes.

    `affine` takes voxel indices to millimetres in RAS+; `planes_of` takes an (X, Y, Z) bool mask to (N, H, W).
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]
    planes_of: Callable[[Mask], Mask]


def nifti_grid(file: NiftiFile) -> Grid:
    """Return the grid of a NIfTI volume; its planes are those along the axis it was opened with."""
    voxels, affine = file.volume()
    return Grid(voxels, affine, file.planes_of)


def dicom_grid(jail: Jail, stack: Sequence[tuple[str, int]]) -> Grid:
    """Return the grid of a DICOM series, given as (path, frame) in spatial order.

    Raises:
        RefusedError: `volume.incomplete` where planes are missing, repeated, tilted or of different sizes: an expert
            would see a patient who never was; and what reading raises.
    """
    files: dict[str, DicomFile] = {}
    shown: list[NDArray[np.float32]] = []
    places: list[PlaneGeometry] = []
    for path, frame in stack:
        if path not in files:
            files = {path: DicomFile(jail.read(path).data)}  # frames of a file follow each other
        plane = files[path].plane(frame)
        if plane.values is None:
            raise RefusedError("volume.incomplete", f"{path} is no gray image; a volume has one value a voxel")
        shown.append(plane.values)
        places.append(planes(files[path].header, path)[frame])
    why = gaps(places) or _uneven(places)
    if why is not None:
        raise RefusedError("volume.incomplete", f"the series of {stack[0][0]} is no volume: {why}")
    affine = LPS_TO_RAS @ _affine(places)
    native = np.stack(shown).transpose(2, 1, 0)
    turn = io_orientation(affine)  # type: ignore[no-untyped-call]
    back = ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), turn)  # type: ignore[no-untyped-call]
    canonical = affine @ inv_ornt_aff(turn, native.shape)  # type: ignore[no-untyped-call]

    def planes_of(mask: Mask) -> Mask:
        turned: Mask = apply_orientation(mask, back)  # type: ignore[no-untyped-call]
        return turned.transpose(2, 1, 0)

    voxels = np.ascontiguousarray(apply_orientation(native, turn))  # type: ignore[no-untyped-call]
    return Grid(voxels, canonical, planes_of)


def _uneven(places: Sequence[PlaneGeometry]) -> str | None:
    """Return what keeps planes from having one grid, or None."""
    if len(places) < 2:
        return "it has one plane."
    if len({(place.rows, place.columns, place.spacing_mm) for place in places}) > 1 or places[0].spacing_mm is None:
        return "its planes differ in size or spacing, or do not say theirs."
    return None


def _affine(places: Sequence[PlaneGeometry]) -> NDArray[np.float64]:
    """Return the matrix from (column, row, plane) to millimetres in DICOM's patient axes (PS3.3 C.7.6.2.1.1)."""
    first, last = places[0], places[-1]
    if first.position is None or last.position is None or first.orientation is None or first.spacing_mm is None:
        raise RefusedError("volume.incomplete", "the planes of a series do not say where they lie")
    matrix = np.eye(4)
    matrix[:3, 0] = np.array(first.orientation[:3]) * first.spacing_mm[1]
    matrix[:3, 1] = np.array(first.orientation[3:]) * first.spacing_mm[0]
    matrix[:3, 2] = (np.array(last.position) - np.array(first.position)) / (len(places) - 1)
    matrix[:3, 3] = first.position
    return matrix
