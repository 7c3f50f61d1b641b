"""PNG, JPEG, TIFF, WebP, BMP: bytes that may pass do so unchanged, all else comes out exact or with a reason."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import raster_header
from medtrinity25m.readers.raster import RasterFile, orient_array, orient_point
from medtrinity25m.readers.safe import sniff
from medtrinity25m.release.png import encode_image
from packages import package_file

KINDS: tuple[raster_header.RasterKind, ...] = ("png", "jpeg", "tiff", "webp", "bmp")
FORMATS = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WEBP", "bmp": "BMP"}
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 17)).astype(np.uint8)
RGB = RNG.integers(0, 256, (12, 17, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (12, 17)).astype(np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (12, 17, 3)).astype(np.uint16)


def saved(picture: Image.Image | NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    """The bytes Pillow writes for a picture."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    """The bytes tifffile writes for an array."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def opened(data: bytes, *arguments: Any) -> RasterFile:
    """A raster file, its kind found as the jail finds it."""
    kind = sniff(data)
    assert kind in KINDS
    return RasterFile(data, "x.file", kind, *arguments)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its length and CRC."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    """A PNG around filtered `rows`, for depths and damage that Pillow does not write; `extra` goes before IDAT."""
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_png(array: NDArray[np.uint16], colour: int) -> bytes:
    """A 16-bit PNG of (H, W) or (H, W, bands)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png(array.shape[1], array.shape[0], 16, colour, rows)


def exif(orientation: int) -> Image.Exif:
    """EXIF that says how the picture is to be turned, and nothing else."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def code_of(data: bytes, kind: raster_header.RasterKind) -> str | None:
    """Open a file and decode every page as picture and as mask; the code it is refused with, or None."""
    try:
        file = RasterFile(data, "x.file", kind)
        for page in range(min(file.count, 4)):
            file.plane(page)
    except RefusedError as error:
        return error.code if "x.file" in error.detail else "no file is named"
    return None


def indexed(indices: NDArray[np.uint8]) -> Image.Image:
    """A palette image of these indices, its colours the other way round."""
    image = Image.fromarray(indices, "L")
    image.putpalette(bytes(range(255, -1, -1)) * 3)
    return image


PASSING = {
    "grey": saved(GREY),
    "rgb": saved(RGB),
    "rgba": saved(np.dstack([RGB, GREY])),
    "grey-alpha": saved(Image.fromarray(np.dstack([GREY, GREY[::-1]]), "LA")),
    "palette": saved(Image.fromarray(RGB).quantize(200)),
    "interlaced": png(1, 1, 8, 0, b"\0\x7f", interlace=1),
    "commented": png(2, 1, 8, 0, b"\0ab", chunk(b"tEXt", b"Comment\0x"), chunk(b"pHYs", struct.pack(">IIB", 9, 9, 1))),
    "padded": saved(GREY) + bytes(8),
    "jpeg-grey": saved(GREY, "JPEG"),
    "jpeg-rgb": saved(RGB, "JPEG", quality=90),
    "jpeg-progressive": saved(RGB, "JPEG", progressive=True),
    "jpeg-cmyk": saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "jpeg-upright": saved(GREY, "JPEG", exif=exif(1)),
    "jpeg-bad-orientation": saved(GREY, "JPEG", exif=exif(9)),
}


@pytest.mark.parametrize("name", PASSING)
def test_eight_bit_files_pass_through(name: str) -> None:
    """An upright 8-bit PNG or JPEG ships as it is, and the pixels are those its readers see, alpha dropped."""
    data = PASSING[name]
    file = opened(data)
    plane = file.plane()
    assert plane.encoded == data
    assert file.cost(0) == len(data)
    assert (plane.window, plane.spacing_mm, plane.values, plane.orientation) == (None, None, None, 1)
    with Image.open(io.BytesIO(data)) as image:
        grey = image.mode in ("L", "LA")
        np.testing.assert_array_equal(plane.pixels, np.asarray(image.convert("L" if grey else "RGB")))


@pytest.mark.parametrize(("data", "expected"), [
    (saved(GREY > 99), (GREY > 99) * np.uint8(255)),
    (png(4, 1, 2, 0, b"\0\x1b"), [[0, 85, 170, 255]]),
    (png(2, 1, 4, 0, b"\0\x3f"), [[51, 255]]),
    (png(4, 1, 2, 3, b"\0\x1b", chunk(b"PLTE", bytes(range(12)))), [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]]),
    (saved(GREY) + b"<?php", GREY),
    (saved(GREY, "TIFF"), GREY),
    (saved(RGB, "TIFF", compression="tiff_lzw"), RGB),
    (saved(RGB, "WEBP", lossless=True), RGB),
    (saved(Image.fromarray(np.dstack([RGB, GREY | 1])), "WEBP", lossless=True, exact=True), RGB),
])  # fmt: skip
def test_other_files_are_rendered_exactly(data: bytes, expected: Any) -> None:
    """Fewer bits, bytes behind the end, TIFF and WebP do not ship as they are; the pixels are exact and 8-bit."""
    file = opened(data)
    plane = file.plane()
    assert plane.encoded is None
    assert plane.window is None
    np.testing.assert_array_equal(plane.pixels, expected)
    assert len(encode_image(plane.pixels)) <= file.cost(0)


def test_inks_become_rgb() -> None:
    """A CMYK TIFF is shown in RGB."""
    inks = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(opened(saved(inks, "TIFF")).plane().pixels, np.asarray(inks.convert("RGB")))


def test_a_photo_of_several_pictures_ships_as_its_first() -> None:
    """A JPEG with a second picture inside (MPO) is one page and is rendered: nobody has looked at the second."""
    first = Image.fromarray(RGB)
    data = saved(first, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::-1])])
    file = opened(data)
    assert file.count == 1
    plane = file.plane()
    assert plane.encoded is None
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(plane.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("write", [
    lambda a: saved(a), lambda a: saved(a, "TIFF"), lambda a: saved(a, "TIFF", compression="tiff_lzw"),
    lambda a: tiff(a), lambda a: tiff(a, byteorder=">"), lambda a: tiff(a, compression="zlib", predictor=True),
    lambda a: tiff(a, compression="zlib", tile=(16, 16)), lambda a: tiff(a, bigtiff=True, rowsperstrip=5),
])  # fmt: skip
def test_sixteen_bits_go_through_a_window(write: Callable[[NDArray[Any]], bytes]) -> None:
    """16-bit grey in PNG and any TIFF becomes 8 bits between its percentiles, or as the source states, recorded."""
    data = write(DEEP)
    low, high = np.percentile(DEEP, (0.5, 99.5))
    plane = opened(data).plane()
    assert plane.encoded is None
    assert plane.window is not None
    assert plane.window.name == "percentile"
    expected = np.clip((DEEP.astype(float) - low) / (high - low), 0, 1) * 255
    assert np.abs(plane.pixels - expected).max() <= 0.51
    own = opened(data, (30000.0, 20000.0)).plane()
    assert own.window is not None
    assert (own.window.center, own.window.width, own.window.name) == (30000, 20000, "source")
    expected = np.clip((DEEP.astype(float) - 20000) / 20000, 0, 1) * 255
    assert np.abs(own.pixels - expected).max() <= 0.51
    assert opened(data, "lung").plane().window == plane.window


@pytest.mark.parametrize("array", [
    DEEP.astype(np.uint32) << 16, DEEP.astype(np.int16), DEEP.astype(np.int32) - 9000, DEEP.astype(np.float32) / 65535,
    DEEP.astype(np.float64) * 1e10, GREY.astype(np.int8),
], ids=lambda array: array.dtype.name)  # fmt: skip
def test_tiff_of_any_number_type(array: NDArray[Any]) -> None:
    """Signed, 32-bit, 64-bit and float samples keep their values into the window."""
    low, high = np.percentile(array, (0.5, 99.5))
    plane = opened(tiff(array)).plane()
    expected = np.clip((array.astype(float) - low) / (high - low), 0, 1) * 255
    assert np.abs(plane.pixels - expected).max() <= 0.52


@pytest.mark.parametrize(("colour", "array"), [(2, DEEP_RGB), (6, np.dstack([DEEP_RGB, DEEP]))])
def test_sixteen_bit_colour_png_keeps_the_high_byte(colour: int, array: NDArray[np.uint16]) -> None:
    """Pillow gives the high byte of 16-bit colour in PNG; the window records the full range that means."""
    plane = opened(deep_png(array, colour)).plane()
    assert plane.window is not None
    assert (plane.window.center, plane.window.width, plane.window.name) == (32767.5, 65535, "full_range")
    np.testing.assert_array_equal(plane.pixels, (DEEP_RGB >> 8).astype(np.uint8))
    assert plane.encoded is None


def test_sixteen_bit_grey_with_alpha_stays_grey() -> None:
    """16-bit grey with alpha is one channel of high bytes."""
    plane = opened(deep_png(np.dstack([DEEP, DEEP[::-1]]), 4)).plane()
    np.testing.assert_array_equal(plane.pixels, (DEEP >> 8).astype(np.uint8))


@pytest.mark.parametrize("options", [
    {}, {"planarconfig": "separate"}, {"compression": "zlib", "predictor": True}, {"byteorder": ">"},
])  # fmt: skip
def test_sixteen_bit_colour_tiff_keeps_every_bit(options: dict[str, Any]) -> None:
    """16-bit RGB in TIFF goes through one window for all three channels, however it is laid out."""
    array = DEEP_RGB >> 4  # a 12-bit sensor
    data = tiff(np.moveaxis(array, -1, 0) if "planarconfig" in options else array, photometric="rgb", **options)
    plane = opened(data).plane()
    low, high = np.percentile(array, (0.5, 99.5))
    expected = np.clip((array.astype(float) - low) / (high - low), 0, 1) * 255
    assert np.abs(plane.pixels - expected).max() <= 0.51


def test_sixteen_bit_colour_in_other_tiff_keeps_the_high_byte() -> None:
    """16-bit RGB in a TIFF that only Pillow unpacks (here PackBits) is its high byte, and the window says so."""
    colours = RNG.integers(0, 65536, (20, 20, 3)).astype("<u2")
    rows = b"".join(bytes([119]) + row.tobytes() for row in colours)  # PackBits: 120 bytes follow as they are
    tags = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 16), (259, 3, 1, 32773), (262, 3, 1, 2), (277, 3, 1, 3)]
    file = opened(directory(*tags, (273, 4, 1, 122), (278, 4, 1, 20), (279, 4, 1, len(rows)), pixels=rows))
    plane = file.plane()
    np.testing.assert_array_equal(plane.pixels, (colours >> 8).astype(np.uint8))
    assert plane.window is not None
    assert (plane.window.width, plane.window.name) == (65535, "full_range")
    with pytest.raises(RefusedError, match="16-bit colours"):
        opened(directory(*tags, (273, 4, 1, 122), (278, 4, 1, 20), (279, 4, 1, 2420), pixels=grey_runs())).labels()


def grey_runs() -> bytes:
    """PackBits rows of a 20 x 20 image of 16-bit RGB whose three channels are equal."""
    return b"".join(bytes([119]) + np.full(60, row * 1000, "<u2").tobytes() for row in range(20))


def test_white_may_be_zero() -> None:
    """TIFF that stores white as zero is shown as it is meant, with 8 bits and with 16."""
    np.testing.assert_array_equal(opened(tiff(255 - GREY, photometric="miniswhite")).plane().pixels, GREY)
    plane = opened(tiff(65535 - DEEP, photometric="miniswhite")).plane()
    np.testing.assert_array_equal(plane.pixels, opened(tiff(DEEP)).plane().pixels)


def test_pages_come_in_any_order() -> None:
    """Each page of a TIFF, each frame of a WebP and of an animated PNG is itself, forwards, backwards and again."""
    frames = RNG.integers(0, 256, (5, 12, 17, 3)).astype(np.uint8)
    images = [Image.fromarray(frame) for frame in frames]
    more = {"save_all": True, "append_images": images[1:]}
    for data in (
        saved(images[0], "TIFF", **more),
        saved(images[0], "TIFF", compression="tiff_lzw", **more),
        saved(images[0], "WEBP", lossless=True, **more),
        saved(images[0], "PNG", **more),
    ):
        file = opened(data)
        assert file.count == 5
        for page in (0, 4, 2, 2, 3, 0):
            plane = file.plane(page)
            np.testing.assert_array_equal(plane.pixels, frames[page])
            assert plane.encoded is None
    stack = opened(tiff(np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]]), photometric="minisblack"))
    for page in (2, 0, 1):
        np.testing.assert_array_equal(stack.labels(page), [DEEP, DEEP[::-1], DEEP[:, ::-1]][page])


def test_pages_of_different_kinds() -> None:
    """A TIFF may hold pages of different size, depth and colour; each is decoded by its own header."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY)
        writer.write(DEEP[:5])
        writer.write(RGB[:7])
    file = opened(buffer.getvalue())
    assert [file.plane(page).pixels.shape for page in (2, 1, 0)] == [(7, 17, 3), (5, 17), (12, 17)]


def test_copies_of_other_pages_are_no_pages() -> None:
    """Reduced-resolution copies, as slide scanners add them with their label photos, are not counted as images."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(RGB)
        writer.write(RGB[::2, ::2], subfiletype=1)
        writer.write(RGB[::4, ::4], subfiletype=9)
        writer.write(RGB[::-1])
    file = opened(buffer.getvalue())
    assert file.count == 2
    np.testing.assert_array_equal(file.plane(1).pixels, RGB[::-1])
    assert opened(tiff(GREY, subfiletype=1)).count == 1


def test_print_resolution_is_no_spacing() -> None:
    """Dots per inch and microns per pixel of microscope software give no millimetres; the source's spacing does."""
    data = tiff(GREY, resolution=(20000, 20000), resolutionunit=3, metadata={"PhysicalSizeX": 0.5}, ome=True)
    for bytes_ in (data, saved(GREY, dpi=(300, 300)), saved(GREY, "JPEG", dpi=(300, 300))):
        assert opened(bytes_).plane().spacing_mm is None
        assert opened(bytes_, "header", (0.2, 0.3)).plane().spacing_mm == (0.2, 0.3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_what_viewers_make_of_it(orientation: int) -> None:
    """In all four formats, 8-bit and 16-bit, the pixels are those Pillow's own rotation gives; spacing turns along."""
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(saved(RGB, exif=exif(orientation))))))
    np.testing.assert_array_equal(orient_array(RGB, orientation), expected)
    files = [
        saved(RGB, exif=exif(orientation)),
        saved(RGB, "WEBP", lossless=True, exif=exif(orientation)),
        saved(RGB, "TIFF", tiffinfo={274: orientation}),
        saved(RGB, "TIFF", tiffinfo={274: orientation}, compression="tiff_lzw"),
        tiff(RGB.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
    ]
    for data in files:
        file = opened(data, (32767.5, 65535), (2.0, 3.0))
        plane = file.plane()
        assert file.orientation() == plane.orientation == orientation
        np.testing.assert_array_equal(plane.pixels, expected)
        assert (plane.encoded is not None) == (orientation == 1 and data == files[0])
        assert plane.spacing_mm == ((3.0, 2.0) if orientation >= 5 else (2.0, 3.0))
    photo = saved(RGB, "JPEG", exif=exif(orientation))
    with Image.open(io.BytesIO(photo)) as image:
        np.testing.assert_array_equal(opened(photo).plane().pixels, np.asarray(ImageOps.exif_transpose(image)))


def test_pages_of_a_tiff_turn_one_by_one() -> None:
    """Each page is turned by its own orientation, also when pages are asked for out of order."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for orientation in (6, 1, 8):
            writer.write(RGB, extratags=[(274, 3, 1, orientation, True)])
    file = opened(buffer.getvalue())
    for page in (1, 2, 0, 1, 0):
        orientation = (6, 1, 8)[page]
        assert file.plane(page).orientation == file.orientation(page) == orientation
        np.testing.assert_array_equal(file.plane(page).pixels, orient_array(RGB, orientation))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.data())
def test_points_and_arrays_turn_alike(height: int, width: int, orientation: int, data: st.DataObject) -> None:
    """The centre of any pixel, turned as a point, is the centre of the pixel where the array has its value."""
    array = np.arange(height * width).reshape(height, width)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    x, y = orient_point(column + 0.5, row + 0.5, width, height, orientation)
    turned = orient_array(array, orientation)
    assert turned[int(y), int(x)] == array[row, column]
    assert (x % 1, y % 1) == (0.5, 0.5)
    assert turned.flags.c_contiguous


@pytest.mark.parametrize(("data", "expected"), [
    (saved(GREY), GREY),
    (saved(indexed(GREY % 7)), GREY % 7),
    (saved(GREY > 99), GREY > 99),
    (png(4, 1, 2, 0, b"\0\x1b"), [[0, 1, 2, 3]]),
    (png(2, 1, 4, 0, b"\0\x3f"), [[3, 15]]),
    (png(2, 1, 4, 3, b"\0\x3f", chunk(b"PLTE", bytes(48))), [[3, 15]]),
    (png(8, 1, 1, 3, b"\0\xa5", chunk(b"PLTE", bytes(6))), [[1, 0, 1, 0, 0, 1, 0, 1]]),
    (saved(DEEP), DEEP),
    (tiff(DEEP), DEEP),
    (tiff(DEEP.astype(np.int32) * -9), DEEP.astype(np.int32) * -9),
    (tiff(DEEP.astype(np.float32)), DEEP),
    (saved(DEEP, "TIFF", compression="tiff_lzw"), DEEP),
    (saved(np.dstack([GREY] * 3)), GREY),
    (saved(np.dstack([GREY] * 3 + [GREY[::-1]])), GREY),
    (saved(Image.fromarray(np.dstack([GREY, GREY[::-1]]), "LA")), GREY),
    (saved(np.dstack([GREY] * 3), "WEBP", lossless=True), GREY),
], ids=str)  # fmt: skip
def test_masks_keep_their_numbers(data: bytes, expected: Any) -> None:
    """Palette indices, few bits, 16 bits, signed, float and grey stored as RGB all give the stored numbers."""
    labels = opened(data).labels()
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(("data", "code"), [
    (saved(RGB), "raster.mask_colour"),
    (saved(np.dstack([RGB, GREY])), "raster.mask_colour"),
    (saved(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "raster.mask_colour"),
    (tiff(DEEP_RGB, photometric="rgb"), "raster.mask_colour"),
    (deep_png(np.dstack([DEEP] * 3), 2), "raster.unsupported"),
    (tiff(GREY.astype(np.float32) / 255), "raster.mask_values"),
    (tiff(np.full((4, 4), np.nan, np.float32)), "raster.mask_values"),
    (tiff(np.full((4, 4), 2**31, np.uint32)), "raster.mask_values"),
])  # fmt: skip
def test_masks_without_numbers_are_refused(data: bytes, code: str) -> None:
    """Colours, fractions, NaN and numbers cut to a byte are not turned into labels by guessing."""
    with pytest.raises(RefusedError) as caught:
        opened(data).labels()
    assert caught.value.code == code
    assert "x.file" in caught.value.detail


@pytest.mark.parametrize(("data", "lossy"), [
    (saved(GREY), False), (saved(GREY, "JPEG"), True), (saved(RGB, "WEBP"), True),
    (saved(RGB, "WEBP", lossless=True), False), (tiff(GREY), False),
    (saved(GREY, "TIFF", compression="jpeg"), True),
    (saved(Image.fromarray(RGB), "WEBP", save_all=True, append_images=[Image.fromarray(GREY)]), True),
])  # fmt: skip
def test_lossy_files_say_so(data: bytes, lossy: bool) -> None:
    """What was compressed with loss is known, so that a mask in it is read with care."""
    assert opened(data).lossy == lossy


def test_real_nuclei() -> None:
    """Stardist's microscopy sample is 16-bit with a mask of 125 instances, which come out as they are stored."""
    image = opened(package_file("stardist", "data", "images", "img2d.tif").read_bytes()).plane()
    mask = package_file("stardist", "data", "images", "mask2d.tif")
    assert image.window is not None
    assert image.pixels.shape == (512, 512)
    labels = opened(mask.read_bytes()).labels()
    assert len(np.unique(labels)) == 126
    np.testing.assert_array_equal(labels, tifffile.imread(mask))


@pytest.mark.parametrize("name", ["retina.jpg", "ihc.png", "microaneurysms.png"])
def test_real_pictures_pass(name: str) -> None:
    """Fundus and histology pictures of scikit-image pass through unchanged."""
    data = package_file("skimage", "data", name).read_bytes()
    assert opened(data).plane().encoded == data


ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)
SEEDS: dict[raster_header.RasterKind, list[bytes]] = {
    "png": [saved(GREY), saved(Image.fromarray(RGB).quantize(9)), saved(RGB, exif=exif(6)), deep_png(DEEP, 0),
            saved(GREY, save_all=True, append_images=[Image.fromarray(GREY[::-1])])],
    "jpeg": [saved(RGB, "JPEG", exif=exif(3)), saved(GREY, "JPEG", progressive=True, restart_marker_blocks=1)],
    "tiff": [saved(RGB, "TIFF"), saved(GREY, "TIFF", compression="tiff_lzw"), tiff(DEEP_RGB, photometric="rgb"),
             tiff(DEEP, compression="zlib", tile=(16, 16)), tiff(np.stack([GREY, GREY]), bigtiff=True),
             saved(RGB, "TIFF", compression="jpeg"), tiff(GREY > 99, photometric="minisblack")],
    "webp": [saved(RGB, "WEBP"), saved(RGB, "WEBP", lossless=True, exif=exif(8)),
             saved(RGB, "WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])])],
    "bmp": [saved(GREY, "BMP"), saved(RGB, "BMP"), saved(GREY > 99, "BMP"),
            saved(Image.fromarray(RGB).quantize(9), "BMP")],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_truncation_is_silent(kind: raster_header.RasterKind) -> None:
    """Cut at any byte (of TIFF: any that pixels or directories need), a file is refused, and named."""
    for data in SEEDS[kind]:
        whole = opened(data)
        expected = [whole.plane(page).pixels for page in range(whole.count)]
        for end in range(len(data)):
            code = code_of(data[:end], kind)
            if code is None:
                assert kind == "tiff"
                again = RasterFile(data[:end], "x.file", kind)
                assert again.count == whole.count
                for page, pixels in enumerate(expected):
                    np.testing.assert_array_equal(again.plane(page).pixels, pixels)
            else:
                assert code.startswith("raster."), (kind, end, code)


def test_no_flipped_bit_of_a_png_is_silent() -> None:
    """Every single flipped bit of a PNG is refused: chunk lengths, types, bodies and CRCs."""
    data = saved(GREY[:5, :6], exif=exif(6))
    for bit in range(64, len(data) * 8):  # the signature is the jail's business
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert code_of(bytes(damaged), "png") in {"raster.corrupt", "raster.truncated"}, bit


@pytest.mark.parametrize(("data", "code"), [
    (png(17, 12, 8, 0, ROWS[:-1]), "raster.truncated"),
    (png(17, 12, 8, 0, ROWS[:18]), "raster.truncated"),
    (png(17, 12, 8, 0, b""), "raster.truncated"),
    (png(17, 13, 8, 0, ROWS), "raster.truncated"),
    (png(17, 12, 8, 2, ROWS), "raster.truncated"),
    (png(17, 12, 8, 0, ROWS[:-1], interlace=1), "raster.truncated"),
    (png(17, 12, 8, 0, ROWS + ROWS), None),
    (png(17, 12, 7, 0, ROWS), "raster.corrupt"),
    (png(17, 12, 16, 3, ROWS), "raster.corrupt"),
    (png(17, 12, 8, 5, ROWS), "raster.corrupt"),
    (png(17, 12, 8, 0, ROWS, interlace=2), "raster.corrupt"),
    (png(0, 12, 8, 0, ROWS), "raster.corrupt"),
    (png(60000, 60000, 8, 0, ROWS), "raster.too_large"),
    (png(13000, 13000, 8, 0, ROWS), "raster.too_large"),
    (png(14000, 14000, 8, 0, ROWS), "raster.too_large"),
    (png(9000, 9000, 16, 6, ROWS), "raster.too_large"),
    (png(17, 12, 8, 0, ROWS, chunk(b"acTL", struct.pack(">II", 1 << 31, 0))), "raster.corrupt"),
    (png(17, 12, 8, 0, ROWS, chunk(b"IHDR", bytes(13))), "raster.corrupt"),
    (png(17, 12, 8, 0, ROWS).replace(b"IHDR", b"IHDX"), "raster.corrupt"),
    (saved(GREY)[:33] + chunk(b"IEND", b""), "raster.corrupt"),
    (saved(GREY)[:33] + chunk(b"IDAT", b"nothing deflated") + chunk(b"IEND", b""), "raster.corrupt"),
    (png(17, 12, 8, 0, ROWS, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(300 << 20), 9))), "raster.unsupported"),
])  # fmt: skip
def test_png_that_lies(data: bytes, code: str | None) -> None:
    """Missing rows, sizes that are none or too much, broken chunks, text bombs are refused; extra rows ignored."""
    assert code_of(data, "png") == code


def test_a_wrong_adler_of_a_png_is_seen() -> None:
    """Rows whose own checksum is wrong are refused even where the chunk's CRC agrees."""
    packed = bytearray(zlib.compress(ROWS))
    packed[-1] ^= 1
    start = saved(GREY)[:33]
    assert code_of(start + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND", b""), "png") == "raster.corrupt"


def jpeg_with(precision: int, height: int, width: int) -> bytes:
    """A JPEG whose frame header says another depth and size."""
    data = bytearray(saved(GREY, "JPEG"))
    at = data.index(b"\xff\xc0") + 4
    data[at : at + 5] = struct.pack(">BHH", precision, height, width)
    return bytes(data)


@pytest.mark.parametrize(("data", "code"), [
    (jpeg_with(12, 12, 17), "raster.unsupported"),
    (jpeg_with(8, 65000, 65000), "raster.too_large"),
    (jpeg_with(8, 0, 17), "raster.corrupt"),
    (saved(GREY, "JPEG")[:-2], "raster.truncated"),
    (saved(GREY, "JPEG")[:-2] + b"\0\0", "raster.truncated"),
    (b"\xff\xd8\xff\xd9", "raster.corrupt"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(40), "raster.corrupt"),
])  # fmt: skip
def test_jpeg_that_lies(data: bytes, code: str) -> None:
    """12-bit JPEG, impossible sizes, a missing end marker and missing scans are refused."""
    assert code_of(data, "jpeg") == code


def directory(*tags: tuple[int, int, int, int], following: int = 0, pixels: bytes = bytes(400)) -> bytes:
    """A little-endian TIFF of one directory at byte 8; tags are (tag, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + pixels


BASE = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
STRIP = [(273, 4, 1, 122), (278, 4, 1, 20), (279, 4, 1, 400)]
NINE_TAGS = 8 + 2 + 9 * 12 + 4
assert NINE_TAGS == 122


@pytest.mark.parametrize(("data", "code"), [
    (directory(*BASE, *STRIP), None),
    (directory(*BASE, *STRIP, following=8), "raster.corrupt"),
    (directory(*BASE, *STRIP, following=1 << 30), "raster.truncated"),
    (directory(*BASE, *STRIP, pixels=bytes(399)), "raster.truncated"),
    (directory(*BASE), "raster.corrupt"),
    (directory(*BASE[2:], *STRIP), "raster.corrupt"),
    (directory((256, 4, 1, 1 << 30), *BASE[1:], *STRIP), "raster.too_large"),
    (directory(*BASE, (273, 4, 1 << 28, 122), *STRIP[1:]), "raster.truncated"),
    (directory(*BASE, (322, 4, 1, 1), (323, 4, 1, 10**9), (324, 4, 1, 122)), "raster.too_large"),
    (directory(*BASE[:2], (258, 3, 1, 0), *BASE[3:], *STRIP), "raster.unsupported"),
    (directory(*BASE[:2], (258, 3, 1, 77), *BASE[3:], *STRIP), "raster.unsupported"),
    (directory(*BASE[:5], (277, 3, 1, 500), *STRIP), "raster.unsupported"),
    (directory(*BASE[:3], (259, 3, 1, 34712), *BASE[4:], *STRIP), "raster.unsupported"),
    (directory(*BASE, *STRIP[:1], (278, 4, 1, 5), *STRIP[2:]), "raster.corrupt"),
    (directory(), "raster.corrupt"),
    (b"II*\0\0\0\0\0", "raster.corrupt"),
    (b"II*\0\xff\xff\xff\xff", "raster.truncated"),
    (b"II*\0", "raster.truncated"),
    (tiff(np.zeros((8, 8, 5), np.uint16), planarconfig="contig"), "raster.unsupported"),
])  # fmt: skip
def test_tiff_that_lies(data: bytes, code: str | None) -> None:
    """Loops, directories and strips outside the file, tiles of a gigabyte and volumes are refused by their header."""
    assert code_of(data, "tiff") == code


def test_a_deflated_strip_may_not_unpack_to_more() -> None:
    """A deep TIFF whose strip would unpack to 64 MiB instead of 800 bytes is refused while holding little."""
    packed = zlib.compress(bytes(64 << 20), 9)
    tags = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 16), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    strip = [(273, 4, 1, 122), (278, 4, 1, 20), (279, 4, 1, len(packed))]
    bomb = directory(*tags, *strip, pixels=packed)
    opened(bomb)  # so that what is imported later is not counted
    tracemalloc.start()
    assert code_of(bomb, "tiff") == "raster.corrupt"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(("data", "code"), [
    (b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff", "raster.too_large"),
    (b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\xff\0\0\0\0\0", "raster.too_large"),
    (b"RIFF\x16\0\0\0WEBPABCD\x0a\0\0\0" + bytes(10), "raster.corrupt"),
    (b"RIFF\xff\xff\xff\x7fWEBPVP8L", "raster.truncated"),
    (b"RIFF\x04\0\0\0WEBP", "raster.corrupt"),
])  # fmt: skip
def test_webp_that_lies(data: bytes, code: str) -> None:
    """A canvas of 16 million pixels a side, or no picture at all, is refused before a decoder is asked."""
    assert code_of(data, "webp") == code


@pytest.mark.parametrize("kind", KINDS)
def test_content_of_another_format_is_never_decoded(kind: raster_header.RasterKind) -> None:
    """What is of another format (GIF, BMP, PPM, EPS) is refused under every kind."""
    for form in {"GIF", "BMP", "PPM", "EPS", "ICO"} - {FORMATS[kind]}:
        code = code_of(saved(GREY, form), kind)
        assert code is not None
        assert code.startswith("raster.")


def test_sizes_are_weighed_before_memory_is_taken() -> None:
    """A PNG of a few hundred bytes that promises gigabytes is refused within 50 ms and 1 MB."""
    for side in (13000, 60000, 2**31 - 1):
        data = png(side, side, 8, 2, b"\0")
        tracemalloc.start()
        start = time.perf_counter()
        assert code_of(data, "png") == "raster.too_large"
        assert time.perf_counter() - start < 0.05
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_damaged_exif_is_not_shipped() -> None:
    """A picture whose EXIF cannot be read would stop a reader of the row, so its pixels ship without it."""
    data = png(17, 12, 8, 0, ROWS, chunk(b"eXIf", b"no EXIF at all, but long enough"))
    plane = opened(data).plane()
    assert plane.encoded is None
    np.testing.assert_array_equal(plane.pixels, GREY)


def test_a_window_that_is_none_is_a_mistake_in_the_config() -> None:
    """A source's (center, width) without width is refused as configuration, not as a bad image."""
    with pytest.raises(ConfigError, match="the width above 0"):
        opened(saved(DEEP), (1.0, 0.0))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_damage_gives_pixels_or_a_reason(kind: raster_header.RasterKind, data: st.DataObject) -> None:
    """Bytes changed, cut out or repeated give a picture and a mask, or a refusal; no other error, no warning."""
    damaged = bytearray(data.draw(st.sampled_from(SEEDS[kind])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(damaged) - 1))
        match data.draw(st.sampled_from(["set", "set", "set", "cut", "repeat"])):
            case "set":
                damaged[place] = data.draw(st.sampled_from([0, 1, 2, 8, 16, 127, 128, 255]))
            case "cut":
                del damaged[place : place + data.draw(st.integers(1, 20))]
            case _:
                damaged[place:place] = damaged[place : place + 30]
        damaged = damaged if len(damaged) > 8 else bytearray(SEEDS[kind][0])
    if kind == "png":
        damaged = bytearray(with_crcs(bytes(damaged)))
    assert " at 0x" not in "".join(outcome(bytes(damaged), kind))


def outcome(data: bytes, kind: raster_header.RasterKind) -> list[str]:
    """What refused the pictures and the masks of a file's first pages."""
    refusals = []
    for decode in (RasterFile.plane, RasterFile.labels):
        try:
            file = RasterFile(data, "x.file", kind)
            for page in range(min(file.count, 3)):
                decode(file, page)
        except RefusedError as error:
            refusals.append(str(error))
    return refusals


def with_crcs(data: bytes) -> bytes:
    """A PNG with every chunk's CRC made right again, so that damage gets past it."""
    at, fixed = 8, bytearray(data)
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def test_damage_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither Python nor the C libraries below write to the console when a file is damaged."""
    for kind, seeds in SEEDS.items():
        for data in seeds:
            for place in range(9, len(data), 11):
                code_of(data[:place] + b"\xff" + data[place + 1 :], kind)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_jpeg_inside_tiff_is_not_half_decoded() -> None:
    """Where libtiff gives up on JPEG data and Pillow hands on the rest as if nothing were, the file is refused."""
    noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = saved(noise, "TIFF", compression="jpeg")
    at = data.index(b"\xff\xda") + 200
    assert code_of(data[:at] + b"\xff\xc0" + data[at + 2 :], "tiff") == "raster.corrupt"


def test_what_others_print_is_handed_on(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line another thread writes to the console during a decode is neither lost nor taken for damage."""
    real = Image.Image.load

    def load(image: Image.Image) -> object:
        os.write(2, b"12 of 30 done\n")
        return real(image)

    monkeypatch.setattr(Image.Image, "load", load)
    np.testing.assert_array_equal(opened(saved(GREY, "TIFF", compression="tiff_lzw")).plane().pixels, GREY)
    assert "12 of 30 done" in capfd.readouterr().err
