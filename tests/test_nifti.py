"""NIfTI volumes: every stored orientation shows the same picture, and no header is believed unweighed."""

from __future__ import annotations

import gzip
import itertools
import math
import struct
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import nifti as module
from medtrinity25m.readers.nifti import Axis, NiftiFile
from medtrinity25m.release.png import encode_image
from packages import package_file

AXES: tuple[Axis, ...] = ("axial", "coronal", "sagittal")
ORIENTATIONS = [
    "".join(letter)
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for letter in itertools.product(*pairs)
]  # fmt: skip


def body() -> NDArray[np.int16]:
    """An RAS+ volume of 7 x 9 x 5 voxels, every voxel another value; left-anterior-superior holds 1000."""
    volume = np.arange(7 * 9 * 5, dtype=np.int16).reshape(7, 9, 5)
    volume[0, 8, 4] = 1000
    return volume


SPACING = (2.0, 3.0, 5.0)  # of body(), millimetres from left to right, back to front, bottom to top
AFFINE = np.diag([*SPACING, 1.0]) + np.array([[0, 0, 0, -11], [0, 0, 0, 7], [0, 0, 0, 40], [0, 0, 0, 0]])


def volume_file(
    array: NDArray[np.generic], affine: NDArray[np.float64] | None = AFFINE, *, kind: type = nib.Nifti1Image
) -> bytes:
    """The bytes of a .nii file as nibabel writes it."""
    data: bytes = kind(array, affine).to_bytes()
    return data


def stored_as(code: str) -> bytes:
    """body() written with its axes in another order and direction, the affine saying so."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(code))
    array = nib.orientations.apply_orientation(body(), turn)
    return volume_file(np.ascontiguousarray(array), AFFINE @ inv_ornt_aff(turn, body().shape))


def patched(data: bytes, *fields: tuple[int, str, object]) -> bytes:
    """A file with header fields overwritten: (offset, struct format, value)."""
    changed = bytearray(data)
    for offset, form, value in fields:
        struct.pack_into("<" + form, changed, offset, value)
    return bytes(changed)


def code_of(data: bytes, axis: Axis = "axial") -> str | None:
    """Open a file and decode everything; the code it is refused with, or None."""
    try:
        file = NiftiFile(data, "x.nii", axis)
        file.plane(0)
        file.plane(file.count - 1)
    except RefusedError as error:
        return error.code if "x.nii" in error.detail else "no file is named"
    return None


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_every_stored_orientation_shows_the_same(code: str) -> None:
    """The 48 ways to store a volume give the same slices, values, spacing, side and count along every axis."""
    expected = {axis: NiftiFile(volume_file(body()), "ras.nii", axis, values="HU") for axis in AXES}
    for axis, other in expected.items():
        file = NiftiFile(stored_as(code), f"{code}.nii", axis, values="HU")
        assert file.count == other.count
        for index in range(file.count):
            one, two = file.plane(index), other.plane(index)
            np.testing.assert_array_equal(one.values, two.values)
            np.testing.assert_array_equal(one.pixels, two.pixels)
            np.testing.assert_array_equal(file.labels(index), other.labels(index))
            assert (one.spacing_mm, one.view, one.image_left) == (two.spacing_mm, two.view, two.image_left)


@pytest.mark.parametrize(("axis", "index", "pixel", "shape", "spacing", "left"), [
    ("axial", 4, (0, 6), (9, 7), (3.0, 2.0), "right"),
    ("coronal", 8, (0, 6), (5, 7), (5.0, 2.0), "right"),
    ("sagittal", 0, (0, 0), (5, 9), (5.0, 3.0), None),
])  # fmt: skip
def test_where_left_anterior_superior_lands(
    axis: Axis,
    index: int,
    pixel: tuple[int, int],
    shape: tuple[int, int],
    spacing: tuple[float, float],
    left: str | None,
) -> None:
    """The marker at the patient's left, front and top is at the right and upper edge, in the last slice upwards."""
    file = NiftiFile(volume_file(body()), "x.nii", axis, values="HU")
    plane = file.plane(index)
    assert plane.values is not None
    assert plane.pixels.shape == plane.values.shape == shape
    assert plane.values[pixel] == 1000
    assert plane.pixels[pixel] == plane.pixels.max()
    assert (plane.spacing_mm, plane.view, plane.image_left) == (spacing, axis, left)
    assert plane.pixels.flags.c_contiguous


def test_the_mni_template_lies_the_right_way() -> None:
    """In nilearn's MNI152 brain the cerebellum hangs low and behind, right in a sagittal slice; halves are alike."""
    name = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    data = package_file("nilearn", "datasets", "data", name).read_bytes()
    image = nib.Nifti1Image.from_bytes(gzip.decompress(data))
    middle = np.linalg.inv(image.affine) @ [0, 0, 0, 1]
    sagittal = NiftiFile(data, "mni.nii.gz", "sagittal", (128, 256)).plane(round(middle[0]))
    assert sagittal.spacing_mm == (1.0, 1.0)
    rows, columns = np.nonzero(sagittal.pixels > 40)
    assert columns[rows > np.percentile(rows, 95)].mean() > columns.mean()
    assert np.median(rows) < (rows.min() + rows.max()) / 2  # the vertex is wide, the brain stem narrow
    coronal = NiftiFile(data, "mni.nii.gz", "coronal", (128, 256)).plane(round(middle[1]))
    rows, columns = np.nonzero(coronal.pixels > 40)
    assert columns.mean() == pytest.approx(coronal.pixels.shape[1] / 2, abs=2)
    assert np.median(rows) < (rows.min() + rows.max()) / 2


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_real_files_agree_with_nibabel(name: str) -> None:
    """Scaled voxels, affine and spacing of files from scanners are nibabel's; of 4-D ones the first volume's."""
    path = package_file("nibabel", "tests", "data", name)
    image = nib.as_closest_canonical(nib.load(path))
    voxels = image.get_fdata()
    voxels = voxels[..., 0] if voxels.ndim == 4 else voxels
    x, y, z = (float(f"{edge:.6g}") for edge in image.header.get_zooms()[:3])
    for axis, spacing in zip(AXES, ((y, x), (z, x), (z, y)), strict=True):
        file = NiftiFile(path.read_bytes(), name, axis, values="HU")
        along = {"axial": 2, "coronal": 1, "sagittal": 0}[axis]
        assert file.count == voxels.shape[along]
        assert file.spacing_mm == pytest.approx(spacing, rel=1e-5)
        for index in (0, file.count // 2, file.count - 1):
            slab = np.take(voxels, index, axis=along).T
            expected = slab[::-1, ::-1]
            np.testing.assert_allclose(file.plane(index).values, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_scalar_type_and_byte_order(dtype: str, kind: type) -> None:
    """Integers and floats of all sizes, in both byte orders and both NIfTI versions, give the same slice."""
    volume = np.arange(60).reshape(3, 4, 5).astype(dtype)
    image = kind(volume, AFFINE, dtype=volume.dtype)
    if dtype.startswith(">"):
        image = kind(volume, AFFINE, header=kind.header_class(endianness=">"), dtype=volume.dtype)
    plane = NiftiFile(image.to_bytes(), "x.nii", "axial", values="HU").plane(2)
    np.testing.assert_array_equal(plane.values, volume[::-1, ::-1, 2].T.astype(np.float32))
    assert plane.values is not None
    assert plane.values.dtype == np.float32


@pytest.mark.parametrize(("kind", "bands"), [("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("axis", AXES)
def test_colour_voxels_are_shown_as_they_are(kind: str, bands: int, axis: Axis) -> None:
    """RGB24 and RGBA32 become RGB without a window, alpha dropped, in the same orientation as grey; labels refuse."""
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, bands)).astype(np.uint8)
    voxels = np.empty((4, 5, 6), dtype=[(name, "u1") for name in kind])
    for band, name in enumerate(kind):
        voxels[name] = colours[..., band]
    file = NiftiFile(volume_file(voxels), "x.nii", axis)
    grey = NiftiFile(volume_file(colours[..., 1].astype(np.int16)), "x.nii", axis, values="HU")
    plane = file.plane(2)
    assert plane.window is None
    assert plane.values is None
    assert plane.pixels.shape[2] == 3
    np.testing.assert_array_equal(plane.pixels[..., 1], grey.plane(2).values)
    with pytest.raises(RefusedError, match="whole numbers"):
        file.labels(0)


def test_slope_and_intercept() -> None:
    """Values are slope times voxel plus intercept; a slope of 0 or NaN means none of both, as nifti1.h has it."""
    data = volume_file(body())
    plain = NiftiFile(data, "x.nii", "axial", values="HU").plane(1).values
    assert plain is not None
    for slope, inter, expected in ((2.0, -1024.0, plain * 2 - 1024), (0.0, 5.0, plain), (math.nan, 5.0, plain)):
        changed = patched(data, (112, "f", slope), (116, "f", inter))
        np.testing.assert_array_equal(NiftiFile(changed, "x.nii", "axial", values="HU").plane(1).values, expected)


def test_the_window_is_of_the_whole_volume() -> None:
    """All slices share the 0.5th to 99.5th percentile of all voxels; an independent computation gives equal greys."""
    volume = np.random.default_rng(1).normal(100, 30, (20, 21, 22)).astype(np.float32)
    volume[:, :, 3] += 50
    file = NiftiFile(volume_file(volume), "x.nii", "axial")
    low, high = np.percentile(volume, (0.5, 99.5))
    for index in (0, 3, 21):
        plane = file.plane(index)
        assert plane.window is not None
        assert plane.window.name == "percentile"
        expected = np.clip((volume[::-1, ::-1, index].T - low) / (high - low), 0, 1) * 255
        assert np.abs(plane.pixels - expected).max() <= 0.51
        assert plane.values is None


def test_the_header_states_a_window() -> None:
    """cal_min and cal_max are the window where they span a range, and are overruled by a preset or by numbers."""
    data = patched(volume_file(body()), (124, "f", 300.0), (128, "f", 100.0))  # cal_max, cal_min
    window = NiftiFile(data, "x.nii", "axial").plane(0).window
    assert window is not None
    assert (window.center, window.width, window.name) == (200, 200, "header")
    lung = NiftiFile(data, "x.nii", "axial", "lung").plane(0).window
    assert lung is not None
    assert (lung.center, lung.width, lung.name) == (-600, 1500, "lung")
    own = NiftiFile(data, "x.nii", "axial", (10, 20)).plane(0).window
    assert own is not None
    assert (own.center, own.width, own.name) == (10, 20, "source")
    with pytest.raises(ConfigError):
        NiftiFile(data, "x.nii", "axial", (10, 0))


def test_voxels_that_are_not_finite_are_black() -> None:
    """NaN and infinities become 0 in the picture and leave the window as the other voxels have it."""
    volume = np.random.default_rng(2).uniform(50, 100, (6, 6, 6)).astype(np.float32)
    good = NiftiFile(volume_file(volume), "x.nii", "axial")
    volume[5, 5, :3] = (np.nan, np.inf, -np.inf)
    file = NiftiFile(volume_file(volume), "x.nii", "axial")
    for index in range(3):
        assert file.plane(index).pixels[0, 0] == 0
        assert file.plane(index).window.center == pytest.approx(good.plane(index).window.center, abs=1)


def test_unknown_orientation_claims_no_side() -> None:
    """With sform_code and qform_code 0 there is a picture and a spacing, but neither view nor patient's side."""
    data = patched(volume_file(body()), (252, "h", 0), (254, "h", 0))
    for axis in AXES:
        plane = NiftiFile(data, "x.nii", axis).plane(0)
        assert (plane.view, plane.image_left) == (None, None)
        assert plane.spacing_mm is not None


def test_oblique_volumes_keep_their_grid() -> None:
    """A volume turned by 20 degrees is cut along its own axes: same pixels, voxel sizes as spacing, closest view."""
    angle = math.radians(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    straight = NiftiFile(volume_file(body()), "x.nii", "axial").plane(2)
    oblique = NiftiFile(volume_file(body(), turn @ AFFINE), "x.nii", "axial").plane(2)
    np.testing.assert_array_equal(oblique.pixels, straight.pixels)
    assert oblique.spacing_mm == pytest.approx(straight.spacing_mm)
    assert oblique.view == "axial"


@pytest.mark.parametrize(("units", "spacing"), [(0, (3.0, 2.0)), (2, (3.0, 2.0)), (2 | 8, (3.0, 2.0)), (5, None)])
def test_units_of_length(units: int, spacing: tuple[float, float] | None) -> None:
    """Unknown units are taken as millimetres, units of time do not matter, a code that is none gives no spacing."""
    assert NiftiFile(patched(volume_file(body()), (123, "B", units)), "x.nii", "axial").spacing_mm == spacing


@pytest.mark.parametrize(("units", "scale"), [(1, 0.001), (3, 1000.0)])
def test_metres_and_microns_become_millimetres(units: int, scale: float) -> None:
    """A volume stated in metres or microns has the same spacing in millimetres as one stated in millimetres."""
    affine = np.diag([scale, scale, scale, 1]) @ AFFINE
    data = patched(volume_file(body(), affine), (123, "B", units))
    assert NiftiFile(data, "x.nii", "axial").spacing_mm == pytest.approx((3.0, 2.0))


def test_flat_and_thin_volumes() -> None:
    """Files of one or two dimensions have one slice; a third or fourth side of 1 changes nothing."""
    for shape in ((6,), (6, 4), (6, 4, 1), (6, 4, 1, 1), (6, 4, 1, 1, 1)):
        file = NiftiFile(volume_file(np.zeros(shape, np.int16)), "x.nii", "axial")
        assert (file.count, file.plane(0).pixels.shape) == (1, (shape[1] if len(shape) > 1 else 1, 6))


def test_labels_come_in_the_pictures_orientation() -> None:
    """A label volume stored another way than its image gives labels at the image's own pixels, and areas by value."""
    volume = (body() > 200).astype(np.uint8) * 3
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt("PIR"))
    turned = np.ascontiguousarray(nib.orientations.apply_orientation(volume, turn))
    data = volume_file(turned, AFFINE @ inv_ornt_aff(turn, volume.shape))
    for axis in AXES:
        image = NiftiFile(volume_file(body()), "x.nii", axis, values="HU")
        mask = NiftiFile(gzip.compress(data), "y.nii.gz", axis)
        assert image.same_grid(mask)
        areas = mask.label_areas()
        assert len(areas) == image.count
        for index in range(image.count):
            labels = mask.labels(index)
            assert labels.dtype == np.int32
            np.testing.assert_array_equal(labels, (image.plane(index).values > 200) * 3)
            values, counts = np.unique(labels, return_counts=True)
            assert areas[index] == dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int64])
def test_whole_numbers_of_any_type_are_labels(dtype: type) -> None:
    """Labels saved as floats, or scaled by a slope that gives whole numbers to float32, are read as integers."""
    volume = np.random.default_rng(4).integers(0, 300, (4, 5, 6)).astype(dtype)
    file = NiftiFile(nib.Nifti1Image(volume, AFFINE, dtype=dtype).to_bytes(), "x.nii", "axial")
    np.testing.assert_array_equal(file.labels(2), volume[::-1, ::-1, 2].T)
    scaled = NiftiFile(patched(volume_file((volume * 10).astype(np.int16)), (112, "f", 0.1)), "x.nii", "axial")
    np.testing.assert_array_equal(scaled.labels(2), volume[::-1, ::-1, 2].T)


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, 2.0**31, -(2.0**40)])
def test_what_is_no_label_is_refused(value: float) -> None:
    """A probability map, NaN, or a number beyond 32 bits is not rounded into a class."""
    volume = np.zeros((4, 5, 6), np.float64)
    volume[0, 0, 0] = value
    file = NiftiFile(volume_file(volume), "x.nii", "axial")
    with pytest.raises(RefusedError, match="whole numbers") as caught:
        file.label_areas()
    assert caught.value.code == "nifti.labels_not_integers"


def test_negative_and_large_labels_are_counted() -> None:
    """Areas hold every value, also below zero and above what is counted in bins."""
    volume = np.zeros((2, 3, 1), np.int32)
    volume[0] = -4
    volume[1, 0] = 1_000_000
    assert NiftiFile(volume_file(volume), "x.nii", "axial").label_areas() == [{-4: 3, 0: 2, 1_000_000: 1}]


def test_grids_that_differ() -> None:
    """Another shape, half a voxel of shift, another spacing, an unknown orientation: another grid. Rounding is not."""
    image = NiftiFile(volume_file(body()), "x.nii", "axial")
    shifted, wider, noisy = AFFINE.copy(), AFFINE.copy(), AFFINE * (1 + 1e-6)
    shifted[0, 3] += 1.0
    wider[2, 2] = 5.1
    assert image.same_grid(NiftiFile(volume_file(body(), noisy), "y.nii", "coronal"))
    for other in (
        volume_file(body(), shifted),
        volume_file(body(), wider),
        volume_file(body()[:, :, 1:]),
        patched(volume_file(body()), (252, "h", 0), (254, "h", 0)),
    ):
        assert not image.same_grid(NiftiFile(other, "y.nii", "axial"))


def test_cost_bounds_the_encoded_slice() -> None:
    """No slice, not even of noise, encodes to more bytes than its cost."""
    volume = np.random.default_rng(5).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    for axis in AXES:
        file = NiftiFile(volume_file(volume), "x.nii", axis, (127.5, 255))
        for index in (0, file.count - 1):
            assert len(encode_image(file.plane(index).pixels)) <= file.cost(index)


GOOD = volume_file(body())
HEADER = GOOD[:348]


@pytest.mark.parametrize(("data", "code"), [
    (b"", "nifti.header"),
    (GOOD[:347], "nifti.header"),
    (GOOD[:352], "nifti.truncated"),
    (GOOD[:-1], "nifti.truncated"),
    (patched(GOOD, (40, "h", 0)), "nifti.header"),
    (patched(GOOD, (40, "h", 99)), "nifti.header"),
    (patched(GOOD, (40, "h", -3)), "nifti.header"),
    (patched(GOOD, (42, "h", 0)), "nifti.header"),
    (patched(GOOD, (42, "h", -7)), "nifti.header"),
    (patched(GOOD, (70, "h", 9999)), "nifti.datatype"),
    (patched(GOOD, (70, "h", 32)), "nifti.datatype"),
    (patched(GOOD, (70, "h", 1)), "nifti.datatype"),
    (patched(GOOD, (70, "h", 1536)), "nifti.datatype"),
    (patched(GOOD, (72, "h", 8)), "nifti.header"),
    (patched(GOOD, (108, "f", math.nan)), "nifti.header"),
    (patched(GOOD, (108, "f", math.inf)), "nifti.header"),
    (patched(GOOD, (108, "f", 1e18)), "nifti.truncated"),
    (patched(GOOD, (108, "f", -100.0)), "nifti.header"),
    (patched(GOOD, (108, "f", 100.0)), "nifti.header"),
    (patched(GOOD, (108, "f", 352.5)), "nifti.header"),
    (patched(GOOD, (112, "f", 2.0), (116, "f", math.nan)), "nifti.header"),
    (patched(GOOD, *((offset, "f", 0.0) for offset in range(280, 328, 4))), "nifti.affine"),
    (patched(GOOD, (280, "f", math.nan)), "nifti.affine"),
    (patched(GOOD, (292, "f", math.inf)), "nifti.affine"),
    (patched(GOOD, (280, "f", 1e-38)), "nifti.affine"),
    (patched(GOOD, (280, "f", 1e38)), "nifti.affine"),
    (patched(GOOD, (280, "f", 1e6)), "nifti.affine"),
    (patched(GOOD, (254, "h", 0), (252, "h", 1), (256, "f", 9.0)), "nifti.affine"),
    (patched(GOOD, *((offset, "h", 32767) for offset in (42, 44, 46))), "nifti.too_large"),
    (patched(GOOD, *((offset, "h", 2000) for offset in (42, 44, 46))), "nifti.too_large"),
    (patched(GOOD, *((offset, "h", 500) for offset in (42, 44, 46))), "nifti.truncated"),
    (patched(GOOD, (40, "h", 5), (48, "h", 1), (50, "h", 3)), "nifti.datatype"),
    (gzip.compress(GOOD, mtime=0)[:-3], "file.gzip_truncated"),
    (gzip.compress(GOOD, mtime=0) + b"more", "file.gzip_trailing"),
    (gzip.compress(gzip.compress(GOOD, mtime=0), mtime=0), "nifti.header"),
    (gzip.compress(GOOD[:-10], mtime=0), "nifti.truncated"),
    (gzip.compress(GOOD[:100], mtime=0), "nifti.header"),
    (b"\x1f\x8b" + bytes(50), "nifti.header"),
])  # fmt: skip
def test_bad_headers_have_a_reason(data: bytes, code: str) -> None:
    """Sides, types, offsets, affines and lengths that cannot be are refused by name of the file and kind of fault."""
    assert code_of(data) == code


def test_what_follows_the_voxels() -> None:
    """Padding after the voxels is passed over; in gzip a megabyte of it, so that a bomb has no tail to hide in."""
    assert code_of(GOOD + bytes(3000)) is None
    assert code_of(gzip.compress(GOOD + bytes(3000))) is None
    assert code_of(gzip.compress(GOOD + bytes(2 << 20))) == "file.gzip_limit"


def test_the_start_of_voxels() -> None:
    """Voxels after an extension are found at vox_offset; an offset of 0 means right after the header."""
    image = nib.Nifti1Image(body(), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    expected = NiftiFile(GOOD, "x.nii", "axial").labels(3)
    np.testing.assert_array_equal(NiftiFile(image.to_bytes(), "x.nii", "axial").labels(3), expected)
    zero = patched(GOOD, (108, "f", 0.0))
    np.testing.assert_array_equal(NiftiFile(zero, "x.nii", "axial").labels(3), expected)


def test_promises_are_weighed_before_memory_is_taken() -> None:
    """Files of a few hundred bytes that promise gigabytes are refused within 50 ms and 1 MB."""
    giants = [patched(GOOD, *((offset, "h", side) for offset in (42, 44, 46))) for side in (800, 2000, 32767)]
    giants += [gzip.compress(giant) for giant in giants]
    for giant in giants:
        tracemalloc.start()
        start = time.perf_counter()
        assert code_of(giant) in {"nifti.too_large", "nifti.truncated"}
        assert time.perf_counter() - start < 0.05
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_of_four_dimensions_only_the_first_volume_is_kept() -> None:
    """A time series shows its first volume and holds no other in memory."""
    series = np.random.default_rng(6).integers(0, 99, (8, 9, 10, 7)).astype(np.int16)
    file = NiftiFile(gzip.compress(volume_file(series)), "x.nii.gz", "axial")
    np.testing.assert_array_equal(file.labels(4), series[::-1, ::-1, 4, 0].T)
    assert file.count == 10
    assert file.nbytes == 8 * 9 * 10 * 2


def test_no_flipped_bit_of_a_gzip_is_silent() -> None:
    """Of 400 files with one bit flipped, none gives other voxels: refused, or unpacked to the very same content."""
    volume = np.random.default_rng(7).integers(0, 50, (20, 20, 10)).astype(np.int16)
    packed = gzip.compress(volume_file(volume), mtime=0)
    same = 0
    for bit in np.random.default_rng(8).choice(len(packed) * 8, 400, replace=False):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        if code_of(bytes(damaged)) is None:
            assert gzip.decompress(bytes(damaged)) == gzip.decompress(packed)
            same += 1
    assert same <= 10  # in the header, or a match that points to another run of the same zeros


def test_no_truncation_is_silent() -> None:
    """Cut anywhere, packed or not, a volume is refused."""
    packed = gzip.compress(GOOD)
    for end in range(0, len(GOOD), 7):
        assert code_of(GOOD[:end]) is not None
    for end in range(len(packed)):
        assert code_of(packed[:end]) is not None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6), st.sampled_from(AXES))
def test_any_header_gives_a_picture_or_a_reason(changes: list[tuple[int, int]], axis: Axis) -> None:
    """Header bytes set to anything give planes of the promised count, or a refusal: no other error, no warning."""
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    for packed in (bytes(data), gzip.compress(bytes(data), 1)):
        try:
            file = NiftiFile(packed, "x.nii", axis, values="HU")
            planes = [file.plane(index) for index in range(min(file.count, 12))]
        except RefusedError:
            continue
        assert all(plane.pixels.size for plane in planes)


def test_every_dtype_code_is_one_nibabel_knows() -> None:
    """The table of datatypes gives each code the size nibabel gives it."""
    for code, name in module.DTYPES.items():
        assert np.dtype(name).itemsize == nib.nifti1.data_type_codes.dtype[code].itemsize
