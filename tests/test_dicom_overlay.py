"""Overlay planes lie where their origin says, and closed contours in them become regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.uid import ExplicitVRBigEndian
from scipy import ndimage

from dicom_files import as_bytes, drawn_dataset, header_of, real
from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.dicom_masks import closed_contours


def test_the_lesion_of_a_real_overlay() -> None:
    """examples_overlay.dcm: the closed contour is the lesion, the letter marks beside it are not."""
    file = DicomFile(real("examples_overlay.dcm"))
    mask = closed_contours(file.overlay(0x6000, 0))
    y, x = np.nonzero(mask)
    assert (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1) == (46, 139, 35, 35)
    assert mask.sum() == 920
    assert not closed_contours(np.zeros((9, 9), bool)).any()


def test_contours_are_told_from_letters() -> None:
    """Two outlines of like size are both regions; an open line, a letter and its counter are none."""
    sheet = Image.new("1", (120, 90))
    pen = ImageDraw.Draw(sheet)
    pen.ellipse((10, 10, 40, 40), outline=1)
    pen.ellipse((60, 15, 85, 45), outline=1)
    pen.ellipse((100, 60, 104, 66), outline=1)  # the letter O
    pen.line((5, 70, 90, 80), fill=1)
    found = closed_contours(np.asarray(sheet))
    assert ndimage.label(found)[1] == 2
    assert found[25, 25]
    assert found[30, 72]
    assert not found[60:].any()
    letters = Image.new("1", (40, 20))
    ImageDraw.Draw(letters).ellipse((5, 5, 9, 11), outline=1)
    assert not closed_contours(np.asarray(letters)).any()


def test_an_overlay_is_drawn_where_its_origin_says() -> None:
    """Overlay planes equal pydicom's; an origin moves them and cuts what leaves the image."""
    file = DicomFile(real("examples_overlay.dcm"))
    assert file.overlay_groups == (0x6000,)
    np.testing.assert_array_equal(file.overlay(0x6000, 0), header_of("examples_overlay.dcm").overlay_array(0x6000))
    bits = np.random.default_rng(2).integers(0, 2, (5, 9), np.uint8)
    for top, left in ((1, 1), (-1, 4), (8, 8), (20, 1), (1, -12)):
        file = DicomFile(with_overlay(bits, top, left))
        canvas = np.zeros((64, 64), bool)
        canvas[20 + top - 1 : 25 + top - 1, 20 + left - 1 : 29 + left - 1] = bits
        np.testing.assert_array_equal(file.overlay(0x6002, 0), canvas[20:30, 20:32])
    with pytest.raises(RefusedError, match=r"dicom\.bad_overlay"):
        file.overlay(0x6000, 0)


def test_overlays_of_frames_and_of_big_endian_files() -> None:
    """A multi-frame overlay covers the frames it says; big-endian words are read in their order."""
    bits = np.random.default_rng(3).integers(0, 2, (2, 5, 9), np.uint8)
    file = DicomFile(with_overlay(bits, 1, 1, frames=3, covers=(2, 2)))
    assert not file.overlay(0x6002, 0).any()
    for index in (1, 2):
        np.testing.assert_array_equal(file.overlay(0x6002, index)[:5, :9], bits[index - 1])
    swapped = with_overlay(bits[0], 1, 1, syntax=ExplicitVRBigEndian)
    np.testing.assert_array_equal(DicomFile(swapped).overlay(0x6002, 0)[:5, :9], bits[0])


def with_overlay(
    bits: NDArray[np.uint8], top: int, left: int, frames: int = 1, covers: tuple[int, int] | None = None, **more: Any
) -> bytes:
    """An image of 10 x 12 pixels with an overlay; `covers` is its first frame and their number."""
    packed = np.packbits(bits.ravel(), bitorder="little")
    packed = np.concatenate([packed, np.zeros(len(packed) % 2, np.uint8)])
    data = packed.view("<u2").byteswap().tobytes() if more else packed.tobytes()
    dataset = drawn_dataset(np.zeros((frames, 10, 12), np.uint8), NumberOfFrames=frames)
    elements: list[tuple[int, str, Any]] = [
        (0x0010, "US", bits.shape[-2]),
        (0x0011, "US", bits.shape[-1]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [top, left]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", data),
    ]
    if covers is not None:
        elements += [(0x0015, "IS", covers[1]), (0x0051, "US", covers[0])]
    for element, vr, value in elements:
        dataset.add_new(0x60020000 | element, vr, value)
    return as_bytes(dataset, **more)
