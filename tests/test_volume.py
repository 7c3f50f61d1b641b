"""Whole volumes from NIfTI files and DICOM series, and the way back to planes."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.volume import dicom_grid, nifti_grid
from source_trees.drawing import dicom

AXIAL, CORONAL, SAGITTAL = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])


def series(root: Path, cosines: list[int], count: int = 4, step: float = 3.0, **elements) -> list[tuple[str, int]]:
    """Write a CT series of planes 32 x 40 of 0.5 x 0.8 mm along its normal; return it in spatial order."""
    normal = np.cross(cosines[:3], cosines[3:])
    for at in range(count):
        position = (normal * step * at + (-20, -30, 100)).tolist()
        dicom(
            root,
            f"{at}.dcm",
            ImagePositionPatient=position,
            ImageOrientationPatient=cosines,
            PixelSpacing=[0.8, 0.5],
            InstanceNumber=at + 1,
            **elements,
        )
    return [(f"{at}.dcm", 0) for at in range(count)]


@pytest.mark.parametrize("cosines", [AXIAL, CORONAL, SAGITTAL, [-1, 0, 0, 0, -1, 0]])
def test_a_series_becomes_a_volume_whose_voxels_lie_where_the_header_says(tmp_path, cosines):
    """A pixel's place by PS3.3 C.7.6.2.1.1, turned to RAS, is the place of its voxel by the affine."""
    stack = series(tmp_path, cosines)
    grid = dicom_grid(Jail(tmp_path), stack)
    assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")
    path, _ = stack[2]
    header = DicomFile(Jail(tmp_path).read(path).data)
    values = header.plane(0).values
    row, column = 5, 17
    lps = (
        np.array(header.header.geometry[0].position)
        + np.array(cosines[:3]) * 0.5 * column
        + np.array(cosines[3:]) * 0.8 * row
    )
    voxel = np.linalg.solve(grid.affine, [*(lps * (-1, -1, 1)), 1])[:3]
    x, y, z = np.rint(voxel).astype(int)
    assert np.allclose(voxel, (x, y, z), atol=1e-6)
    assert grid.voxels[x, y, z] == values[row, column]


@pytest.mark.parametrize("cosines", [AXIAL, CORONAL, SAGITTAL, [-1, 0, 0, 0, -1, 0]])
def test_a_mask_comes_back_to_the_planes_it_was_made_from(tmp_path, cosines):
    """Thresholding the volume and cutting it is thresholding the planes."""
    stack = series(tmp_path, cosines)
    grid = dicom_grid(Jail(tmp_path), stack)
    planes = grid.planes_of(grid.voxels > 120)
    for at, (path, frame) in enumerate(stack):
        shown = DicomFile(Jail(tmp_path).read(path).data).plane(frame).values
        assert (planes[at] == (shown > 120)).all()


@pytest.mark.parametrize(
    ("axis", "flips"),
    list(itertools.product(("axial", "coronal", "sagittal"), itertools.product((1, -1), repeat=3))),
)
def test_nifti_masks_come_back_to_their_slices(tmp_path, axis, flips):
    """Whatever the stored orientation, a mask on the canonical grid is cut as the image is."""
    voxels = np.random.default_rng(1).integers(0, 255, (9, 7, 5)).astype(np.int16)
    path = tmp_path / "v.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0 * flips[0], 3.0 * flips[1], 4.0 * flips[2], 1.0])), path)
    file = NiftiFile(path.read_bytes(), "v.nii", axis, window=(127.0, 255.0), values="HU")
    grid = nifti_grid(file)
    planes = grid.planes_of(grid.voxels > 120)
    assert len(planes) == file.count
    for index in range(file.count):
        assert (planes[index] == (file.plane(index).values > 120)).all()


@pytest.mark.parametrize("fault", ["gap", "size", "lone", "no_place"])
def test_what_is_no_volume_is_refused(tmp_path, fault):
    """A missing plane, a plane of another size, a single plane, planes that do not say where they lie."""
    stack = series(tmp_path, AXIAL, count=6)
    if fault == "gap":
        stack.pop(3)
    elif fault == "size":
        dicom(
            tmp_path, "2.dcm", (30, 40), ImagePositionPatient=[-20, -30, 106], ImageOrientationPatient=AXIAL,
            PixelSpacing=[0.8, 0.5], InstanceNumber=3,
        )  # fmt: skip
    elif fault == "lone":
        stack = stack[:1]
    else:
        for path, _ in stack:
            dicom(tmp_path, path, PixelSpacing=[0.8, 0.5])
    with pytest.raises(RefusedError) as caught:
        dicom_grid(Jail(tmp_path), stack)
    assert caught.value.code == "volume.incomplete"
